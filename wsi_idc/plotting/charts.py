"""Curves of an evaluation: ROC, precision-recall and reliability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from wsi_idc.evaluation.bootstrap import Intervals
from wsi_idc.evaluation.reliability import ReliabilityBins, expected_calibration_error, reliability_bins
from wsi_idc.metrics import Metrics
from wsi_idc.plotting.caption import RESEARCH_USE, threshold_text
from wsi_idc.plotting.chart_page import ChartPage, house_style
from wsi_idc.plotting.fonts import FONT
from wsi_idc.plotting.page import FRAME, INK, QUIET

_Key = list[tuple[dict[str, Any] | None, str]]
"""Rows of what stands for what: how its line or sign is drawn, None where the row belongs to the one above."""

_CURVE: dict[str, Any] = {"color": "#0072B2", "linewidth": 1.8, "solid_capstyle": "round"}
_BASE: dict[str, Any] = {"color": QUIET, "linewidth": 1.1, "linestyle": (0, (4, 3))}
_POINT: dict[str, Any] = {
    "color": "#D55E00",
    "marker": "D",
    "markersize": 8,
    "markeredgecolor": INK,
    "markeredgewidth": 0.8,
    "linestyle": "none",
}
_BIN: dict[str, Any] = {
    "color": _CURVE["color"],
    "marker": "o",
    "markersize": 6,
    "markeredgecolor": _CURVE["color"],
    "markeredgewidth": 1.4,
    "linestyle": "none",
}
_FEW_BIN = {**_BIN, "color": "white"}
_FEW = 20
"""A share over fewer patches than this jumps by more than 5 % with each of them."""

_DPI = 200
_WIDTH = 5.3
_LEFT, _SIDE = 0.85, 4.2
_MARGIN = 0.15
_TICKS = (0, 0.2, 0.4, 0.6, 0.8, 1)
_ROW = 0.21
_HISTOGRAM, _GAP = 1.1, 0.15
_STEP = 1 / 4000
"""About a quarter of a pixel of the curve's frame."""


@dataclass(frozen=True)
class Judged:
    """Patches as a model judged them, and what the charts say of them.

    Attributes
    ----------
    label : ndarray of int8, shape (n,)
        1 for IDC, 0 for none.
    prob : ndarray of float64, shape (n,)
        Probability of IDC, 0-1.
    metrics : Metrics
        Figures of these patches at the threshold.
    intervals : mapping of str to tuple of float or None
        95 % intervals over cases by the metric's name; left out where there is none.
    heading, subheading : str
        Which patches, and which model.
    phantom : bool
        Whether the tissue is synthetic, which the page then says in large letters.
    """

    label: NDArray[np.int8]
    prob: NDArray[np.float64]
    metrics: Metrics
    intervals: Intervals
    heading: str
    subheading: str
    phantom: bool = False

    @property
    def both_classes(self) -> bool:
        """Whether there is anything to tell apart."""
        return 0 < int(np.count_nonzero(self.label)) < len(self.label)

    def told(self, name: str, over: bool = False) -> str:
        """A figure and its interval, in three decimals where two would not tell the interval's ends apart."""
        value: float | None = getattr(self.metrics, name)
        if value is None:
            return "\N{EN DASH}"
        interval = self.intervals.get(name)
        if interval is None or not np.isfinite(interval).all():
            return f"{value:.3f}"
        low, high = interval
        decimals = 2 if high - low >= 0.02 else 3
        scope = " over cases" if over else ""
        return f"{value:.3f} (95 % {low:.{decimals}f}\N{EN DASH}{high:.{decimals}f}{scope})"


@house_style()
def build_roc(judged: Judged) -> ChartPage:
    """Sensitivity over 1 - specificity, with the threshold's point and the area under the curve."""
    metrics = judged.metrics
    both = judged.both_classes
    key: _Key = [
        (_CURVE, f"AUC {judged.told('auc', over=True)}"),
        (_POINT, f"at threshold {threshold_text(metrics.threshold)}:"),
        (None, f"sensitivity {judged.told('sensitivity')}"),
        (None, f"specificity {judged.told('specificity')}"),
        (_BASE, "chance"),
    ]
    page, axes = _open_page("ROC curve", judged, key if both else [])
    _label_axes(axes, "1 \N{MINUS SIGN} specificity (false-positive rate)", "sensitivity (true-positive rate)")
    if not both:
        _say_undefined(axes, "ROC curve", judged.label)
        return page
    across, up, _ = roc_curve(judged.label, judged.prob)
    axes.plot([0, 1], [0, 1], **_BASE)
    axes.plot(*_thin(across, up), **_CURVE)
    assert metrics.sensitivity is not None and metrics.specificity is not None
    axes.plot([1 - metrics.specificity], [metrics.sensitivity], **_POINT, clip_on=False, zorder=4)
    return page


