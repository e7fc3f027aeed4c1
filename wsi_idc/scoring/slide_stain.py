"""Measure the glass and the stain of a slide, whatever kind of source it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from wsi_idc.model.stain import Normalization, Stain, estimate_stain, even_sample
from wsi_idc.source import Block, PatchSource


def measure_stain(
    source: PatchSource, target: Normalization | None, each: Callable[..., Iterable[Block]] = map
) -> Stain | None:
    """Measure what a model wants taken out of a slide.

    The same patches are read each time, so every worker that measures a slide finds the same.

    Parameters
    ----------
    source : PatchSource
    target : Normalization or None
        ``model.config.normalization``.
    each : callable
        Reads the patches: `map`, or that of a pool of threads.

    Returns
    -------
    Stain or None
        None where the model wants nothing taken out.
    """
    if target is None:
        return None
    starts, stops = zip(*even_sample(len(source.patches)), strict=True) if len(source.patches) else ((), ())
    blocks = each(source.read, starts, stops)
    size = source.tile.size_px
    read = [block.pixels[block.readable] for block in blocks]
    return estimate_stain(np.concatenate([np.empty((0, size, size, 3), np.uint8), *read]), target)
