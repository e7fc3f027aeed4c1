"""The patch-level confusion matrix, of two classes or of more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_idc.errors import printable
from wsi_idc.metrics import ClassMetrics, Metrics
from wsi_idc.plotting.caption import RESEARCH_USE, threshold_text
from wsi_idc.plotting.fonts import ASCENT, DESCENT, plain_text
from wsi_idc.plotting.layout import Box
from wsi_idc.plotting.page import FRAME, INK, QUIET, Colour, Page, below_middle, save_page

_EMPTY_RGB, _FULL_RGB = (255, 255, 255), (58, 110, 165)
"""White to blue by row share; dark text stays readable on the lower half, white text on the upper."""

CLASSES = ("no IDC", "IDC")
DASH = "\N{EN DASH}"
_WIDTH_IN, _HEIGHT_IN = 4.6, 4.9
_CELL_IN, _WIDEST_IN = 0.95, 9.0
"""Side of a cell of more than two classes, and what all cells take at most."""

_NAME_SIZE, _LONGEST_NAME, _SLANT = 9, 24, 40.0
_SMALLEST = 2.5
"""Points; smaller text in a cell is left out."""

_PAD, _LINE_POINTS = 0.05, 0.8
_UPRIGHT = 90.0


@dataclass(frozen=True)
class _Cell:
    """A cell: its middle in inches, its count and its share of the row."""

    x: float
    y: float
    count: int
    share: float | None

    @property
    def percent(self) -> str:
        return DASH if self.share is None else f"{self.share:.1%}".replace("%", " %")

    @property
    def ink(self) -> Colour:
        return "white" if (self.share or 0) > 0.6 else INK


def draw_confusion(page: Page, box: Box, metrics: Metrics, size: float = 8, names: tuple[str, str] = CLASSES) -> None:
    """Draw the 2x2 matrix: counts, percentages of the row, and the outcomes' names.

    Parameters
    ----------
    page : Page
    box : Box
        Of the cells; the names stand at its left and beneath.
    metrics : Metrics
    size : float
        Size of the smaller text in points; counts are half as large again.
    names : tuple of str
        Of the negative and the positive class.
    """
    counts = np.array([[metrics.tn, metrics.fp], [metrics.fn, metrics.tp]])
    for outcome, cell in zip(("TN", "FP", "FN", "TP"), _draw_cells(page, box, counts), strict=True):
        texts = ((-0.27, outcome, size), (0, f"{cell.count:,}", 1.5 * size), (0.27, cell.percent, size))
        for shift, text, points in texts:
            y = cell.y + shift * box.height / 2 + below_middle(points)
            page.text(cell.x, y, text, points, bold=shift == 0, colour=cell.ink, align="center")
    pitch, line = size / 72, (ASCENT + DESCENT) * size / 72
    below = box.y + box.height + _PAD + ASCENT * pitch
    left = box.x - _PAD - DESCENT * pitch
    for i, name in enumerate(names):
        page.text(box.x + (i + 0.5) * box.width / 2, below, name, size, align="center")
        page.text(left, box.y + (i + 0.5) * box.height / 2, name, size, align="center", angle=_UPRIGHT)
    _write_axes(page, box, left - line - _PAD / 2, below + line + _PAD / 2, size)


def _draw_cells(page: Page, box: Box, counts: NDArray[np.int64]) -> list[_Cell]:
    """Shade each cell by its share of the row, with lines between; the cells come back, row by row."""
    height, width = (side / of for side, of in zip((box.height, box.width), counts.shape, strict=True))
    totals = counts.sum(axis=1)
    cells = []
    for row, column in np.ndindex(*counts.shape):
        share = float(counts[row, column] / totals[row]) if totals[row] else None
        red, green, blue = (
            round(empty + (full - empty) * (share or 0)) for empty, full in zip(_EMPTY_RGB, _FULL_RGB, strict=True)
        )
        left, top = box.x + column * width, box.y + row * height
        page.rectangle(left, top, width, height, fill=(red, green, blue), frame=FRAME, points=_LINE_POINTS / 2)
        cells.append(_Cell(left + width / 2, top + height / 2, int(counts[row, column]), share))
    page.rectangle(box.x, box.y, box.width, box.height, frame=FRAME, points=_LINE_POINTS)
    return cells


def _write_axes(page: Page, box: Box, left: float, below: float, size: float) -> None:
    """Say what rows and columns are: baselines at `left` and `below`."""
    page.text(box.x + box.width / 2, below, "called", size, align="center")
    page.text(left, box.y + box.height / 2, "labelled", size, align="center", angle=_UPRIGHT)


def build_confusion(
    metrics: Metrics,
    heading: str,
    model: str,
    *,
    dpi: int,
    phantom: bool = False,
    names: tuple[str, str] = CLASSES,
) -> Page:
    """The matrix on a page of its own, under what it is of and the model, with the research-use line."""
    page = Page(_WIDTH_IN, _HEIGHT_IN, dpi)
    top = 0.0
    if phantom:
        page.badge(_WIDTH_IN - 0.15, 0.12, size=10)
        top = 0.3
    room = _WIDTH_IN - 0.3
    page.text(0.15, top + 0.3, f"{heading}: patch-level confusion matrix", size=10.5, bold=True, room=room)
    facts = (
        f"{model} \N{MIDDLE DOT} threshold {threshold_text(metrics.threshold)} \N{MIDDLE DOT} n = {metrics.n:,} patches"
    )
    page.text(0.15, top + 0.52, facts, size=8, colour=QUIET, room=room)
    draw_confusion(page, Box(0.7, top + 0.7, 3.7, 3.3 - top), metrics, size=10, names=names)
    page.text(0.15, _HEIGHT_IN - 0.32, "Percentages are of the row.", size=7.5, colour=QUIET)
    page.text(0.15, _HEIGHT_IN - 0.14, RESEARCH_USE, size=8, bold=True, room=room)
    return page


def save_confusion(
    metrics: Metrics,
    path: Path,
    heading: str,
    model: str,
    *,
    dpi: int = 200,
    phantom: bool = False,
    names: tuple[str, str] = CLASSES,
) -> None:
    """Write the matrix as a picture that stands on its own."""
    save_page(path, build_confusion(metrics, heading, model, dpi=dpi, phantom=phantom, names=names))


def save_class_confusion(
    metrics: ClassMetrics, path: Path, heading: str, model: str, *, dpi: int = 200, phantom: bool = False
) -> None:
    """Write the matrix of several classes as a picture that stands on its own."""
    save_page(path, build_class_confusion(metrics, heading, model, dpi=dpi, phantom=phantom))


def build_class_confusion(metrics: ClassMetrics, heading: str, model: str, *, dpi: int, phantom: bool = False) -> Page:
    """As `build_confusion`, with a row for each labelled class and a column for each called one."""
    names = [_short(name) for name in metrics.names]
    classes = len(names)
    side = min(_CELL_IN, _WIDEST_IN / classes) * classes
    name_in = max(map(len, names)) * 0.6 * _NAME_SIZE / 72
    left, top = 0.6 + name_in, 1.02 + (0.3 if phantom else 0)
    width, height = max(_WIDTH_IN, left + side + 0.3), top + side + 0.65 * name_in + 1.05
    page = Page(width, height, dpi)
    if phantom:
        page.badge(width - 0.15, 0.12, size=10)
    room = width - 0.3
    page.text(0.15, top - 0.72, f"{heading}: patch-level confusion matrix", size=10.5, bold=True, room=room)
    dot = " \N{MIDDLE DOT} "
    facts = f"{model}{dot}most probable class{dot}n = {metrics.n:,} patches"
    page.text(0.15, top - 0.5, facts, size=8, colour=QUIET, room=room)
    figures = {"macro balanced accuracy": metrics.macro_balanced_accuracy, "macro F1": metrics.macro_f1}
    told = dot.join(f"{name} {DASH if value is None else f'{value:.3f}'}" for name, value in figures.items())
    page.text(0.15, top - 0.3, told, size=8, colour=QUIET, room=room)
    _draw_classes(page, Box(left, top, side, side), np.array(metrics.counts), names)
    note = "Percentages are of the row. Patches whose class no outline tells are left out."
    page.text(0.15, height - 0.32, note, size=7.5, colour=QUIET, room=room)
    page.text(0.15, height - 0.14, RESEARCH_USE, size=8, bold=True, room=room)
    return page


def _draw_classes(page: Page, box: Box, counts: NDArray[np.int64], names: Sequence[str]) -> None:
    side = box.width / len(names)
    longest = max(len(f"{counts.max():,}") * 1.3, len("100.0 %"))
    size = min(_NAME_SIZE, 72 * 0.9 * side / (0.65 * longest))
    for cell in _draw_cells(page, box, counts):
        for shift, text, points in ((-0.14, f"{cell.count:,}", 1.3 * size), (0.2, cell.percent, size)):
            y = cell.y + shift * side + below_middle(points)
            if size >= _SMALLEST:
                page.text(cell.x, y, text, points, bold=shift < 0, colour=cell.ink, align="center")
    size = min(_NAME_SIZE, 72 * 0.8 * side)
    below, widest = box.y + box.height + _PAD + ASCENT * size / 72, 0.0
    for i, name in enumerate(names):
        middle = (i + 0.5) * side
        page.text(box.x + middle + 0.3 * size / 72, below, name, size, align="right", angle=_SLANT)
        written = page.text(box.x - _PAD, box.y + middle + below_middle(size), name, size, align="right")
        widest = max(widest, written)
    drop = widest * math.sin(math.radians(_SLANT)) + ASCENT * size / 72 + _PAD
    _write_axes(page, box, box.x - _PAD - widest - 1.5 * _PAD - DESCENT * size / 72, below + drop, size)


def _short(name: str) -> str:
    """A class as pictures name it."""
    shown = plain_text(printable(name).replace("_", " "))
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
