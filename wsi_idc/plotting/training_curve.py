"""How a training went."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from wsi_idc.plotting.chart_page import ChartPage, house_style
from wsi_idc.plotting.fonts import FONT
from wsi_idc.plotting.page import FRAME, INK, QUIET, save_page

if TYPE_CHECKING:
    from wsi_idc.training.history import Epoch

_TRAIN, _VALIDATION = "#E69F00", "#0072B2"
_DPI = 150


@house_style()
def build_history(history: Sequence[Epoch]) -> ChartPage:
    """Loss and AUC over the epochs, training and validation, with the epoch of highest validation AUC marked.

    Of a training without a validation part there is no validation to draw.
    """
    page = ChartPage(9, 3.8, _DPI)
    judged = [epoch for epoch in history if not math.isnan(epoch.val_auc)]
    best = max(judged, key=lambda epoch: (epoch.val_auc, -epoch.epoch)) if judged else None
    told = f"best epoch {best.epoch}: validation AUC {best.val_auc:.4f}" if best else f"{len(history)} epochs"
    page.text(0.15, 0.3, "Training", size=11, bold=True)
    page.text(8.85, 0.3, told, size=9, colour=QUIET, align="right")
    left, right = page.axes(0.75, 0.5, 3.6, 2.75), page.axes(5.2, 0.5, 3.6, 2.75)
    _draw(left, history, "loss", lambda epoch: epoch.loss, lambda epoch: epoch.val_loss)
    _draw(right, history, "AUC", lambda epoch: epoch.auc, lambda epoch: epoch.val_auc)
    if best:
        for axes, value in ((left, best.val_loss), (right, best.val_auc)):
            axes.axvline(best.epoch, color=QUIET, linewidth=0.8, linestyle=":")
            axes.plot([best.epoch], [value], "o", color=_VALIDATION, markeredgecolor="white", label="best epoch")
        # Outside of the axes: inside, it covers some training's curve.
        left.legend(fontsize=8, frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0.3, 1.02), borderaxespad=0)
    return page


def _draw(
    axes: Axes,
    history: Sequence[Epoch],
    name: str,
    train: Callable[[Epoch], float],
    validation: Callable[[Epoch], float],
) -> None:
    epochs = [epoch.epoch for epoch in history]
    # A single epoch is no line: markers show it.
    marker = "o" if len(epochs) < 3 else None
    curves = [[curve(epoch) for epoch in history] for curve in (train, validation)]
    axes.plot(epochs, curves[0], color=_TRAIN, marker=marker, ms=4, label="training")
    if not np.isnan(curves[1]).all():
        axes.plot(epochs, curves[1], color=_VALIDATION, marker=marker, ms=4, label="validation")
    _fit(axes, np.array(curves, dtype=np.float64).ravel())
    axes.set_xlabel("epoch", size=9, color=INK, family=FONT)
    axes.set_ylabel(name, size=9, color=INK, family=FONT)
    axes.tick_params(labelsize=8, color=FRAME, labelcolor=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#ebebeb", linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=FRAME)


def _fit(axes: Axes, values: NDArray[np.float64]) -> None:
    """Scale the axis to the bulk of the values, and say how many lie outside: a first epoch is often far off."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return
    low, middle, high = np.percentile(finite, (0, 50, 100))
    reach = 7 * max(np.percentile(np.abs(finite - middle), 80), 1e-3)
    low, high = max(low, middle - reach), min(high, middle + reach)
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    outside = int(((finite < low) | (finite > high)).sum())
    if outside:
        note = f"{outside} point{'s' if outside > 1 else ''} off the scale"
        axes.text(1, 1.01, note, transform=axes.transAxes, ha="right", va="bottom", size=8, color=QUIET, family=FONT)


def save_history(history: Sequence[Epoch], path: Path) -> None:
    """Write the training curve as a PNG."""
    save_page(path, build_history(history))
