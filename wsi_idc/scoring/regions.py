"""Regions of a slide that are called IDC: how many, and how wide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from wsi_idc.scoring.contours import trace_regions
from wsi_idc.scoring.scores import Scores

_FEW_CORNERS = 50
"""The distances of so many points take less time than their convex hull."""


def region_widths_mm(scores: Scores, mpp: tuple[float, float]) -> NDArray[np.float64]:
    """Largest width of each region called IDC, the widest first: patches that hang together by their sides.

    That of a region is the distance of its two farthest corners (its largest Feret diameter).

    Parameters
    ----------
    scores : Scores
    mpp : tuple of float
        Scale of level 0 along x and y, in µm/px.

    Returns
    -------
    ndarray of float64, shape (regions,)
        In mm.
    """
    minx, miny, width, height = (
        of[scores.pred].astype(np.int64) for of in (scores.minx, scores.miny, scores.width, scores.height)
    )
    outlines = (region.rings[0] * (np.array(mpp) / 1000) for region in trace_regions(minx, miny, width, height))
    return np.sort(np.array([_largest_width(outline) for outline in outlines]))[::-1]


def _largest_width(corners: NDArray[np.float64]) -> float:
    """Distance of the two farthest of some points, shape (n, 2), that enclose an area."""
    outer = corners if len(corners) <= _FEW_CORNERS else corners[ConvexHull(corners).vertices]
    return float(pdist(outer).max())
