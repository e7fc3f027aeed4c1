"""The slide image, rebuilt from its patches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from wsi_idc.source import Patch, PatchSource

MAX_SIDE_PX = 8192
"""Longest side of a mosaic: what image viewers and browsers still open without trouble."""

_BLOCK = 256
"""Patches read at once (2 MB of pixels)."""

_ONE = 256
"""Fixed point of the shade sums: full coverage of a pixel."""


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A slide at a reduced scale, white where nothing is known.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
    factor : int
        Level-0 pixels per mosaic pixel, along either side.
    size_l0 : tuple of int
        Width and height of the slide in level-0 pixels.
    mpp : tuple of float
        Scale of the mosaic's own pixels along x and y, in µm/px.
    tissue : ndarray of bool, or None
        Where tissue was found, over the whole slide at any scale; None where nothing looked for it.
    """

    pixels: NDArray[np.uint8]
    factor: int
    size_l0: tuple[int, int]
    mpp: tuple[float, float]
    tissue: NDArray[np.bool_] | None = None


def rebuild_mosaic(source: PatchSource, max_side_px: int = MAX_SIDE_PX) -> Mosaic:
    """The slide itself, or where there are only patches, every readable one pasted at its true place on white ground.

    Where the slide must be reduced, each pixel is the mean over its area of the full-size mosaic. Memory grows
    with the picture, not with the slide.

    Parameters
    ----------
    source : PatchSource
    max_side_px : int
        No side of the mosaic is longer; the factor is the smallest whole one that achieves it. Where level 0 is
        finer than the patches, the factor is at least that ratio, rounded down: no detail exists beyond.
    """
    width_l0, height_l0 = source.size_px
    finest = max(1, int(source.patch.mpp / max(source.mpp) + 1e-9))
    factor = max(finest, -(-max(width_l0, height_l0) // max_side_px))
    shape = (max(1, -(-height_l0 // factor)), max(1, -(-width_l0 // factor)), 3)
    picture = source.picture(factor)
    direct = factor == 1 and source.mpp == (source.patch.mpp, source.patch.mpp)
    if picture is not None:
        pixels = picture
    elif direct:
        pixels = np.full(shape, 255, dtype=np.uint8)
        for patch, content in _contents(source):
            pixels[patch.y : patch.y + patch.height, patch.x : patch.x + patch.width] = content
    else:
        shade = np.zeros(shape, dtype=np.uint16)
        for patch, content in _contents(source):
            _add_shade(shade, patch, content, factor)
        pixels = _developed(shade)
    mpp_x, mpp_y = source.mpp
    return Mosaic(pixels, factor, (width_l0, height_l0), (mpp_x * factor, mpp_y * factor), source.tissue)


def _contents(source: PatchSource) -> Iterator[tuple[Patch, NDArray[np.uint8]]]:
    """Each readable patch with its pixels, without the white that pads it."""
    (mpp_x, mpp_y), size, mpp = source.mpp, source.patch.size_px, source.patch.mpp
    for start in range(0, len(source.patches), _BLOCK):
        patches = source.patches[start : start + _BLOCK]
        block = source.read(start, start + len(patches))
        for patch, pixels, readable in zip(patches, block.pixels, block.readable, strict=True):
            if readable:
                height = min(size, max(1, round(patch.height * mpp_y / mpp)))
                width = min(size, max(1, round(patch.width * mpp_x / mpp)))
                yield patch, pixels[:height, :width]


def _add_shade(shade: NDArray[np.uint16], patch: Patch, content: NDArray[np.uint8], factor: int) -> None:
    """Add what a patch takes away from white, spread over the mosaic pixels that it touches.

    Summing shade instead of colour needs no second array for the coverage: a pixel half covered is half white.
    """
    down = _coverage(patch.y % factor, patch.height, content.shape[0], factor)
    across = _coverage(patch.x % factor, patch.width, content.shape[1], factor)
    dark = np.subtract(255, content, dtype=np.float32)
    added = np.einsum("ij,jkc,lk->ilc", down, dark, across, optimize=True) * _ONE
    top, left = patch.y // factor, patch.x // factor
    part = shade[top : top + len(down), left : left + len(across)]
    added = np.rint(added[: part.shape[0], : part.shape[1]])
    # Patches that overlap must not wrap round to white.
    np.copyto(part, np.minimum(part + added, 255 * _ONE), casting="unsafe")


@lru_cache(maxsize=256)
def _coverage(offset: int, length: int, samples: int, factor: int) -> NDArray[np.float32]:
    """Share of each mosaic pixel that each sample of a patch covers, along one side.

    Parameters
    ----------
    offset, length : int
        First level-0 pixel of the patch, counted from the first mosaic pixel that it touches, and its extent.
    samples : int
        Pixels of the patch along this side.
    factor : int
        Level-0 pixels per mosaic pixel.

    Returns
    -------
    ndarray of float32, shape (mosaic pixels touched, samples)
    """
    edges = offset + np.arange(samples + 1) * (length / samples)
    cells = np.arange(-(-(offset + length) // factor) + 1) * float(factor)
    overlap = np.minimum(edges[None, 1:], cells[1:, None]) - np.maximum(edges[None, :-1], cells[:-1, None])
    return np.asarray(np.maximum(overlap, 0) / factor, dtype=np.float32)


def _developed(shade: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Shade to pixels, a band at a time to spare memory."""
    pixels = np.empty(shade.shape, dtype=np.uint8)
    for top in range(0, len(shade), 512):
        band = (shade[top : top + 512].astype(np.uint32) + _ONE // 2) // _ONE
        pixels[top : top + 512] = 255 - band
    return pixels
