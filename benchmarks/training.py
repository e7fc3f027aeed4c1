"""Patches/s of a training over those of Keras alone: ``python benchmarks/training.py STORE STEPS RUNS``.

Prints ratios. In a process of its own, as training needs TensorFlow and settings of Keras.
"""

from __future__ import annotations

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

WARM_UP = 5
"""Steps at the beginning that are not counted: the first builds the graph."""


def main(store: str, steps: int, runs: int) -> None:
    with open_dataset(store) as dataset:
        data = load_patches(dataset)
        # Four of five cases are for training.
        drawn = max(1, round(steps * 64 / (0.8 * len(dataset.cases))))
    recipe = Recipe(epochs=1, patches_per_case=drawn)
    alone = keras.Sequential([keras.Input((50, 50, 3), dtype="uint8"), Augment(0, recipe.jitter), build_cancernet()])
    alone.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    for _ in range(runs):
        print(_pace(data, recipe) / _pace_alone(data, alone, steps), flush=True)


def _pace(data: LabelledPatches, recipe: Recipe) -> float:
    """Patches/s of an epoch's steps."""
    done: list[int] = []
    times: list[float] = []

    def note(epoch: int, patches: int, total: int) -> None:
        done.append(patches)
        times.append(time.perf_counter())

    with TemporaryDirectory() as folder:
        train(data, recipe, Path(folder), on_batch=note)
    return (done[-1] - done[WARM_UP]) / (times[-1] - times[WARM_UP])


def _pace_alone(data: LabelledPatches, model: keras.Model, steps: int) -> float:
    """Patches/s of Keras, augmentation included, on batches that are ready."""
    batches = [(data.pixels[i * 64 : (i + 1) * 64], data.label[i * 64 : (i + 1) * 64]) for i in range(8)]
    began = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            began = time.perf_counter()
        pixels, label = batches[step % len(batches)]
        model.train_on_batch(pixels, label, class_weight={0: 1.0, 1: 1.0})
    return 64 * steps / (time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
