"""How far a slide lies from those that a model was trained on: numbers only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc.model.stain import Stain

_FEWEST_CASES = 40
"""Fewer do not tell how nine numbers vary together."""

_FOLDS = 5
_LIMIT_PERCENTILE = 99

_PRIOR_PATCHES = 6
"""So many patches say as much of a slide's sharpness as other slides do: within a slide it varies six times as much."""

_COLOURS = 6


@dataclass(frozen=True)
class Domain:
    """Stain and sharpness of the cases that a model was trained on, and how they vary.

    Attributes
    ----------
    means : tuple of float, length 9
        Of `_features`: mean optical density in R, G and B, the logarithm of its spread, and the sharpness.
    covariance : tuple of tuple of float, shape (9, 9)
        Between cases.
    limit : float
        Distance that 99 % of the training cases stay below, each measured by a domain of other cases.
    cases : int
        How many it was learned from.
    """

    means: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    limit: float
    cases: int

    def distance(self, stain: Stain) -> float:
        """Mahalanobis distance of a slide, divided by the root of 9: about 1 for a slide like the training cases."""
        return self._distance(stain, slice(None))

    def cautions(self, stain: Stain) -> list[tuple[str, str]]:
        """Code and sentence where a slide lies beyond the limit; empty where it does not."""
        distance = self.distance(stain)
        if distance <= self.limit:
            return []
        colours, sharpness = (self._distance(stain, part) for part in (slice(_COLOURS), slice(_COLOURS, None)))
        what, check = ("colours", "the stain") if colours >= sharpness else ("sharpness", "focus and µm/px")
        sentence = (
            f"The slide is unlike those that the model was trained on, most of all in its {what} (distance "
            f"{distance:.1f}, where 99 % of them stay below {self.limit:.1f}): check {check} before you trust the "
            "probabilities."
        )
        return [("unlike-training", sentence)]

    def _distance(self, stain: Stain, part: slice) -> float:
        features, means = _features(stain, self.means[_COLOURS:]), np.array(self.means)
        return _mahalanobis(features[part], means[part], np.array(self.covariance)[part, part])

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the model's ``.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Domain:
        """Read what `as_dict` gave; ValueError, TypeError or KeyError where it is none."""
        means = np.array(raw["means"], dtype=np.float64)
        covariance = np.array(raw["covariance"], dtype=np.float64)
        if means.shape != (9,) or covariance.shape != (9, 9):
            raise ValueError("its domain is not one of nine numbers")
        if not (np.isfinite(covariance).all() and np.isfinite(means).all() and np.allclose(covariance, covariance.T)):
            raise ValueError("its domain has numbers that are not finite, or no covariance")
        if np.linalg.eigvalsh(covariance)[0] <= 0:
            raise ValueError("its domain has a covariance that is none")
        limit, cases = float(raw["limit"]), raw["cases"]
        if not 0 < limit < math.inf or type(cases) is not int:
            raise ValueError("its domain has no limit, or no number of cases")
        return cls(tuple(means.tolist()), tuple(map(tuple, covariance.tolist())), limit, cases)


def fit_domain(stains: Sequence[Stain]) -> Domain | None:
    """Learn from the stains of the training cases; None where they are fewer than 40."""
    if len(stains) < _FEWEST_CASES:
        return None
    measured = [stain.sharpness for stain in stains if stain.sharpness_patches]
    usual = np.mean(measured, axis=0) if measured else np.zeros(3)
    features = np.array([_features(stain, usual) for stain in stains])
    fold = np.arange(len(features)) % _FOLDS
    unseen = []
    for k in range(_FOLDS):
        others = _moments(features[fold != k])
        unseen += [_mahalanobis(one, *others) for one in features[fold == k]]
    means, covariance = _moments(features)
    return Domain(
        tuple(means.round(6).tolist()),
        tuple(map(tuple, covariance.round(8).tolist())),
        round(float(np.percentile(unseen, _LIMIT_PERCENTILE)), 4),
        len(stains),
    )


def _features(stain: Stain, usual_sharpness: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Nine numbers of a slide; few patches' sharpness is drawn towards the usual one, as their stain is already."""
    usual, count = np.array(usual_sharpness), stain.sharpness_patches
    sharpness = usual + (np.array(stain.sharpness) - usual) * (count / (count + _PRIOR_PATCHES))
    return np.concatenate([stain.means, np.log(stain.spreads), sharpness])


def _moments(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # A little of each variance is added, so that cases which do not vary have an inverse, too.
    covariance = np.cov(features.T)
    return features.mean(axis=0), covariance + np.diag(1e-4 + 0.01 * np.diag(covariance))


def _mahalanobis(one: NDArray[np.float64], means: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
    apart = one - means
    return math.sqrt(float(apart @ np.linalg.solve(covariance, apart)) / len(apart))
