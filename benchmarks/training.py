"""Patches/s of a training over those of Keras alone: ``python benchmarks/training.py STORE STEPS RUNS``.

Prints ratios. In a process of its own, as training needs TensorFlow and settings of Keras.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import keras

from wsi_idc.datasets.labelled import LabelledPatches, load_patches
from wsi_idc.datasets.opening import open_dataset
from wsi_idc.model.cancernet import build_cancernet
from wsi_idc.training.augment import Augment
from wsi_idc.training.fitting import train
from wsi_idc.training.recipe import Recipe

TURN = 10
"""Steps that each of the two takes in turn; the first ones of both are not counted, as they build the graph."""


def main(store: str, steps: int, runs: int) -> None:
    with open_dataset(store) as dataset:
        data = load_patches(dataset)
        # Four of five cases are for training.
        drawn = max(1, round(steps * 64 / (0.8 * len(dataset.cases))))
    recipe = Recipe(epochs=1, patches_per_case=drawn)
    alone = keras.Sequential([keras.Input((50, 50, 3), dtype="uint8"), Augment(0, recipe.jitter), build_cancernet()])
    alone.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    for _ in range(runs):
        print(_ratio(data, recipe, alone), flush=True)


def _ratio(data: LabelledPatches, recipe: Recipe, alone: keras.Model) -> float:
    """Patches/s of an epoch's steps over those of Keras alone, which takes its turn between them."""
    ours, theirs = 0.0, 0.0
    began = math.nan

    def take_turns(epoch: int, patches: int, total: int) -> None:
        nonlocal ours, theirs, began
        if patches // recipe.batch_size % TURN:
            return
        now = time.perf_counter()
        _steps_alone(data, alone, recipe.batch_size)
        if not math.isnan(began):
            ours += now - began
            theirs += time.perf_counter() - now
        began = time.perf_counter()

    with TemporaryDirectory() as folder:
        train(data, recipe, Path(folder), on_batch=take_turns)
    return theirs / ours


def _steps_alone(data: LabelledPatches, model: keras.Model, size: int) -> None:
    """A turn of Keras, augmentation included, on batches that are ready: slices of what is in memory."""
    for start in range(0, TURN * size, size):
        batch = slice(start, start + size)
        model.train_on_batch(data.pixels[batch], data.label[batch], class_weight={0: 1.0, 1: 1.0})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
