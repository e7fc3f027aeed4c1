from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wsi_idc.errors import OptionError
from wsi_idc.evaluation.bootstrap import bootstrap_intervals, paired_intervals
from wsi_idc.evaluation.paired import overall, pair_scores, table_row
from wsi_idc.metrics import compute_metrics
from wsi_idc.scoring.scores import Scores, make_scores
from wsi_idc.source import Patch


def made(slide: str, prob: list[float], label: list[int | None] | None = None, threshold: float = 0.5) -> Scores:
    labels = label or [None] * len(prob)
    patches = [Patch(50 * i, 0, 50, 50, of) for i, of in enumerate(labels)]
    idc = np.array(prob, dtype=np.float32)
    return make_scores(slide, patches, np.stack([1 - idc, idc], axis=1), threshold)


def test_what_changed_is_counted_where_both_have_a_probability() -> None:
    first = made("a", [0.1, 0.6, 0.7, float("nan"), 0.2], [0, 1, 0, 1, None])
    second = made("a", [0.3, 0.2, 0.8, 0.9], [0, 1, 0, 1], threshold=0.25)
    row = table_row(pair_scores(first, second, {(0, 0, 50, 50): True, (50, 0, 50, 50): True, (7, 7, 1, 1): True}))
    assert (row["patches_a"], row["patches_b"], row["patches"]) == (5, 4, 3)
    assert row["mean_abs_difference"] == pytest.approx((0.2 + 0.4 + 0.1) / 3, abs=1e-6)
    assert (row["gained"], row["lost"]) == (1, 1)
    assert (row["corrections"], row["agree_a"], row["agree_b"]) == (2, 1, 1)
    assert row["auc_a"] == compute_metrics([0, 1, 0], [0.1, 0.6, 0.7], 0.5).auc
    assert row["balanced_accuracy_b"] == compute_metrics([0, 1, 0], [0.3, 0.2, 0.8], 0.25).balanced_accuracy
    assert (row["auc_rest_a"], row["f1_rest_a"]) == (None, 0.0)


def test_without_labels_or_corrections_nothing_is_made_up() -> None:
    row = table_row(pair_scores(made("a", [0.1, 0.9]), made("a", [0.1, 0.9])))
    assert {row[name] for name in row if name.startswith(("auc", "f1", "balanced"))} == {None}
    assert (row["corrections"], row["agree_a"]) == (0, None)
    told = overall([pair_scores(made("a", [0.1, 0.9]), made("a", [0.1, 0.9]))])
    assert told["labelled"] is None
    assert "corrections" not in told
    none = pair_scores(made("a", []), made("a", []))
    assert table_row(none)["mean_abs_difference"] is None


def test_other_grids_and_mixed_thresholds_are_refused() -> None:
    first = made("a", [0.1, 0.9])
    with pytest.raises(OptionError, match="cut into other patches"):
        pair_scores(first, replace(first, minx=first.minx + 25))
    pairs = [pair_scores(first, first), pair_scores(made("b", [0.1], threshold=0.4), made("b", [0.1]))]
    with pytest.raises(OptionError, match=r"slides of A .* different thresholds, 0.4 to 0.5"):
        overall(pairs)


def cohort(shift: float) -> list[tuple[Scores, Scores]]:
    """Twenty cases that differ much in how hard they are; the second scores of all are a little better."""
    rng = np.random.default_rng(0)
    found = []
    for case in range(20):
        label = rng.integers(0, 2, 100)
        noise = rng.normal(0, 0.05 + 0.04 * case, 100)
        logit = 2 * label - 1 + 10 * noise
        sides = [1 / (1 + np.exp(-(logit + gain * (2 * label - 1)))) for gain in (0.0, shift)]
        first, second = (made(str(case), side.tolist(), label.tolist()) for side in sides)
        found.append((first, second))
    return found


def test_intervals_of_differences_are_over_the_same_cases() -> None:
    pairs = [pair_scores(first, second) for first, second in cohort(0.3)]
    told = overall(pairs, resamples=300)["labelled"]
    assert told["cases"] == 20
    low, high = told["ci"]["auc"]
    assert 0 < low < told["difference"]["auc"] < high
    assert told["difference"]["auc"] == pytest.approx(told["b"]["auc"] - told["a"]["auc"])
    case = np.repeat([pair.slide for pair in pairs], [len(pair) for pair in pairs])
    label = np.concatenate([pair.label for pair in pairs])
    first = np.concatenate([pair.first for pair in pairs])
    alone = bootstrap_intervals(case, label, first, 0.5, resamples=300)["auc"]
    assert alone is not None
    assert high - low < (alone[1] - alone[0]) / 4, "what is hard about a case does not cancel out"


def test_equal_results_differ_by_nothing() -> None:
    first = cohort(0)[0][0]
    ends = paired_intervals(np.repeat(["1", "2"], 50), first.label, (first.prob, first.prob), (0.5, 0.5), resamples=50)
    assert {end for name, end in ends.items() if end is not None} == {(0.0, 0.0)}
    one = paired_intervals(np.repeat(["1"], 100), first.label, (first.prob, first.prob), (0.5, 0.5), resamples=50)
    assert set(one.values()) == {None}


def test_patches_that_were_corrected_can_be_left_out() -> None:
    (first, second), *_ = cohort(0.3)
    box = (int(first.minx[3]), 0, 50, 50)
    told = overall([pair_scores(first, second, {box: bool(first.label[3])})], resamples=20)
    assert told["corrections"]["patches"] == 1
    assert told["labelled"]["a"]["n"] - told["not_corrected"]["a"]["n"] == 1
