"""A slide image as OME-Zarr: a folder of small compressed files, one for each block of each level."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
import zarr

from wsi_idc._util.files import replacing_folder, writing_thread
from wsi_idc.errors import OutputError
from wsi_idc.export.pyramid import OnBlock, Pixels, Size, checked_channels, counter, cut, halve, level_sizes

Version = Literal["0.4", "0.5"]

_CHUNK_PX = 1024
"""Side of a chunk. A chunk holds one channel: viewers show each as a layer of its own."""

_BLOCK = (2 * _CHUNK_PX, 2 * _CHUNK_PX)
"""What is read at once: it makes whole chunks in its own level and in the next."""

_FORMAT: dict[Version, Literal[2, 3]] = {"0.4": 2, "0.5": 3}
"""Of Zarr itself."""

_BLOSC: dict[Version, dict[str, Any]] = {
    "0.4": {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 0, "blocksize": 0},
    "0.5": {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 1, "shuffle": "noshuffle", "typesize": 1}},
}
"""Blosc, as Java readers of Zarr 2 have no bare zstd; level 5 saves under 1 % of tissue."""

_RGB = {"Red": "FF0000", "Green": "00FF00", "Blue": "0000FF"}
_GREY = "FFFFFF"


def write_ome_zarr(
    path: Path,
    pixels: da.Array,
    mpp: tuple[float, float],
    *,
    version: Version = "0.4",
    name: str = "",
    channel: str = "",
    on_block: OnBlock | None = None,
) -> None:
    """Write a pyramid with the axes c, y, x, atomically.

    A block of 2048x2048 pixels is held at a time, so memory does not grow with the slide.

    Parameters
    ----------
    path : Path
        Folder to make; its name should end in ``.ome.zarr``. An older Zarr there is replaced.
    pixels : dask array of uint8, shape (height, width, 3), or of float32, shape (height, width, 1)
        RGB, or one channel of 0 to 1, NaN where nothing is known. A chunk is computed once where it lies within one
        block, counted from the corner, and once for each block that it reaches into otherwise.
    mpp : tuple of float
        Scale along x and y in µm/px.
    version : {"0.4", "0.5"}
        Of OME-Zarr; 0.4 is Zarr format 2, 0.5 is format 3.
    name : str
        Of the image.
    channel : str
        Name of the one channel; those of RGB have their own.
    on_block : callable, optional
        Called after each block with (done, total).

    Raises
    ------
    OutputError
        If the folder above cannot be written, or `path` is there and no Zarr.
    OSError
        If the disk is full.
    ValueError
        If the pixels are neither RGB nor one channel.
    """
    channels = _channels(checked_channels(pixels), channel)
    if path.exists() and not any((path / mark).exists() for mark in (".zgroup", "zarr.json")):
        raise OutputError(f"{path} is there and no Zarr: choose another place.")
    height, width, _ = pixels.shape
    sizes = level_sizes((height, width))
    tell = counter(sum(len(cut(size, _BLOCK)) for size in sizes), on_block)
    metadata = _metadata(len(sizes), mpp, channels, version, name)
    with replacing_folder(path) as temporary, writing_thread() as thread:
        for k, size in enumerate(sizes):
            level = thread.submit(
                _create_level, temporary / str(k), len(channels), size, pixels.dtype, version
            ).result()
            for rows, columns in cut(size, _BLOCK):
                block = pixels[rows, columns].compute()
                thread.submit(_put, level, rows.start, columns.start, block).result()
                tell()
            pixels = _halved(level)
        thread.submit(zarr.create_group, temporary, zarr_format=_FORMAT[version], attributes=metadata).result()


def _put(level: zarr.Array[Any], top: int, left: int, pixels: Pixels) -> None:
    """Write a block, its chunks side by side.

    Not in one call, as Zarr returns from that at the first chunk that fails and goes on writing the others.
    """

    def put(chunk: tuple[int, tuple[slice, slice]]) -> None:
        channel, (rows, columns) = chunk
        where = slice(top + rows.start, top + rows.stop), slice(left + columns.start, left + columns.stop)
        level[channel, *where] = pixels[rows, columns, channel]

    height, width, channels = pixels.shape
    chunks = itertools.product(range(channels), cut((height, width), (_CHUNK_PX, _CHUNK_PX)))
    with ThreadPoolExecutor() as pool:
        list(pool.map(put, chunks))


def _halved(level: zarr.Array[Any]) -> da.Array:
    """The next level, shape (h, w, channels), computed when it is read."""
    pixels = da.moveaxis(da.from_zarr(level), 0, 2)  # type: ignore[no-untyped-call]
    rows, columns = (tuple(-(-side // 2) for side in sides) for sides in pixels.chunks[:2])
    chunks = (rows, columns, pixels.chunks[2])
    halved: da.Array = da.map_blocks(halve, pixels, chunks=chunks, dtype=pixels.dtype)  # type: ignore[no-untyped-call]
    return halved


def _create_level(path: Path, channels: int, size: Size, dtype: np.dtype[Any], version: Version) -> zarr.Array[Any]:
    """Make an empty level; its chunks lie in folders, as OME-Zarr wants."""
    chunks = (1, min(size[0], _CHUNK_PX), min(size[1], _CHUNK_PX))
    named: dict[str, Any] = {"dimension_names": ("c", "y", "x")}
    if version == "0.4":
        named = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    kind: dict[str, Any] = {"zarr_format": _FORMAT[version], "compressors": _BLOSC[version], **named}
    empty = np.nan if dtype == np.float32 else 0
    return zarr.create_array(path, shape=(channels, *size), chunks=chunks, dtype=dtype, fill_value=empty, **kind)


def _channels(count: int, name: str) -> list[dict[str, Any]]:
    """How viewers should show the channels."""
    end = 255 if count == 3 else 1
    colours = _RGB if count == 3 else {name: _GREY}
    shown: dict[str, Any] = {"active": True, "window": {"min": 0, "max": end, "start": 0, "end": end}}
    return [{"label": label, "color": colour, **shown} for label, colour in colours.items()]


def _metadata(
    levels: int, mpp: tuple[float, float], channels: list[dict[str, Any]], version: Version, name: str
) -> dict[str, Any]:
    """What OME-Zarr says of the image, at the place where this version has it."""
    scales = [[1.0, mpp[1] * 2.0**k, mpp[0] * 2.0**k] for k in range(levels)]
    multiscale: dict[str, Any] = {
        "name": name,
        "type": "mean",
        "axes": [
            {"name": "c", "type": "channel"},
            {"name": "y", "type": "space", "unit": "micrometer"},
            {"name": "x", "type": "space", "unit": "micrometer"},
        ],
        "datasets": [
            {"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
            for k, scale in enumerate(scales)
        ],
    }
    model = "color" if len(channels) == 3 else "greyscale"
    omero: dict[str, Any] = {"name": name, "channels": channels, "rdefs": {"model": model}}
    if version == "0.4":
        return {"multiscales": [{"version": version, **multiscale}], "omero": {"version": version, **omero}}
    return {"ome": {"version": version, "multiscales": [multiscale], "omero": omero}}
