"""How far the figures of a set of cases can be trusted: bootstrap over cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1_000
LEVEL = 0.95

Intervals = dict[str, tuple[float, float] | None]


def bootstrap_intervals(
    case: NDArray[np.str_],
    label: NDArray[np.int8],
    prob: NDArray[np.float64],
    threshold: float,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Intervals:
    """95 % intervals of every figure, by drawing whole cases with replacement.

    Patches of a case resemble each other, so an interval over patches would be far too narrow.

    Parameters
    ----------
    case : ndarray of str, shape (n,)
        Case of each patch.
    label : ndarray of int8, shape (n,)
        1 for IDC, 0 for none.
    prob : ndarray of float64, shape (n,)
    threshold : float
    resamples, seed : int

    Returns
    -------
    dict
        (low, high) by the names of `Metrics`; None where fewer than two cases are given, or a figure is undefined
        in more than one resample of twenty.

    References
    ----------
    B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile intervals).
    """
    names, row = np.unique(case, return_inverse=True)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples).astype(np.float64)
    cases = _Cases(row, label == 1, prob)
    figures = _figures(cases, draws, threshold)
    return {name: _interval(values) if len(names) > 1 else None for name, values in figures.items()}


@dataclass(frozen=True)
class _Cases:
    """Patches as numbers: `row` of their case, `truth`, `prob`."""

    row: NDArray[np.intp]
    truth: NDArray[np.bool_]
    prob: NDArray[np.float64]

    def count(self, which: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Patches of each case for which this holds."""
        return np.bincount(self.row[which], minlength=self.row.max() + 1).astype(np.float64)


def _figures(cases: _Cases, draws: NDArray[np.float64], threshold: float) -> dict[str, NDArray[np.float64]]:
    """Each figure in each resample; `draws`, shape (resamples, cases), says how often a case was drawn."""
    called = cases.prob >= threshold
    tp, fp, fn, tn = (
        draws @ cases.count(which)
        for which in (called & cases.truth, called & ~cases.truth, ~called & cases.truth, ~called & ~cases.truth)
    )
    squared = np.bincount(cases.row, weights=(cases.prob - cases.truth) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
        return {
            "accuracy": (tp + tn) / (tp + tn + fp + fn),
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "precision": tp / (tp + fp),
            "npv": tn / (tn + fn),
            "f1": 2 * tp / (2 * tp + fp + fn),
            "auc": _auc(cases, draws),
            "average_precision": _average_precision(cases, draws),
            "brier": draws @ squared / (tp + tn + fp + fn),
        }


def _auc(cases: _Cases, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area under the ROC curve in each resample.

    It is the share of (positive, negative) pairs in the right order, so each pair of cases is counted once and every
    resample is a quadratic form in how often its cases were drawn.
    """
    n = draws.shape[1]
    wins = np.zeros((n, n))
    positive_row, positive = cases.row[cases.truth], cases.prob[cases.truth]
    for case in range(n):
        negative = np.sort(cases.prob[(cases.row == case) & ~cases.truth])
        below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
        wins[:, case] = np.bincount(positive_row, weights=below / 2, minlength=n)
    pairs = (draws @ cases.count(cases.truth)) * (draws @ cases.count(~cases.truth))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.einsum("ri,ij,rj->r", draws, wins, draws, optimize=True) / pairs)


def _average_precision(cases: _Cases, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average precision in each resample; the patches are sorted once."""
    order = np.argsort(-cases.prob, kind="stable")
    row, truth, prob = cases.row[order], cases.truth[order], cases.prob[order]
    last = np.flatnonzero(np.append(prob[1:] != prob[:-1], True))
    values = np.full(len(draws), np.nan)
    for i, draw in enumerate(draws):
        weight = draw[row]
        called = np.cumsum(weight)[last]
        hit = np.cumsum(weight * truth)[last]
        if hit[-1]:
            precision = np.divide(hit, called, out=np.zeros_like(hit), where=called > 0)
            values[i] = np.sum(np.diff(hit, prepend=0.0) * precision) / hit[-1]
    return values


def _interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    defined = values[np.isfinite(values)]
    if len(defined) < 0.95 * len(values):
        return None
    low, high = np.percentile(defined, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return float(low), float(high)
