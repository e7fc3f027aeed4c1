"""Reading the JPEG tiles of a slide, at full size and reduced, and with OpenSlide."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import openslide
import tifffile

from benchmarks.rows import Scale
from wsi_idc.io.openslide_reader import OpenSlideReader
from wsi_idc.phantom import paint_slide
from wsi_idc.phantom.magnify import magnify

TILE_PX, SIDE_PX, REDUCTION = 256, 8_192, 4
"""Side of a tile and of the slide, and pixels of the slide to one of what is read reduced."""


def read_tiles(scale: Scale) -> dict[str, Sequence[float]]:
    """Thousands of tiles a second and core at full size; and how many times those of OpenSlide, reduced by 4."""
    path = _slide(scale.folder / "tiles.tif")
    tiles = (SIDE_PX // TILE_PX) ** 2
    full, ratio = [], []
    for _ in range(2 * scale.runs):
        full.append(tiles / _processor_seconds(lambda: _read(path, 1)) / 1_000)
        ratio.append(_processor_seconds(lambda: _read_and_average(path)) / _processor_seconds(lambda: _read(path, 4)))
    return {"read-tiles": full, "reduced by 4, over OpenSlide": ratio}


def _slide(path: Path) -> Path:
    """A slide as scanners write them: JPEG of quality 80, chroma at half width."""
    if not path.is_file():
        pixels = magnify(paint_slide("90001", 0, SIDE_PX // 8, SIDE_PX // 8).pixels, 8, 0).compute()
        tifffile.imwrite(
            path,
            pixels,
            tile=(TILE_PX, TILE_PX),
            photometric="rgb",
            compression="jpeg",
            compressionargs={"level": 80},
            subsampling=(2, 2),
            metadata=None,
        )
    return path


def _read(path: Path, factor: int) -> None:
    """Read all of the slide, a row of tiles at a time."""
    across = np.arange(0, SIDE_PX + 1, factor, dtype=np.float64)
    with OpenSlideReader(path) as reader:
        for top in range(0, SIDE_PX, TILE_PX):
            reader.read_scaled(across, np.arange(top, top + TILE_PX + 1, factor, dtype=np.float64))


def _read_and_average(path: Path) -> None:
    with openslide.OpenSlide(path) as slide:
        for top in range(0, SIDE_PX, TILE_PX):
            region = np.asarray(slide.read_region((0, top), 0, (SIDE_PX, TILE_PX)))[..., :3]
            region.reshape(TILE_PX // REDUCTION, REDUCTION, -1, REDUCTION, 3).mean(axis=(1, 3))


def _processor_seconds(function: Callable[[], object]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began
