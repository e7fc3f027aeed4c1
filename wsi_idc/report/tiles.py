"""A raw slide as square JPEG tiles of every power of two of its pixels, as Deep Zoom has them: decoded on demand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from wsi_idc.errors import SlideError
from wsi_idc.plotting.image_ops import place_boxes
from wsi_idc.plotting.overlay import UNREADABLE_LINE_RGB, mean_grey
from wsi_idc.report.gather import Run
from wsi_idc.scoring.scores import Scores
from wsi_idc.slides.slide import Slide

TILE_PX = 256
"""Side of a tile, but for those that the slide's edge cuts."""

OVERLAP_PX = 1
"""Columns and rows of the neighbours on the right and below that a tile has as well: so no gap shows between them."""

QUALITY = 85

_SAMPLING = "444"
"""Full colour: nothing is lost a second time where the slide itself is JPEG."""


@dataclass(frozen=True)
class Shape:
    """A slide as tiles.

    Attributes
    ----------
    width, height : int
        Of level 0.
    depth : int
        At depth ``k`` the slide is reduced by ``2**k``; at this last one it fits into a tile.
    """

    width: int
    height: int

    @property
    def depth(self) -> int:
        return max(0, (-(-max(self.width, self.height) // TILE_PX) - 1).bit_length())

    def box(self, depth: int, column: int, row: int) -> tuple[int, int, int, int] | None:
        """Left, top, width and height of a tile in pixels of its depth; None where there is no such tile."""
        if not 0 <= depth <= self.depth:
            return None
        width, height = (-(-length // 2**depth) for length in (self.width, self.height))
        left, top = column * TILE_PX, row * TILE_PX
        if not (0 <= left < width and 0 <= top < height):
            return None
        side = TILE_PX + OVERLAP_PX
        return left, top, min(side, width - left), min(side, height - top)


class SlideTiles:
    """An open slide whose tiles any thread may ask for.

    Parameters
    ----------
    slide : Slide
    """

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self.shape = Shape(*slide.size_px)

    def jpeg(self, depth: int, column: int, row: int) -> bytes | None:
        """A tile; None where the slide has none there. What cannot be read is dark grey."""
        box = self.shape.box(depth, column, row)
        if box is None:
            return None
        pixels, lost = self._slide.window(*box, 2**depth)
        pixels[lost] = UNREADABLE_LINE_RGB
        return encode(pixels)

    def grey(self, scores: Scores) -> float:
        """Mean grey, 0-255, of what was scored: what a faded colour is mixed with."""
        pixels, _ = self._overview
        height, width = pixels.shape[:2]
        boxes = place_boxes(scores, (width / self.shape.width, height / self.shape.height))
        return round(mean_grey(pixels, boxes, scores), 1) if len(scores) else 255.0

    @cached_property
    def _overview(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        factor = 2**self.shape.depth
        return self._slide.window(0, 0, -(-self.shape.width // factor), -(-self.shape.height // factor), factor)


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels, shape (h, w, 3), as JPEG."""
    return bytes(
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(pixels), quality=QUALITY, colorspace="RGB", colorsubsampling=_SAMPLING
        )
    )


def slide_path(run: Run) -> Path | None:
    """The file that was scored, if it is a raw slide's and is there; a relative path counts from the working folder."""
    path = Path(run.path)
    try:
        return path if run.kind != "idc" and path.is_file() else None
    except (OSError, ValueError):
        return None


def version_of(path: Path) -> str:
    """Changes whenever the file does: part of the addresses of its tiles, which a browser may keep."""
    found = path.stat()
    return hashlib.sha256(f"{path} {found.st_size} {found.st_mtime_ns} {TILE_PX} {QUALITY}".encode()).hexdigest()[:16]


def open_tiles(path: Path, run: Run) -> SlideTiles:
    """Open the slide of a run, at the scale and with the colours that it was scored with.

    Raises
    ------
    SlideError
        Where it cannot be opened, or is not of the size that was scored.
    """
    mpp = run.mpp[0] if run.mpp[0] == run.mpp[1] else None
    slide = Slide(path, mpp=mpp, icc=run.converted_to_srgb, allow_upsampling=True, patch=run.patch, image=run.image)
    if slide.size_px != run.size_px:
        slide.close()
        raise SlideError(
            f"{path} has {slide.size_px[0]:,} x {slide.size_px[1]:,} px, and what was scored {run.size_px[0]:,} x "
            f"{run.size_px[1]:,}: score it again."
        )
    return SlideTiles(slide)
