"""What the patches around a patch say of it: learned from the network's probabilities on whole cases."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wsi_idc.metrics import best_threshold
from wsi_idc.model.calibration import case_weights, from_log_odds, log_odds

LEARNED: Literal["learned"] = "learned"
"""As context: what the model has learned of a patch's neighbours."""

Context = float | Literal["learned"] | None
"""Sigma, in patches, of a blur over the neighbours; `LEARNED`; or none."""

REACH = 2
"""Steps to each side that are looked at: 5x5 patches. Farther ones cost small foci more than they gain."""

Steps = tuple[tuple[int, int], ...]
"""Columns and rows to go from a patch to others."""

_SURE = 1e-4
"""No probability is taken for surer than this: what a network says beyond is arbitrary."""

_PENALTY = 100.0
"""Of the squared weights, over features of unit variance."""

_FEWEST_CASES = 3
_WHOLE = 0.5
"""A case is whole enough to learn from where its patches have at least this share of their four nearest neighbours."""


@dataclass(frozen=True)
class Neighbourhood:
    """A logistic regression over the log-odds of a patch and of those around it.

    Patches at one distance and direction, up to right-angle turns and flips, count alike: of each such ring the mean,
    the share that is there, the highest and the lowest log-odds. Holes count nothing.

    Attributes
    ----------
    reach : int
        Steps to each side that are looked at.
    weights : tuple of float
        In the order of `_features`.
    bias : float
    """

    reach: int
    weights: tuple[float, ...]
    bias: float

    def apply(self, position: NDArray[np.int64], prob: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of IDC of each patch in its neighbourhood.

        Parameters
        ----------
        position : ndarray of int64, shape (n, 2)
            Column and row of each patch.
        prob : ndarray of float64, shape (n,)
            Of IDC, calibrated; NaN where the patch is unreadable.

        Returns
        -------
        ndarray of float64, shape (n,)
            NaN where `prob` is.
        """
        scored = np.flatnonzero(~np.isnan(prob))
        inferred = np.full(len(prob), np.nan)
        odds = _features(position[scored], prob[scored], self.reach) @ np.array(self.weights) + self.bias
        inferred[scored] = from_log_odds(odds)
        return inferred

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the model's ``.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Neighbourhood:
        """Read what `as_dict` gave; ValueError, TypeError or KeyError where it is none."""
        reach, weights = raw["reach"], tuple(float(value) for value in raw["weights"])
        if type(reach) is not int or not 1 <= reach <= 10 or len(weights) != 1 + 4 * len(_rings(reach)):
            raise ValueError(f"a neighbourhood of reach {reach!r} has other weights than {len(weights)}")
        made = cls(reach, weights, float(raw["bias"]))
        if not all(math.isfinite(value) for value in (*made.weights, made.bias)):
            raise ValueError("a neighbourhood has weights that are no numbers")
        return made


def fit_neighbourhood(
    case: NDArray[np.str_],
    position: NDArray[np.int64],
    prob: NDArray[np.float64],
    label: NDArray[np.int8],
    threshold: float,
) -> Neighbourhood | None:
    """Learn from patches whose cases did not train the network; every case counts the same.

    Parameters
    ----------
    case : ndarray of str, shape (n,)
    position : ndarray of int64, shape (n, 2)
        Column and row of each patch.
    prob : ndarray of float64, shape (n,)
        Of IDC, calibrated.
    label : ndarray of int8, shape (n,)
    threshold : float
        Of the model. What is learned is shifted so that this threshold is the best for it, too, on these patches.

    Returns
    -------
    Neighbourhood or None
        None where fewer than three cases have most of their patches and both labels.
    """
    from sklearn.linear_model import LogisticRegression

    used = [
        of
        for of in (np.flatnonzero(case == name) for name in np.unique(case))
        if 0 < label[of].sum() < len(of) and is_whole(position[of])
    ]
    if len(used) < _FEWEST_CASES:
        return None
    features = np.concatenate([_features(position[of], prob[of], REACH) for of in used])
    rows = np.concatenate(used)
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    fit = LogisticRegression(C=1 / _PENALTY, max_iter=1_000)
    fit.fit((features - mean) / deviation, label[rows], sample_weight=case_weights(case[rows]))
    weights = fit.coef_[0] / deviation
    bias = float(fit.intercept_[0] - weights @ mean)
    best = best_threshold(label[rows], from_log_odds(features @ weights + bias), case_weights(case[rows]))
    shift = float(log_odds(threshold, _SURE) - log_odds(best, _SURE))
    return Neighbourhood(REACH, tuple(weights.tolist()), bias + shift)


def is_whole(position: NDArray[np.int64]) -> bool:
    """Whether a case's patches lie side by side, rather than drawn here and there from it."""
    (nearest,) = _neighbours(position, [((1, 0), (-1, 0), (0, 1), (0, -1))])
    return bool((nearest >= 0).mean() >= _WHOLE)


def _features(position: NDArray[np.int64], prob: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Own log-odds, then of each ring mean, share, maximum and minimum; shape ``(n, 1 + 4 * rings)``."""
    odds = log_odds(prob, _SURE)
    rings = _rings(reach)
    columns = [odds]
    for ring, rows in zip(rings, _neighbours(position, rings), strict=True):
        there, around = rows >= 0, odds[rows]
        count = there.sum(axis=0)
        columns += [
            np.where(there, around, 0).sum(axis=0) / len(ring),
            count / len(ring),
            np.where(count, np.where(there, around, -np.inf).max(axis=0), 0),
            np.where(count, np.where(there, around, np.inf).min(axis=0), 0),
        ]
    return np.column_stack(columns)


@cache
def _rings(reach: int) -> tuple[Steps, ...]:
    """Steps to the neighbours, those together that right-angle turns and flips carry into each other."""
    rings: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for x, y in _steps(reach):
        rings.setdefault((min(abs(x), abs(y)), max(abs(x), abs(y))), []).append((x, y))
    return tuple(tuple(rings[ring]) for ring in sorted(rings))


def _steps(reach: int) -> Iterator[tuple[int, int]]:
    sides = range(-reach, reach + 1)
    return ((x, y) for x in sides for y in sides if (x, y) != (0, 0))


def _neighbours(position: NDArray[np.int64], rings: Sequence[Steps]) -> Iterator[NDArray[np.intp]]:
    """Of each ring, row of the patch that lies each of its steps away, -1 where there is none; shape (steps, n)."""
    if not len(position):
        yield from (np.empty((len(ring), 0), dtype=np.intp) for ring in rings)
        return
    # A number for each place, with room beside each line of them, so that no step leads into the next line.
    column, row = (position - position.min(axis=0)).T
    width = int(column.max()) + 1 + 2 * max(abs(x) for ring in rings for x, _ in ring)
    place = row * width + column
    order = np.argsort(place, kind="stable")
    in_order = place[order]
    for ring in rings:
        wanted = place + np.array([[y * width + x] for x, y in ring])
        found = np.minimum(np.searchsorted(in_order, wanted), len(order) - 1)
        yield np.where(in_order[found] == wanted, order[found], -1)
