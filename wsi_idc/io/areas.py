"""Means over areas of a picture, and what is transparent laid on a background."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from wsi_idc.io.jpeg_tiles import FACTORS

_MOST_SUMMED = 257
"""Pixels of 8 bits whose sum 16 bits hold."""

_LEAST_LEFT = 4
"""Reduced pixels that are left along each side of a cell, where they do not fit it."""

_WHOLE_PX = 1e-6
"""An edge so close to a whole number is one but for rounding."""


def reduction(edges: NDArray[np.float64]) -> int:
    """By which factor pixels may be reduced before they are averaged over cells with these edges.

    Either the cells are made of whole reduced pixels, but for a last one that is cut, or enough are left to each.
    """
    inner = edges[: max(2, len(edges) - 1)]
    step = (edges[-1] - edges[0]) / (len(edges) - 1)
    for factor in FACTORS:
        whole = step >= factor and np.abs(inner - factor * np.rint(inner / factor)).max() < _WHOLE_PX
        if whole or step >= factor * _LEAST_LEFT:
            return factor
    return 1


def average_areas(pixels: NDArray[Any], across: NDArray[np.float64], down: NDArray[np.float64]) -> NDArray[np.float32]:
    """Mean of a picture over each cell of a grid, its pixels weighted by the area that lies in the cell.

    Parameters
    ----------
    pixels : ndarray, shape (height, width, channels)
    across, down : ndarray of float64, shape (w + 1,) and (h + 1,)
        Edges of the cells, ascending, within the picture.

    Returns
    -------
    ndarray of float32, shape (h, w, channels)
        0 where a cell has no area.
    """
    height, width, channels = pixels.shape
    sides = _whole_cells(down, height), _whole_cells(across, width)
    if pixels.dtype == np.uint8 and 0 < sides[0] * sides[1] <= _MOST_SUMMED:
        return _block_means(pixels, *sides)
    rows = _shares(down, height) @ pixels.reshape(height, -1).astype(np.float32)
    columns = rows.reshape(-1, width, channels).swapaxes(0, 1).reshape(width, -1)
    mean = (_shares(across, width) @ columns).reshape(len(across) - 1, -1, channels)
    return np.asarray(mean.swapaxes(0, 1))


def average_pixels(
    pixels: NDArray[np.uint8], across: NDArray[np.float64], down: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """As `average_areas`, rounded; the picture itself where its pixels are the cells."""
    if _whole_cells(down, pixels.shape[0]) == _whole_cells(across, pixels.shape[1]) == 1:
        return pixels
    return np.rint(average_areas(pixels, across, down)).astype(np.uint8)


def _whole_cells(edges: NDArray[np.float64], length: int) -> int:
    """How many pixels each cell has where all have the same whole number and cover everything; else 0."""
    side = length // (len(edges) - 1)
    return (
        side if np.array_equal(edges, np.arange(len(edges)) * float(side)) and side * (len(edges) - 1) == length else 0
    )


def _block_means(pixels: NDArray[np.uint8], down: int, across: int) -> NDArray[np.float32]:
    """Mean over blocks of so many rows and columns."""
    rows = pixels[::down].astype(np.uint16)
    for k in range(1, down):
        rows += pixels[k::down]
    total = rows[:, ::across].copy()
    for k in range(1, across):
        total += rows[:, k::across]
    return total.astype(np.float32) / np.float32(down * across)


def _shares(edges: NDArray[np.float64], length: int) -> sparse.csr_array:
    """How much each of `length` pixels counts in the mean over each cell, shape (cells, length)."""
    first = np.floor(edges[:-1]).astype(np.int64)
    touched = np.minimum(np.ceil(edges[1:]).astype(np.int64), length) - first
    cell = np.repeat(np.arange(len(first)), touched)
    pixel = np.arange(len(cell)) - np.repeat(np.cumsum(touched) - touched - first, touched)
    overlap = np.minimum(edges[cell + 1], pixel + 1) - np.maximum(edges[cell], pixel)
    share = overlap / np.maximum(np.diff(edges), 1e-12)[cell]
    return sparse.csr_array((share.astype(np.float32), (cell, pixel)), shape=(len(first), length))


def on_background(region: NDArray[np.uint8], background: tuple[int, ...]) -> NDArray[np.uint8]:
    """Composite a region of RGB and opacity, shape (h, w, 4), on a colour, shape (h, w, 3)."""
    opacity = region[..., 3:].astype(np.float32) / 255
    mixed = region[..., :3] * opacity + np.asarray(background, dtype=np.float32) * (1 - opacity)
    return np.rint(mixed).astype(np.uint8)
