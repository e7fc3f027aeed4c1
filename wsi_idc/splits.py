"""Which patch trains, which tunes and which tests."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

SplitName = Literal["official", "patient", "patch"]
SPLIT_NAMES: tuple[str, ...] = get_args(SplitName)
PARTS = ("train", "val", "test")
SHARES = (0.8, 0.1, 0.1)


@cache
def official_parts() -> dict[str, str]:
    """Part of each case of the published lists: 84 train, 29 val, 49 test.

    References
    ----------
    A. Janowczyk and A. Madabhushi, "Deep learning for digital pathology image analysis", J Pathol Inform 2016.
    """
    table = resources.files("wsi_idc").joinpath("official_split.csv").read_text(encoding="utf-8")
    return {row["case"]: row["part"] for row in csv.DictReader(table.splitlines())}


@dataclass(frozen=True)
class Split:
    """A way to part the cases or patches of a data set, with all that decides it.

    Attributes
    ----------
    name : {"official", "patient", "patch"}
    seed : int
    extra_train : bool
        With "official": cases in no list train.
    exclude : tuple of str
        Cases that are left out of every part.
    """

    name: SplitName = "patient"
    seed: int = 0
    extra_train: bool = False
    exclude: tuple[str, ...] = ()

    def needed(self, cases: Sequence[str], parts: Sequence[str]) -> list[str]:
        """The cases that must be read for these parts: with the published lists only theirs, else all but excluded."""
        kept = [case for case in cases if case not in self.exclude]
        if self.name != "official":
            return kept
        part = self.divide(kept, np.zeros(len(kept), dtype=np.int8))
        return [case for case, name in zip(kept, part, strict=True) if name in parts]

    def divide(self, case: Sequence[str] | NDArray[np.str_], label: NDArray[np.int8]) -> NDArray[np.str_]:
        """Name the part of every patch of the cases needed: see `split_patches`."""
        return split_patches(case, label, self.name, self.seed, extra_train=self.extra_train)


def split_patches(
    case: Sequence[str] | NDArray[np.str_],
    label: NDArray[np.int8],
    split: SplitName,
    seed: int,
    *,
    extra_train: bool = False,
) -> NDArray[np.str_]:
    """Name the part of every patch.

    Parameters
    ----------
    case : sequence of str, length n
        Case of each patch.
    label : ndarray of int8, shape (n,)
    split : {"official", "patient", "patch"}
        By the published lists of cases; by case, 80/10/10, stratified by the case's share of IDC; or by patch,
        which puts neighbours of one slide on both sides: metrics are optimistically biased.
    seed : int
    extra_train : bool
        With "official": cases in no list train. Else they are left out.

    Returns
    -------
    ndarray of str, shape (n,)
        "train", "val", "test", or "" for a patch that is left out.
    """
    names = np.asarray(case)
    if split == "official":
        known, rest = official_parts(), "train" if extra_train else ""
        return np.array([known.get(name, rest) for name in names], dtype="U5")
    rng = np.random.default_rng(seed)
    if split == "patch":
        strata = [np.flatnonzero(label == value) for value in np.unique(label)]
        part = np.empty(len(names), dtype="U5")
        for members in strata:
            part[rng.permutation(members)] = np.repeat(PARTS, _sizes(len(members)))
        return part
    row = np.unique(names, return_inverse=True)[1]
    share = np.bincount(row, weights=label == 1) / np.bincount(row)
    return _deal(share, rng)[row]


def _deal(share: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.str_]:
    """Deal cases to the parts so that each part sees the whole range of IDC shares."""
    n = len(share)
    ranked = np.lexsort((rng.random(n), share))
    held = _sizes(n)[1]
    part = np.full(n, "train", dtype="U5")
    # One case from each of equal runs of ranks; of two runs side by side, one tunes and one tests.
    runs = np.array_split(ranked, 2 * held) if held else []
    roles = rng.permuted(np.tile(["val", "test"], (held, 1)), axis=1).ravel()
    for run, role in zip(runs, roles, strict=True):
        part[rng.choice(run)] = role
    return part


def deal_folds(
    case: NDArray[np.str_], label: NDArray[np.int8], part: NDArray[np.str_], folds: int, seed: int
) -> NDArray[np.int64]:
    """Number the fold of every patch, by case, for predictions of cases that did not train.

    Parameters
    ----------
    case : ndarray of str, shape (n,)
    label : ndarray of int8, shape (n,)
    part : ndarray of str, shape (n,)
        What `split_patches` gives.
    folds : int
        At least 2.
    seed : int

    Returns
    -------
    ndarray of int64, shape (n,)
        1 for the validation part; 2 to `folds` for the cases of the training part, each fold with the whole range of
        IDC shares; 0 for the patches of neither.
    """
    fold = np.zeros(len(case), dtype=np.int64)
    fold[part == "val"] = 1
    trains = part == "train"
    names, row = np.unique(case[trains], return_inverse=True)
    rng = np.random.default_rng(seed)
    share = np.bincount(row, weights=label[trains] == 1) / np.bincount(row)
    ranked = np.lexsort((rng.random(len(names)), share))
    dealt = np.empty(len(names), dtype=np.int64)
    for start in range(0, len(names), folds - 1):
        run = ranked[start : start + folds - 1]
        dealt[run] = 2 + rng.permutation(folds - 1)[: len(run)]
    fold[trains] = dealt[row]
    return fold


def _sizes(n: int) -> tuple[int, int, int]:
    """How many of `n` train, tune and test: 80/10/10, with one at least to tune and test where there are three."""
    held = max(round(n * SHARES[1]), 1) if n >= 3 else 0
    return n - 2 * held, held, held
