"""The overlay of the whole slide at the scale of its patches, for viewers of slides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from wsi_idc.export.ome_tiff import Compression, write_ome_tiff
from wsi_idc.export.pyramid import OnBlock
from wsi_idc.export.slide_image import image_name, mosaic_array, mosaic_scale
from wsi_idc.geometry import PatchSpec, tile_numbers
from wsi_idc.plotting.image_ops import Boxes
from wsi_idc.plotting.overlay import paint_probability
from wsi_idc.plotting.style import Style
from wsi_idc.plotting.watermark import phantom_label
from wsi_idc.scoring.scores import Scores
from wsi_idc.source import PatchSource

_LINES_A_PATCH = 10
"""Edge of a patch in widths of the contour, as in ``overlay.png``."""

_REACH_LINES = 2
"""How far from a pixel a patch may lie and still change it: a line, and a halo of half its width beside it."""


def write_overlay_tiff(
    source: PatchSource,
    scores: Scores,
    style: Style,
    path: Path,
    *,
    compression: Compression = "jpeg",
    on_block: OnBlock | None = None,
) -> None:
    """Write what ``overlay.png`` shows, but all of the slide at patch scale, as OME-TIFF: see `write_ome_tiff`.

    Pixel (x, y) is the same tissue as in ``mosaic.ome.tif``. A block is read and painted at a time, so memory does not
    grow with the slide. What cannot be read stands in ``source.lost``.

    Parameters
    ----------
    source : PatchSource
    scores : Scores
        Of the same slide.
    style : Style
        Its colormap and opacity count.
    path : Path
        Should end in ``.ome.tif``. An older file is replaced.
    compression, on_block
        As in `write_ome_tiff`.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    OSError
        If the disk is full.
    """
    name = f"{image_name(source)} overlay"
    pixels = overlay_array(source, scores, style)
    write_ome_tiff(path, pixels, mosaic_scale(source), compression=compression, name=name, on_block=on_block)


def overlay_array(source: PatchSource, scores: Scores, style: Style) -> da.Array:
    """The overlay at patch scale, shape (height, width, 3) of uint8, read and painted where it is computed.

    A phantom's says in its lower left corner what it is.
    """
    plain = mosaic_array(source)
    height, width, _ = plain.shape
    label = phantom_label(height, width) if source.kind == "phantom" else None
    painter = _Painter(
        scores, place_at_patch_scale(scores, source.mpp, source.patch), style, label, height, source.patch.size_px
    )
    painted: da.Array = da.map_blocks(  # type: ignore[no-untyped-call]
        painter, plain, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )
    return painted


def place_at_patch_scale(scores: Scores, mpp: tuple[float, float], patch: PatchSpec) -> Boxes:
    """Boxes of all patches in the mosaic at their own scale: those that the sources cut them from.

    Parameters
    ----------
    scores : Scores
    mpp : tuple of float
        Scale of level 0 along x and y, in µm/px.
    patch : PatchSpec
    """
    left, right = _sides(scores.minx, scores.width, mpp[0], patch)
    top, bottom = _sides(scores.miny, scores.height, mpp[1], patch)
    return Boxes(left, top, right, bottom)


def _sides(
    first_l0: NDArray[np.int64], length_l0: NDArray[np.int64], mpp: float, patch: PatchSpec
) -> tuple[NDArray[Any], NDArray[Any]]:
    """First and last edge in pixels of the mosaic along one side.

    A tile of a raw slide is cut from whole multiples of its size, though its edge is rounded at level 0; only a named
    patch may lie elsewhere.
    """
    scale = mpp / patch.mpp
    of_grid = tile_numbers(first_l0, mpp, patch.um) * patch.size_px
    here = np.rint(first_l0 * scale).astype(np.int64)
    first = np.where(np.abs(first_l0 * scale - of_grid) <= scale / 2 + 1e-6, of_grid, here)
    return first, first + np.clip(np.rint(length_l0 * scale).astype(np.int64), 1, patch.size_px)


@dataclass(frozen=True)
class _Painter:
    """Paints a block of the mosaic.

    Attributes
    ----------
    scores : Scores
    boxes : Boxes
        Of the same patches, in pixels of the mosaic.
    style : Style
    label : ndarray of uint8, shape (h, w, 3), or None
        For the mosaic's lower left corner.
    height_px : int
        Of the mosaic.
    patch_px : int
        Edge of a patch.
    """

    scores: Scores
    boxes: Boxes
    style: Style
    label: NDArray[np.uint8] | None
    height_px: int
    patch_px: int

    def __call__(self, pixels: NDArray[np.uint8], block_info: Any = None) -> NDArray[np.uint8]:
        (top, bottom), (left, right), _ = block_info[0]["array-location"]
        line_px = max(1, self.patch_px // _LINES_A_PATCH)
        reach = _REACH_LINES * line_px
        near = np.flatnonzero(
            (self.boxes.left < right + reach)
            & (self.boxes.right > left - reach)
            & (self.boxes.top < bottom + reach)
            & (self.boxes.bottom > top - reach)
        )
        # Room for the whole of every patch that counts, so that none is cut and outlined where the block ends.
        room = reach + self.patch_px
        wide = np.pad(pixels, ((room, room), (room, room), (0, 0)))
        boxes = Boxes(
            left=self.boxes.left[near] - left + room,
            top=self.boxes.top[near] - top + room,
            right=self.boxes.right[near] - left + room,
            bottom=self.boxes.bottom[near] - top + room,
        )
        painted = paint_probability(wide, boxes, _only(self.scores, near), self.style, line_px)[room:-room, room:-room]
        if self.label is not None:
            _put_label(painted, self.label, self.height_px - len(self.label) - top, left)
        return painted


def _only(scores: Scores, which: NDArray[np.intp]) -> Scores:
    """The scores of some patches."""
    columns = ("minx", "miny", "width", "height", "prob_no_idc", "prob_idc", "label")
    chosen: dict[str, Any] = {name: getattr(scores, name)[which] for name in columns}
    for name in ("prob_idc_context", "prob_classes"):
        if getattr(scores, name) is not None:
            chosen[name] = getattr(scores, name)[which]
    return replace(scores, **chosen)


def _put_label(block: NDArray[np.uint8], label: NDArray[np.uint8], down: int, left: int) -> None:
    """Put what falls into a block of a label that begins `down` rows below the block's first, at the mosaic's left."""
    if down < len(block) and left < label.shape[1] and down + len(label) > 0:
        part = label[max(0, -down) : len(block) - down, left : left + block.shape[1]]
        block[max(0, down) : max(0, down) + len(part), : part.shape[1]] = part
