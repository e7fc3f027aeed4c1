from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Ran
from wsi_idc.datasets.idc import IdcDataset
from wsi_idc.datasets.labelled import load_patches
from wsi_idc.evaluation.evaluate import evaluate
from wsi_idc.model.classifier import load_model
from wsi_idc.scoring.context import REACH, smooth_over_neighbours
from wsi_idc.scoring.scores import make_scores, read_scores, write_scores
from wsi_idc.source import Patch

Run = Callable[..., Ran]


def logit(prob: np.ndarray | float) -> np.ndarray:
    return np.log(np.asarray(prob) / (1 - np.asarray(prob)))


def test_by_hand() -> None:
    position = np.array([[0, 0], [1, 0], [50, 50]], float)
    prob = np.array([0.9, 0.2, 0.7])
    weight = np.exp(-0.5 / 0.6**2)
    smooth = smooth_over_neighbours(position, prob, 0.6)
    assert logit(smooth[0]) == pytest.approx((logit(0.9) + weight * logit(0.2)) / (1 + weight))
    assert logit(smooth[1]) == pytest.approx((logit(0.2) + weight * logit(0.9)) / (1 + weight))
    assert smooth[2] == pytest.approx(0.7)


def test_as_the_formula_says_on_a_grid_with_holes() -> None:
    rng = np.random.default_rng(0)
    y, x = np.nonzero(rng.random((12, 15)) < 0.7)
    position, prob = np.column_stack([x, y]).astype(float), rng.random(len(x))
    distance = np.linalg.norm(position[:, None] - position[None], axis=2)
    for sigma in (0.6, 1.0, 2.0):
        weight = np.exp(-0.5 * (distance / sigma) ** 2) * (distance <= REACH * sigma)
        expected = (weight @ logit(prob)) / weight.sum(axis=1)
        np.testing.assert_allclose(logit(smooth_over_neighbours(position, prob, sigma)), expected, rtol=1e-9, atol=1e-9)


def test_a_field_of_one_probability_stays_and_holes_pull_nothing() -> None:
    position = np.array([(x, y) for x in range(9) for y in range(9) if (x, y) != (4, 4)], float)
    np.testing.assert_allclose(smooth_over_neighbours(position, np.full(80, 0.9), 1.0), 0.9)


def test_unreadable_patches_stay_so_and_have_no_weight() -> None:
    position = np.array([[0, 0], [1, 0], [2, 0]], float)
    smooth = smooth_over_neighbours(position, np.array([0.9, np.nan, 0.8]), 0.3)
    assert np.isnan(smooth[1])
    np.testing.assert_allclose(smooth[[0, 2]], [0.9, 0.8])
    assert np.isnan(smooth_over_neighbours(position, np.full(3, np.nan), 1.0)).all()


def test_certainty_stays_finite() -> None:
    smooth = smooth_over_neighbours(np.array([[0, 0], [1, 0]], float), np.array([0.0, 1.0]), 5.0)
    assert np.isfinite(smooth).all()


def test_calls_and_figures_follow_the_context_and_the_file_keeps_both(tmp_path: Path) -> None:
    patches = [Patch(50 * i, 0, 50, 50, label=int(i != 1)) for i in range(3)]
    probs = np.array([[0.05, 0.95], [0.6, 0.4], [0.05, 0.95]], np.float32)
    plain = make_scores("8863", patches, probs, 0.5)
    context = plain.with_context(1.0)
    assert plain.pred.tolist() == [True, False, True]
    assert context.pred.tolist() == [True, True, True]
    assert context.metrics is not None
    assert (context.metrics.fp, context.metrics.tp) == (1, 2)
    np.testing.assert_array_equal(context.prob_idc, plain.prob_idc)
    write_scores(tmp_path / "scores.csv", context)
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert list(rows[0])[-1] == "prob_idc_context"
    assert (rows[1]["prob_idc"], rows[1]["pred"]) == ("0.400000", "1")
    again = read_scores(tmp_path / "scores.csv", "8863", 0.5, 1.0)
    np.testing.assert_array_equal(again.prob, context.prob)
    with pytest.raises(ValueError, match="columns"):
        read_scores(tmp_path / "scores.csv", "8863", 0.5)
    assert context.with_context(None).pred.tolist() == plain.pred.tolist()


def test_on_and_off_again_scores_nothing_anew(run: Run, patch_set: Path, tmp_path: Path) -> None:
    args = ("score", "patient", "8863", "--data", patch_set, "--out", tmp_path / "out")
    path = tmp_path / "out" / "8863" / "scores.csv"
    assert run(*args).code == 0
    plain = path.read_bytes()
    assert run(*args, "--context", "0.8").code == 0
    about = json.loads(path.with_name("run.json").read_text())
    assert (about["context"], about["pred_follows"]) == (0.8, "prob_idc_context")
    assert b"prob_idc_context" in path.read_bytes()
    assert run(*args).code == 0
    assert path.read_bytes() == plain
    assert json.loads(path.with_name("run.json").read_text())["pred_follows"] == "prob_idc"


def test_the_learned_context_is_in_the_table_and_calls_follow_it_where_asked(
    run: Run, patch_set: Path, tmp_path: Path
) -> None:
    args = ("score", "patient", "8863", "--data", patch_set, "--out", tmp_path / "out")
    path = tmp_path / "out" / "8863" / "scores.csv"
    learned = load_model().config.context
    assert learned is not None

    def table() -> tuple[list[dict[str, str]], dict[str, object]]:
        return list(csv.DictReader(path.open())), json.loads(path.with_name("run.json").read_text())

    assert run(*args).code == 0
    rows, about = table()
    assert (about["context"], about["pred_follows"]) == ("learned", "prob_idc")
    position = np.array([[int(row["minx"]), int(row["miny"])] for row in rows]) // 50
    expected = learned.apply(position, np.array([float(row["prob_idc"]) for row in rows]))
    np.testing.assert_allclose([float(row["prob_idc_context"]) for row in rows], expected, atol=1e-6)
    threshold = about["model"]["threshold"]
    assert [row["pred"] == "1" for row in rows] == [float(row["prob_idc"]) >= threshold for row in rows]

    assert run(*args, "--context", "learned").code == 0
    rows, about = table()
    assert (about["context"], about["pred_follows"]) == ("learned", "prob_idc_context")
    assert [row["pred"] == "1" for row in rows] == [float(row["prob_idc_context"]) >= threshold for row in rows]
    assert run(*args, "--context", "far").code == 2


@pytest.mark.parametrize("sigma", ["0", "-1", "nan", "inf", "1000"])
def test_a_sigma_that_cannot_be(run: Run, patch_set: Path, sigma: str) -> None:
    ran = run("score", "patient", "8863", "--data", patch_set, "--context", sigma)
    assert ran.code == 2
    assert "context" in ran.err


def test_evaluation_blurs_within_cases_only(patch_set: Path) -> None:
    with IdcDataset(patch_set) as dataset:
        both, one = (load_patches(dataset, cases) for cases in (["8863", "9022"], ["9022"]))
    model = load_model()
    together = evaluate(both, model, context=1.0)
    alone = evaluate(one, model, context=1.0)
    np.testing.assert_array_equal(together.prob[12:], alone.prob)
    assert (evaluate(one, model).prob != alone.prob).any()
