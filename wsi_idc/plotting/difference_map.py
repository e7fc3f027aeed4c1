"""Two probability maps of a slide and their difference, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_idc._version import __version__
from wsi_idc.evaluation.paired import Pair
from wsi_idc.plotting.blocks import draw_colour_bar, round_length
from wsi_idc.plotting.caption import RESEARCH_USE, context_text, threshold_text
from wsi_idc.plotting.changes import HEIGHT, draw_changes
from wsi_idc.plotting.chart_page import ChartPage, house_style
from wsi_idc.plotting.error_map import hatch
from wsi_idc.plotting.image_ops import Boxes, place_boxes, resize
from wsi_idc.plotting.layout import MARGIN, PAGE_H, PAGE_W, Box
from wsi_idc.plotting.overlay import (
    as_grey,
    bar_colours,
    draw_outline,
    mark_unreadable,
    mean_grey,
    over_grey,
    paint_probability,
)
from wsi_idc.plotting.page import INK, QUIET, Page, save_page
from wsi_idc.plotting.style import Style, colour_table
from wsi_idc.scoring.scores import Scores

DIVERGING = "PuOr_r"
"""Purple where the second map is lower, orange where it is higher: told apart with every kind of colour vision."""

_OPACITY = 0.8
_STRIPE_RGB = (70, 40, 110)
_TOP, _KEY, _FOOT, _GAP = 1.1, 1.3, 0.7, 0.25
_TEXT = 9
_BAR = 0.18
_LARGEST_PX_IN = 1 / 33
_HIGHEST = 5.2
"""Inches of the panels of a high slide."""

_FALL = -0.1
"""Patches whose probability falls by more are striped: in grey print, both ends of the colours have one brightness."""

_LINE_IN = 0.01


@dataclass(frozen=True)
class Compared:
    """What the page says of the slide and of both results.

    Attributes
    ----------
    title, case : str
        The slide, and its short name for the footer.
    names : tuple of str
        The two results folders, as the user called them.
    models : tuple of str
        Name and first hex digits of each.
    mpp : tuple of float
        Scale of level 0 along x and y, in µm/px.
    nominal : bool
        Whether that scale is the data set's, not the file's.
    phantom : bool
    told : str
        A line of figures.
    pair : Pair
        The patches of both.
    date : str
        ISO date of the drawing.
    """

    title: str
    case: str
    names: tuple[str, str]
    models: tuple[str, str]
    mpp: tuple[float, float]
    nominal: bool
    phantom: bool
    told: str
    pair: Pair
    date: str


def save_difference(
    path: Path,
    tissue: NDArray[np.uint8] | None,
    factor: int,
    scores: tuple[Scores, Scores],
    difference: NDArray[np.float64],
    second_calls: NDArray[np.bool_],
    about: Compared,
    style: Style | None = None,
) -> None:
    """Write the page as a PNG of A4 landscape size, atomically.

    Parameters
    ----------
    path : Path
    tissue : ndarray of uint8, shape (h, w, 3), or None
        The slide; None for white ground.
    factor : int
        Pixels of level 0 per pixel of `tissue`; means nothing without it.
    scores : tuple of two Scores
    difference : ndarray of float64, shape (n,)
        Second minus first, of the patches of the first results; NaN where one of both has none.
    second_calls : ndarray of bool, shape (n,)
        Which of the same patches the second results call IDC.
    about : Compared
    style : Style, optional
        Colours of the two maps, and the resolution.
    """
    save_page(path, compose_difference(tissue, factor, scores, difference, second_calls, about, style or Style()))


@house_style()
def compose_difference(
    tissue: NDArray[np.uint8] | None,
    factor: int,
    scores: tuple[Scores, Scores],
    difference: NDArray[np.float64],
    second_calls: NDArray[np.bool_],
    about: Compared,
    style: Style,
) -> Page:
    """Put the page together: three panels at one scale, their colour bars, figures, footer.

    The page is higher than A4 where the slide is.
    """
    extent_l0 = _extent(scores) if tissue is None else (tissue.shape[1] * factor, tissue.shape[0] * factor)
    extent_mm = (extent_l0[0] * about.mpp[0] / 1000, extent_l0[1] * about.mpp[1] / 1000)
    slot = (PAGE_W - 2 * MARGIN - 2 * _GAP) / 3
    inch_per_mm = min(slot / extent_mm[0], _HIGHEST / extent_mm[1], _LARGEST_PX_IN * 1000 / 8)
    figures = _TOP + extent_mm[1] * inch_per_mm + _KEY
    page = ChartPage(PAGE_W, max(PAGE_H, figures + HEIGHT + _FOOT), style.dpi)
    width_px, height_px = (max(1, round(side * inch_per_mm * page.dpi)) for side in extent_mm)
    ground = np.full((height_px, width_px, 3), 255, np.uint8) if tissue is None else resize(tissue, width_px, height_px)
    scale = (width_px / extent_l0[0], height_px / extent_l0[1])
    boxes = tuple(place_boxes(of, scale) for of in scores)
    line_px = max(1, min(round(_LINE_IN * page.dpi), boxes[0].side_px // 5))
    pictures = [paint_probability(ground, at, of, style, line_px) for at, of in zip(boxes, scores, strict=True)]
    pictures.append(paint_difference(ground, boxes[0], scores[0], difference, second_calls, line_px))
    _draw_header(page, about)
    finding = scores[0].classes.title
    titles = [*(f"Probability of {finding}, {name}" for name in about.names), "Difference, B \N{MINUS SIGN} A"]
    lefts = [MARGIN + i * (slot + _GAP) for i in range(3)]
    for letter, left, title, picture in zip("ABC", lefts, titles, pictures, strict=True):
        page.text(left, _TOP - 0.07, letter, size=11, bold=True)
        page.text(left + 0.22, _TOP - 0.07, title, size=10, room=slot - 0.22)
        page.picture(left, _TOP, picture)
    _draw_scale(page, _TOP + height_px / page.dpi + 0.14, inch_per_mm, about.nominal)
    grey = mean_grey(ground, boxes[0], scores[0])
    top = figures - _KEY + 0.55
    for left, of in zip(lefts, scores, strict=False):
        draw_colour_bar(page, Box(left, top, slot, _BAR), bar_colours(grey, style), marked=of.threshold)
    diverging = over_grey(colour_table(DIVERGING), _OPACITY)[:, round(grey)]
    draw_colour_bar(page, Box(lefts[2], top, slot, _BAR), diverging, ends=(-1.0, 1.0))
    notes = (
        f"outline: called {finding} by A",
        f"outline: called {finding} by B",
        f"outline: called {finding} by B; dashed: by A alone",
    )
    for left, note in zip(lefts, notes, strict=True):
        page.text(left, top + 0.5, note, size=_TEXT, colour=QUIET)
    page.text(lefts[2], top - 0.07, f"striped: lower by {-_FALL:g} or more", size=_TEXT)
    draw_changes(page, lefts, figures, slot, about.pair, about.mpp, finding)
    _draw_footer(page, scores, about)
    return page


def paint_difference(
    ground: NDArray[np.uint8],
    boxes: Boxes,
    first: Scores,
    difference: NDArray[np.float64],
    second_calls: NDArray[np.bool_],
    line_px: int,
) -> NDArray[np.uint8]:
    """Colour each patch by its change over its grey tissue, and outline what either called IDC.

    `difference` and `second_calls` are of the patches of the first results; where the difference is NaN the ground
    stays.
    """
    painted, grey = ground.copy(), as_grey(ground)
    known = np.isfinite(difference)
    blended = over_grey(colour_table(DIVERGING), _OPACITY)
    rows = np.rint((np.nan_to_num(difference) + 1) / 2 * (len(blended) - 1)).astype(int)
    for i, where in boxes.slices(known):
        painted[where] = blended[rows[i]].take(grey[where], axis=0)
        if difference[i] <= _FALL:
            painted[where][hatch(where, boxes.side_px)] = _STRIPE_RGB
    draw_outline(painted, boxes, first.pred & known & ~second_calls, known, line_px, dash_px=max(3, 4 * line_px))
    draw_outline(painted, boxes, second_calls & known, known, line_px)
    mark_unreadable(painted, boxes, first)
    return painted


def _extent(scores: tuple[Scores, Scores]) -> tuple[int, int]:
    """Width and height that hold all patches, in pixels of level 0."""
    right = max(int((of.minx + of.width).max(initial=1)) for of in scores)
    bottom = max(int((of.miny + of.height).max(initial=1)) for of in scores)
    return right, bottom


def _draw_header(page: Page, about: Compared) -> None:
    right = page.width - MARGIN
    if about.phantom:
        right = page.badge(right, 0.22, size=15) - 0.2
    page.text(MARGIN, 0.42, about.title, size=15, bold=True, room=right - MARGIN)
    page.text(MARGIN, 0.65, about.told, size=10, colour=QUIET, room=right - MARGIN)


def _draw_scale(page: Page, y: float, inch_per_mm: float, nominal: bool) -> None:
    length_mm = round_length(1.2 / inch_per_mm)
    page.rectangle(MARGIN, y, length_mm * inch_per_mm, 0.045, fill=INK)
    told = f"{length_mm:g} mm" + (" (nominal scale)" if nominal else "")
    page.text(MARGIN + length_mm * inch_per_mm + 0.1, y + 0.065, told, size=_TEXT)


def _draw_footer(page: Page, scores: tuple[Scores, Scores], about: Compared) -> None:
    line = page.height - 0.56
    room = page.width - 2 * MARGIN
    page.rule(MARGIN, line, room, QUIET, points=0.6)
    dot = " \N{MIDDLE DOT} "
    parts = [
        f"{letter}: model {model}, threshold {threshold_text(of.threshold)}"
        + (f", context {context_text(of.called_in_context)}" if of.follows_context else "")
        for letter, model, of in zip("AB", about.models, scores, strict=True)
    ]
    page.text(
        MARGIN,
        line + 0.18,
        dot.join([about.case, *parts, f"wsi-idc {__version__}", about.date]),
        colour=QUIET,
        room=room,
    )
    page.text(MARGIN, line + 0.36, RESEARCH_USE, size=9, bold=True)
