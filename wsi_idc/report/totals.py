"""All labelled patches of a cohort: the figures at one threshold, and the counts at every other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc.evaluation.evaluate import METRICS_FILE
from wsi_idc.evaluation.reliability import ReliabilityBins, expected_calibration_error, reliability_bins
from wsi_idc.metrics import Metrics, compute_metrics
from wsi_idc.scoring.scores import Scores

STEPS = 1_000
"""Steps of a threshold slider from 0 to 1."""

Intervals = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Pooled:
    """Figures over all labelled patches.

    Attributes
    ----------
    slides : int
        How many slides have labelled patches.
    metrics : Metrics
    intervals : dict
        95 % intervals over slides, by the names of `Metrics`; empty where the folder has none of these very patches.
    bins : ReliabilityBins
    ece : float
        Expected calibration error.
    called_idc, called_none : ndarray of int64, shape (STEPS + 1,)
        Patches labelled IDC, and labelled none, that are called IDC at each threshold ``k / STEPS``.
    """

    slides: int
    metrics: Metrics
    intervals: Intervals
    bins: ReliabilityBins
    ece: float
    called_idc: NDArray[np.int64]
    called_none: NDArray[np.int64]


class Pool:
    """Gathers labels and probabilities slide by slide; takes nine bytes a patch."""

    def __init__(self) -> None:
        self._label: list[NDArray[np.int8]] = []
        self._prob: list[NDArray[np.float64]] = []
        self._thresholds: list[float] = []

    def add(self, scores: Scores) -> None:
        """Take the labelled patches of a slide."""
        self._thresholds.append(scores.threshold)
        if scores.labelled.any():
            self._label.append(scores.label[scores.labelled])
            self._prob.append(scores.prob[scores.labelled])

    @property
    def thresholds(self) -> list[float]:
        """The thresholds at which slides were called, the commonest first."""
        return commonest_first(self._thresholds)

    def sum_up(self, out: Path) -> Pooled | None:
        """The figures at the commonest threshold, None where nothing is labelled; `out` may know intervals."""
        if not self._label:
            return None
        label, prob = np.concatenate(self._label), np.concatenate(self._prob)
        metrics = compute_metrics(label, prob, self.thresholds[0])
        return Pooled(
            slides=len(self._label),
            metrics=metrics,
            intervals=read_intervals(out, metrics),
            bins=reliability_bins(label, prob),
            ece=expected_calibration_error(label, prob),
            called_idc=_called_at_each_step(prob[label == 1]),
            called_none=_called_at_each_step(prob[label == 0]),
        )


def commonest_first(thresholds: Iterable[float]) -> list[float]:
    """Each threshold once, by how many slides were called at it."""
    counts = Counter(thresholds)
    return sorted(counts, key=lambda value: (-counts[value], value))


def _called_at_each_step(prob: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of these probabilities reach each threshold ``k / STEPS``."""
    below = np.searchsorted(np.sort(prob), np.arange(STEPS + 1) / STEPS, side="left")
    called: NDArray[np.int64] = (len(prob) - below).astype(np.int64)
    return called


def read_intervals(out: Path, metrics: Metrics) -> Intervals:
    """Intervals from the cohort's ``metrics.json``, if its figures are the ones given: an older run's say nothing."""
    try:
        written: dict[str, Any] = json.loads((out / METRICS_FILE).read_text(encoding="utf-8"))
        ours = metrics.as_dict()
        if any(written[name] != ours[name] for name in ("n", "tn", "fp", "fn", "tp", "threshold")):
            return {}
        return {name: (float(ends[0]), float(ends[1])) for name, ends in written["ci"].items() if name in ours and ends}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return {}
