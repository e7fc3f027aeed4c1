"""The patch-level confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from wsi_idc.metrics import Metrics
from wsi_idc.plotting.caption import RESEARCH_USE, threshold_text
from wsi_idc.plotting.page import FONT, FRAME, INK, QUIET, Page, house_style, save_page

_FILL = LinearSegmentedColormap.from_list("share", ["#ffffff", "#3a6ea5"])
"""White to blue by row share; dark text stays readable on the lower half, white text on the upper."""

CLASSES = ("no IDC", "IDC")
_WIDTH_IN, _HEIGHT_IN = 4.6, 4.9


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
    shares = np.divide(counts, totals, out=np.zeros((2, 2)), where=totals > 0)
    ax.imshow(shares, cmap=_FILL, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for row, column in np.ndindex(2, 2):
        ink = "white" if shares[row, column] > 0.6 else INK
        percent = f"{shares[row, column]:.1%}".replace("%", " %") if totals[row, 0] else "\N{EN DASH}"
        style: dict[str, Any] = {"ha": "center", "color": ink, "family": FONT}
        ax.text(column, row - 0.27, (("TN", "FP"), ("FN", "TP"))[row][column], va="center", size=size, **style)
        ax.text(column, row, f"{counts[row, column]:,}", va="center", size=1.5 * size, weight="bold", **style)
        ax.text(column, row + 0.27, percent, va="center", size=size, **style)
    ax.set_xticks([0, 1], names)
    ax.set_yticks([0, 1], names, rotation=90, va="center")
    ax.set_xlabel("called", size=size, color=INK, family=FONT, labelpad=2)
    ax.set_ylabel("labelled", size=size, color=INK, family=FONT, labelpad=2)
    ax.tick_params(labelsize=size, labelcolor=INK, length=0, pad=3)
    ax.axhline(0.5, color=FRAME, linewidth=0.8)
    ax.axvline(0.5, color=FRAME, linewidth=0.8)
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
