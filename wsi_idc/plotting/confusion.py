"""The patch-level confusion matrix, of two classes or of more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from wsi_idc.errors import printable
from wsi_idc.metrics import ClassMetrics, Metrics
from wsi_idc.plotting.caption import RESEARCH_USE, threshold_text
from wsi_idc.plotting.page import FONT, FRAME, INK, QUIET, Page, house_style, plain_text, save_page

_FILL = LinearSegmentedColormap.from_list("share", ["#ffffff", "#3a6ea5"])
"""White to blue by row share; dark text stays readable on the lower half, white text on the upper."""

CLASSES = ("no IDC", "IDC")
DASH = "\N{EN DASH}"
_WIDTH_IN, _HEIGHT_IN = 4.6, 4.9
_CELL_IN, _WIDEST_IN = 0.95, 9.0
"""Side of a cell of more than two classes, and what all cells take at most."""

_NAME_SIZE, _LONGEST_NAME = 9, 24
_SMALLEST = 2.5
"""Points; smaller text in a cell is left out."""


def draw_confusion(ax: Axes, metrics: Metrics, size: float = 8, names: tuple[str, str] = CLASSES) -> None:
    """Fill `ax` with the 2x2 matrix: counts, percentages of the row, and the outcomes' names.

    Parameters
    ----------
    ax : Axes
        About square.
    metrics : Metrics
    size : float
        Size of the smaller text in points; counts are half as large again.
    names : tuple of str
        Of the negative and the positive class.
    """
    counts = np.array([[metrics.tn, metrics.fp], [metrics.fn, metrics.tp]])
    totals = counts.sum(axis=1, keepdims=True)
    shares = _fill_cells(ax, counts)
    for row, column in np.ndindex(2, 2):
        percent, style = _cell(float(shares[row, column]), bool(totals[row, 0]))
        ax.text(column, row - 0.27, (("TN", "FP"), ("FN", "TP"))[row][column], va="center", size=size, **style)
        ax.text(column, row, f"{counts[row, column]:,}", va="center", size=1.5 * size, weight="bold", **style)
        ax.text(column, row + 0.27, percent, va="center", size=size, **style)
    ax.set_xticks([0, 1], names)
    ax.set_yticks([0, 1], names, rotation=90, va="center")
    _finish(ax, 2, size)


def _fill_cells(ax: Axes, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shade each cell by its share of the row; the shares come back, 0 where a row is empty."""
    totals = counts.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    ax.imshow(shares, cmap=_FILL, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    return shares


def _cell(share: float, defined: bool) -> tuple[str, dict[str, Any]]:
    """The percentage of a cell, and how its text is set."""
    percent = f"{share:.1%}".replace("%", " %") if defined else DASH
    return percent, {"ha": "center", "color": "white" if share > 0.6 else INK, "family": FONT}


def _finish(ax: Axes, classes: int, size: float) -> None:
    """Axis labels, lines between the cells and a frame."""
    ax.set_xlabel("called", size=size, color=INK, family=FONT, labelpad=2)
    ax.set_ylabel("labelled", size=size, color=INK, family=FONT, labelpad=2)
    ax.tick_params(labelsize=size, labelcolor=INK, length=0, pad=3)
    for between in range(1, classes):
        ax.axhline(between - 0.5, color=FRAME, linewidth=0.8)
        ax.axvline(between - 0.5, color=FRAME, linewidth=0.8)
    for spine in ax.spines.values():
        spine.set(color=FRAME, linewidth=0.8)


@house_style()
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
    page.text(0.15, top + 0.3, f"{heading}: patch-level confusion matrix", size=10.5, weight="bold", room=room)
    facts = (
        f"{model} \N{MIDDLE DOT} threshold {threshold_text(metrics.threshold)} \N{MIDDLE DOT} n = {metrics.n:,} patches"
    )
    page.text(0.15, top + 0.52, facts, size=8, color=QUIET, room=room)
    draw_confusion(page.axes(0.7, top + 0.7, 3.7, 3.3 - top), metrics, size=10, names=names)
    page.text(0.15, _HEIGHT_IN - 0.32, "Percentages are of the row.", size=7.5, color=QUIET)
    page.text(0.15, _HEIGHT_IN - 0.14, RESEARCH_USE, size=8, weight="bold", room=room)
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


@house_style()
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
    page.text(0.15, top - 0.72, f"{heading}: patch-level confusion matrix", size=10.5, weight="bold", room=room)
    dot = " \N{MIDDLE DOT} "
    facts = f"{model}{dot}most probable class{dot}n = {metrics.n:,} patches"
    page.text(0.15, top - 0.5, facts, size=8, color=QUIET, room=room)
    figures = {"macro balanced accuracy": metrics.macro_balanced_accuracy, "macro F1": metrics.macro_f1}
    told = dot.join(f"{name} {DASH if value is None else f'{value:.3f}'}" for name, value in figures.items())
    page.text(0.15, top - 0.3, told, size=8, color=QUIET, room=room)
    _draw_classes(page.axes(left, top, side, side), np.array(metrics.counts), names, side / classes)
    note = "Percentages are of the row. Patches whose class no outline tells are left out."
    page.text(0.15, height - 0.32, note, size=7.5, color=QUIET, room=room)
    page.text(0.15, height - 0.14, RESEARCH_USE, size=8, weight="bold", room=room)
    return page


def _draw_classes(ax: Axes, counts: NDArray[np.int64], names: list[str], cell_in: float) -> None:
    longest = max(len(f"{counts.max():,}") * 1.3, len("100.0 %"))
    size = min(_NAME_SIZE, 72 * 0.9 * cell_in / (0.65 * longest))
    shares, totals = _fill_cells(ax, counts), counts.sum(axis=1)
    if size >= _SMALLEST:
        for row, column in np.ndindex(*counts.shape):
            percent, style = _cell(float(shares[row, column]), bool(totals[row]))
            told = f"{counts[row, column]:,}"
            ax.text(column, row - 0.14, told, va="center", size=1.3 * size, weight="bold", **style)
            ax.text(column, row + 0.2, percent, va="center", size=size, **style)
    places = [*range(len(counts))]
    ax.set_xticks(places, names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(places, names)
    _finish(ax, len(counts), min(_NAME_SIZE, 72 * 0.8 * cell_in))


def _short(name: str) -> str:
    """A class as pictures name it."""
    shown = plain_text(printable(name).replace("_", " "))
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
