from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from wsi_idc.evaluation import bootstrap
from wsi_idc.evaluation.bootstrap import _Cases, _figures, bootstrap_intervals, class_intervals
from wsi_idc.metrics import ClassMetrics, add_class_counts, compute_metrics


def cohort(seed: int = 0, cases: int = 12, patches: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cases with a shift of their own, and probabilities rounded so that there are ties."""
    rng = np.random.default_rng(seed)
    case = np.repeat([str(9000 + i) for i in range(cases)], patches)
    label = rng.integers(0, 2, len(case)).astype(np.int8)
    shift = np.repeat(rng.normal(0, 0.15, cases), patches)
    prob = np.clip(0.35 + 0.3 * label + shift + rng.normal(0, 0.2, len(case)), 0, 1).round(2)
    return case, label, prob


def test_each_resample_gives_the_figures_of_the_drawn_cases() -> None:
    case, label, prob = cohort()
    names, row = np.unique(case, return_inverse=True)
    draws = np.random.default_rng(1).multinomial(len(names), np.full(len(names), 1 / len(names)), size=20)
    figures = _figures(_Cases(row, label == 1, prob), draws.astype(float), 0.5)
    for i, draw in enumerate(draws):
        drawn = np.concatenate([np.flatnonzero(row == j) for j, times in enumerate(draw) for _ in range(times)])
        expected = compute_metrics(label[drawn], prob[drawn], 0.5).as_dict()
        for name, values in figures.items():
            assert values[i] == pytest.approx(expected[name]), name


def test_interval_holds_the_figure_and_narrows_with_more_cases() -> None:
    few, many = cohort(cases=8), cohort(cases=128)
    widths = []
    for case, label, prob in (few, many):
        auc = compute_metrics(label, prob, 0.5).auc
        interval = bootstrap_intervals(case, label, prob, 0.5)["auc"]
        assert interval is not None
        assert auc is not None
        assert interval[0] < auc < interval[1]
        widths.append(interval[1] - interval[0])
    assert widths[1] < widths[0] / 2


def test_cases_count_not_patches() -> None:
    """Every patch three times over says no more than once."""
    case, label, prob = cohort()
    once = bootstrap_intervals(case, label, prob, 0.5)
    thrice = bootstrap_intervals(*(np.tile(column, 3) for column in (case, label, prob)), 0.5)
    for name, interval in once.items():
        assert thrice[name] == pytest.approx(interval), name


def test_undefined_is_none() -> None:
    case, label, prob = cohort()
    assert set(bootstrap_intervals(case[:40], label[:40], prob[:40], 0.5).values()) == {None}
    positive = bootstrap_intervals(case, np.ones_like(label), prob, 0.5)
    assert positive["auc"] is None
    assert positive["specificity"] is None
    assert positive["sensitivity"] is not None


def test_the_seed_decides() -> None:
    columns = cohort()
    assert bootstrap_intervals(*columns, 0.5, seed=1) == bootstrap_intervals(*columns, 0.5, seed=1)
    assert bootstrap_intervals(*columns, 0.5, seed=1) != bootstrap_intervals(*columns, 0.5, seed=2)


def test_memory_is_linear_in_the_cases() -> None:
    """A table of all pairs of these cases takes 1.8 GB, all their resamples together 120 MB each."""
    names = np.arange(15_000).astype("U5").repeat(2)
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, len(names)).astype(np.int8)
    prob = rng.random(len(names))
    tracemalloc.start()
    try:
        assert bootstrap_intervals(names, label, prob, 0.5)["auc"] is not None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 150_000_000


def test_resamples_drawn_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap_intervals(*cohort(), 0.5)
    monkeypatch.setattr(bootstrap, "_DRAWN_AT_ONCE", 12 * 7)
    assert bootstrap_intervals(*cohort(), 0.5) == whole


def test_macro_figures_of_classes_are_those_of_the_drawn_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.random.default_rng(0).integers(1, 30, (10, 3, 3))
    kept: list[np.ndarray] = []
    draws = bootstrap._draws
    monkeypatch.setattr(bootstrap, "_draws", lambda *args: kept.append(draws(*args)) or kept[-1])
    found = class_intervals(counts, resamples=200)
    drawn = [
        add_class_counts(
            [ClassMetrics(("a", "b", "c"), tuple(map(tuple, counts[i]))) for i in np.repeat(range(10), of)]
        )
        for of in kept[0].astype(int)
    ]
    for name in ("macro_f1", "macro_balanced_accuracy"):
        expected = np.percentile([getattr(one, name) for one in drawn], (2.5, 97.5))
        assert found[name] == pytest.approx(expected)
    assert class_intervals(counts[:1])["macro_f1"] is None
    # A class that is nowhere labelled has no sensitivity.
    counts[:, 1] = 0
    assert class_intervals(counts)["macro_balanced_accuracy"] is None
