"""Probability as colour over the tissue, and the outline of what is called IDC."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_idc.plotting.image_ops import Boxes, grow_mask, place_boxes, shrink_mask
from wsi_idc.plotting.mosaic import Mosaic
from wsi_idc.plotting.style import Style, colour_table, table_index
from wsi_idc.scoring.scores import Scores

LINE_RGB = (20, 20, 20)
HALO_RGB = (255, 255, 255)
UNREADABLE_RGB = (240, 240, 240)
UNREADABLE_LINE_RGB = (105, 105, 105)


def paint_overlay(mosaic: Mosaic, scores: Scores, style: Style) -> NDArray[np.uint8]:
    """Lay the probability of IDC over the mosaic, shape and scale kept.

    A scored patch becomes ``opacity * colour + (1 - opacity) * grey`` with the grey of its tissue, so that no hue
    but the colormap's is in it. Patches with ``pred`` are outlined: a dark line on their outermost pixels, white
    on both its sides, but never outside scored patches. Unreadable patches are marked with a grey cross; all else
    keeps its pixels.
    """
    boxes = place_boxes(scores, (1 / mosaic.factor, 1 / mosaic.factor))
    return paint_probability(mosaic.pixels, boxes, scores, style, line_px=max(1, round(boxes.side_px / 10)))


def paint_probability(
    pixels: NDArray[np.uint8], boxes: Boxes, scores: Scores, style: Style, line_px: int = 1
) -> NDArray[np.uint8]:
    """`paint_overlay` for a picture of any scale, shape (h, w, 3), in which the patches lie at `boxes`."""
    painted, grey = pixels.copy(), as_grey(pixels)
    blended, rows = _blended(style), table_index(np.nan_to_num(scores.prob))
    for i, where in boxes.slices(scores.readable):
        painted[where] = blended[rows[i]].take(grey[where], axis=0)
    draw_outline(painted, boxes, scores.pred, scores.readable, line_px)
    mark_unreadable(painted, boxes, scores)
    return painted


def bar_colours(tissue_grey: float, style: Style) -> NDArray[np.uint8]:
    """Colours that the probabilities 0 to 1 take over tissue of this grey (0-255), shape (256, 3)."""
    return _blended(style)[:, round(tissue_grey)]


def as_grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey of a picture, shape (h, w), by Rec. ITU-R BT.601."""
    return np.asarray(Image.fromarray(pixels).convert("L"))


def over_grey(colours: NDArray[np.float32], opacity: float) -> NDArray[np.uint8]:
    """What colours, RGB 0-255 of shape (n, 3), look like over each grey from 0 to 255, shape (n, 256, 3)."""
    grey = np.arange(256, dtype=np.float32)[:, None]
    blended: NDArray[np.uint8] = np.rint(opacity * colours[:, None] + (1 - opacity) * grey).astype(np.uint8)
    return blended


@lru_cache(maxsize=8)
def _blended(style: Style) -> NDArray[np.uint8]:
    table = over_grey(colour_table(style.colormap), style.opacity)
    table.flags.writeable = False
    return table


def mean_grey(pixels: NDArray[np.uint8], boxes: Boxes, scores: Scores) -> float:
    """Mean grey (0-255) of the tissue under scored patches; white where there is none."""
    grey = as_grey(pixels)
    sums = [(int(grey[where].sum()), grey[where].size) for _, where in boxes.slices(scores.readable)]
    if not sums:
        return 255.0
    total, count = np.sum(sums, axis=0)
    return float(total / count)


def draw_outline(
    painted: NDArray[np.uint8],
    boxes: Boxes,
    inside: NDArray[np.bool_],
    allowed: NDArray[np.bool_],
    line_px: int,
    dash_px: int = 0,
) -> None:
    """Outline the `inside` patches in place: dark on their own outermost `line_px`, half as much white on both sides.

    With `dash_px` the line is of dashes of about this length, so that it is unlike another line in grey print, too.

    The halo keeps to the `allowed` patches: what was not scored stays as it is.
    """
    if not inside.any():
        return
    shape, halo_px = (painted.shape[0], painted.shape[1]), max(1, line_px // 2)
    near = (
        slice(max(0, int(boxes.top[inside].min()) - halo_px), int(boxes.bottom[inside].max()) + halo_px),
        slice(max(0, int(boxes.left[inside].min()) - halo_px), int(boxes.right[inside].max()) + halo_px),
    )
    region, part = boxes.mask(inside, shape)[near], painted[near]
    core = shrink_mask(region, line_px)
    outer_halo = grow_mask(region, halo_px) & ~region & boxes.mask(allowed, shape)[near]
    inner_halo = core & ~shrink_mask(core, halo_px)
    part[_nonzero(outer_halo | inner_halo)] = HALO_RGB
    y, x = _nonzero(region & ~core)
    part[y, x] = LINE_RGB
    if dash_px:
        # In step with the rest of the picture, so that neighbouring regions have one rhythm.
        gap = ((x + y + near[0].start + near[1].start) // dash_px) % 2 == 1
        part[y[gap], x[gap]] = HALO_RGB


def _nonzero(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of what is set, as `np.nonzero`, which takes several times as long."""
    y, x = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return y, x


def mark_unreadable(painted: NDArray[np.uint8], boxes: Boxes, scores: Scores) -> None:
    """Mark in place each patch without a probability: light grey, thin outline, one diagonal cross."""
    for _, where in boxes.slices(~scores.readable):
        painted[where] = crossed_tile(*painted[where].shape[:2])


def crossed_tile(height_px: int, width_px: int) -> NDArray[np.uint8]:
    """The mark of an unreadable patch, shape (height, width, 3)."""
    tile = np.full((height_px, width_px, 3), UNREADABLE_RGB, dtype=np.uint8)
    y, x = np.mgrid[:height_px, :width_px]
    down, across = (y + 0.5) / height_px, (x + 0.5) / width_px
    half_width = max(0.6, min(height_px, width_px) / 50) / max(1, min(height_px, width_px))
    cross = (np.abs(down - across) < half_width) | (np.abs(down + across - 1) < half_width)
    cross |= (y == 0) | (x == 0) | (y == height_px - 1) | (x == width_px - 1)
    tile[cross] = UNREADABLE_LINE_RGB
    return tile
