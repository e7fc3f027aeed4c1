"""Intervals of metrics over a set of cases, by bootstrap over cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1_000
LEVEL = 0.95

_DRAWN_AT_ONCE = 1 << 22
"""Cases in the resamples that are held together (32 MB): memory grows with the patches, not with the resamples."""

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
    cases = _Cases(row, label == 1, prob)
    figures = _resampled(len(names), resamples, seed, lambda draws: _figures(cases, draws, threshold))
    return {name: _interval(values) if len(names) > 1 else None for name, values in figures.items()}


def class_intervals(counts: NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = 0) -> Intervals:
    """95 % intervals of the macro figures of several classes, by drawing whole cases with replacement.

    Parameters
    ----------
    counts : ndarray of int64, shape (cases, classes, classes)
        Of each case, a row for each labelled class and a column for each called one.
    resamples, seed : int

    Returns
    -------
    dict
        As `bootstrap_intervals`, by the names of `ClassMetrics`.
    """

    def figures(draws: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        drawn = np.tensordot(draws, counts, axes=1)
        right, labelled, called = np.diagonal(drawn, axis1=1, axis2=2), drawn.sum(axis=2), drawn.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "macro_balanced_accuracy": (right / labelled).mean(axis=1),
                "macro_f1": (2 * right / (labelled + called)).mean(axis=1),
            }

    found = _resampled(len(counts), resamples, seed, figures)
    return {name: _interval(values) if len(counts) > 1 else None for name, values in found.items()}


def paired_intervals(
    case: NDArray[np.str_],
    label: NDArray[np.int8],
    prob: tuple[NDArray[np.float64], NDArray[np.float64]],
    threshold: tuple[float, float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Intervals:
    """95 % intervals of how much higher each figure is by the second probabilities than by the first.

    Both are judged on the same cases in each resample, so that what is hard about a case cancels out.

    Parameters
    ----------
    prob : tuple of two ndarrays of float64, shape (n,)
    threshold : tuple of two floats
        Of the first and of the second probabilities.
    case, label, resamples, seed
        As in `bootstrap_intervals`.
    """
    names, row = np.unique(case, return_inverse=True)
    first, second = (_Cases(row, label == 1, one) for one in prob)

    def differences(draws: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        before, after = _figures(first, draws, threshold[0]), _figures(second, draws, threshold[1])
        return {name: after[name] - before[name] for name in before}

    figures = _resampled(len(names), resamples, seed, differences)
    return {name: _interval(values) if len(names) > 1 else None for name, values in figures.items()}


def _resampled(
    cases: int, resamples: int, seed: int, figures: Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]
) -> dict[str, NDArray[np.float64]]:
    """Figures in every resample, each shape (resamples,); `figures` computes them for some draws."""
    rng = np.random.default_rng(seed)
    step = max(1, _DRAWN_AT_ONCE // cases)
    parts = [figures(_draws(rng, cases, min(step, resamples - start))) for start in range(0, resamples, step)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _draws(rng: np.random.Generator, cases: int, resamples: int) -> NDArray[np.float64]:
    """How often each case is drawn, shape (resamples, cases). Parts of a sequence are the sequence."""
    return rng.multinomial(cases, np.full(cases, 1 / cases), size=resamples).astype(np.float64)


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
    auc, average_precision = _areas(cases, draws)
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
            "auc": auc,
            "average_precision": average_precision,
            "brier": draws @ squared / (tp + tn + fp + fn),
        }


def _areas(cases: _Cases, draws: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Area under the ROC curve, and average precision, in each resample; NaN where undefined.

    The patches are sorted once, and each resample is a weight for each of them: memory is linear in the patches.
    """
    order = np.argsort(-cases.prob, kind="stable")
    row, truth, prob = cases.row[order], cases.truth[order], cases.prob[order]
    start = np.flatnonzero(np.append(True, prob[1:] != prob[:-1]))
    stop = np.append(start[1:], len(prob))
    # Patches of one probability are called together. Only where there are positives among them do they count.
    positives = np.append(0, np.cumsum(truth))
    counts = positives[stop] > positives[start]
    start, stop = start[counts], stop[counts]
    first, last = positives[start], positives[stop]
    positive_row = row[truth]
    auc, average_precision = np.full((2, len(draws)), np.nan)
    for i, draw in enumerate(draws):
        called = np.append(0.0, np.cumsum(draw[row]))
        hit = np.append(0.0, np.cumsum(draw[positive_row]))
        total, missed = hit[-1], called[-1] - hit[-1]
        if not total:
            continue
        hits, before, after = hit[last] - hit[first], called[start], called[stop]
        precision = np.divide(hit[last], after, out=np.zeros_like(after), where=after > 0)
        average_precision[i] = np.sum(hits * precision) / total
        if missed:
            # Pairs of a positive and a negative in the right order; those of one probability count half.
            lower = missed - (before - hit[first]) - (after - before - hits) / 2
            auc[i] = np.sum(hits * lower) / (total * missed)
    return auc, average_precision


def _interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    defined = values[np.isfinite(values)]
    if len(defined) < 0.95 * len(values):
        return None
    low, high = np.percentile(defined, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return float(low), float(high)
