"""The learned neighbourhood: turns change nothing, holes count nothing, and it learns what neighbours know."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from wsi_idc.errors import ModelError
from wsi_idc.model.classifier import bundled_model, load_model
from wsi_idc.model.config import read_config
from wsi_idc.model.neighbourhood import Neighbourhood, fit_neighbourhood, is_whole


def grid(rows: int, columns: int) -> NDArray[np.int64]:
    y, x = np.mgrid[:rows, :columns]
    return np.column_stack([x.ravel(), y.ravel()]).astype(np.int64)


def slides(count: int) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.float64], NDArray[np.int8]]:
    """Cases with a round tumour, and probabilities that are off at every fourth patch."""
    rng = np.random.default_rng(0)
    position = grid(24, 30)
    label = (np.hypot(position[:, 0] - 12, position[:, 1] - 10) < 7).astype(np.int8)
    odds = rng.normal(np.where(label, 1.5, -1.5), 1.0, (count, len(label)))
    odds[rng.random(odds.shape) < 0.25] *= -1
    case = np.repeat([str(9_000 + i) for i in range(count)], len(label))
    return case, np.tile(position, (count, 1)), (1 / (1 + np.exp(-odds))).ravel(), np.tile(label, count)


@pytest.fixture(scope="module")
def learned() -> Neighbourhood:
    made = fit_neighbourhood(*slides(4), threshold=0.5)
    assert made is not None
    return made


def test_neighbours_mend_what_a_patch_alone_gets_wrong(learned: Neighbourhood) -> None:
    _, position, prob, label = (part[:720] for part in slides(5))
    alone = balanced_accuracy_score(label, prob >= 0.5)
    together = balanced_accuracy_score(label, learned.apply(position, prob) >= 0.5)
    assert alone < 0.8
    assert together > 0.86


def test_turns_and_shifts_change_nothing(learned: Neighbourhood) -> None:
    prob = np.random.default_rng(1).random(35)
    position = grid(5, 7)
    expected = learned.apply(position, prob)
    for turned in ([[0, 1], [1, 0]], [[-1, 0], [0, 1]], [[0, -1], [1, 0]]):
        moved = position @ np.array(turned) + (100, 2**40)
        np.testing.assert_allclose(learned.apply(moved, prob), expected, rtol=1e-9)


def test_an_unreadable_patch_is_a_hole(learned: Neighbourhood) -> None:
    prob = np.random.default_rng(1).random(35)
    prob[17] = np.nan
    position = grid(5, 7)
    inferred = learned.apply(position, prob)
    assert np.isnan(inferred[17])
    rest = np.arange(35) != 17
    np.testing.assert_allclose(inferred[rest], learned.apply(position[rest], prob[rest]))


def test_a_patch_at_the_end_of_a_line_has_no_neighbour_in_the_next(learned: Neighbourhood) -> None:
    """Two columns far apart: each as if it stood alone."""
    prob = np.random.default_rng(2).random(12)
    left = grid(6, 1)
    right = left + np.array([4, 1])
    together = learned.apply(np.concatenate([left, right]), prob)
    np.testing.assert_allclose(together, [*learned.apply(left, prob[:6]), *learned.apply(right, prob[6:])])


def test_no_patch_at_all(learned: Neighbourhood) -> None:
    assert learned.apply(np.empty((0, 2), np.int64), np.empty(0)).shape == (0,)
    assert np.isnan(learned.apply(grid(1, 2), np.full(2, np.nan))).all()


def test_patches_drawn_here_and_there_teach_nothing() -> None:
    case, position, prob, label = slides(4)
    drawn = np.random.default_rng(3).random(len(case)) < 0.15
    assert is_whole(position[:720])
    assert fit_neighbourhood(case[drawn], position[drawn], prob[drawn], label[drawn], 0.5) is None


def test_the_configuration_keeps_it(learned: Neighbourhood, tmp_path: Path) -> None:
    config = dataclasses.replace(load_model().config, context=learned)
    config.write(tmp_path / "a.json")
    assert read_config(tmp_path / "a.json").context == learned


@pytest.mark.parametrize(
    "change",
    [
        {"reach": 0},
        {"reach": 2.5},
        {"reach": 10**9},
        {"weights": [1.0]},
        {"weights": "none"},
        {"bias": float("nan")},
        {"bias": None},
    ],
)
def test_a_context_that_is_none(change: dict[str, object], tmp_path: Path) -> None:
    raw = json.loads(bundled_model().with_suffix(".json").read_text())
    raw["context"].update(change)
    (tmp_path / "a.json").write_text(json.dumps(raw))
    with pytest.raises(ModelError, match="does not describe a model"):
        read_config(tmp_path / "a.json")


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_the_models_threshold_serves_what_is_learned_as_well(threshold: float) -> None:
    case, position, prob, label = slides(4)
    shifted = 1 / (1 + (1 / prob - 1) * (1 / threshold - 1))  # of a model whose best threshold this is
    learned = fit_neighbourhood(case, position, shifted, label, threshold)
    assert learned is not None
    called = learned.apply(position[:720], shifted[:720]) >= threshold
    assert balanced_accuracy_score(label[:720], called) > 0.9
