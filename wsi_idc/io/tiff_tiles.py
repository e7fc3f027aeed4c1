"""Which tiles or strips of a TIFF are stored, and whether it can hold what it declares."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

_LARGEST_TILE_PX = 1 << 26
"""Pixels that a file may want decoded at once: 8192x8192, where scanners write 256x256 to 4096x4096."""

# tifffile logs each damaged tag, thousands for one file, and Python prints what nobody handles; what matters is raised.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False


@dataclass(frozen=True)
class Tiles:
    """Which tiles of a level are stored: tifffile reads the others as black.

    Attributes
    ----------
    width_px, height_px : int
        Of a tile; a level in strips has tiles of its own width.
    stored : ndarray of bool, shape (rows, columns)
    """

    width_px: int
    height_px: int
    stored: NDArray[np.bool_]

    def opacity(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """255 where the pixels of a region are stored, else 0."""
        row = np.arange(rows.start, rows.stop) // self.height_px
        column = np.arange(columns.start, columns.stop) // self.width_px
        return np.asarray(self.stored[row[:, None], column] * np.uint8(255))


def stored_tiles(pages: Sequence[Any]) -> Tiles:
    """Look at all pages of a level, which are its channels; OSError where they do not hold what they declare."""
    page = pages[0].keyframe
    width, height = page.imagewidth, min(page.rowsperstrip, page.imagelength)
    if page.is_tiled:
        width, height = page.tilewidth, page.tilelength
    check_tiles(page, width, height)
    rows, columns = -(-page.imagelength // height), -(-page.imagewidth // width)
    stored = np.ones((rows, columns), dtype=np.bool_)
    for each in pages:
        for values in (each.dataoffsets, each.databytecounts):
            stored &= np.reshape(np.array(values) > 0, (-1, rows, columns)).all(axis=0)
    return Tiles(width, height, stored)


def check_tiles(page: tifffile.TiffPage, width: int, height: int) -> None:
    """OSError where a page has fewer tiles than its size needs, or tiles that nobody can hold."""
    if not 0 < width * height <= _LARGEST_TILE_PX:
        raise OSError(f"damaged: it declares tiles of {width:,} x {height:,} px")
    needed = -(-page.imagewidth // width) * -(-page.imagelength // height)
    tags = (page.tags.get(name) for name in ("TileOffsets", "StripOffsets"))
    there = max((tag.count for tag in tags if tag is not None), default=0)
    if there < needed:
        raise OSError(
            f"damaged: it declares {page.imagewidth:,} x {page.imagelength:,} px, and holds {there:,} of the "
            f"{needed:,} tiles for that"
        )


def first_page(series: tifffile.TiffPageSeries) -> Any:
    """The page that says how a series is stored; ValueError where it is not there."""
    page = series.pages[0]
    if page is None:
        raise ValueError("an image without pages")
    return page.keyframe


def tiled_pages(path: Path) -> Sequence[tifffile.TiffPage]:
    """Pages of a TIFF that OpenSlide opens; none of other files. OSError where one cannot hold what it declares."""
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage) and page.is_tiled]
    except Exception:  # tifffile raises whatever its parts raise; OpenSlide judges the rest
        return []
    for page in pages:
        check_tiles(page, page.tilewidth, page.tilelength)
    return pages