@house_style()
def build_precision_recall(judged: Judged) -> ChartPage:
    """Precision over sensitivity, with the threshold's point, the average precision and the share of IDC.

    Drawn in steps, whose area is the average precision; straight lines between the points would overstate it.
    """
    metrics = judged.metrics
    both = judged.both_classes
    prevalence = float(np.mean(judged.label)) if both else 0.0
    at = f"threshold {threshold_text(metrics.threshold)}:"
    key: _Key = [(_CURVE, f"average precision {judged.told('average_precision', over=True)}")]
    if metrics.precision is None:
        key += [({}, f"{at} no patch is called IDC")]
    else:
        key += [
            (_POINT, f"at {at}"),
            (None, f"precision {judged.told('precision')}"),
            (None, f"sensitivity {judged.told('sensitivity')}"),
        ]
    key += [(_BASE, f"share of IDC {prevalence:.3f}: the precision of chance")]
    page, axes = _open_page("Precision-recall curve", judged, key if both else [])
    _label_axes(axes, "sensitivity (recall)", "precision (positive predictive value)")
    if not both:
        _say_undefined(axes, "precision-recall curve", judged.label)
        return page
    precision, recall, _ = precision_recall_curve(judged.label, judged.prob)
    # scikit-learn ends the curve in a precision of 1 that no patch stands for.
    precision[-1] = precision[-2]
    axes.plot([0, 1], [prevalence, prevalence], **_BASE)
    axes.plot(*_thin(recall, precision), **_CURVE, drawstyle="steps-post")
    if metrics.precision is not None and metrics.sensitivity is not None:
        axes.plot([metrics.sensitivity], [metrics.precision], **_POINT, clip_on=False, zorder=4)
    return page


@house_style()
def build_reliability(judged: Judged) -> ChartPage:
    """Share of IDC over mean probability in ten bins of equal width, above a histogram of the probabilities."""
    both = judged.both_classes
    bins = reliability_bins(judged.label, judged.prob)
    few = bins.filled & (bins.count < _FEW)
    many = bins.filled & ~few
    key: _Key = []
    if both:
        error = expected_calibration_error(judged.label, judged.prob)
        key = [
            ({**_CURVE, **_BIN, "linestyle": "-"}, f"expected calibration error (ECE) {error:.3f}, in ten bins"),
            ({}, f"Brier score {judged.told('brier', over=True)}"),
            *([(_FEW_BIN, f"bin of fewer than {_FEW} patches")] if few.any() else []),
            (_BASE, "perfect calibration"),
        ]
    page, axes = _open_page("Reliability", judged, key, room_below=_GAP + _HISTOGRAM)
    _label_axes(axes, "", "share of IDC")
    axes.tick_params(labelbottom=False)
    _draw_histogram(page.axes(_LEFT, _axes_bottom(judged.phantom) + _GAP, _SIDE, _HISTOGRAM), bins)
    if not both:
        _say_undefined(axes, "reliability curve", judged.label)
        return page
    axes.plot([0, 1], [0, 1], **_BASE)
    # An empty bin is NaN and interrupts the line.
    axes.plot(bins.mean_prob, bins.idc_share, **_CURVE)
    axes.plot(bins.mean_prob[many], bins.idc_share[many], **_BIN, clip_on=False)
    axes.plot(bins.mean_prob[few], bins.idc_share[few], **_FEW_BIN, clip_on=False)
    return page


