"""Boxes, grids and scale: numbers only, no pixels and no files."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_idc.errors import OptionError


@dataclass(frozen=True)
class PatchSpec:
    """Size and scale of the square patches that a model takes.

    Attributes
    ----------
    size_px : int
        Edge in pixels.
    mpp : float
        Scale in µm/px.
    """

    size_px: int
    mpp: float

    @property
    def um(self) -> float:
        """Edge in µm: that of a tile of a raw slide."""
        return self.size_px * self.mpp

    @property
    def coarsest_mpp(self) -> float:
        """A slide that is coarser at its finest, in µm/px, holds too little detail for these patches."""
        return 1.1 * self.mpp


MAX_OVERLAP = 0.75
"""Share of a tile that the next may overlap; at this, sixteen times as many tiles are scored as without."""


def step_of(tile: PatchSpec, overlap: float = 0.0, step_um: float | None = None) -> PatchSpec:
    """The cell of a grid on which tiles follow each other by less than their width.

    Parameters
    ----------
    tile : PatchSpec
    overlap : float
        Share of a tile, 0 to `MAX_OVERLAP`, that it has in common with the next.
    step_um : float, optional
        From tile to tile in µm, in place of `overlap`.

    Returns
    -------
    PatchSpec
        As wide as the step, to a whole pixel at the scale of the tiles; `tile` itself where they do not overlap.

    Raises
    ------
    OptionError
        Where the step is not between a quarter of a tile and a whole one, or both are given.
    """
    if step_um is not None and overlap:
        raise OptionError("--overlap and --step say the same: give one of them.")
    if not 0 <= overlap <= MAX_OVERLAP:
        raise OptionError(f"An overlap of {overlap:g} cannot be used: choose a share from 0 to {MAX_OVERLAP:g}.")
    least = (1 - MAX_OVERLAP) * tile.um
    if step_um is not None and not least <= step_um <= tile.um:
        raise OptionError(
            f"A step of {step_um:g} µm cannot be used with tiles of {tile.um:g} µm: choose {least:g} to {tile.um:g}."
        )
    step_px = tile.size_px * (1 - overlap) if step_um is None else step_um / tile.mpp
    return PatchSpec(max(1, math.floor(step_px + 0.5)), tile.mpp)


IDC_PATCH = PatchSpec(size_px=50, mpp=8.0)
"""Patches of the IDC set. The scale is nominal, as no file tells it: docs/model.md gives the evidence."""

PATCH_PX = IDC_PATCH.size_px
"""Edge of a patch of the IDC set in pixels."""

INPUT_PX = 48
"""Edge of what CancerNet sees: the centre of a patch."""

MARGIN_PX = (PATCH_PX - INPUT_PX) // 2
"""What is cut from each side of a patch to leave that centre."""

MIN_MPP, MAX_MPP = 0.05, 100.0
"""Scales outside are no microscope's."""

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


def tile_edges(length_px: int, mpp: float, tile_um: float) -> list[int]:
    """Edges of the tiles along one side of a slide, in pixels of level 0, from 0 to `length_px`.

    Each is rounded from its own position, so that nothing adds up; the last tile is what is left.

    Parameters
    ----------
    length_px : int
        At least 1.
    mpp : float
        Scale along this side, in µm/px.
    tile_um : float
        Edge of a tile, in µm.
    """
    pitch = tile_um / mpp
    inner = (math.floor(i * pitch + 0.5) for i in range(math.ceil(length_px / pitch)))
    return [*(edge for edge in inner if edge < length_px), length_px]


def tile_numbers(edge_px: NDArray[np.int64], mpp: float, tile_um: float) -> NDArray[np.int64]:
    """Number of the tile, counted from 0, that begins at each edge that `tile_edges` gives for this scale and size.

    Where no tile begins, the one that begins nearest.
    """
    numbers: NDArray[np.int64] = np.floor(edge_px * (mpp / tile_um) + 0.5).astype(np.int64)
    return numbers
