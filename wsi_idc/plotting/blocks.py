"""Parts of the sheet beside its panels: scale bar, key, confusion matrix, figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wsi_idc.metrics import Metrics
from wsi_idc.plotting.caption import Caption, threshold_text
from wsi_idc.plotting.close_ups import CloseUp
from wsi_idc.plotting.confusion import draw_confusion
from wsi_idc.plotting.error_map import OUTCOMES, outcome_swatch, outcomes
from wsi_idc.plotting.fonts import ASCENT
from wsi_idc.plotting.image_ops import resize
from wsi_idc.plotting.layout import CLOSE_UP_TITLE, Box
from wsi_idc.plotting.overlay import LINE_RGB, bar_colours, crossed_tile
from wsi_idc.plotting.page import FRAME, INK, QUIET, Align, Colour, Page
from wsi_idc.plotting.style import Style
from wsi_idc.scoring.regions import region_widths_mm
from wsi_idc.scoring.scores import Scores
from wsi_idc.source import UNKNOWN

_DASH = "\N{EN DASH}"
_ROW = 0.21
_SWATCH_W, _SWATCH_H = 0.24, 0.14
_TEXT, _HEADING = 9, 9.5
_TWO_COLUMNS = 3.5
"""Width from which what the panels' signs mean stands in two columns."""

_WIDE_HEADING = 2.7

_LEAST_BAR_IN = 1.0
"""The scale bar may grow to this even where the panel is narrower."""

CLOSE_UP_LETTERS = "abcdef"
MOST_CLOSE_UPS = len(CLOSE_UP_LETTERS)

_DASHES = 7
"""Dashes and gaps along a swatch."""

_SWATCH_RISE = 0.115
"""From a swatch's upper edge to the baseline of what it means."""

_TICK_W, _TICK_H = 0.011, 0.035
_MARK, _MARK_RIM = 0.021, 0.049
"""Widths of the threshold's line and of the white around it, in inches."""


def draw_scale_bar(page: Page, box: Box, inch_per_mm: float, panel_w: float, caption: Caption) -> None:
    """Draw a bar of round length under the first panel; it holds for all panels."""
    length_mm = round_length(max(panel_w * 0.4, _LEAST_BAR_IN) / inch_per_mm)
    width = length_mm * inch_per_mm
    y = box.y + 0.14
    page.rectangle(box.x, y, width, 0.045, fill=INK)
    told = f"{length_mm:g} mm"
    if caption.mpp_source == "nominal":
        told += " (nominal scale)"
    page.text(box.x + width + 0.1, y + 0.065, told, size=_TEXT)


