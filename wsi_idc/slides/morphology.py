"""Shapes in masks, by lengths in µm, whatever the scale along each side.

Beyond the picture's border nothing is known: shapes grow to it, and do not shrink from it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Pieces = NDArray[np.int_]
Scale = tuple[float, float]
"""µm/px along y and x."""


_SMALL_PX = 100
"""A footprint of fewer pixels is faster than the distances of all pixels, with the same result."""


def grow(mask: Mask, by_um: float, um: Scale) -> Mask:
    """Add what lies within so many µm."""
    footprint = _footprint(by_um, um)
    grown: Mask = mask
    if footprint is not None:
        grown = ndimage.binary_dilation(mask, footprint)
    elif mask.any():  # without a pixel to measure from, the distances are undefined
        grown = ndimage.distance_transform_edt(~mask, sampling=um) <= by_um
    return grown


def shrink(mask: Mask, by_um: float, um: Scale) -> Mask:
    """Take away what lies within so many µm of what is outside."""
    footprint = _footprint(by_um, um)
    shrunk: Mask = mask
    if footprint is not None:
        shrunk = ndimage.binary_erosion(mask, footprint, border_value=1)
    elif not mask.all():
        shrunk = ndimage.distance_transform_edt(mask, sampling=um) > by_um
    return shrunk


def _footprint(by_um: float, um: Scale) -> Mask | None:
    """All pixels within so many µm of the one in the middle; None where they are many."""
    reach = [int(by_um / scale) for scale in um]
    if (2 * reach[0] + 1) * (2 * reach[1] + 1) > _SMALL_PX:
        return None
    y, x = np.ogrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    footprint: Mask = np.hypot(y * um[0], x * um[1]) <= by_um
    return footprint


def close_gaps(mask: Mask, by_um: float, um: Scale) -> Mask:
    """Fill what is narrower than twice so many µm."""
    return shrink(grow(mask, by_um, um), by_um, um)


def open_gaps(mask: Mask, by_um: float, um: Scale) -> Mask:
    """Drop what is narrower than twice so many µm."""
    return grow(shrink(mask, by_um, um), by_um, um)


def keep_pieces(mask: Mask, counted: Mask, least_mm2: float, um: Scale) -> Mask:
    """Connected pieces with so much area that is counted."""
    pieces, count = label_pieces(mask)
    kept = areas_mm2(pieces[counted & mask], count, um) >= least_mm2
    kept[0] = False
    found: Mask = kept[pieces]
    return found


def fill_holes(mask: Mask, most_mm2: float, um: Scale) -> Mask:
    """Fill gaps smaller than this that do not reach the border."""
    gaps, count = label_pieces(~mask)
    small = areas_mm2(gaps, count, um) < most_mm2
    small[0] = False
    for edge in (gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]):
        small[edge] = False
    filled: Mask = mask | small[gaps]
    return filled


def label_pieces(mask: Mask) -> tuple[Pieces, int]:
    """Each pixel's connected piece, 0 for none, and one more than the number of pieces."""
    pieces, count = ndimage.label(mask)
    return pieces, count + 1


def areas_mm2(pieces: Pieces, count: int, um: Scale) -> NDArray[np.float64]:
    """Area by number of the piece."""
    return np.bincount(pieces.ravel(), minlength=count).astype(np.float64) * (um[0] * um[1] / 1e6)
