"""What is worth a pathologist's look: doubtful patches, ranked and spread over the slides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from wsi_idc.scoring.scores import Scores

NEAR = 0.25
"""Patches are near the threshold within this share of the way from it to 0 or 1."""

TOP, PER_SLIDE = 50, 10
"""Patches that are listed, in all and of a slide."""

_OF_ANY_SLIDE = frozenset({"material", "trained"})
"""Cautions that say nothing of how a slide looks."""

Box = tuple[int, int, int, int]

_Queued = tuple[int, float, int, int, str]
"""Turn among those of its slide, urgency (lowest first), slide, patch, and reason."""


@dataclass(frozen=True)
class Look:
    """A patch that is worth a look.

    Attributes
    ----------
    slide : str
    box : tuple of int
        minx, miny, width and height in pixels of level 0.
    prob_idc : float
        The probability that the call follows.
    reasons : tuple of str
        Why, the most urgent first.
    """

    slide: str
    box: Box
    prob_idc: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Reviewed:
    """A slide whose patches are ranked.

    Attributes
    ----------
    scores : Scores
    cautions : tuple of str
        Codes.
    done : collection of Box
        Patches that somebody corrected already.
    """

    scores: Scores
    cautions: tuple[str, ...] = ()
    done: Collection[Box] = ()


def rank_looks(slides: Iterable[Reviewed], top: int = TOP, per_slide: int = PER_SLIDE) -> list[Look]:
    """Rank what is worth a look.

    There are four reasons: the call is against the label; the probability is near the threshold; a patch is called
    IDC, or is not, unlike all its neighbours; the slide has a caution, which its most doubtful patch stands for. They
    take turns, and within each the slides do, so that no slide and no reason fills the list.

    Parameters
    ----------
    slides : iterable of Reviewed
    top : int
        Patches in all, at most.
    per_slide : int
        Patches of a slide, at most.

    Returns
    -------
    list of Look
        The most urgent first.
    """
    by_reason: list[list[_Queued]] = [[], [], [], []]
    kept = []
    for number, slide in enumerate(slides):
        kept.append(slide.scores)
        for queue, found in zip(by_reason, _reasons(slide), strict=True):
            urgent = sorted(found, key=lambda one: (-one[0], one[1]))[:per_slide]
            queue += [(turn, -urgency, number, patch, why) for turn, (urgency, patch, why) in enumerate(urgent)]
    chosen: dict[tuple[int, int], list[str]] = {}
    taken = [0] * len(kept)
    for _, _, number, patch, why in _in_turn([sorted(queue) for queue in by_reason]):
        key = number, patch
        if key in chosen:
            chosen[key].append(why)
        elif len(chosen) < top and taken[number] < per_slide:
            chosen[key] = [why]
            taken[number] += 1
    return [_look(kept[number], patch, tuple(why)) for (number, patch), why in chosen.items()]


def _in_turn(queues: list[list[_Queued]]) -> Iterator[_Queued]:
    for each in zip_longest(*queues):
        yield from (one for one in each if one is not None)


def _look(scores: Scores, patch: int, reasons: tuple[str, ...]) -> Look:
    box = tuple(int(side[patch]) for side in (scores.minx, scores.miny, scores.width, scores.height))
    return Look(scores.slide, (box[0], box[1], box[2], box[3]), float(scores.prob[patch]), reasons)


def _reasons(slide: Reviewed) -> tuple[list[tuple[float, int, str]], ...]:
    """Patches of each reason, as (urgency 0-1, patch, reason)."""
    scores = slide.scores
    open_ = scores.readable & ~_is_in(scores, slide.done)
    distance = _distance(scores)
    wrong = open_ & scores.labelled & (scores.pred != (scores.label == 1))
    alone = open_ & unlike_neighbours(scores)
    near = open_ & (distance <= NEAR)
    codes = [code for code in slide.cautions if code not in _OF_ANY_SLIDE]
    first = np.flatnonzero(open_)[np.argsort(distance[open_], kind="stable")[:1]] if codes else np.empty(0, np.intp)
    called = [scores.classes.title if pred else scores.classes.negative_title for pred in scores.pred.tolist()]
    return (
        _listed(wrong, distance, lambda i: f"called {called[i]} against its label"),
        _listed(near, 1 - distance, lambda i: "near the threshold"),
        _listed(alone, distance, lambda i: f"called {called[i]} unlike all its neighbours"),
        [(1.0, int(i), f"caution: {', '.join(codes)}") for i in first],
    )


def _listed(
    which: NDArray[np.bool_], urgency: NDArray[np.float64], reason: Callable[[int], str]
) -> list[tuple[float, int, str]]:
    return [(float(urgency[i]), i, reason(i)) for i in np.flatnonzero(which).tolist()]


def _distance(scores: Scores) -> NDArray[np.float64]:
    """How far each probability lies from the threshold, as a share of the way to 0 or 1; NaN where there is none."""
    way = np.where(scores.pred, 1 - scores.threshold, scores.threshold)
    return np.abs(scores.prob - scores.threshold) / np.maximum(way, 1e-9)


def _is_in(scores: Scores, boxes: Collection[Box]) -> NDArray[np.bool_]:
    if not boxes:
        return np.zeros(len(scores), dtype=np.bool_)
    sides = (scores.minx, scores.miny, scores.width, scores.height)
    return np.array([box in boxes for box in zip(*(side.tolist() for side in sides), strict=True)], dtype=np.bool_)


def unlike_neighbours(scores: Scores) -> NDArray[np.bool_]:
    """Which patches have at least three scored neighbours, of eight, and another call than all of them; shape (n,)."""
    if not len(scores):
        return np.zeros(0, dtype=np.bool_)
    column = np.rint(scores.minx / scores.width.max()).astype(np.int64)
    row = np.rint(scores.miny / scores.height.max()).astype(np.int64)
    column, row = column - column.min() + 1, row - row.min() + 1
    # An empty column on both sides, so that a neighbour across the border is none of the next row.
    across = int(column.max()) + 2
    place = row * across + column
    scored, called = np.sort(place[scores.readable]), np.sort(place[scores.pred])
    neighbours, positives = np.zeros((2, len(scores)), dtype=np.int64)
    for step in (-across - 1, -across, -across + 1, -1, 1, across - 1, across, across + 1):
        neighbours += np.isin(place + step, scored)
        positives += np.isin(place + step, called)
    alone: NDArray[np.bool_] = np.where(scores.pred, positives == 0, positives == neighbours)
    return alone & (neighbours >= 3) & scores.readable
