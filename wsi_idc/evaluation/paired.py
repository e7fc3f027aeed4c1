"""Two results of the same slides, patch by patch: what changed, and what each is worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc.errors import OptionError
from wsi_idc.evaluation.bootstrap import LEVEL, RESAMPLES, paired_intervals
from wsi_idc.metrics import Metrics, compute_metrics
from wsi_idc.scoring.scores import DECIMALS, Scores
from wsi_idc.source import UNKNOWN

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Pair:
    """The patches of a slide that have a probability in both results, in the order of the first.

    Attributes
    ----------
    slide : str
    boxes : ndarray of int64, shape (n, 4)
        minx, miny, width and height.
    first, second : ndarray of float64, shape (n,)
        Probabilities that the calls follow.
    label : ndarray of int8, shape (n,)
        The first results' where they have one, else the second's.
    thresholds : tuple of float
    corrected : ndarray of int8, shape (n,)
        1 or 0 where somebody said that the patch is IDC or is not, else `UNKNOWN`.
    patches : tuple of int
        How many each of the results has.
    """

    slide: str
    boxes: NDArray[np.int64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    label: NDArray[np.int8]
    thresholds: tuple[float, float]
    corrected: NDArray[np.int8]
    patches: tuple[int, int]

    def __len__(self) -> int:
        return len(self.boxes)

    @cached_property
    def calls(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which patches each calls IDC."""
        return self.first >= self.thresholds[0], self.second >= self.thresholds[1]

    @property
    def gained(self) -> NDArray[np.bool_]:
        """Patches that only the second calls IDC."""
        return self.calls[1] & ~self.calls[0]

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Patches that only the first calls IDC."""
        return self.calls[0] & ~self.calls[1]

    def metrics(self, which: NDArray[np.bool_] | None = None) -> tuple[Metrics | None, Metrics | None]:
        """Figures of both over the labelled patches, or those chosen of them; None where there is none."""
        known = self.label != UNKNOWN
        known = known if which is None else known & which
        if not known.any():
            return None, None
        first, second = (
            compute_metrics(self.label[known], prob[known], threshold)
            for prob, threshold in zip((self.first, self.second), self.thresholds, strict=True)
        )
        return first, second

    def agreements(self) -> tuple[int, int]:
        """With how many corrections the calls of each agree."""
        known = self.corrected != UNKNOWN
        first, second = (int((calls == (self.corrected == 1))[known].sum()) for calls in self.calls)
        return first, second


def pair_scores(first: Scores, second: Scores, corrected: Mapping[Box, bool] | None = None) -> Pair:
    """Bring the patches of one slide in two results together.

    Parameters
    ----------
    first, second : Scores
    corrected : mapping, optional
        What somebody said of patches, by their box.

    Raises
    ------
    OptionError
        Where the slide was cut into other patches.
    """
    place = {box: i for i, box in enumerate(_boxes(second))}
    both = [(i, place[box]) for i, box in enumerate(_boxes(first)) if box in place]
    if not both and len(first) and len(second):
        raise OptionError(
            f"Slide {first.slide!r} was cut into other patches in the two folders: compare results of one patch size, "
            "scale and region."
        )
    rows = np.array(both, dtype=np.intp).reshape(-1, 2)
    rows = rows[first.readable[rows[:, 0]] & second.readable[rows[:, 1]]]
    one, other = rows.T
    boxes = np.column_stack([first.minx, first.miny, first.width, first.height])[one]
    said = corrected or {}
    return Pair(
        first.slide,
        boxes,
        first.prob[one],
        second.prob[other],
        np.where(first.label[one] != UNKNOWN, first.label[one], second.label[other]),
        (first.threshold, second.threshold),
        np.array([said.get(tuple(box), UNKNOWN) for box in boxes.tolist()], dtype=np.int8),
        (len(first), len(second)),
    )


def _boxes(scores: Scores) -> Iterable[Box]:
    sides = (scores.minx, scores.miny, scores.width, scores.height)
    return zip(*(side.tolist() for side in sides), strict=True)


def table_row(pair: Pair) -> dict[str, object]:
    """The row of a slide in ``compare.csv``; None where nothing is defined."""
    first, second = pair.metrics()
    corrected = pair.corrected != UNKNOWN
    rest = pair.metrics(~corrected) if corrected.any() else (None, None)
    agreed = pair.agreements() if corrected.any() else (None, None)
    row: dict[str, object] = {
        "slide": pair.slide,
        "patches_a": pair.patches[0],
        "patches_b": pair.patches[1],
        "patches": len(pair),
        "mean_abs_difference": _mean_difference([pair]),
        "gained": int(pair.gained.sum()),
        "lost": int(pair.lost.sum()),
    }
    for name in SHOWN:
        row |= {f"{name}_a": _figure(first, name), f"{name}_b": _figure(second, name)}
    row |= {"corrections": int(corrected.sum()), "agree_a": agreed[0], "agree_b": agreed[1]}
    for name in SHOWN:
        row |= {f"{name}_rest_a": _figure(rest[0], name), f"{name}_rest_b": _figure(rest[1], name)}
    return row


SHOWN = ("auc", "balanced_accuracy", "f1")
"""Metrics in the table of slides."""


def overall(pairs: Sequence[Pair], *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """What ``compare.json`` says over all slides.

    Parameters
    ----------
    pairs : sequence of Pair
        Each result called at one threshold.
    resamples : int

    Raises
    ------
    OptionError
        Where slides of one result were called at different thresholds.
    """
    for which, name in enumerate("AB"):
        thresholds = sorted({pair.thresholds[which] for pair in pairs})
        if len(thresholds) > 1:
            shown = " to ".join(f"{end:g}" for end in (thresholds[0], thresholds[-1]))
            raise OptionError(
                f"The slides of {name} were called at different thresholds, {shown}: score them again with one "
                "--threshold."
            )
    corrected = sum(int((pair.corrected != UNKNOWN).sum()) for pair in pairs)
    told: dict[str, Any] = {
        "slides": len(pairs),
        "patches": sum(map(len, pairs)),
        "mean_abs_difference": _mean_difference(pairs),
        "gained": sum(int(pair.gained.sum()) for pair in pairs),
        "lost": sum(int(pair.lost.sum()) for pair in pairs),
        "level": LEVEL,
        "resamples": resamples,
        "labelled": _pooled(pairs, resamples, corrected_too=True),
    }
    if corrected:
        agreed = np.sum([pair.agreements() for pair in pairs], axis=0).tolist()
        told["corrections"] = {"patches": corrected, "agree_a": agreed[0], "agree_b": agreed[1]}
        told["not_corrected"] = _pooled(pairs, resamples, corrected_too=False)
    return told


def _pooled(pairs: Sequence[Pair], resamples: int, *, corrected_too: bool) -> dict[str, Any] | None:
    """Figures of both over all labelled patches, their differences, and the intervals of these; None without any."""
    kept = [(pair.label != UNKNOWN) & (corrected_too | (pair.corrected == UNKNOWN)) for pair in pairs]
    if not any(which.any() for which in kept):
        return None
    case = np.repeat([f"{i:09}" for i in range(len(pairs))], [int(which.sum()) for which in kept])
    label = np.concatenate([pair.label[which] for pair, which in zip(pairs, kept, strict=True)])
    first = np.concatenate([pair.first[which] for pair, which in zip(pairs, kept, strict=True)])
    second = np.concatenate([pair.second[which] for pair, which in zip(pairs, kept, strict=True)])
    thresholds = pairs[0].thresholds
    a, b = compute_metrics(label, first, thresholds[0]), compute_metrics(label, second, thresholds[1])
    intervals = paired_intervals(case, label, (first, second), thresholds, resamples=resamples)
    values = {name: (_figure(a, name), _figure(b, name)) for name in intervals}
    difference = {name: None if one is None or other is None else other - one for name, (one, other) in values.items()}
    return {
        "cases": len(np.unique(case)),
        "a": a.as_dict(),
        "b": b.as_dict(),
        "difference": difference,
        "ci": {name: None if ends is None else list(ends) for name, ends in intervals.items()},
    }


def _mean_difference(pairs: Sequence[Pair]) -> float | None:
    changed = np.concatenate([np.abs(pair.second - pair.first) for pair in pairs])
    return round(float(changed.mean()), DECIMALS) if len(changed) else None


def _figure(metrics: Metrics | None, name: str) -> float | None:
    value: float | None = None if metrics is None else getattr(metrics, name)
    return value
