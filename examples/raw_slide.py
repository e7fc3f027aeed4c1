"""Score a raw slide and write its picture at 8 µm/px: ``python examples/raw_slide.py FILE OUT``."""

from __future__ import annotations

import sys
from pathlib import Path

from wsi_idc import load_model, open_slide, score, write_mosaic_tiff


def main(file: str, out: str) -> None:
    Path(out).mkdir(parents=True, exist_ok=True)
    with open_slide(file) as slide:
        print(f"{len(slide.patches)} tiles with tissue at {slide.mpp[0]:g} x {slide.mpp[1]:g} µm/px")
        scores = score(slide, load_model()).scores
        print(f"{int(scores.pred.sum())} of them called IDC at a threshold of {scores.threshold:g}")
        print(write_mosaic_tiff(slide, Path(out)))


if __name__ == "__main__":
    main(*sys.argv[1:])
