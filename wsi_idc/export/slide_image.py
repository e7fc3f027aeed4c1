"""The whole slide at the scale of its patches as a file for other programs, block by block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from wsi_idc.export.ome_tiff import Compression, write_ome_tiff
from wsi_idc.export.ome_zarr import Version, write_ome_zarr
from wsi_idc.export.pyramid import OnBlock
from wsi_idc.naming import PHANTOM_MARK
from wsi_idc.scoring.results import MOSAIC_TIFF, MOSAIC_ZARR
from wsi_idc.source import PatchSource, SlideFacts

_BLOCK_PX = (512, 2_048)
"""Height and width of what is read at once: it lies within one block of either writer."""


def mosaic_array(source: PatchSource) -> da.Array:
    """The slide at the scale of its patches, shape (height, width, 3) of uint8, read where it is computed."""
    width, height = source.mosaic_px

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


def write_mosaic_tiff(
    source: PatchSource, folder: Path, *, compression: Compression = "jpeg", on_block: OnBlock | None = None
) -> Path:
    """Write ``mosaic.ome.tif``: see `write_ome_tiff`."""
    path = folder / MOSAIC_TIFF
    write_ome_tiff(
        path,
        mosaic_array(source),
        mosaic_scale(source),
        compression=compression,
        name=image_name(source),
        on_block=on_block,
    )
    return path


def write_mosaic_zarr(
    source: PatchSource, folder: Path, *, version: Version = "0.4", on_block: OnBlock | None = None
) -> Path:
    """Write ``mosaic.ome.zarr``: see `write_ome_zarr`."""
    path = folder / MOSAIC_ZARR
    write_ome_zarr(
        path, mosaic_array(source), mosaic_scale(source), version=version, name=image_name(source), on_block=on_block
    )
    return path


def mosaic_scale(source: SlideFacts) -> tuple[float, float]:
    """Scale of the mosaic along x and y, in µm/px."""
    return source.patch.mpp, source.patch.mpp


def image_name(source: SlideFacts) -> str:
    """Of the image; a phantom's says that it is one, to people and to `Slide`."""
    return f"{PHANTOM_MARK} case {source.slide}" if source.kind == "phantom" else source.slide
