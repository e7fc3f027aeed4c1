"""The probabilities as an image that lies over the slide in other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from wsi_idc.export.ome_tiff import write_ome_tiff
from wsi_idc.export.ome_zarr import Version, write_ome_zarr
from wsi_idc.export.pyramid import OnBlock
from wsi_idc.export.slide_image import image_name, mosaic_scale
from wsi_idc.geometry import tile_edges, tile_numbers
from wsi_idc.scoring.scores import Scores
from wsi_idc.source import PatchSource, SlideFacts

_BLOCK_PX = 1_024
"""Side of a block of the enlarged grid: a chunk of what it is written to."""


def probability_grid(scores: Scores, source: SlideFacts) -> NDArray[np.float32]:
    """Probability of each patch, ``prob``, at its place in the grid of the slide, shape (rows, columns).

    A pixel is as wide and high as a patch, and begins where a patch of the mosaic does, so nothing drifts: the
    edges of a raw slide's tiles are rounded in pixels of level 0, each from its own place in this grid. NaN where
    there is no patch or none that is readable. The pixels at the right and bottom edge may reach beyond the slide. A
    patch that lies in no such place, as no published case has one, goes to the nearest.

    Parameters
    ----------
    scores : Scores
    source : SlideFacts
        The same slide.
    """
    tile_um = source.patch.um
    columns, rows = (
        len(tile_edges(length, mpp, tile_um)) - 1 for length, mpp in zip(source.size_px, source.mpp, strict=True)
    )
    grid = np.full((rows, columns), np.nan, dtype=np.float32)
    row = tile_numbers(scores.miny, source.mpp[1], tile_um).clip(max=rows - 1)
    column = tile_numbers(scores.minx, source.mpp[0], tile_um).clip(max=columns - 1)
    known = scores.readable
    grid[row[known], column[known]] = scores.prob[known]
    return grid


def write_probability_tiff(scores: Scores, source: SlideFacts, path: Path) -> None:
    """Write the grid as OME-TIFF, float32: see `probability_grid`.

    Its corner is the mosaic's, and a pixel is a patch: enlarged without interpolation it covers the mosaic. QuPath and
    Fiji go by that. OpenSlide reads no float32.

    Parameters
    ----------
    scores : Scores
    source : SlideFacts
        The same slide.
    path : Path
        Should end in ``.ome.tif``. An older file is replaced.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    OSError
        If the disk is full.
    """
    grid: da.Array = da.from_array(probability_grid(scores, source)[..., None])  # type: ignore[no-untyped-call]
    scale = source.patch.um, source.patch.um
    write_ome_tiff(path, grid, scale, compression="deflate", name=_name(source, scores), channel=_channel(scores))


def write_probability_zarr(
    scores: Scores, source: PatchSource, path: Path, *, version: Version = "0.4", on_block: OnBlock | None = None
) -> None:
    """Write the grid, enlarged to the scale and size of the mosaic, as OME-Zarr, float32.

    Enlarged, as napari puts the centre of every image's first pixel at the same place: one pixel a patch would lie
    nearly half a patch off, and napari-ome-zarr 0.10 leaves out the translation that OME-Zarr has against it. What
    repeats costs next to nothing on the disk. A block is made at a time, so memory does not grow with the slide.

    Parameters
    ----------
    scores : Scores
    source : PatchSource
        The same slide.
    path : Path
        Folder to make; its name should end in ``.ome.zarr``. An older Zarr there is replaced.
    version, on_block
        As in `write_ome_zarr`.

    Raises
    ------
    OutputError
        If the folder above cannot be written, or `path` is there and no Zarr.
    OSError
        If the disk is full.
    """
    pixels = _enlarged(probability_grid(scores, source), source.mosaic_px, source.patch.size_px)
    about = {"name": _name(source, scores), "channel": _channel(scores)}
    write_ome_zarr(path, pixels, mosaic_scale(source), version=version, on_block=on_block, **about)


def _enlarged(grid: NDArray[np.float32], size_px: tuple[int, int], times: int) -> da.Array:
    """Every pixel so many times as wide and high, cut to a width and height, shape (height, width, 1)."""
    width, height = size_px

    def repeat(block_info: Any = None) -> NDArray[np.float32]:
        sides = block_info[None]["array-location"][:2]
        rows, columns = (np.arange(*side) // times for side in sides)
        block: NDArray[np.float32] = grid[np.ix_(rows, columns)][..., None]
        return block

    chunks = (*da.core.normalize_chunks((_BLOCK_PX, _BLOCK_PX), (height, width)), (1,))  # type: ignore[no-untyped-call]
    pixels: da.Array = da.map_blocks(  # type: ignore[no-untyped-call]
        repeat, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)
    )
    return pixels


def _name(source: SlideFacts, scores: Scores) -> str:
    return f"{image_name(source)} probability of {scores.classes.title}"


def _channel(scores: Scores) -> str:
    return scores.prob_column
