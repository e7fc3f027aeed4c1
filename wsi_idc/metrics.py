"""Patch-level figures of a classifier: numbers in, numbers out. What is undefined is None, never 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Metrics:
    """Counts and figures at one threshold; positive means IDC.

    ``precision`` is the positive predictive value, ``npv`` the negative one; ``auc`` is the area under the ROC
    curve; ``brier`` the mean squared distance of the probability from the label.
    """

    n: int
    tn: int
    fp: int
    fn: int
    tp: int
    threshold: float
    accuracy: float | None
    balanced_accuracy: float | None
    sensitivity: float | None
    specificity: float | None
    precision: float | None
    npv: float | None
    f1: float | None
    auc: float | None
    average_precision: float | None
    brier: float | None

    def as_dict(self) -> dict[str, float | None]:
        """The figures by name, in the order of ``metrics.json``."""
        return asdict(self)


def compute_metrics(label: ArrayLike, prob: ArrayLike, threshold: float) -> Metrics:
    """Compare probabilities with labels.

    Parameters
    ----------
    label : array_like of int, shape (n,)
        1 for IDC, 0 for none.
    prob : array_like of float, shape (n,)
        Probability of IDC, 0-1.
    threshold : float
        A patch is called IDC where ``prob >= threshold``.
    """
    truth = np.asarray(label).astype(bool)
    scores = np.asarray(prob, dtype=np.float64)
    called = scores >= threshold
    tp, fp = int(np.sum(called & truth)), int(np.sum(called & ~truth))
    fn, tn = int(np.sum(~called & truth)), int(np.sum(~called & ~truth))
    sensitivity, specificity = _share(tp, tp + fn), _share(tn, tn + fp)
    both = sensitivity is not None and specificity is not None
    auc, average_precision = _areas(truth, scores)
    return Metrics(
        n=truth.size,
        tn=tn,
        fp=fp,
        fn=fn,
        tp=tp,
        threshold=float(threshold),
        accuracy=_share(tp + tn, truth.size),
        balanced_accuracy=(sensitivity + specificity) / 2 if both else None,  # type: ignore[operator]
        sensitivity=sensitivity,
        specificity=specificity,
        precision=_share(tp, tp + fp),
        npv=_share(tn, tn + fn),
        f1=_share(2 * tp, 2 * tp + fp + fn),
        auc=auc,
        average_precision=average_precision,
        brier=float(np.mean((scores - truth) ** 2)) if truth.size else None,
    )


@dataclass(frozen=True)
class ClassMetrics:
    """Counts and figures of several classes, where the most probable class is called.

    Attributes
    ----------
    names : tuple of str
        Of the classes.
    counts : tuple of tuple of int
        A row for each labelled class, a column for each called one.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def n(self) -> int:
        """Patches that were counted."""
        return sum(map(sum, self.counts))

    @property
    def accuracy(self) -> float | None:
        """Share of the patches that are called as labelled."""
        return _share(sum(row[i] for i, row in enumerate(self.counts)), self.n)

    @property
    def sensitivity(self) -> tuple[float | None, ...]:
        """Share of each labelled class that is called so."""
        return tuple(_share(row[i], sum(row)) for i, row in enumerate(self.counts))

    @property
    def precision(self) -> tuple[float | None, ...]:
        """Share of what is called each class that is labelled so."""
        return tuple(_share(column[i], sum(column)) for i, column in enumerate(zip(*self.counts, strict=True)))

    @property
    def f1(self) -> tuple[float | None, ...]:
        """Of each class against the rest."""
        columns = zip(self.counts, zip(*self.counts, strict=True), strict=True)
        return tuple(_share(2 * row[i], sum(row) + sum(column)) for i, (row, column) in enumerate(columns))

    @property
    def macro_f1(self) -> float | None:
        """Mean F1 of the classes; None where one has none."""
        return _mean(self.f1)

    @property
    def macro_balanced_accuracy(self) -> float | None:
        """Mean sensitivity of the classes, which is balanced accuracy where there are two; None where one has none."""
        return _mean(self.sensitivity)

    def as_dict(self) -> dict[str, Any]:
        """What ``metrics.json`` says of them."""
        return {
            "macro_balanced_accuracy": self.macro_balanced_accuracy,
            "macro_f1": self.macro_f1,
            "classes": {
                "names": list(self.names),
                "n": self.n,
                "counts": [list(row) for row in self.counts],
                "accuracy": self.accuracy,
                "sensitivity": list(self.sensitivity),
                "precision": list(self.precision),
                "f1": list(self.f1),
            },
        }


def count_classes(names: tuple[str, ...], labelled: ArrayLike, called: ArrayLike) -> ClassMetrics:
    """Compare labelled and called classes, integers of shape (n,) from 0 on."""
    k = len(names)
    pairs = np.asarray(labelled, dtype=np.int64) * k + np.asarray(called, dtype=np.int64)
    counts = np.bincount(pairs, minlength=k * k).reshape(k, k)
    return ClassMetrics(names, tuple(map(tuple, counts.tolist())))


def add_class_counts(metrics: Sequence[ClassMetrics]) -> ClassMetrics:
    """Pool the patches of several slides; at least one, all of the same classes."""
    counts = np.sum([one.counts for one in metrics], axis=0)
    return ClassMetrics(metrics[0].names, tuple(map(tuple, counts.tolist())))


def _areas(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Area under the ROC curve, and average precision, None where undefined.

    As scikit-learn defines them, in a tenth of its time; its import alone takes longer than scoring a case.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
    hits, called = np.cumsum(truth[order])[last], last + 1
    new_hits, new_misses = np.diff(hits, prepend=0), np.diff(called - hits, prepend=0)
    positives, negatives = int(new_hits.sum()), int(new_misses.sum())
    area = float(np.sum(new_misses * (hits - new_hits / 2)))
    return _share(area, positives * negatives), _share(float(np.sum(new_hits * hits / called)), positives)


def best_threshold(label: ArrayLike, prob: ArrayLike, weight: ArrayLike | None = None) -> float:
    """The threshold of highest balanced accuracy, in the middle between the two probabilities that it parts.

    Both classes must be present, else ValueError. Among equals the lowest is taken. `weight` says how much each
    patch counts; by default all count the same.
    """
    truth = np.asarray(label).astype(bool)
    scores = np.asarray(prob, dtype=np.float64)
    if truth.all() or not truth.any():
        raise ValueError("a threshold needs patches of both classes")
    counts = np.ones(len(truth)) if weight is None else np.asarray(weight, dtype=np.float64)
    order = np.argsort(scores, kind="stable")
    ranked: NDArray[np.float64] = scores[order]
    below_positive = np.concatenate([[0], np.cumsum((counts * truth)[order])])
    below_negative = np.concatenate([[0], np.cumsum((counts * ~truth)[order])])
    balanced = (1 - below_positive / below_positive[-1] + below_negative / below_negative[-1]) / 2
    edges = np.concatenate([[0.0], (ranked[1:] + ranked[:-1]) / 2])
    parts = np.concatenate([[True], ranked[1:] > ranked[:-1]])
    return float(edges[np.argmax(np.where(parts, balanced[:-1], -1))])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(values) if values and len(known) == len(values) else None


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None
