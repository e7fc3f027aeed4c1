"""Figures of two results of a slide, under their maps: a table, how calls changed, and probability over probability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm

from wsi_idc.evaluation.paired import Pair
from wsi_idc.plotting.chart_page import ChartPage
from wsi_idc.plotting.page import FRAME, INK, QUIET
from wsi_idc.source import UNKNOWN

HEIGHT = 1.92
"""Inches that they take."""

_DASH = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_ROW, _TEXT, _HEADING = 0.19, 9, 9.5
_METRICS = (
    ("auc", "AUC"),
    ("balanced_accuracy", "Balanced accuracy"),
    ("sensitivity", "Sensitivity"),
    ("specificity", "Specificity"),
    ("f1", "F1"),
)
_BINS = 40

Row = tuple[str, str, str, str]


def draw_changes(
    page: ChartPage, lefts: Sequence[float], y: float, width: float, pair: Pair, mpp: tuple[float, float], finding: str
) -> None:
    """Draw the three blocks from `y` down, each `width` inches wide, at the lefts of the maps above.

    `finding` is what the positive class is called.
    """
    _draw_table(page, lefts[0], y, width, table_rows(pair, mpp, finding))
    _draw_calls(page, lefts[1], y, width, pair, finding)
    _draw_spread(page, lefts[2], y, width, pair, finding)


def table_rows(pair: Pair, mpp: tuple[float, float], finding: str = "IDC") -> list[Row]:
    """A, B, and B minus A: calls, their area, and metrics where patches are labelled."""
    area = pair.boxes[:, 2] * pair.boxes[:, 3] * (mpp[0] * mpp[1] / 1e6)
    counts = [int(calls.sum()) for calls in pair.calls]
    areas = [float(area[calls].sum()) for calls in pair.calls]
    rows = [
        (f"Patches called {finding}", *(f"{count:,}" for count in counts), _signed(counts[1] - counts[0], ",d")),
        (f"Area called {finding}, mm²", *(f"{of:,.1f}" for of in areas), _signed(areas[1] - areas[0], ",.1f")),
    ]
    first, second = pair.metrics()
    for name, title in _METRICS if first is not None and second is not None else ():
        values = getattr(first, name), getattr(second, name)
        told = [_DASH if value is None else f"{value:.3f}" for value in values]
        rows.append((title, *told, _DASH if None in values else _signed(values[1] - values[0], ".3f")))
    corrected = int((pair.corrected != UNKNOWN).sum())
    if corrected:
        agreed = pair.agreements()
        told = [f"{of:,} of {corrected:,}" for of in agreed]
        rows.append(("Agrees with corrections", *told, _signed(agreed[1] - agreed[0], ",d")))
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def _signed(value: float, form: str) -> str:
    text = format(abs(value), form)
    # A sign before what rounds to nothing would say more than is known.
    return text if not text.strip("0.") else f"{'+' if value > 0 else _MINUS}{text}"


def _draw_table(page: ChartPage, x: float, y: float, width: float, changes: Sequence[Row]) -> None:
    page.text(x, y, "Figures of the patches in both", size=_HEADING, bold=True)
    ends = [x + share * width for share in (0.66, 0.83, 1.0)]
    rows = [("", "A", "B", f"B {_MINUS} A"), *changes]
    wide = any(" of " in row[1] for row in rows)
    if wide:
        ends[0] -= 0.06 * width
    for i, (title, *values) in enumerate(rows):
        at = y + (i + 1) * _ROW
        page.text(x, at, title, size=_TEXT, room=ends[0] - x - 0.5)
        for end, value in zip(ends, values, strict=True):
            page.text(end, at, value, size=_TEXT, align="right", bold=not i)
        if i:
            page.rule(x, at - _ROW + 0.055, width, FRAME)


def _draw_calls(page: ChartPage, x: float, y: float, width: float, pair: Pair, finding: str) -> None:
    page.text(x, y, "Calls, A against B", size=_HEADING, bold=True)
    first, second = pair.calls
    cells = [
        [(first & second, f"both {finding}"), (pair.lost, "lost")],
        [(pair.gained, "gained"), (~first & ~second, f"neither {finding}")],
    ]
    head, side, height = 0.8, (width - 0.8) / 2, 0.62
    top = y + 0.32
    for column, told in enumerate((f"B: {finding}", f"B: no {finding}")):
        page.text(x + head + (column + 0.5) * side, top - 0.07, told, size=_TEXT, align="center", colour=QUIET)
    for row, told in enumerate((f"A: {finding}", f"A: no {finding}")):
        middle = top + (row + 0.5) * height
        page.text(x + head - 0.08, middle + 0.04, told, size=_TEXT, align="right", colour=QUIET)
        for column, (which, name) in enumerate(cells[row]):
            count = int(which.sum())
            left, upper = x + head + column * side, top + row * height
            face = "white" if row == column else "#ececec"
            page.rectangle(left, upper, side, height, fill=face, frame=FRAME)
            page.text(left + side / 2, upper + 0.3, f"{count:,}", size=12, bold=True, align="center")
            told = name + (f", {100 * count / len(pair):.1f} %" if len(pair) else "")
            page.text(left + side / 2, upper + 0.5, told, size=8, align="center", colour=QUIET, room=side - 0.1)


def _draw_spread(page: ChartPage, x: float, y: float, width: float, pair: Pair, finding: str) -> None:
    page.text(x, y, f"Probability of {finding}, B over A", size=_HEADING, bold=True)
    side = 1.45
    axes = page.axes(x + 0.3, y + 0.1, side, side)
    counts, _, _ = np.histogram2d(pair.second, pair.first, bins=_BINS, range=[[0, 1], [0, 1]])
    if counts.any():
        # Logarithmic: most patches of a slide lie in one corner.
        shown = np.ma.masked_equal(counts, 0)
        norm = LogNorm(0.5, max(2.0, counts.max()))
        axes.imshow(shown, extent=(0, 1, 0, 1), origin="lower", cmap="Greys", norm=norm, interpolation="nearest")
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.7)
    axes.axvline(pair.thresholds[0], color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.axhline(pair.thresholds[1], color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes.set_xticklabels(["0", "0.5", "1"])
    axes.set_yticklabels(["0", "0.5", "1"])
    axes.tick_params(labelsize=8, length=2.5, pad=2, color=QUIET, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set(color=FRAME, linewidth=0.6)
    notes = (
        "across: A, upwards: B",
        "darker: more patches",
        "line: no change",
        "dashed: the thresholds",
        "upper left: gained",
        "lower right: lost",
    )
    for i, note in enumerate(notes):
        page.text(x + side + 0.5, y + 0.28 + i * _ROW, note, size=_TEXT, colour=QUIET, room=width - side - 0.5)
