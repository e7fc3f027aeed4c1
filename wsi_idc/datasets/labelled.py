"""Labelled patches of many cases in memory: what training and evaluation work on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_idc.datasets.dataset import Dataset
from wsi_idc.geometry import PATCH_PX
from wsi_idc.source import UNKNOWN, Problem


@dataclass(frozen=True, eq=False)
class LabelledPatches:
    """Patches of many cases.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (n, 50, 50, 3)
    label : ndarray of int8, shape (n,)
    case : ndarray of str, shape (n,)
    position : ndarray of int64, shape (n, 2)
        x and y of the top-left pixel, from 0.
    fingerprint : str
        SHA-256 over the fingerprints of the cases.
    problems : tuple of Problem
        What was odd in the data, and patches that were left out because they are unreadable.
    """

    pixels: NDArray[np.uint8]
    label: NDArray[np.int8]
    case: NDArray[np.str_]
    position: NDArray[np.int64]
    fingerprint: str
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.label)


def load_patches(
    dataset: Dataset, cases: Sequence[str] | None = None, on_case: Callable[[int, int], None] | None = None
) -> LabelledPatches:
    """Read every labelled, readable patch of these cases into memory (7.5 kB each).

    Parameters
    ----------
    dataset : Dataset
        See `open_dataset`.
    cases : sequence of str, optional
        Case numbers; by default all of the data set.
    on_case : callable, optional
        Called after each case with the number read and the total.

    Raises
    ------
    UnknownCaseError
        Where the data set has no such case.
    """
    cases = dataset.cases if cases is None else cases
    total = sum(label is not None for case in cases for label in dataset.labels(case))
    pixels = np.empty((total, PATCH_PX, PATCH_PX, 3), dtype=np.uint8)
    labels, names, positions, digest, filled = [], [], [], hashlib.sha256(), 0
    problems: list[Problem] = []
    for done, number in enumerate(cases, 1):
        case = dataset.case(number)
        block = case.read(0, len(case.patches))
        of_case = case.patches.labels
        kept = np.flatnonzero((of_case != UNKNOWN) & block.readable)
        pixels[filled : filled + len(kept)] = block.pixels[kept]
        filled += len(kept)
        labels += of_case[kept].tolist()
        names += [number] * len(kept)
        positions += case.patches.boxes[kept, :2].tolist()
        digest.update(case.fingerprint.encode())
        problems += (*case.problems, *block.problems)
        if on_case:
            on_case(done, len(cases))
    return LabelledPatches(
        pixels[:filled],
        np.array(labels, dtype=np.int8),
        np.array(names, dtype="U9"),
        np.array(positions, dtype=np.int64).reshape(-1, 2),
        digest.hexdigest(),
        tuple(problems),
    )
