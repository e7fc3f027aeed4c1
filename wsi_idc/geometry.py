"""Boxes, grids and scale: numbers only, no pixels and no files."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

PATCH_PX = 50
"""Edge of a patch in pixels."""

PATCH_MPP = 4.0
"""Scale at which patches are scored, in µm/px. For the IDC set it is nominal: 0.25 µm/px reduced 16:1."""

INPUT_PX = 48
"""Edge of what the network sees: the centre of a patch."""

MARGIN_PX = (PATCH_PX - INPUT_PX) // 2
"""What is cut from each side of a patch to leave that centre."""

PATCH_UM = PATCH_PX * PATCH_MPP
"""Edge of a patch, and of a tile of a slide, in µm."""

MIN_MPP, MAX_MPP = 0.05, 100.0
"""Scales outside are no microscope's."""

COARSEST_MPP = 4.4
"""A slide coarser than this holds too little detail for patches of 4 µm/px."""


LARGEST_MM = (150.0, 100.0)
"""Long and short side that no slide exceeds: the largest glass that sections of a breast are cut on has 100 x 75 mm.

What is held of a whole slide, its thumbnail above all, is bounded by this.
"""


def plausible_mpp(mpp: float) -> bool:
    """Whether a scale in µm/px can be one of a slide."""
    return math.isfinite(mpp) and MIN_MPP <= mpp <= MAX_MPP


def plausible_size(size_px: tuple[int, int], mpp: tuple[float, float]) -> bool:
    """Whether a slide of so many pixels at this scale fits on glass."""
    short, long = sorted(length * scale / 1000 for length, scale in zip(size_px, mpp, strict=True))
    return long <= LARGEST_MM[0] and short <= LARGEST_MM[1]


def tile_edges(length_px: int, mpp: float) -> list[int]:
    """Edges of the tiles along one side of a slide, in pixels of level 0, from 0 to `length_px`.

    Each is rounded from its own position, so that nothing adds up; the last tile is what is left.

    Parameters
    ----------
    length_px : int
        At least 1.
    mpp : float
        Scale along this side, in µm/px.
    """
    pitch = PATCH_UM / mpp
    inner = (math.floor(i * pitch + 0.5) for i in range(math.ceil(length_px / pitch)))
    return [*(edge for edge in inner if edge < length_px), length_px]


def tile_numbers(edge_px: NDArray[np.int64], mpp: float) -> NDArray[np.int64]:
    """Number of the tile, counted from 0, that begins at each edge that `tile_edges` gives for this scale.

    Where no tile begins, the one that begins nearest.
    """
    numbers: NDArray[np.int64] = np.floor(edge_px * (mpp / PATCH_UM) + 0.5).astype(np.int64)
    return numbers
