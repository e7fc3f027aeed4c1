"""The whole slide at the scale of its patches as a file for other programs, block by block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from wsi_idc.errors import OptionError
from wsi_idc.export.ome_tiff import Compression, write_ome_tiff
from wsi_idc.export.ome_zarr import Version, write_ome_zarr
from wsi_idc.export.pyramid import OnBlock
from wsi_idc.naming import PHANTOM_MARK
from wsi_idc.plotting.image_ops import resize
from wsi_idc.plotting.mosaic import MAX_SIDE_PX
from wsi_idc.plotting.slide_pictures import save_picture
from wsi_idc.scoring.file_names import MOSAIC_FILE, MOSAIC_TIFF, MOSAIC_ZARR
from wsi_idc.source import PatchSource, SlideFacts

_BLOCK_PX = (512, 2_048)
"""Height and width of what is read at once: it lies within one block of either writer."""


def mosaic_array(source: PatchSource, mpp: float | None = None) -> da.Array:
    """The slide as one image, read where it is computed.

    Parameters
    ----------
    source : PatchSource
    mpp : float, optional
        Scale of the image in µm/px, not finer than that of the patches, which it is by default. At another one the
        whole slide is held at the scale of its patches first.

    Returns
    -------
    dask array of uint8, shape (height, width, 3)

    Raises
    ------
    OptionError
        Where `mpp` is finer than the patches.
    """
    width, height = source.mosaic_px
    if mpp is not None and mpp != source.patch.mpp:
        if mpp < source.patch.mpp:
            raise OptionError(
                f"The patches of {source.slide} have {source.patch.mpp:g} µm/px: a mosaic cannot be finer."
            )
        ratio = source.patch.mpp / mpp
        whole = source.region(0, 0, width, height)
        small = resize(whole, max(1, round(width * ratio)), max(1, round(height * ratio)))
        array: da.Array = da.from_array(small)  # type: ignore[no-untyped-call]
        return array

    def read(block_info: Any = None) -> NDArray[np.uint8]:
        (top, bottom), (left, right), _ = block_info[None]["array-location"]
        return source.region(left, top, right - left, bottom - top)

    rows, columns = (_cut(length, step) for length, step in zip((height, width), _BLOCK_PX, strict=True))
    blocks: da.Array = da.map_blocks(
        read, chunks=(rows, columns, (3,)), dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )  # type: ignore[no-untyped-call]
    return blocks


def _cut(length: int, step: int) -> tuple[int, ...]:
    return tuple(min(step, length - start) for start in range(0, length, step))


def write_mosaic_png(source: PatchSource, folder: str | Path, mpp: float) -> Path:
    """Write ``mosaic.png`` at exactly this scale in µm/px: see `mosaic_array`."""
    pixels = mosaic_array(source, mpp)
    if max(pixels.shape) > MAX_SIDE_PX:
        height, width = pixels.shape[:2]
        raise OptionError(
            f"At {mpp:g} µm/px {source.slide} has {width:,} x {height:,} pixels, more than {MAX_SIDE_PX:,} a side: "
            "choose --format ome-tiff, or a coarser --mpp-out."
        )
    return save_picture(Path(folder) / MOSAIC_FILE, pixels.compute(), source.kind)  # type: ignore[no-untyped-call]


def write_mosaic_tiff(
    source: PatchSource,
    folder: str | Path,
    mpp: float | None = None,
    *,
    compression: Compression = "jpeg",
    on_block: OnBlock | None = None,
) -> Path:
    """Write ``mosaic.ome.tif`` at this scale in µm/px: see `mosaic_array` and `write_ome_tiff`."""
    path = Path(folder) / MOSAIC_TIFF
    write_ome_tiff(
        path,
        mosaic_array(source, mpp),
        mosaic_scale(source, mpp),
        compression=compression,
        name=image_name(source),
        on_block=on_block,
    )
    return path


def write_mosaic_zarr(
    source: PatchSource,
    folder: str | Path,
    mpp: float | None = None,
    *,
    version: Version = "0.4",
    on_block: OnBlock | None = None,
) -> Path:
    """Write ``mosaic.ome.zarr`` at this scale in µm/px: see `mosaic_array` and `write_ome_zarr`."""
    path = Path(folder) / MOSAIC_ZARR
    write_ome_zarr(
        path,
        mosaic_array(source, mpp),
        mosaic_scale(source, mpp),
        version=version,
        name=image_name(source),
        on_block=on_block,
    )
    return path


def mosaic_scale(source: SlideFacts, mpp: float | None = None) -> tuple[float, float]:
    """Scale of the mosaic along x and y, in µm/px; by default that of the patches."""
    return (mpp or source.patch.mpp,) * 2


def image_name(source: SlideFacts) -> str:
    """Of the image; a phantom's says that it is one, to people and to `Slide`."""
    return f"{PHANTOM_MARK} case {source.slide}" if source.kind == "phantom" else source.slide
