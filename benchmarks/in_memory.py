"""Patches/s of the network alone, on patches that are in memory: ``python benchmarks/in_memory.py STORE PATCHES``.

Prints when it began and ended, by `time.monotonic`, and how many patches that were.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from wsi_idc import load_model
from wsi_idc.datasets.opening import open_dataset
from wsi_idc.model.config import DEFAULT_BATCH
from wsi_idc.model.stain import estimate_stain
from wsi_idc.scoring.score import block_size


def main(store: str, patches: int) -> None:
    with open_dataset(store) as dataset:
        pixels = np.concatenate([dataset.case(case).read(0, 10_000).pixels for case in dataset.cases[:4]])
    model, step = load_model(), block_size(DEFAULT_BATCH)
    target = model.config.normalization
    stain = None if target is None else estimate_stain(pixels, target)
    model.predict(pixels[:step], stain=stain)
    done, began = 0, time.monotonic()
    while done < patches:
        start = done % (len(pixels) - step)
        done += len(model.predict(pixels[start : start + step], stain=stain))
    print(json.dumps({"began": began, "ended": time.monotonic(), "patches": done}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
