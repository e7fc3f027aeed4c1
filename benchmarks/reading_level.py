"""How much the JPEG of a level changes the scores: ``python benchmarks/reading_level.py FILE [MPP]``.

Saves a small slide anew, its levels halved and each compressed by itself as scanners do, and scores it from the level
just finer than the scale of the patches, than half of it and so on. Printed are the mean difference in probability from
the slide as it was, and how far the mean probability moved.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import dask.array as da
import numpy as np
from imagecodecs import jpeg_decode, jpeg_encode
from numpy.typing import NDArray
from openslide import OpenSlide

from wsi_idc import load_model, open_slide, score
from wsi_idc.export.ome_tiff import write_tiff
from wsi_idc.export.pyramid import halve
from wsi_idc.geometry import IDC_PATCH

QUALITIES, FINER = (90, 70, 30), (1, 2, 4, 8)


def main(file: str, mpp: float | None) -> None:
    model = load_model()

    def probabilities(path: str | Path, finer: int, scale: float | None) -> NDArray[np.float64]:
        with open_slide(path, mpp=scale, tissue_mask=False, read_finer=finer) as opened:
            return score(opened, model).scores.prob_idc

    truth = probabilities(file, 64, mpp)
    with open_slide(file, mpp=mpp) as opened, OpenSlide(file) as raw:
        scale = opened.mpp[0]
        finest = np.asarray(raw.read_region((0, 0), 0, raw.dimensions).convert("RGB"))
    print(f"{Path(file).name}: {len(truth)} tiles, mean probability {truth.mean():.3f}")
    print("quality  level just finer than  mean difference  mean moved by")
    with TemporaryDirectory() as folder:
        for quality, finer in itertools.product(QUALITIES, FINER):
            path, pixels, size = Path(folder) / "level.tif", finest, scale
            while size * 2 <= IDC_PATCH.mpp / finer * 1.001:
                pixels, size = halve(pixels), size * 2
            lossy = jpeg_decode(jpeg_encode(pixels, level=quality, subsampling=(2, 1)))
            write_tiff(path, da.from_array(lossy, chunks=(512, 4096, 3)), (size, size), compression="deflate")
            prob = probabilities(path, finer, size)
            if len(prob) == len(truth):
                difference = np.abs(prob - truth).mean()
                level = f"{quality:7} {IDC_PATCH.mpp / finer:15g} µm/px"
                print(f"{level} {difference:16.3f} {prob.mean() - truth.mean():+14.3f}")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else None)
