"""Make probabilities mean what they say, and choose the one from which a patch is called IDC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsi_idc.metrics import best_threshold

_SURE = 1e-7
"""A 32-bit probability this close to 0 or 1 is not told apart from it."""


@dataclass(frozen=True)
class Calibration:
    """A line through the log-odds: ``scale * log(p / (1 - p)) + bias`` are the calibrated ones.

    References
    ----------
    J. Platt, "Probabilistic outputs for support vector machines", 1999.
    """

    scale: float
    bias: float

    def apply(self, prob: ArrayLike) -> NDArray[np.float64]:
        """Calibrate probabilities of IDC of any shape; their order stays."""
        return from_log_odds(self.scale * log_odds(prob) + self.bias)


@dataclass(frozen=True)
class Decision:
    """How a network's output becomes a probability and a call.

    Attributes
    ----------
    threshold : float
        Of the calibrated probability.
    """

    calibration: Calibration
    threshold: float


def decide(label: NDArray[np.int8], prob: ArrayLike, case: NDArray[np.str_]) -> Decision:
    """Fit the calibration and the threshold of best balanced accuracy to patches that did not train.

    Every case counts the same, however many of its patches are at hand. Where the probabilities do not rise with the
    labels there is nothing to calibrate, and they stay as they are.

    Parameters
    ----------
    label : ndarray of int8, shape (n,)
        Of both classes, else ValueError.
    prob : array_like of float, shape (n,)
        The network's probability of IDC.
    case : ndarray of str, shape (n,)
    """
    from sklearn.linear_model import LogisticRegression

    weight = case_weights(case)
    # C is the inverse of the penalty: with 28,000 patches and two parameters, 1e6 is none.
    fit = LogisticRegression(C=1e6).fit(log_odds(prob)[:, None], label, sample_weight=weight)
    calibration = Calibration(float(fit.coef_[0, 0]), float(fit.intercept_[0]))
    if calibration.scale <= 0:
        calibration = Calibration(1.0, 0.0)
    return Decision(calibration, best_threshold(label, calibration.apply(prob), weight))


def case_weights(case: NDArray[np.str_]) -> NDArray[np.float64]:
    """Weights of the patches, shape (n,), so that every case counts the same in all; 1 on average."""
    row, count = np.unique(case, return_inverse=True, return_counts=True)[1:]
    weight: NDArray[np.float64] = len(case) / (len(count) * count[row])
    return weight


def log_odds(prob: ArrayLike, sure: float = _SURE) -> NDArray[np.float64]:
    """``log(p / (1 - p))``, with no probability taken for closer to 0 or 1 than `sure`."""
    clipped = np.clip(np.asarray(prob, dtype=np.float64), sure, 1 - sure)
    return np.asarray(np.log(clipped / (1 - clipped)))


def from_log_odds(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of these log-odds."""
    return np.asarray(1 / (1 + np.exp(-odds)))
