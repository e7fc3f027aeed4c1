"""The slide image as the report shows it: where it lies under the patches, thumbnails, and pictures in a page."""

from __future__ import annotations

import base64
import io
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_idc.plotting.image_ops import THUMBNAIL_CHUNK, Boxes, fit_size, place_boxes, reduce_image
from wsi_idc.plotting.mosaic import MAX_SIDE_PX
from wsi_idc.plotting.overlay import mean_grey, paint_probability
from wsi_idc.plotting.slide_pictures import THUMBNAIL_PX
from wsi_idc.plotting.style import Style
from wsi_idc.plotting.watermark import stamp_phantom
from wsi_idc.report.gather import Run
from wsi_idc.scoring.file_names import MOSAIC_FILE
from wsi_idc.scoring.scores import Scores

EMBEDDED_SIDE_PX = 4_096
"""Longest side of a slide image that is mailed."""

UNREADABLE_MOSAIC = "Its mosaic.png cannot be read: draw the slide again with wsi-idc heatmap."
OTHER_MOSAIC = "Its mosaic.png is not of the slide's size, so it is not shown: draw it again with --restart."

_THUMB_QUALITY, _EMBEDDED_QUALITY = 72, 80
_MIME = "image/webp"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""Of Pillow, for a picture that is damaged or missing."""


@dataclass(frozen=True)
class TissueImage:
    """``mosaic.png`` of a slide and where it lies.

    Attributes
    ----------
    path : Path
    width, height : int
        In its own pixels.
    factor : int
        Level-0 pixels per pixel, along either side.
    """

    path: Path
    width: int
    height: int
    factor: int


@dataclass(frozen=True)
class Thumbnails:
    """Small pictures of a slide as WebP, each None where there is nothing to show.

    Attributes
    ----------
    tissue, heat : bytes or None
        The plain slide; and the probability over it, or over white where the slide was only scored.
    width, height : int
        Of both, in pixels; 0 where there is none.
    grey : float
        Mean grey (0-255) of the tissue that was scored, which a colour bar needs.
    """

    tissue: bytes | None = None
    heat: bytes | None = None
    width: int = 0
    height: int = 0
    grey: float = 255.0


def find_tissue(folder: Path, run: Run) -> tuple[TissueImage | None, str]:
    """The slide image in a folder, or None and the reason in a sentence."""
    path = folder / MOSAIC_FILE
    try:
        with Image.open(path) as image:
            width, height = image.size
    except FileNotFoundError:
        return None, "This slide was only scored: draw it with wsi-idc heatmap to see its tissue."
    except _UNREADABLE:
        return None, UNREADABLE_MOSAIC
    factor = mosaic_factor((width, height), run)
    if factor is None:
        return None, OTHER_MOSAIC
    return TissueImage(path, width, height, factor), ""


def mosaic_factor(size_px: tuple[int, int], run: Run) -> int | None:
    """Level-0 pixels per pixel of a mosaic of this size; None where it is not this slide's.

    `rebuild_mosaic` takes the smallest whole factor, from that of the patches on, at which the slide fits into
    `MAX_SIDE_PX`.
    """
    finest = max(1, int(run.patch.mpp / max(run.mpp) + 1e-9))
    factor = max(finest, -(-max(run.size_px) // MAX_SIDE_PX))
    return factor if tuple(-(-side // factor) for side in run.size_px) == size_px else None


def make_thumbnails(tissue: TissueImage | None, scores: Scores, phantom: bool) -> Thumbnails:
    """Reduce the slide image and lay the probability over it; without an image, over white.

    Parameters
    ----------
    tissue : TissueImage or None
        One that cannot be decoded counts as none.
    scores : Scores
    phantom : bool
        Whether to write so into the pictures.
    """
    pixels = None if tissue is None else _read_thumbnail(tissue)
    if pixels is not None and tissue is not None:
        height, width = pixels.shape[:2]
        across, down = width / (tissue.width * tissue.factor), height / (tissue.height * tissue.factor)
    else:
        ends = scores.minx + scores.width, scores.miny + scores.height
        extent = int(ends[0].max(initial=1)), int(ends[1].max(initial=1))
        if not len(scores):
            return Thumbnails()
        width, height = fit_size(extent, THUMBNAIL_PX)
        across, down = width / extent[0], height / extent[1]
    boxes = place_boxes(scores, (across, down))
    ground = np.full((height, width, 3), 255, dtype=np.uint8) if pixels is None else pixels
    # Without outlines, which would hide patches of a few pixels: nothing reaches this threshold.
    heat = paint_probability(ground, boxes, scores.with_threshold(math.inf), Style()) if len(scores) else None
    return Thumbnails(
        tissue=None if pixels is None else _encode(pixels, phantom),
        heat=None if heat is None else _encode(heat, phantom),
        width=width,
        height=height,
        grey=255.0 if pixels is None else _grey(pixels, boxes, scores),
    )


def _grey(pixels: NDArray[np.uint8], boxes: Boxes, scores: Scores) -> float:
    return round(mean_grey(pixels, boxes, scores), 1)


def _read_thumbnail(tissue: TissueImage) -> NDArray[np.uint8] | None:
    """The thumbnail in a ``mosaic.png``, or where it has none, the mosaic reduced."""
    size = fit_size((tissue.width, tissue.height), THUMBNAIL_PX)
    with suppress(*_UNREADABLE), Image.open(tissue.path) as image:
        held = dict(getattr(image, "private_chunks", ())).get(THUMBNAIL_CHUNK)
        if held is not None and _ends_whole(tissue.path):
            with Image.open(io.BytesIO(held)) as thumbnail:
                if thumbnail.size == size:
                    return np.array(thumbnail.convert("RGB"))
    return _read_reduced(tissue.path, THUMBNAIL_PX)


def _ends_whole(path: Path) -> bool:
    """Whether a PNG was not cut off, which its thumbnail does not show."""
    with path.open("rb") as file:
        file.seek(-len(_PNG_END), os.SEEK_END)
        return file.read() == _PNG_END


def _read_reduced(path: Path, room: tuple[int, int]) -> NDArray[np.uint8] | None:
    with suppress(*_UNREADABLE), Image.open(path) as image:
        return reduce_image(image, room)
    return None


def _encode(pixels: NDArray[np.uint8], phantom: bool) -> bytes:
    return _webp(stamp_phantom(pixels) if phantom else pixels, _THUMB_QUALITY)


def _webp(pixels: NDArray[np.uint8], quality: int) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, format="WEBP", quality=quality, method=2)
        return file.getvalue()


def embed_tissue(tissue: TissueImage) -> str | None:
    """The slide image as a data URI, reduced to `EMBEDDED_SIDE_PX`; None where it cannot be decoded."""
    pixels = _read_reduced(tissue.path, (EMBEDDED_SIDE_PX, EMBEDDED_SIDE_PX))
    return None if pixels is None else data_uri(_webp(pixels, _EMBEDDED_QUALITY))


def data_uri(image: bytes) -> str:
    """A WebP in a form that stands in a page."""
    return f"data:{_MIME};base64,{base64.b64encode(image).decode()}"
