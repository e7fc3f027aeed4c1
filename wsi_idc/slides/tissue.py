"""Where tissue lies on a slide, seen in a small picture of it.

What is stained is tissue, pale or dark and of whatever hue: stain has colour, which glass, dust and shadow lack. Marks
of pens are taken out on evidence of their own (`wsi_idc.slides.ink`); what is in doubt stays tissue, as a tile that is
scored for nothing costs less than one that is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import gaussian

from wsi_idc.slides.ink import find_ink
from wsi_idc.slides.morphology import Mask, Scale, close_gaps, fill_holes, keep_pieces, open_gaps
from wsi_idc.slides.optical_density import (
    DARK,
    VOID,
    Density,
    Field,
    blur,
    find_glass,
    is_transmitted,
    measure_density,
    spread,
)

Floats = NDArray[np.float64]

GRID_UM = 24.0
"""Finer pictures are averaged to about this: noise is gone, and a net of fat is still seen."""

CLOSE_UM, HOLE_MM2, SPECK_MM2 = 120.0, 0.2, 0.03
"""Gaps up to twice the first and holes up to the second are filled; pieces smaller than the third are dropped."""

_WEAK, _NOISE, _WEAKEST_CAP = 0.03, 4.0, 0.1
"""Colour of the palest tissue: the first, or the second times the glass's own colour, the third at most."""

_STRONG = 1.35
"""Each piece of tissue holds some that is so many times more coloured, a third of a speck at least."""

_GREY = 0.1
"""Dust, bubbles and shadow have less colour than this share of their density; folds and greyest nuclei have 0.2."""

_BARE = 0.05
"""Bare glass has less density than this, and less colour than the palest tissue."""

_NET, _NET_UM = (0.006, 0.005), 100.0
"""Mean colour, and deviation of the density, of a net of fat, glass has a tenth; and its least extent."""


def find_tissue(pixels: NDArray[np.uint8], mpp: tuple[float, float]) -> Mask:
    """Find the tissue on a stained slide.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
        RGB picture of the slide at about 8-64 µm/px.
    mpp : pair of float
        µm/px along x and y.

    Returns
    -------
    ndarray of bool, shape (h, w)
        False on glass, dust, shadow, pen and padding, and on all of a fluorescence slide. Fat counts as tissue.
    """
    height, width = pixels.shape[:2]
    if not height or not width:
        return np.zeros((height, width), dtype=np.bool_)
    down, across = max(1, round(GRID_UM / mpp[1])), max(1, round(GRID_UM / mpp[0]))
    um = (mpp[1] * down, mpp[0] * across)
    light = _average(pixels, down, across)
    if not is_transmitted(light):
        return np.zeros((height, width), dtype=np.bool_)
    glass, noise = find_glass(light, um)
    density = measure_density(light, glass)
    weak = min(max(_WEAK, _NOISE * noise), _WEAKEST_CAP)
    bare = (density.grey < _BARE) & (density.colour < weak)
    left_out = find_ink(density, bare, um) | (light.max(axis=0) < VOID)
    tissue = _outline(density, left_out, weak, um)
    return tissue.repeat(down, axis=0).repeat(across, axis=1)[:height, :width]


def tissue_share(mask: Mask, left: Floats, top: Floats, right: Floats, bottom: Floats) -> Floats:
    """Share of each box that is tissue, 0-1.

    Parameters
    ----------
    mask : ndarray of bool, shape (h, w)
    left, top, right, bottom : ndarray of float64, shape (n,)
        Boxes in pixels of the mask, half open; a pixel that lies partly inside counts in part. What lies beyond the
        mask is cut off first; a box of which nothing is left has a share of 0.
    """
    height, width = mask.shape
    summed = np.zeros((height + 1, width + 1), dtype=np.int32)
    mask.cumsum(axis=0, out=summed[1:, 1:]).cumsum(axis=1, out=summed[1:, 1:])
    left, right = np.clip(left, 0, width), np.clip(right, 0, width)
    top, bottom = np.clip(top, 0, height), np.clip(bottom, 0, height)
    inside = _at(summed, bottom, right) - _at(summed, top, right) - _at(summed, bottom, left) + _at(summed, top, left)
    area = (right - left).clip(0) * (bottom - top).clip(0)
    share: Floats = np.divide(inside, area, out=np.zeros_like(area), where=area > 0).clip(0, 1)
    return share


