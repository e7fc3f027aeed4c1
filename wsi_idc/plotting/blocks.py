"""Parts of the sheet beside its panels: scale bar, key, confusion matrix, figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patheffects import withStroke

from wsi_idc.metrics import Metrics
from wsi_idc.plotting.caption import Caption, threshold_text
from wsi_idc.plotting.close_ups import CloseUp
from wsi_idc.plotting.confusion import draw_confusion
from wsi_idc.plotting.error_map import HATCH_RGB, HATCHED, OUTCOMES, outcome_colour, outcomes
from wsi_idc.plotting.image_ops import resize
from wsi_idc.plotting.layout import CLOSE_UP_TITLE, Box
from wsi_idc.plotting.overlay import LINE_RGB, bar_colours, crossed_tile
from wsi_idc.plotting.page import FRAME, INK, QUIET, Page
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


def draw_scale_bar(page: Page, box: Box, inch_per_mm: float, panel_w: float, caption: Caption) -> None:
    """Draw a bar of round length under the first panel; it holds for all panels."""
    length_mm = round_length(max(panel_w * 0.4, _LEAST_BAR_IN) / inch_per_mm)
    width = length_mm * inch_per_mm
    y = box.y + 0.14
    page.rectangle(box.x, y, width, 0.045, facecolor=INK)
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
        told = page.text(x, y - 0.2, letter, size=_TEXT, weight="bold")
        page.text(x + page.width_of(told) + 0.06, y - 0.2, close_up.title, size=8, room=pitch - 0.2)
        page.text(x, y - 0.06, f"probability {close_up.prob:.2f}", size=8, color=QUIET)
        side_px = round(side * page.dpi)
        page.picture(x, y, resize(close_up.pixels, side_px, side_px))
    length_um = round_length(close_ups[0].side_um * 0.4)
    width = side * length_um / close_ups[0].side_um
    x, y = strip.x + 0.06, strip.y + CLOSE_UP_TITLE + side - 0.12
    page.rectangle(x - 0.03, y - 0.17, max(width, 0.45) + 0.06, 0.25, facecolor="white")
    page.rectangle(x, y, width, 0.04, facecolor=INK)
    page.text(x, y - 0.04, f"{length_um:g} µm", size=8)


def mark_close_ups(page: Page, panel: Box, close_ups: Sequence[CloseUp], size_l0: tuple[int, int]) -> None:
    """Say on the first panel where the close-ups lie."""
    halo = [withStroke(linewidth=2.2, foreground="white")]
    for letter, close_up in zip(CLOSE_UP_LETTERS, close_ups, strict=False):
        x = panel.x + panel.width * close_up.center[0] / size_l0[0]
        y = panel.y + panel.height * close_up.center[1] / size_l0[1]
        page.text(x, y + 0.045, letter, size=_TEXT, weight="bold", ha="center", path_effects=halo)


def draw_key(page: Page, box: Box, scores: Scores, style: Style, tissue_grey: float) -> None:
    """Draw the colour bar, 0 to 1 with the threshold marked, and what the panels' signs mean."""
    heading = f"Probability of {scores.classes.title} (panel B)"
    page.text(box.x, box.y + 0.12, heading, size=_HEADING, weight="bold", room=box.width)
    bar = Box(box.x, box.y + 0.43, box.width - 0.1, 0.2)
    _draw_colour_bar(page, bar, scores.threshold, bar_colours(tissue_grey, style))
    top = bar.y + bar.height + 0.47
    below = _draw_probability_key(page, box.x, top, scores, bar_colours(tissue_grey, style)[230] / 255)
    if scores.metrics is not None:
        beside = box.width >= _TWO_COLUMNS
        x, y = (box.x + box.width / 2, top) if beside else (box.x, below + 0.1)
        _draw_outcome_key(page, x, y, scores, tissue_grey)


def _draw_probability_key(page: Page, x: float, top: float, scores: Scores, called: np.ndarray) -> float:
    """Say what is seen in panel B; the next free line comes back."""
    page.text(x, top, "Panel B", size=_TEXT, weight="bold")
    _outline_entry(page, x, top + _ROW, f"outline: called {scores.classes.title}", called)
    _entry(page, x, top + 2 * _ROW, "no colour: not scored", facecolor="white", edgecolor=FRAME, lw=0.6)
    unreadable = int((~scores.readable).sum())
    if not unreadable:
        return top + 3 * _ROW
    _entry(page, x, top + 3 * _ROW, f"unreadable ({unreadable:,})", facecolor="none")
    side = round(_SWATCH_H * page.dpi)
    page.picture(x + (_SWATCH_W - _SWATCH_H) / 2, top + 3 * _ROW - 0.115, crossed_tile(side, side))
    return top + 4 * _ROW


