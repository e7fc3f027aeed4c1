"""Try a model on phantom tiles, before slides are scored with it."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_idc.geometry import IDC_PATCH
from wsi_idc.model.classifier import Classifier
from wsi_idc.model.fixed_batch import FixedBatchNetwork
from wsi_idc.naming import PHANTOM_CASES
from wsi_idc.phantom import paint_slide

_TILES = 16
_SLIDE_PX = 600
"""Side of the phantom that the tiles are cut from, at the scale of IDC patches."""

_LEAST_S, _MOST_ROUNDS = 1.0, 50
_SAME = 1e-5


@dataclass(frozen=True)
class Trial:
    """How a model did on a few tiles.

    Attributes
    ----------
    tiles : int
    tiles_per_second : float
    activation : str
        What made probabilities of its outputs: ``softmax``, ``sigmoid`` or ``none``.
    lowest, highest : tuple of float
        Probability of each class.
    remarks : tuple of str
        What may be wrong, in one sentence each.
    """

    tiles: int
    tiles_per_second: float
    activation: str
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    remarks: tuple[str, ...]


def try_model(classifier: Classifier) -> Trial:
    """Run a model on phantom tiles of its size and scale; ModelError where it gives no probabilities."""
    config, network = classifier.config, classifier.network
    tiles = phantom_tiles(config.patch.size_px, config.patch.mpp)
    probs = classifier.predict_normalized(tiles)
    started, rounds = perf_counter(), 0
    while rounds < _MOST_ROUNDS and (rounds == 0 or perf_counter() - started < _LEAST_S):
        classifier.predict_normalized(tiles)
        rounds += 1
    speed = rounds * len(tiles) / (perf_counter() - started)
    activation = network.activation if isinstance(network, FixedBatchNetwork) else config.activation or "none"
    low, high = probs.min(axis=0), probs.max(axis=0)
    remarks = []
    if (high - low < _SAME).all():
        remarks.append("It gives the same for all tiles: look whether the transform in its .json fits the training.")
    alone = activation == "softmax" or config.activation == "none"
    if len(config.classes.names) > 1 and alone and np.abs(probs.sum(axis=1) - 1).max() > 1e-3:
        remarks.append('The probabilities do not sum to 1: set "activation" in its .json to "softmax" or "sigmoid".')
    if config.activation is None and activation == "softmax":
        remarks.append(
            'Its .json has no "activation": softmax is applied, as in wsinfer, so say whether that is right.'
        )
    return Trial(len(tiles), speed, activation, tuple(low.tolist()), tuple(high.tolist()), tuple(remarks))


def phantom_tiles(size_px: int, mpp: float) -> NDArray[np.uint8]:
    """A few tiles of synthetic tissue, uint8 of shape (n, size, size, 3); fine scales are enlarged."""
    slide = paint_slide(str(PHANTOM_CASES[0]), 0, _SLIDE_PX, _SLIDE_PX)
    side = min(max(round(size_px * mpp / IDC_PATCH.mpp), 1), _SLIDE_PX)
    rows, columns = np.nonzero(slide.tissue)
    tiles = np.empty((_TILES, size_px, size_px, 3), dtype=np.uint8)
    for i, at in enumerate(np.linspace(0, len(rows) - 1, _TILES).astype(int)):
        top, left = (min(max(int(of[at]) - side // 2, 0), _SLIDE_PX - side) for of in (rows, columns))
        tile = Image.fromarray(slide.pixels[top : top + side, left : left + side])
        tiles[i] = np.asarray(tile.resize((size_px, size_px), Image.Resampling.BICUBIC))
    return tiles
