"""A slide image as a tiled TIFF with a pyramid: OME-TIFF, or the plain one that OpenSlide reads whole."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
import zarr
from tifffile import TiffWriter

from wsi_idc._util.files import replacing, temporary_folder, writing_thread
from wsi_idc.errors import printable
from wsi_idc.export.pyramid import (
    TILE_PX,
    OnBlock,
    Pixels,
    Size,
    checked_channels,
    counter,
    cut,
    half_size,
    halve,
    level_sizes,
)

Compression = Literal["jpeg", "deflate"]

_STRIP = (TILE_PX, 8 * TILE_PX)
"""What is read at once: a TIFF is written tile by tile, in rows of tiles."""

_CLASSIC_BYTES = 2**32 - 2**28
"""Pixels above this may need offsets of more than 32 bits: a BigTIFF."""

_QUALITY = 90
"""Of JPEG, 0-100."""

_HALF_CHROMA, _FULL_CHROMA = (2, 1), (1, 1)
"""Bio-Formats, which QuPath and Fiji read OME-TIFF with, mistakes full chroma for RGB; the network needs it."""


def _codec(compression: Compression, chroma: tuple[int, int]) -> dict[str, Any]:
    """What tifffile calls a compression."""
    if compression == "deflate":
        return {"compression": "deflate"}
    return {"compression": "jpeg", "compressionargs": {"level": _QUALITY}, "subsampling": chroma}


def write_ome_tiff(
    path: Path,
    pixels: da.Array,
    mpp: tuple[float, float],
    *,
    compression: Compression = "jpeg",
    name: str = "",
    channel: str = "",
    on_block: OnBlock | None = None,
) -> None:
    """Write a pyramid, its smaller levels as SubIFDs, atomically.

    A strip of tiles is held at a time, and the smaller levels wait in a temporary folder beside `path`, so memory does
    not grow with the slide. The same pixels make the same file.

    Parameters
    ----------
    path : Path
        Should end in ``.ome.tif`` or ``.ome.tiff``. An older file is replaced.
    pixels : dask array of uint8, shape (height, width, 3), or of float32, shape (height, width, 1)
        RGB, or one channel, NaN where nothing is known. A chunk is computed once where it lies within 512 rows and
        4096 columns counted from the corner, and once for each such strip that it reaches into otherwise.
    mpp : tuple of float
        Scale along x and y in µm/px.
    compression : {"jpeg", "deflate"}
        JPEG changes the pixels a little, in every level by itself; deflate keeps them. JPEG is of RGB only.
    name : str
        Of the image, in the OME-XML.
    channel : str
        Name of the one channel; those of RGB have none.
    on_block : callable, optional
        Called after each tile with (done, total).

    Raises
    ------
    OutputError
        If the folder cannot be written.
    OSError
        If the disk is full.
    ValueError
        If the pixels are neither RGB nor one channel, or such that cannot be compressed so.
    """
    metadata = _metadata(pixels.shape[:2], mpp, name)
    about = {"metadata": metadata}
    if checked_channels(pixels) == 1:
        if compression == "jpeg":
            raise ValueError("JPEG holds no float32: compress it with deflate.")
        metadata |= {"axes": "YX", "Channel": {"Name": printable(channel)}}
    _write(path, pixels, mpp, _codec(compression, _HALF_CHROMA), about, ome=True, on_block=on_block)


def write_tiff(
    path: Path,
    pixels: da.Array,
    mpp: tuple[float, float],
    *,
    compression: Compression = "jpeg",
    description: str = "",
    on_block: OnBlock | None = None,
) -> None:
    """Write a pyramid, each level a page of its own, atomically.

    OpenSlide calls it a generic TIFF, and finds all levels and the scale.

    Parameters
    ----------
    path : Path
        Should end in ``.tif`` or ``.tiff``. An older file is replaced.
    description : str
        Goes on one line into the TIFF's ImageDescription, which holds ASCII only: other signs become question marks.
    pixels, mpp, compression, on_block
        As in `write_ome_tiff`; JPEG is of full chroma here.
    """
    about = {"description": printable(description).encode("ascii", "replace").decode() or None}
    _write(path, pixels, mpp, _codec(compression, _FULL_CHROMA), about, ome=False, on_block=on_block)


def _write(
    path: Path,
    pixels: da.Array,
    mpp: tuple[float, float],
    codec: dict[str, Any],
    about: dict[str, Any],
    *,
    ome: bool,
    on_block: OnBlock | None,
) -> None:
    """Write a pyramid; `about` goes to the first level, and OME-TIFF has the smaller ones as SubIFDs."""
    sizes = level_sizes(pixels.shape[:2])
    channels, dtype = checked_channels(pixels), pixels.dtype
    tile_bytes = TILE_PX * TILE_PX * channels * dtype.itemsize
    total = sum(len(cut(size, (TILE_PX, TILE_PX))) for size in sizes)
    tell = counter(total, on_block)
    with (
        replacing(path) as temporary,
        temporary_folder(path) as folder,
        writing_thread() as thread,
        TiffWriter(temporary, bigtiff=total * tile_bytes > _CLASSIC_BYTES, ome=ome) as tiff,
    ):
        for k, size in enumerate(sizes):
            half = thread.submit(_create_half, folder / str(k), half_size(size), channels, dtype).result()
            tiff.write(
                _tiles(pixels, half, thread, tell),
                shape=(*size, 3) if channels == 3 else size,
                dtype=dtype,
                tile=(TILE_PX, TILE_PX),
                photometric="rgb" if channels == 3 else "minisblack",
                subfiletype=1 if k else 0,
                subifds=len(sizes) - 1 if ome and not k else 0,
                resolution=(1e4 / (mpp[0] * 2**k), 1e4 / (mpp[1] * 2**k)),
                resolutionunit="centimeter",
                software="wsi_idc",
                buffersize=8 * tile_bytes,
                **{"metadata": None, **({} if k else about)},
                **codec,
            )
            pixels = da.from_zarr(half)  # type: ignore[no-untyped-call]


def _create_half(path: Path, size: Size, channels: int, dtype: np.dtype[Any]) -> zarr.Array[Any]:
    """Make room for the next level; half a strip is a chunk."""
    return zarr.create_array(path, shape=(*size, channels), chunks=(*half_size(_STRIP), channels), dtype=dtype)


def _tiles(
    level: da.Array, half: zarr.Array[Any], thread: ThreadPoolExecutor, tell: Callable[[], None]
) -> Iterator[Pixels]:
    """Tiles of a level, row by row, each full: edges are repeated. The level at half the scale is put into `half`."""
    for rows, columns in cut(level.shape[:2], _STRIP):
        strip = level[rows, columns].compute()
        top, left = rows.start // 2, columns.start // 2
        less = halve(strip)
        where = slice(top, top + less.shape[0]), slice(left, left + less.shape[1])
        thread.submit(half.__setitem__, where, less).result()
        height, width, _ = strip.shape
        full = np.pad(strip, ((0, -height % TILE_PX), (0, -width % TILE_PX), (0, 0)), mode="edge")
        for x in range(0, width, TILE_PX):
            tell()
            yield full[:, x : x + TILE_PX]


def _metadata(size: Size, mpp: tuple[float, float], name: str) -> dict[str, Any]:
    """What tifffile puts into the OME-XML."""
    name = printable(name)
    return {
        "axes": "YXS",
        "Name": name,
        # Not tifffile's own, which tells the time and the computer.
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{name} {size} {mpp}")),
        "PhysicalSizeX": mpp[0],
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": mpp[1],
        "PhysicalSizeYUnit": "µm",
    }
