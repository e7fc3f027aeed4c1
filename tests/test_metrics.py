from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    roc_auc_score,
)

from wsi_idc.metrics import add_class_counts, best_threshold, compute_metrics, count_classes

LABELLED = st.lists(st.tuples(st.booleans(), st.integers(0, 1_000_000)), min_size=1, max_size=60)


def test_by_hand() -> None:
    metrics = compute_metrics([0, 0, 0, 1, 1], [0.1, 0.5, 0.9, 0.4, 0.8], 0.5)
    assert (metrics.n, metrics.tn, metrics.fp, metrics.fn, metrics.tp) == (5, 1, 2, 1, 1)
    assert metrics.accuracy == pytest.approx(2 / 5)
    assert metrics.sensitivity == pytest.approx(1 / 2)
    assert metrics.specificity == pytest.approx(1 / 3)
    assert metrics.balanced_accuracy == pytest.approx(5 / 12)
    assert metrics.precision == pytest.approx(1 / 3)
    assert metrics.npv == pytest.approx(1 / 2)
    assert metrics.f1 == pytest.approx(2 / 5)
    assert metrics.auc == pytest.approx(3 / 6)
    assert metrics.brier == pytest.approx((0.01 + 0.25 + 0.81 + 0.36 + 0.04) / 5)


def test_a_probability_at_the_threshold_is_called() -> None:
    assert compute_metrics([1], [0.5], 0.5).tp == 1


@pytest.mark.parametrize(("label", "none"), [(0, ("sensitivity", "average_precision")), (1, ("specificity",))])
def test_what_is_undefined_is_none(label: int, none: tuple[str, ...]) -> None:
    figures = compute_metrics([label, label], [0.2, 0.3], 0.5).as_dict()
    for name in (*none, "auc", "balanced_accuracy"):
        assert figures[name] is None
    assert figures["accuracy"] is not None


@given(LABELLED, st.floats(0, 1))
def test_counts_add_up(rows: list[tuple[bool, int]], threshold: float) -> None:
    metrics = compute_metrics([label for label, _ in rows], [prob / 1e6 for _, prob in rows], threshold)
    assert metrics.tn + metrics.fp + metrics.fn + metrics.tp == len(rows)


@given(LABELLED)
def test_areas_are_those_of_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    label = np.array([True, False, *(label for label, _ in rows)])
    prob = np.array([0.7, 0.3, *(prob / 1e6 for _, prob in rows)]).round(2)
    metrics = compute_metrics(label, prob, 0.5)
    assert metrics.auc == pytest.approx(roc_auc_score(label, prob))
    assert metrics.average_precision == pytest.approx(average_precision_score(label, prob))


@given(LABELLED)
def test_no_other_threshold_is_better(rows: list[tuple[bool, int]]) -> None:
    label = np.array([True, False, *(label for label, _ in rows)])
    prob = np.array([0.7, 0.3, *(prob / 1e6 for _, prob in rows)]).round(2)

    def balanced_accuracy(threshold: float) -> float:
        called = prob >= threshold
        return float(called[label].mean() + (~called)[~label].mean()) / 2

    best = balanced_accuracy(best_threshold(label, prob))
    assert best == pytest.approx(max(map(balanced_accuracy, np.linspace(0, 1, 201))))


def test_threshold_needs_both_classes() -> None:
    with pytest.raises(ValueError, match="both classes"):
        best_threshold([1, 1], [0.2, 0.3])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_figures_of_several_classes_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labelled, called = np.array([*((i, i) for i in range(4)), *pairs]).T
    found = count_classes(("a", "b", "c", "d"), labelled, called)
    np.testing.assert_array_equal(found.counts, confusion_matrix(labelled, called))
    assert found.n == len(labelled)
    assert found.accuracy == pytest.approx(accuracy_score(labelled, called))
    assert found.macro_f1 == pytest.approx(f1_score(labelled, called, average="macro"))
    assert found.macro_balanced_accuracy == pytest.approx(balanced_accuracy_score(labelled, called))
    np.testing.assert_allclose(found.precision, precision_score(labelled, called, average=None))
    assert add_class_counts([found, found]).counts == tuple(tuple(2 * n for n in row) for row in found.counts)


def test_a_class_that_is_nowhere_leaves_the_macro_figures_undefined() -> None:
    found = count_classes(("a", "b", "c"), [0, 0, 1], [0, 1, 1])
    assert found.sensitivity == (0.5, 1.0, None)
    assert found.f1[2] is None
    assert (found.macro_f1, found.macro_balanced_accuracy) == (None, None)
    called = count_classes(("a", "b", "c"), [0, 0, 1], [0, 2, 1])
    assert called.f1 == (pytest.approx(2 / 3), 1.0, 0.0)
    assert called.macro_f1 == pytest.approx(5 / 9)
    assert called.macro_balanced_accuracy is None