def _draw_outcome_key(page: Page, x: float, top: float, scores: Scores, tissue_grey: float) -> None:
    page.text(x, top, "Panel C", size=_TEXT, weight="bold")
    rows = 1
    for name, which in outcomes(scores).items():
        label = f"{OUTCOMES[name][0]} ({int(which.sum()):,})"
        hatch = {"hatch": "/////", "edgecolor": [of / 255 for of in HATCH_RGB], "lw": 0} if name == HATCHED else {}
        _entry(page, x, top + rows * _ROW, label, facecolor=outcome_colour(name, tissue_grey), **hatch)
        rows += 1
    _outline_entry(page, x, top + rows * _ROW, f"dashes: labelled {scores.classes.title}", "white")
    for i in range(1, _DASHES, 2):
        left = x + i * _SWATCH_W / _DASHES
        page.rectangle(left, top + rows * _ROW - 0.115, _SWATCH_W / _DASHES, _SWATCH_H, facecolor="white")


def _entry(page: Page, x: float, y: float, label: str, **swatch: Any) -> None:
    page.rectangle(x, y - 0.115, _SWATCH_W, _SWATCH_H, **swatch)
    page.text(x + _SWATCH_W + 0.1, y, label, size=_TEXT)


def _outline_entry(page: Page, x: float, y: float, label: str, inside: Any) -> None:
    """An outline as the panels have it: dark, with a light line on its inner side."""
    _entry(page, x, y, label, facecolor=[channel / 255 for channel in LINE_RGB])
    for width, colour in ((0.02, "white"), (0.035, inside)):
        page.rectangle(x + width, y - 0.115 + width, _SWATCH_W - 2 * width, _SWATCH_H - 2 * width, facecolor=colour)


def _draw_colour_bar(page: Page, box: Box, threshold: float, colours: np.ndarray) -> None:
    axes = page.axes(box.x, box.y, box.width, box.height)
    axes.imshow(colours[None], extent=(0, 1, 0, 1), aspect="auto", interpolation="nearest")
    axes.set_yticks([])
    ticks = [0, 0.25, 0.5, 0.75, 1]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.tick_params(labelsize=_TEXT, length=2.5, pad=2, color=QUIET, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set(color=FRAME, linewidth=0.6)
    at = min(max(threshold, 0.0), 1.0)
    axes.axvline(at, color="white", linewidth=3.5)
    axes.axvline(at, color=INK, linewidth=1.5)
    # Near an end the words would leave the bar, so they lean inwards.
    side = "left" if at < 0.15 else "right" if at > 0.85 else "center"
    page.text(box.x + at * box.width, box.y - 0.07, f"threshold {threshold_text(threshold)}", size=_TEXT, ha=side)


def draw_matrix(page: Page, box: Box, scores: Scores) -> None:
    """Draw the confusion matrix with its heading."""
    assert scores.metrics is not None
    heading = "Confusion matrix (patches, row %)" if box.width >= _WIDE_HEADING else "Confusion matrix (row %)"
    page.text(box.x, box.y + 0.12, heading, size=_HEADING, weight="bold")
    height = box.height - 0.68
    axes = page.axes(box.x + 0.47, box.y + 0.25, min(box.width - 0.52, 2.8), height)
    named = scores.classes.negative_title, scores.classes.title
    draw_confusion(axes, scores.metrics, size=min(_TEXT, 7.2 * height), names=named)


def draw_figures(page: Page, box: Box, scores: Scores, mpp_l0: tuple[float, float], caption: Caption) -> None:
    """Write the table of figures; what is undefined is a dash."""
    right = box.x + box.width
    page.text(box.x, box.y + 0.12, "Figures", size=_HEADING, weight="bold")
    if caption.mpp_source == "nominal":
        page.text(right, box.y + 0.12, "areas at nominal scale", size=8, color=QUIET, ha="right")
    rows = figure_rows(scores, mpp_l0)
    pitch = min(0.24, (box.height - 0.2) / len(rows))
    for i, (name, value) in enumerate(rows):
        y = box.y + 0.15 + (i + 1) * pitch
        page.text(box.x, y, name, size=_TEXT)
        page.text(right, y, value, size=_TEXT, ha="right", weight="bold")
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
