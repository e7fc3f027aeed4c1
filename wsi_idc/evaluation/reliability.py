"""Whether probabilities mean what they say: of the patches scored 0.7, seven in ten should be IDC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 10


@dataclass(frozen=True)
class ReliabilityBins:
    """Patches counted in ten bins of equal width over the predicted probability.

    Attributes
    ----------
    edges : ndarray of float64, shape (11,)
        A bin holds its lower edge; the last one holds 1 too.
    count : ndarray of int64, shape (10,)
        Patches in each bin.
    mean_prob : ndarray of float64, shape (10,)
        Mean predicted probability of each bin; NaN where it is empty.
    idc_share : ndarray of float64, shape (10,)
        Share of its patches that are IDC; NaN where it is empty.
    """

    edges: NDArray[np.float64]
    count: NDArray[np.int64]
    mean_prob: NDArray[np.float64]
    idc_share: NDArray[np.float64]

    @property
    def filled(self) -> NDArray[np.bool_]:
        """Which bins hold a patch, shape (10,)."""
        filled: NDArray[np.bool_] = self.count > 0
        return filled


def reliability_bins(label: ArrayLike, prob: ArrayLike) -> ReliabilityBins:
    """Sort patches into bins by their probability and compare each bin's mean with its share of IDC.

    Parameters
    ----------
    label : array_like of int, shape (n,)
        1 for IDC, 0 for none.
    prob : array_like of float, shape (n,)
        Probability of IDC, 0-1.

    Raises
    ------
    ValueError
        Where the two differ in length, a label is neither 0 nor 1, or a probability is NaN or outside 0-1.
    """
    truth = np.asarray(label)
    scores = np.asarray(prob, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != scores.shape:
        raise ValueError(f"labels of shape {truth.shape} do not fit probabilities of shape {scores.shape}")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("a label is neither 0 nor 1")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("a probability is not a number from 0 to 1")
    # Tenths as they are read from text, which linspace misses: 0.3 belongs to the bin that begins at 0.3.
    edges = np.arange(BINS + 1) / BINS
    index = np.minimum(np.searchsorted(edges, scores, side="right") - 1, BINS - 1)
    count = np.bincount(index, minlength=BINS).astype(np.int64)
    return ReliabilityBins(edges, count, _mean(index, scores, count), _mean(index, truth, count))


def _mean(index: NDArray[np.intp], value: ArrayLike, count: NDArray[np.int64]) -> NDArray[np.float64]:
    total = np.bincount(index, weights=np.asarray(value, dtype=np.float64), minlength=BINS)
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(BINS, np.nan), where=count > 0)
    return mean


def expected_calibration_error(label: ArrayLike, prob: ArrayLike) -> float:
    """Mean distance of a bin's share of IDC from its mean probability, weighted by its patches (ECE, 0-1).

    Ten bins of equal width, as in Guo et al., On Calibration of Modern Neural Networks, ICML 2017, but over the
    probability of IDC instead of the called class.

    Raises
    ------
    ValueError
        Where there is no patch, and as for `reliability_bins`.
    """
    bins = reliability_bins(label, prob)
    if not bins.filled.any():
        raise ValueError("a calibration error needs at least one patch")
    gap = np.abs(bins.idc_share - bins.mean_prob)[bins.filled]
    return float(np.average(gap, weights=bins.count[bins.filled]))
