"""Places of a slide that are worth a close look, at the slide's own resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_idc.model.calibration import log_odds
from wsi_idc.scoring.contours import trace_regions
from wsi_idc.scoring.scores import Scores
from wsi_idc.source import PatchSource

SIDE_PX = 300
"""Of a close-up: 1.5 inches at the 200 dots per inch of a sheet."""

COARSEST_MPP = 2.0
"""On a slide whose finest level is coarser, in µm/px, no nucleus can be made out."""

_LEAST_UM, _MOST_UM = 100.0, 400.0
"""Side of a close-up: some ten cells at least, a patch at most."""


@dataclass(frozen=True, eq=False)
class CloseUp:
    """Part of a slide around a patch.

    Attributes
    ----------
    title : str
    prob : float
        Of IDC, of that patch.
    center : tuple of float
        x and y in pixels of level 0.
    side_um : float
    pixels : ndarray of uint8, shape (s, s, 3)
    """

    title: str
    prob: float
    center: tuple[float, float]
    side_um: float
    pixels: NDArray[np.uint8]


def take_close_ups(source: PatchSource, scores: Scores, side_px: int = SIDE_PX) -> tuple[CloseUp, ...]:
    """Read the places that `choose_patches` names, a pixel for a pixel of level 0 where that is 0.25 to 1 µm/px.

    Empty where there are only patches, or the slide is too coarse.
    """
    finest = max(source.mpp)
    if finest > COARSEST_MPP:
        return ()
    side_um = min(max(side_px * finest, _LEAST_UM), _MOST_UM)
    taken = []
    for title, i in choose_patches(scores):
        center = float(scores.minx[i] + scores.width[i] / 2), float(scores.miny[i] + scores.height[i] / 2)
        pixels = source.close_up(center, side_um, side_px)
        if pixels is None:
            return ()
        taken.append(CloseUp(title, float(scores.prob[i]), center, side_um, pixels))
    return tuple(taken)


def choose_patches(scores: Scores) -> list[tuple[str, int]]:
    """What is worth a close look: at most six patches, none twice, each with the reason.

    The highest probability; the middles of the two largest regions called; the call of least certainty; the highest
    probability that is not called; and the lowest, to compare with.
    """
    readable = np.flatnonzero(scores.readable)
    called, rest = np.flatnonzero(scores.pred), np.flatnonzero(scores.readable & ~scores.pred)
    certain = log_odds(scores.prob) - log_odds(scores.threshold)
    wanted = [
        ("highest probability", readable[np.argsort(-scores.prob[readable], kind="stable")]),
        *zip(("largest region called", "second largest region"), _middles(scores, called), strict=False),
        ("least certain call", called[np.argsort(certain[called], kind="stable")]),
        ("highest not called", rest[np.argsort(-certain[rest], kind="stable")]),
        ("lowest probability", readable[np.argsort(scores.prob[readable], kind="stable")]),
    ]
    chosen: dict[int, str] = {}
    for title, ranked in wanted:
        # As many as are taken, and one: among them is a free one, if there is any.
        free = [i for i in ranked[: len(chosen) + 1].tolist() if i not in chosen]
        if free:
            chosen[free[0]] = title
    return [(title, i) for i, title in chosen.items()]


def _middles(scores: Scores, called: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Patches of the two largest regions called, each from its middle outwards."""
    boxes = [of[called].astype(np.int64) for of in (scores.minx, scores.miny, scores.width, scores.height)]
    regions = sorted(trace_regions(*boxes), key=lambda region: -region.area)[:2]
    ranked = []
    for region in regions:
        of = called[region.boxes]
        x, y = scores.minx[of] + scores.width[of] / 2, scores.miny[of] + scores.height[of] / 2
        ranked.append(of[np.argsort(np.hypot(x - x.mean(), y - y.mean()), kind="stable")])
    return ranked