def _at(table: NDArray[np.int32], y: Floats, x: Floats) -> Floats:
    """Bilinear interpolation, which is exact in a table of summed areas: they grow linearly within a pixel."""
    values: Floats = ndimage.map_coordinates(table, [y, x], order=1, mode="nearest", output=np.float64)
    return values


def _average(pixels: NDArray[np.uint8], down: int, across: int) -> Field:
    """Mean of each block of `down` x `across` pixels, slightly blurred; shape (3, h, w)."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % down), (0, -width % across), (0, 0)), mode="edge")
    total = np.zeros(padded[::down, ::across].shape, dtype=np.float32)
    for row in range(down):
        for column in range(across):
            total += padded[row::down, column::across]
    planes = np.ascontiguousarray(np.moveaxis(total / (down * across), 2, 0))
    blurred: Field = gaussian(planes, (0, 0.6, 0.6), mode="nearest", preserve_range=True)  # type: ignore[no-untyped-call]
    return blurred


def _outline(density: Density, left_out: Mask, weak: float, um: Scale) -> Mask:
    """Stained tissue and the fat beside it, gaps and holes filled, less what is left out and specks."""
    stained = np.where(left_out | (density.colour < _GREY * density.grey), 0, density.colour)
    speck = min(SPECK_MM2, 0.25 * stained.size * um[0] * um[1] / 1e6)
    pale = (stained > weak) | _find_fat(density, left_out, um)
    mask = keep_pieces(pale, stained > _STRONG * weak, speck / 3, um)
    mask = fill_holes(close_gaps(mask, CLOSE_UM, um), HOLE_MM2, um) & ~left_out
    return keep_pieces(mask, mask, speck, um)


def _find_fat(density: Density, left_out: Mask, um: Scale) -> Mask:
    """Nets too thin for any of their pixels to be coloured: slightly tinted on the whole, and uneven."""
    seen = ~left_out & (density.colour > _GREY * density.grey)
    limit = np.minimum(1, _WEAK / np.maximum(density.colour, 1e-6)) * seen
    x, y = density.xy
    tint = np.hypot(blur(x * limit, um), blur(y * limit, um))
    net = (tint > _NET[0]) & (spread(density.grey.clip(0, 0.1) * ~left_out, um) > _NET[1])
    return open_gaps(net, _NET_UM, um)


_COLOURED = 0.1
"""Span of a pixel's three optical densities where it is stained at all."""

_BROWN, _BLUE = 1.05, 1.25
"""H&E takes at most so much more blue light, and red light, than green; DAB takes more blue, blue dyes more red."""

_ASSUMED_UM, _LOOKED_AT_PX = 16.0, 1_000_000
"""Scale of a picture where little hangs on it, and how many of its pixels are looked at, about."""

_FOREIGN_SHARE = 0.25
"""So much of what is stained has such a colour on a slide of another stain."""


def unlike_he(pixels: NDArray[np.uint8]) -> bool:
    """Whether a slide is stained with something else than haematoxylin and eosin, or not lit from below.

    Haematoxylin and eosin take green light most, or nearly so (Ruifrok & Johnston 2001); DAB takes blue most, and blue
    and green dyes take red.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
        The slide at any low scale.
    """
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / _LOOKED_AT_PX) ** 0.5))
    light = np.ascontiguousarray(np.moveaxis(pixels[::step, ::step].astype(np.float32), 2, 0))
    if (light.max(axis=0) < DARK).mean() > 0.5:
        return True
    glass, _ = find_glass(light, (_ASSUMED_UM * step, _ASSUMED_UM * step))
    density = measure_density(light, glass)
    stained = np.ptp(np.stack([density.red, density.green, density.blue]), axis=0) > _COLOURED
    foreign = (density.blue > _BROWN * density.green) | (density.red > _BLUE * density.green)
    return bool(foreign[stained].mean() > _FOREIGN_SHARE) if stained.any() else False
