"""Where the tiles of a slide lie: numbers only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.cache import cached_property
from wsi_idc.geometry import PatchSpec, tile_edges

LEAST_ON_SLIDE = 0.1
"""Share of a whole tile that must lie on the slide, and within what was scanned of it, for it to be a tile at all."""


@dataclass(frozen=True)
class TileGrid:
    """The tiles of a slide, whether they are scored or not.

    Attributes
    ----------
    size_px : tuple of int
        Width and height of level 0.
    mpp : tuple of float
        Scale of level 0 along x and y, in µm/px.
    patch, tile : PatchSpec
        Of the grid's cells, and of what is read of each: larger where tiles overlap.
    """

    size_px: tuple[int, int]
    mpp: tuple[float, float]
    patch: PatchSpec
    tile: PatchSpec

    @cached_property
    def edges(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Edges of the columns and of the rows in pixels of level 0."""
        x, y = (
            np.array(tile_edges(length, mpp, self.patch.um)) for length, mpp in zip(self.size_px, self.mpp, strict=True)
        )
        return x, y

    def on_slide(self, bounds: tuple[int, int, int, int] | None) -> NDArray[np.bool_]:
        """Which tiles lie on the slide, and within what was scanned of it, shape (rows, columns)."""
        x, y, width, height = bounds or (0, 0, *self.size_px)
        across, down = self.edges
        wide, high = self.patch.um / self.mpp[0], self.patch.um / self.mpp[1]
        share = np.outer(np.diff(down.clip(y, y + height)) / high, np.diff(across.clip(x, x + width)) / wide)
        return np.asarray(share >= LEAST_ON_SLIDE)

    def boxes(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Left, top, width and height in pixels of level 0 of cells ``(n, 2)`` of row and column, shape (n, 4)."""
        across, down = self.edges
        row, column = cells.T
        left, top, right, bottom = across[column], down[row], across[column + 1], down[row + 1]
        return np.column_stack([left, top, right - left, bottom - top])

    def places(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Left, top, width and height in pixels at the scale of the patches, as `boxes`."""
        places = [(*self._cell_px(0, i), *self._cell_px(1, j)) for j, i in cells.tolist()]
        left, right, top, bottom = np.array(places, dtype=np.int64).reshape(-1, 4).T
        return np.column_stack([left, top, right - left, bottom - top])

    @property
    def mosaic_px(self) -> tuple[int, int]:
        """Width and height of the slide at the scale of the patches."""
        across, down = self.edges
        return self._cell_px(0, len(across) - 2)[1], self._cell_px(1, len(down) - 2)[1]

    def pixel_edges(self, row: int, first: int, stop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Edges of the pixels, at the scale of the patches, of some tiles of a row, in pixels of level 0."""
        left, right = self.tile_px(0, first)[0], self.tile_px(0, stop - 1)[1]
        top, bottom = self.tile_px(1, row)
        across, down = np.arange(left, right + 1, dtype=np.float64), np.arange(top, bottom + 1, dtype=np.float64)
        return across * (self.patch.mpp / self.mpp[0]), down * (self.patch.mpp / self.mpp[1])

    def tile_px(self, axis: int, index: int) -> tuple[int, int]:
        """First and last edge of what is read of a cell along x (0) or y (1), at the scale of the patches.

        Where tiles overlap, it is the tile around the cell, kept on the slide.
        """
        if self.patch == self.tile:
            return self._cell_px(axis, index)
        size, step = self.tile.size_px, self.patch.size_px
        length = max(1, int(self.size_px[axis] * self.mpp[axis] / self.patch.mpp))
        first = min(max(index * step - (size - step) // 2, 0), max(length - size, 0))
        return first, min(first + size, length)

    def _cell_px(self, axis: int, index: int) -> tuple[int, int]:
        """First and last edge of a cell at the patches' scale along x (0) or y (1), from the slide's corner."""
        edges, size = self.edges[axis], self.patch.size_px
        length = float(edges[index + 1] - edges[index]) * self.mpp[axis] / self.patch.mpp
        return index * size, index * size + min(size, max(1, round(length)))
