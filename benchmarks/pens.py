"""What the tissue mask makes of a pen's stroke on glass beside tissue: ``python benchmarks/pens.py``."""

from __future__ import annotations

import numpy as np

from wsi_idc import open_case
from wsi_idc.slides.tissue import find_tissue

PENS = {
    "violet": (120, 60, 160),
    "pale violet": (170, 140, 200),
    "pink": (230, 90, 160),
    "pale pink": (240, 170, 210),
    "blue": (40, 60, 180),
    "green": (30, 140, 70),
    "red": (220, 40, 40),
    "black": (30, 30, 30),
}
REDUCED = 4
"""Of a phantom at 4 µm/px, so that the mask sees 16."""
GLASS = 245


def main() -> None:
    """Print, for each pen, which share of a stroke of 0.1 x 4 mm on glass is taken for tissue."""
    case = open_case(90001, "demo")
    tissue = case.region(0, 0, *case.mosaic_px)[::REDUCED, ::REDUCED]
    height, width = tissue.shape[:2]
    slide = np.full((height + 100, width + 200, 3), GLASS, np.uint8)
    slide[50 : 50 + height, 50 : 50 + width] = tissue
    stroke = slice(60, 310), slice(width + 120, width + 126)
    for name, colour in PENS.items():
        marked = slide.copy()
        marked[stroke] = colour
        print(f"{name}: {find_tissue(marked, (16.0, 16.0))[stroke].mean():.0%} taken for tissue")


if __name__ == "__main__":
    main()
