"""The good files that are damaged: a phantom of 4x3 tiles at 1 µm/px, in each of the formats that slides come in.

A tile of the file is 400x400 px, four of ours: where one cannot be read, it is known which patches that costs.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsi_idc.phantom import paint_slide
from wsi_idc.phantom.magnify import magnify

MPP = 2.0
SIZE_PX = (800, 600)
PATCHES = 12
FILE_TILE_PX = 400

OF_FIRST_TILE = ((0, 0), (200, 0), (0, 200), (200, 200))
"""The patches that lie in the file's first tile."""

APERIO = (
    "Aperio Image Library v11.2.1 \r\n800x600 [0,0 800x600] (400x400) JPEG/RGB Q=90"
    "|AppMag = 20|MPP = 2.0000|Filename = phantom|Spare = ----------------"
)
"""What an Aperio scanner writes into ImageDescription; numbers are changed in place."""


@cache
def pixels() -> NDArray[np.uint8]:
    """The tissue, shape (600, 800, 3)."""
    painted = paint_slide("90001", 0, SIZE_PX[0] // 4, SIZE_PX[1] // 4).pixels
    return np.asarray(magnify(painted, 4, 0))


@cache
def generic() -> bytes:
    """A TIFF of no vendor, without loss, with the scale in the resolution tags."""
    return _tiff({"resolution": (1e4 / MPP, 1e4 / MPP), "resolutionunit": "CENTIMETER"}, "deflate")


@cache
def aperio() -> bytes:
    """An SVS of JPEG tiles, with the scale in words."""
    return _tiff({"description": APERIO}, "jpeg")


@cache
def ome() -> bytes:
    """An OME-TIFF of one level, which is read by tifffile."""
    scale = {f"PhysicalSize{axis}": MPP for axis in "XY"} | {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    file = io.BytesIO()
    with tifffile.TiffWriter(file, ome=True) as tiff:
        tile = (FILE_TILE_PX, FILE_TILE_PX)
        metadata = {"axes": "YXS", **scale}
        tiff.write(pixels(), tile=tile, photometric="rgb", compression="deflate", metadata=metadata)
    return file.getvalue()


def _tiff(about: dict[str, Any], compression: str) -> bytes:
    """Two levels, each a page."""
    file = io.BytesIO()
    half = pixels().reshape(300, 2, 400, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    with tifffile.TiffWriter(file) as tiff:
        for k, level in enumerate((pixels(), half)):
            told = dict(about)
            if "resolution" in told:
                told["resolution"] = tuple(value / 2**k for value in told["resolution"])
            tiff.write(
                level,
                tile=(FILE_TILE_PX, FILE_TILE_PX),
                photometric="rgb",
                compression=compression,
                subfiletype=int(k > 0),
                metadata=None,
                **told,
            )
    return file.getvalue()
