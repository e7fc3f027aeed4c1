"""Pyramids: what the writers of OME-TIFF and OME-Zarr share."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

TILE_PX = 512
"""A pyramid ends with the first level that fits into a square of this side."""

Size = tuple[int, int]
"""Height and width in pixels."""

OnBlock = Callable[[int, int], None]
"""Told how many blocks are done, and how many there are over all levels."""


def level_sizes(size: Size) -> list[Size]:
    """Sizes of all levels, the full one first; each is half the one before, rounded up."""
    sizes = [size]
    while max(sizes[-1]) > TILE_PX:
        sizes.append(half_size(sizes[-1]))
    return sizes


def half_size(size: Size) -> Size:
    """Size of the next level."""
    return -(-size[0] // 2), -(-size[1] // 2)


def halve(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of each 2x2 square, halves rounded up; an odd last row or column counts twice.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w, channels)

    Returns
    -------
    ndarray of uint8, shape (ceil(h / 2), ceil(w / 2), channels)
    """
    height, width, _ = pixels.shape
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rows = np.add(pixels[::2], pixels[1::2], dtype=np.uint16)
    return ((rows[:, ::2] + rows[:, 1::2] + 2) >> 2).astype(np.uint8)


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
