"""Reading the JPEG tiles of a slide, at full size and reduced, and with OpenSlide."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import tifffile

from benchmarks.rows import Scale
from wsi_idc.io.opening import open_reader
from wsi_idc.phantom import paint_slide
from wsi_idc.phantom.magnify import magnify

TILE_PX, SIDE_PX, OTHER_SIDE_PX = 256, 8_192, 4_096
"""Side of a tile and of the slides."""


BY_2, BY_4, BY_8 = (f"reduced by {factor}, over OpenSlide" for factor in (2, 4, 8))
JPEG_2000, UNCOMPRESSED = "JPEG 2000, thousands", "uncompressed, thousands"
MORE = (BY_2, BY_8, JPEG_2000, UNCOMPRESSED)


def read_tiles(scale: Scale) -> dict[str, Sequence[float]]:
    """Thousands of tiles a second and core at full size; and how many times those of OpenSlide, reduced."""
    path = _slide(scale.folder / "tiles.tif")
    found: dict[str, list[float]] = {name: [] for name in ("read-tiles", BY_4, *MORE)}
    others = {JPEG_2000: _other_slide(scale.folder, "jpeg2000"), UNCOMPRESSED: _other_slide(scale.folder, None)}
    for _ in range(2 * scale.runs):
        found["read-tiles"].append(_thousands(path, SIDE_PX))
        for name, factor in ((BY_2, 2), (BY_4, 4), (BY_8, 8)):
            theirs = _processor_seconds(lambda factor=factor: _read_and_average(path, factor))
            found[name].append(theirs / _processor_seconds(lambda factor=factor: _read(path, SIDE_PX, factor)))
        for name, other in others.items():
            found[name].append(_thousands(other, OTHER_SIDE_PX))
    return dict(found)


def _slide(path: Path) -> Path:
    """A slide as scanners write them: JPEG of quality 80, chroma at half width."""
    if not path.is_file():
        jpeg = {"compression": "jpeg", "compressionargs": {"level": 80}, "subsampling": (2, 2)}
        _write(path, SIDE_PX, metadata=None, **jpeg)
    return path


def _other_slide(folder: Path, compression: str | None) -> Path:
    """An OME-TIFF, which OpenSlide does not read."""
    path = folder / f"{compression}.ome.tif"
    if not path.is_file():
        _write(path, OTHER_SIDE_PX, compression=compression, ome=True)
    return path


def _write(path: Path, side_px: int, **options: Any) -> None:
    pixels = magnify(paint_slide("90001", 0, side_px // 8, side_px // 8).pixels, 8, 0).compute()
    tifffile.imwrite(path, pixels, tile=(TILE_PX, TILE_PX), photometric="rgb", **options)


def _thousands(path: Path, side_px: int) -> float:
    """Thousands of tiles per second and core."""
    return (side_px // TILE_PX) ** 2 / _processor_seconds(lambda: _read(path, side_px, 1)) / 1_000


def _read(path: Path, side_px: int, factor: int) -> None:
    """Read all of the slide, a row of tiles at a time."""
    across = np.arange(0, side_px + 1, factor, dtype=np.float64)
    with open_reader(path) as reader:
        for top in range(0, side_px, TILE_PX):
            reader.read_scaled(across, np.arange(top, top + TILE_PX + 1, factor, dtype=np.float64))


def _read_and_average(path: Path, factor: int) -> None:
    with openslide.OpenSlide(path) as slide:
        for top in range(0, SIDE_PX, TILE_PX):
            region = slide.read_region((0, top), 0, (SIDE_PX, TILE_PX)).convert("RGB")
            np.asarray(region.reduce(factor))


def _processor_seconds(function: Callable[[], object]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began
