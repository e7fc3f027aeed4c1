"""ROC and reliability as SVG: small, sharp at any zoom, and a script can move the threshold's point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from wsi_idc.report.totals import Pooled

SIDE, LEFT, TOP, RIGHT, BOTTOM = 220, 44, 10, 10, 40
"""Of the frame and the room around it, in units of the drawing; the script knows the first three."""

_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_WIDTH, _HEIGHT = LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM


@dataclass(frozen=True)
class Chart:
    """A drawing, and in words what it shows."""

    svg: Markup
    told: str


def draw_roc(pooled: Pooled) -> Chart | None:
    """Sensitivity over 1 - specificity at each step of the slider; None where a class is missing."""
    metrics = pooled.metrics
    idc, none = metrics.tp + metrics.fn, metrics.tn + metrics.fp
    if not idc or not none or metrics.sensitivity is None or metrics.specificity is None:
        return None
    across = np.append(pooled.called_none / none, 0.0)
    up = np.append(pooled.called_idc / idc, 0.0)
    x, y = _place(1 - metrics.specificity, metrics.sensitivity)
    body = (
        f'<path class="chance" d="{_path(np.array([0.0, 1.0]), np.array([0.0, 1.0]))}"/>'
        f'<path class="curve" d="{_path(across, up)}"/>'
        f'<circle class="point" id="roc-point" cx="{x}" cy="{y}" r="5"/>'
    )
    told = f"ROC curve, area under it {metrics.auc:.3f}" if metrics.auc is not None else "ROC curve"
    frame = _frame("1 \N{MINUS SIGN} specificity", "sensitivity")
    return Chart(_svg(frame + body, told), told)


def draw_reliability(pooled: Pooled) -> Chart:
    """Share of IDC over mean probability in ten bins; a dot grows with its patches."""
    bins = pooled.bins
    full = bins.filled
    share = bins.count[full] / max(1, int(bins.count.max()))
    dots = "".join(
        f'<circle class="bin" cx="{x}" cy="{y}" r="{2.5 + 4 * float(size) ** 0.5:.1f}">'
        f"<title>{count:,} patches: mean probability {mean:.2f}, {idc:.0%} IDC</title></circle>"
        for (x, y), size, count, mean, idc in zip(
            (_place(mean, idc) for mean, idc in zip(bins.mean_prob[full], bins.idc_share[full], strict=True)),
            share,
            bins.count[full].tolist(),
            bins.mean_prob[full].tolist(),
            bins.idc_share[full].tolist(),
            strict=True,
        )
    )
    body = (
        f'<path class="chance" d="{_path(np.array([0.0, 1.0]), np.array([0.0, 1.0]))}"/>'
        f'<path class="curve thin" d="{_path(bins.mean_prob[full], bins.idc_share[full])}"/>{dots}'
    )
    told = f"Reliability in ten bins, expected calibration error {pooled.ece:.3f}"
    return Chart(_svg(_frame("predicted probability", "share of IDC") + body, told), told)


def _place(x: float, y: float) -> tuple[str, str]:
    return f"{LEFT + float(x) * SIDE:.1f}", f"{TOP + (1 - float(y)) * SIDE:.1f}"


def _path(across: NDArray[np.float64], up: NDArray[np.float64]) -> str:
    points = [" ".join(_place(x, y)) for x, y in zip(across, up, strict=True)]
    kept = [point for i, point in enumerate(points) if not i or point != points[i - 1]]
    return "M" + "L".join(kept) if kept else ""


def _frame(across: str, up: str) -> str:
    lines = []
    for tick in _TICKS:
        x, y = _place(tick, tick)
        lines += [
            f'<path class="grid" d="M{x} {TOP}V{TOP + SIDE}M{LEFT} {y}H{LEFT + SIDE}"/>',
            f'<text x="{x}" y="{TOP + SIDE + 15}" text-anchor="middle">{tick:g}</text>',
            f'<text x="{LEFT - 6}" y="{y}" text-anchor="end" dominant-baseline="central">{tick:g}</text>',
        ]
    middle = TOP + SIDE / 2
    return (
        "".join(lines) + f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}"/>'
        f'<text x="{LEFT + SIDE / 2}" y="{_HEIGHT - 5}" text-anchor="middle">{across}</text>'
        f'<text transform="translate(11 {middle}) rotate(-90)" text-anchor="middle">{up}</text>'
    )


def _svg(body: str, told: str) -> Markup:
    # Made of numbers and our own words only.
    return Markup(f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{told}">{body}</svg>')