def _open_page(title: str, judged: Judged, key: _Key, room_below: float = 0) -> tuple[ChartPage, Axes]:
    """A page with title, key and foot, and its square axes, with `room_below` inches between them and the key."""
    bottom = _axes_bottom(judged.phantom) + room_below
    height = bottom + 0.65 + len(key) * _ROW + 0.3
    page = ChartPage(_WIDTH, height, _DPI)
    if judged.phantom:
        page.badge(_WIDTH - _MARGIN, 0.12, size=10)
    top, room = _axes_bottom(judged.phantom) - _SIDE, _WIDTH - 2 * _MARGIN
    page.text(_MARGIN, top - 0.68, title, size=12, bold=True, room=room)
    page.text(_MARGIN, top - 0.44, judged.heading, size=9.5, room=room)
    page.text(_MARGIN, top - 0.23, judged.subheading, size=8.5, colour=QUIET, room=room)
    _write_key(page, bottom + 0.65, key)
    page.text(_MARGIN, height - 0.14, RESEARCH_USE, size=8.5, bold=True, room=room)
    return page, page.axes(_LEFT, top, _SIDE, _SIDE)


def _axes_bottom(phantom: bool) -> float:
    """Lower edge of the square axes in inches from the page's top; the phantom's badge takes a line above."""
    return 0.98 + (0.3 if phantom else 0) + _SIDE


def _label_axes(axes: Axes, across: str, up: str) -> None:
    # A perfect curve runs along the edge: the frame stands a little off it.
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    _finish_axes(axes, across, up)


def _finish_axes(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across, size=9.5, color=INK, family=FONT)
    axes.set_ylabel(up, size=9.5, color=INK, family=FONT)
    # At the same place whatever the width of the numbers, so that axes above each other align.
    axes.yaxis.set_label_coords(-0.125, 0.5)
    axes.tick_params(labelsize=9, color=FRAME, labelcolor=INK)
    axes.grid(color="#ebebeb", linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set(color=FRAME, linewidth=0.8)


def _say_undefined(axes: Axes, curve: str, label: NDArray[np.int8]) -> None:
    """Say in the empty axes why there is no curve."""
    count, idc = len(label), bool(np.any(label))
    which = "the only patch is" if count == 1 else f"all {count:,} patches are"
    reason = f"{which} {'IDC' if idc else 'without IDC'}" if count else "there is no patch with a label"
    told = f"The {curve} is undefined:\n{reason}."
    axes.text(0.5, 0.5, told, ha="center", va="center", size=11, color=INK, family=FONT, linespacing=1.6)
    axes.grid(visible=False)


def _draw_histogram(axes: Axes, bins: ReliabilityBins) -> None:
    highest = max(int(bins.count.max()), 1)
    axes.bar(bins.edges[:-1], bins.count, np.diff(bins.edges), align="edge", color="#9ecae1", edgecolor="white", lw=1)
    for left, count in zip(bins.edges[:-1], bins.count.tolist(), strict=True):
        if count:
            told = _short_count(count)
            axes.text(left + 0.05, count + 0.04 * highest, told, ha="center", size=7.5, color=INK, family=FONT)
    axes.set(xlim=(-0.02, 1.02), ylim=(0, 1.25 * highest))
    axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short_count(round(value))))
    _finish_axes(axes, "predicted probability of IDC", "patches")
    axes.grid(visible=False, axis="x")


def _short_count(count: int) -> str:
    """A count in at most five signs."""
    if count < 10_000:
        return f"{count:,}"
    power, unit = (1e6, "M") if count >= 999_500 else (1e3, "k")
    value = count / power
    return f"{value:.0f}{unit}" if value >= 99.5 or value == int(value) else f"{value:.1f}{unit}"


def _thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Leave out points that no one could see: those in the same cell of a fine grid as the one before."""
    cell = np.rint(np.stack([x, y]) / _STEP)
    keep = np.ones(len(x), dtype=np.bool_)
    keep[1:-1] = (cell[:, 1:-1] != cell[:, :-2]).any(axis=0)
    return x[keep], y[keep]


def _write_key(page: ChartPage, y: float, key: _Key) -> None:
    """Say beneath the axes, where no curve can run into it, what each line and sign is."""
    for i, (style, told) in enumerate(key):
        baseline = y + i * _ROW
        indent = 0.6 if style is None else 0.45
        if style:
            across = np.array([0.17] if style.get("linestyle") == "none" else [0, 0.17, 0.34]) + _LEFT
            up = np.full(len(across), page.height - baseline + 0.045)
            line = Line2D(across, up, transform=page.figure.dpi_scale_trans, markevery=[len(across) // 2], **style)
            page.figure.add_artist(line)
        page.text(_LEFT + indent, baseline, told, size=9, room=_WIDTH - _MARGIN - _LEFT - indent)
