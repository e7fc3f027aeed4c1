"""Pyramids: what the writers of OME-TIFF and OME-Zarr share."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.float32]

TILE_PX = 512
"""A pyramid ends with the first level that fits into a square of this side."""

Size = tuple[int, int]
"""Height and width in pixels."""

OnBlock = Callable[[int, int], None]
"""Called with the number of blocks done and the total over all levels."""


def level_sizes(size: Size) -> list[Size]:
    """Sizes of all levels, the full one first; each is half the one before, rounded up."""
    sizes = [size]
    while max(sizes[-1]) > TILE_PX:
        sizes.append(half_size(sizes[-1]))
    return sizes


def half_size(size: Size) -> Size:
    """Size of the next level."""
    return -(-size[0] // 2), -(-size[1] // 2)


def checked_channels(pixels: da.Array) -> int:
    """Channels of an image; ValueError where it is neither RGB in uint8 nor one channel of float32."""
    if (pixels.ndim, pixels.shape[2:], pixels.dtype) not in ((3, (3,), np.uint8), (3, (1,), np.float32)):
        raise ValueError(f"pixels of shape {pixels.shape} and type {pixels.dtype} are neither RGB nor one channel")
    return int(pixels.shape[2])


def halve(pixels: Pixels) -> Pixels:
    """Mean of each 2x2 square; an odd last row or column counts twice.

    Parameters
    ----------
    pixels : ndarray of uint8 or float32, shape (h, w, channels)

    Returns
    -------
    ndarray of the same type, shape (ceil(h / 2), ceil(w / 2), channels)
        Halves of uint8 are rounded up. Of float32, NaN is left out of the mean, and NaN where there is nothing else.
    """
    height, width, _ = pixels.shape
    even: NDArray[Any] = pixels
    if height % 2 or width % 2:
        even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    if even.dtype == np.float32:
        quarters = np.stack([even[y::2, x::2] for y in (0, 1) for x in (0, 1)])
        known = np.count_nonzero(~np.isnan(quarters), axis=0)
        return np.where(known, np.nansum(quarters, axis=0) / np.maximum(known, 1), np.nan).astype(np.float32)
    rows = np.add(even[::2], even[1::2], dtype=np.uint16)
    halved: NDArray[np.uint8] = ((rows[:, ::2] + rows[:, 1::2] + 2) >> 2).astype(np.uint8)
    return halved


def cut(size: Size, block: Size) -> list[tuple[slice, slice]]:
    """Rows and columns of the blocks that cover a level, row by row; those at the lower and right edge are cut."""
    corners = itertools.product(range(0, size[0], block[0]), range(0, size[1], block[1]))
    return [(slice(y, min(y + block[0], size[0])), slice(x, min(x + block[1], size[1]))) for y, x in corners]


def counter(total: int, on_block: OnBlock | None) -> Callable[[], None]:
    """Something to call after each of `total` blocks."""
    done = itertools.count(1)

    def tell() -> None:
        if on_block is not None:
            on_block(next(done), total)

    return tell
