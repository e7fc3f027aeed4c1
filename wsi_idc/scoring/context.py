"""What a patch's neighbours know of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsi_idc.model.calibration import from_log_odds, log_odds

REACH = 3.0
"""Neighbours are taken into account up to this many sigmas away."""

_SURE = 5e-7
"""Probabilities are written to 6 decimals, so none is told apart from 0 or 1 within this."""


def smooth_over_neighbours(
    position: NDArray[np.float64], prob: NDArray[np.float64], sigma: float
) -> NDArray[np.float64]:
    """Blur the log-odds over the scored neighbours with a Gaussian.

    Each patch's log-odds become the weighted mean of its own and its neighbours'. A hole or an unreadable patch has
    no weight: it neither pulls its neighbours towards 0 nor gets a probability.

    Parameters
    ----------
    position : ndarray of float64, shape (n, 2)
        x and y of each patch, in patches.
    prob : ndarray of float64, shape (n,)
        NaN where a patch is not scored.
    sigma : float
        Of the Gaussian, in patches; above 0.

    Returns
    -------
    ndarray of float64, shape (n,)
        NaN where `prob` is.
    """
    from scipy.spatial import cKDTree

    scored = np.flatnonzero(~np.isnan(prob))
    smooth = np.full(len(prob), np.nan)
    if not len(scored):
        return smooth
    odds = log_odds(prob[scored], _SURE)
    tree = cKDTree(position[scored])
    first, second = tree.query_pairs(REACH * sigma, output_type="ndarray").T
    distance = np.linalg.norm(tree.data[first] - tree.data[second], axis=1)
    weight = np.exp(-0.5 * (distance / sigma) ** 2)
    n = len(scored)
    total = 1 + np.bincount(first, weight, n) + np.bincount(second, weight, n)
    summed = odds + np.bincount(first, weight * odds[second], n) + np.bincount(second, weight * odds[first], n)
    smooth[scored] = from_log_odds(summed / total)
    return smooth
