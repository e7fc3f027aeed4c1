from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_idc.splits import PARTS, Split, deal_folds, official_parts, split_patches


def patches(cases: int, per_case: int = 20) -> tuple[list[str], np.ndarray]:
    """Cases whose share of IDC rises from none to all."""
    names = [str(9000 + case) for case in range(cases) for _ in range(per_case)]
    label = [int(patch < case * per_case / cases) for case in range(cases) for patch in range(per_case)]
    return names, np.array(label, np.int8)


def test_official_lists() -> None:
    assert Counter(official_parts().values()) == {"train": 84, "val": 29, "test": 49}
    assert official_parts()["8867"] == "val"
    assert "8863" not in official_parts()


def test_official_leaves_unlisted_cases_out_unless_told() -> None:
    case, label = ["8863", "8867", "8865"], np.array([0, 1, 0], np.int8)
    assert split_patches(case, label, "official", 0).tolist() == ["", "val", "train"]
    assert split_patches(case, label, "official", 0, extra_train=True).tolist() == ["train", "val", "train"]


@settings(max_examples=60)
@given(st.integers(3, 120), st.integers(0, 2**32))
def test_no_case_stands_on_two_sides(cases: int, seed: int) -> None:
    case, label = patches(cases, 5)
    part = split_patches(case, label, "patient", seed)
    sides = {name: {c for c, p in zip(case, part, strict=True) if p == name} for name in PARTS}
    assert sum(map(len, sides.values())) == len(set().union(*sides.values())) == cases
    assert all(sides.values())
    assert abs(len(sides["val"]) - cases / 10) <= 1
    assert len(sides["val"]) == len(sides["test"])


@given(st.integers(0, 2**32))
def test_parts_see_the_whole_range_of_idc_shares(seed: int) -> None:
    case, label = patches(100)
    part = split_patches(case, label, "patient", seed)
    for name in ("val", "test"):
        assert 0.4 < label[part == name].mean() < 0.6


@pytest.mark.parametrize("split", ["patient", "patch"])
def test_the_seed_decides(split: str) -> None:
    case, label = patches(30)
    first, again, other = (split_patches(case, label, split, seed) for seed in (1, 1, 2))  # type: ignore[arg-type]
    assert (first == again).all()
    assert (first != other).any()


def test_by_patch_is_stratified_and_puts_cases_on_both_sides() -> None:
    case, label = patches(50)
    part = split_patches(case, label, "patch", 0)
    assert Counter(part.tolist()) == {"train": 800, "val": 100, "test": 100}
    assert abs(label[part == "val"].mean() - label.mean()) < 0.01
    assert len({c for c, p in zip(case, part, strict=True) if p == "train"}) == 50


def test_published_test_cases_are_not_even_read() -> None:
    cases = ["8863", "8864", "8865", "8867", "9035"]
    wide = Split("official", extra_train=True, exclude=("8863",))
    assert wide.needed(cases, ["train", "val"]) == ["8865", "8867", "9035"]
    assert Split("official").needed(cases, ["train", "val"]) == ["8865", "8867"]
    assert wide.needed(cases, ["test"]) == ["8864"]
    assert Split("patient", exclude=("8863",)).needed(cases, ["val"]) == cases[1:]


@settings(max_examples=60)
@given(st.integers(6, 120), st.integers(2, 6), st.integers(0, 2**32))
def test_folds_keep_cases_whole_and_the_validation_part_to_itself(cases: int, folds: int, seed: int) -> None:
    names, label = patches(cases, 5)
    case, part = np.array(names), split_patches(names, label, "patient", seed)
    fold = deal_folds(case, label, part, folds, seed)
    assert all(len(set(fold[case == name])) == 1 for name in names)
    assert ((fold == 0) == (part == "test")).all()
    assert ((fold == 1) == (part == "val")).all()
    sizes = [len(set(case[fold == k])) for k in range(2, folds + 1)]
    assert max(sizes) - min(sizes) <= 1
    assert (deal_folds(case, label, part, folds, seed) == fold).all()


def test_folds_see_the_whole_range_of_idc_shares() -> None:
    names, label = patches(100)
    fold = deal_folds(np.array(names), label, split_patches(names, label, "patient", 0), 5, 0)
    assert all(0.45 < label[fold == k].mean() < 0.55 for k in range(2, 6))
