"""Patches/s of the network alone, on patches that are in memory: ``python benchmarks/in_memory.py STORE SECONDS``."""

from __future__ import annotations

import sys
import time

import numpy as np

from wsi_idc import load_model
from wsi_idc.datasets.opening import open_dataset
from wsi_idc.model.config import DEFAULT_BATCH
from wsi_idc.model.stain import estimate_stain
from wsi_idc.scoring.score import block_size


def main(store: str, seconds: float) -> None:
    with open_dataset(store) as dataset:
        pixels = np.concatenate([dataset.case(case).read(0, 10_000).pixels for case in dataset.cases[:4]])
    model, step = load_model(), block_size(DEFAULT_BATCH)
    target = model.config.normalization
    stain = None if target is None else estimate_stain(pixels, target)
    model.predict(pixels[:step], stain=stain)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = done % (len(pixels) - step)
        done += len(model.predict(pixels[start : start + step], stain=stain))
    print(done / (time.perf_counter() - began))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
