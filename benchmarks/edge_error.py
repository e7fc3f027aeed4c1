"""What overlap does at a phantom's painted outline, and costs: python benchmarks/edge_error.py CASES."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import dask.array as da
import numpy as np
from scipy import ndimage

from wsi_idc import load_model, open_slide, score
from wsi_idc.export.ome_tiff import write_tiff
from wsi_idc.phantom import case_numbers, paint_slide

OVERLAPS = (0.0, 0.5)
NEAR_PX = 50
"""Within a tile's width of the outline."""


def main(cases: int) -> None:
    """Print for each overlap the area called wrongly by the length of the painted outline, and the seconds."""
    model = load_model()
    wrong, close, edge, seconds, tiles = (np.zeros(len(OVERLAPS)) for _ in range(5))
    with TemporaryDirectory() as folder:
        for case in case_numbers(cases):
            painted = paint_slide(case, 0)
            path = Path(folder, f"{case}.tif")
            # What the network sees of the magnified phantom, whose means over 8 x 8 pixels these are.
            write_tiff(path, da.from_array(painted.pixels, chunks=(512, 512, 3)), (8.0, 8.0))
            truth = painted.tumour
            length = sum(int(np.count_nonzero(np.diff(truth, axis=axis))) for axis in (0, 1)) * np.pi / 4
            for i, overlap in enumerate(OVERLAPS):
                with open_slide(path, overlap=overlap) as slide:
                    began = monotonic()
                    scores = score(slide, model).scores
                    seconds[i] += monotonic() - began
                called = np.zeros_like(truth)
                for x, y, width, height in slide.patches.boxes[scores.pred].tolist():
                    called[y : y + height, x : x + width] = True
                near = ndimage.distance_transform_edt(truth) + ndimage.distance_transform_edt(~truth) <= NEAR_PX
                close[i] += np.count_nonzero((called != truth) & near) * 8.0
                wrong[i] += np.count_nonzero(called != truth) * 8.0
                edge[i] += length
                tiles[i] += len(scores)
    for overlap, *of in zip(OVERLAPS, tiles, wrong / edge, close / edge, seconds, strict=True):
        print("overlap {:g}: {:,.0f} tiles, wrong {:.0f} µm, near the outline {:.0f} µm, {:.1f} s".format(overlap, *of))


if __name__ == "__main__":
    main(int(sys.argv[1]))