def round_length(at_most: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not longer."""
    power = 10.0 ** math.floor(math.log10(at_most))
    return max(step * power for step in (1, 2, 5) if step * power <= at_most * (1 + 1e-9))


def draw_close_ups(
    page: Page,
    strip: Box,
    close_ups: Sequence[CloseUp],
    letters: str = CLOSE_UP_LETTERS,
    columns: int = MOST_CLOSE_UPS,
) -> None:
    """Draw close-ups in a row, each with its letter, its reason and its probability, and one scale bar for all."""
    if not close_ups:
        return
    side = strip.height - CLOSE_UP_TITLE
    pitch = (strip.width - side) / (columns - 1)
    for letter, close_up, i in zip(letters, close_ups, range(columns), strict=False):
        x, y = strip.x + i * pitch, strip.y + CLOSE_UP_TITLE
        width = page.text(x, y - 0.2, letter, size=_TEXT, bold=True)
        page.text(x + width + 0.06, y - 0.2, close_up.title, size=8, room=pitch - 0.2)
        page.text(x, y - 0.06, f"probability {close_up.prob:.2f}", size=8, colour=QUIET)
        side_px = round(side * page.dpi)
        page.picture(x, y, resize(close_up.pixels, side_px, side_px))
    length_um = round_length(close_ups[0].side_um * 0.4)
    width = side * length_um / close_ups[0].side_um
    x, y = strip.x + 0.06, strip.y + CLOSE_UP_TITLE + side - 0.12
    page.rectangle(x - 0.03, y - 0.17, max(width, 0.45) + 0.06, 0.25, fill="white")
    page.rectangle(x, y, width, 0.04, fill=INK)
    page.text(x, y - 0.04, f"{length_um:g} µm", size=8)


def mark_close_ups(page: Page, panel: Box, close_ups: Sequence[CloseUp], size_l0: tuple[int, int]) -> None:
    """Say on the first panel where the close-ups lie."""
    for letter, close_up in zip(CLOSE_UP_LETTERS, close_ups, strict=False):
        x = panel.x + panel.width * close_up.center[0] / size_l0[0]
        y = panel.y + panel.height * close_up.center[1] / size_l0[1]
        page.text(x, y + 0.045, letter, size=_TEXT, bold=True, align="center", halo=1.1)


def draw_key(page: Page, box: Box, scores: Scores, style: Style, tissue_grey: float) -> None:
    """Draw the colour bar, 0 to 1 with the threshold marked, and what the panels' signs mean."""
    heading = f"Probability of {scores.classes.title} (panel B)"
    page.text(box.x, box.y + 0.12, heading, size=_HEADING, bold=True, room=box.width)
    bar, colours = Box(box.x, box.y + 0.43, box.width - 0.1, 0.2), bar_colours(tissue_grey, style)
    draw_colour_bar(page, bar, colours, marked=scores.threshold)
    top = bar.y + bar.height + 0.47
    red, green, blue = colours[230].tolist()
    below = _draw_probability_key(page, box.x, top, scores, (red, green, blue))
    if scores.metrics is not None:
        beside = box.width >= _TWO_COLUMNS
        x, y = (box.x + box.width / 2, top) if beside else (box.x, below + 0.1)
        _draw_outcome_key(page, x, y, scores, tissue_grey)


def _draw_probability_key(page: Page, x: float, top: float, scores: Scores, called: Colour) -> float:
    """Say what is seen in panel B; the next free line comes back."""
    page.text(x, top, "Panel B", size=_TEXT, bold=True)
    _outline_entry(page, x, top + _ROW, f"outline: called {scores.classes.title}", called)
    _entry(page, x, top + 2 * _ROW, "no colour: not scored")
    page.rectangle(x, top + 2 * _ROW - _SWATCH_RISE, _SWATCH_W, _SWATCH_H, fill="white", frame=FRAME)
    unreadable = int((~scores.readable).sum())
    if not unreadable:
        return top + 3 * _ROW
    _entry(page, x, top + 3 * _ROW, f"unreadable ({unreadable:,})")
    side = round(_SWATCH_H * page.dpi)
    page.picture(x + (_SWATCH_W - _SWATCH_H) / 2, top + 3 * _ROW - _SWATCH_RISE, crossed_tile(side, side))
    return top + 4 * _ROW


def _draw_outcome_key(page: Page, x: float, top: float, scores: Scores, tissue_grey: float) -> None:
    page.text(x, top, "Panel C", size=_TEXT, bold=True)
    height, width = round(_SWATCH_H * page.dpi), round(_SWATCH_W * page.dpi)
    y = top
    for name, which in outcomes(scores).items():
        y += _ROW
        _entry(page, x, y, f"{OUTCOMES[name][0]} ({int(which.sum()):,})")
        page.picture(x, y - _SWATCH_RISE, outcome_swatch(name, tissue_grey, height, width), framed=False)
    y += _ROW
    _outline_entry(page, x, y, f"dashes: labelled {scores.classes.title}", "white")
    for i in range(1, _DASHES, 2):
        left = x + i * _SWATCH_W / _DASHES
        page.rectangle(left, y - _SWATCH_RISE, _SWATCH_W / _DASHES, _SWATCH_H, fill="white")


def _entry(page: Page, x: float, y: float, label: str) -> None:
    """Say what a swatch that ends at `x` + `_SWATCH_W` means."""
    page.text(x + _SWATCH_W + 0.1, y, label, size=_TEXT)


def _outline_entry(page: Page, x: float, y: float, label: str, inside: Colour) -> None:
    """An outline as the panels have it: dark, with a light line on its inner side."""
    _entry(page, x, y, label)
    for inset, colour in ((0.0, LINE_RGB), (0.02, "white"), (0.035, inside)):
        width, height = _SWATCH_W - 2 * inset, _SWATCH_H - 2 * inset
        page.rectangle(x + inset, y - _SWATCH_RISE + inset, width, height, fill=colour)


def draw_colour_bar(
    page: Page,
    bar: Box,
    colours: NDArray[np.uint8],
    ends: tuple[float, float] = (0.0, 1.0),
    marked: float | None = None,
) -> None:
    """Draw colours, shape (n, 3), from one end of a scale to the other, with ticks, and the threshold where one is."""
    height, width = round(bar.height * page.dpi), round(bar.width * page.dpi)
    at = (np.arange(width) * len(colours)) // width
    page.picture(bar.x, bar.y, np.broadcast_to(colours[at], (height, width, 3)))
    below = bar.y + bar.height
    for tick in np.linspace(*ends, 5).tolist():
        x = bar.x + (tick - ends[0]) / (ends[1] - ends[0]) * bar.width
        page.rectangle(x - _TICK_W / 2, below, _TICK_W, _TICK_H, fill=QUIET)
        label = f"{tick:+g}" if ends[0] < 0 and tick else f"{tick:g}"
        page.text(x, below + _TICK_H + 0.03 + ASCENT * _TEXT / 72, label, size=_TEXT, align="center")
    if marked is None:
        return
    share = (min(max(marked, ends[0]), ends[1]) - ends[0]) / (ends[1] - ends[0])
    x = bar.x + share * bar.width
    for line, colour in ((_MARK_RIM, "white"), (_MARK, INK)):
        page.rectangle(x - line / 2, bar.y, line, bar.height, fill=colour)
    # Near an end the words would leave the bar, so they lean inwards.
    align: Align = "left" if share < 0.15 else "right" if share > 0.85 else "center"
    page.text(x, bar.y - 0.07, f"threshold {threshold_text(marked)}", size=_TEXT, align=align)


def draw_matrix(page: Page, box: Box, scores: Scores) -> None:
    """Draw the confusion matrix with its heading."""
    assert scores.metrics is not None
    heading = "Confusion matrix (patches, row %)" if box.width >= _WIDE_HEADING else "Confusion matrix (row %)"
    page.text(box.x, box.y + 0.12, heading, size=_HEADING, bold=True)
    height = box.height - 0.68
    cells = Box(box.x + 0.47, box.y + 0.25, min(box.width - 0.52, 2.8), height)
    named = scores.classes.negative_title, scores.classes.title
    draw_confusion(page, cells, scores.metrics, size=min(_TEXT, 7.2 * height), names=named)


def draw_figures(page: Page, box: Box, scores: Scores, mpp_l0: tuple[float, float], caption: Caption) -> None:
    """Write the table of figures; what is undefined is a dash."""
    right = box.x + box.width
    page.text(box.x, box.y + 0.12, "Figures", size=_HEADING, bold=True)
    if caption.mpp_source == "nominal":
        page.text(right, box.y + 0.12, "areas at nominal scale", size=8, colour=QUIET, align="right")
    rows = figure_rows(scores, mpp_l0)
    pitch = min(0.24, (box.height - 0.2) / len(rows))
    for i, (name, value) in enumerate(rows):
        y = box.y + 0.15 + (i + 1) * pitch
        page.text(box.x, y, name, size=_TEXT)
        page.text(right, y, value, size=_TEXT, align="right", bold=True)
        page.rule(box.x, y + 0.05, box.width, "#dcdcdc")


def figure_rows(scores: Scores, mpp_l0: tuple[float, float]) -> list[tuple[str, str]]:
    """Names and values of the sheet's figures, in reading order.

    Parameters
    ----------
    scores : Scores
    mpp_l0 : tuple of float
        Scale of level 0 along x and y in µm/px.
    """
    rows = [("Patches scored", f"{int(scores.readable.sum()):,}")]
    if not scores.readable.all():
        rows.append(("Unreadable patches", f"{int((~scores.readable).sum()):,}"))
    if scores.metrics:
        rows += _metric_rows(scores.metrics)
    else:
        rows.append(("Agreement with labels", "none scored" if (scores.label != UNKNOWN).any() else "no labels"))
    tissue, idc = scores.areas_mm2(mpp_l0)
    share = f" ({idc / tissue:.1%})".replace("%", " %") if tissue else ""
    rows.append(("Tissue scored", _area_text(tissue)))
    if scores.metrics:
        rows.append((f"Labelled {scores.classes.title}", _area_text(scores.labelled_mm2(mpp_l0))))
    rows.append((f"Called {scores.classes.title}", _area_text(idc) + share))
    widths = region_widths_mm(scores, mpp_l0)
    widest = f", widest {widths[0]:.{1 if widths[0] >= 1 else 2}f} mm" if len(widths) else ""
    rows.append(("Regions called", f"{len(widths):,}{widest}"))
    return rows


def _area_text(area_mm2: float) -> str:
    return f"{area_mm2:,.{1 if area_mm2 >= 10 else 2}f} mm²"


def _metric_rows(metrics: Metrics) -> list[tuple[str, str]]:
    named = {
        "Balanced accuracy": metrics.balanced_accuracy,
        "Sensitivity": metrics.sensitivity,
        "Specificity": metrics.specificity,
        "F1": metrics.f1,
        "AUC": metrics.auc,
    }
    rows = [("Labelled patches, n", f"{metrics.n:,}")]
    return rows + [(name, _DASH if value is None else f"{value:.3f}") for name, value in named.items()]
