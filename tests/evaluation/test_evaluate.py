from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Ran, make_patch_set
from wsi_idc.errors import OptionError
from wsi_idc.evaluation.evaluate import Evaluation, check_unseen, split_of
from wsi_idc.metrics import compute_metrics
from wsi_idc.model.config import ModelConfig
from wsi_idc.splits import Split

Run = Callable[..., Ran]

FILES = {
    *("metrics.json", "per_case.csv", "confusion.png", "roc.png", "precision-recall.png", "reliability.png"),
    "errors.png",
}


def config(**training: object) -> ModelConfig:
    return ModelConfig("test", "0" * 64, 0.5, training=training)


def test_the_surest_mistakes_come_first() -> None:
    evaluation = Evaluation(
        np.array(["1"] * 6), np.array([0, 0, 0, 1, 1, 1], np.int8), np.array([0.6, 0.9, 0.1, 0.4, 0.05, 0.5]), 0.5
    )
    assert evaluation.worst(label=0, most=9).tolist() == [1, 0]
    assert evaluation.worst(label=1, most=1).tolist() == [4]


def test_the_split_is_the_models_own_unless_another_is_named() -> None:
    made = config(split="official", seed=3, extra_train=True, exclude=["8863"])
    assert split_of(made) == Split("official", 3, True, ("8863",))
    assert split_of(made, seed=4) == Split("official", 4, True, ("8863",))
    assert split_of(made, "patient") == Split("patient", 3)
    with pytest.raises(OptionError, match="--split"):
        split_of(config())


def test_seen_cases_are_no_test() -> None:
    seen = config(cases_train=["8865"], cases_val=["8867"])
    check_unseen(["8864"], seen, "test")
    check_unseen(["8864", "8867"], seen, "val")
    for case, subset in (("8865", "test"), ("8867", "test"), ("8865", "val")):
        with pytest.raises(OptionError, match=f"{case}.*--allow-trained"):
            check_unseen(["8864", case], seen, subset)


@pytest.fixture
def model(run: Run, tmp_path: Path) -> Path:
    """A model trained for a moment on ten small cases, eight of them for training."""
    cases = tuple(str(9000 + i) for i in range(10))
    make_patch_set(tmp_path / "idc", cases)
    ran = run("train", "--data", tmp_path / "idc", "--out", tmp_path / "model", "--epochs", "1", "--seed", "7")
    assert ran.code == 0
    assert "Best epoch 1: validation AUC" in ran.err
    assert f"To test it: wsi-idc evaluate --model {ran.out.strip()} --data {tmp_path / 'idc'}" in ran.err
    return Path(ran.out.strip())


def test_evaluation_of_a_models_own_test_part(run: Run, model: Path, tmp_path: Path) -> None:
    ran = run("evaluate", "--data", tmp_path / "idc", "--model", model, "--out", tmp_path / "out")
    folder = tmp_path / "out" / "evaluate-test"
    assert (ran.code, ran.out) == (0, f"{folder}\n")
    assert re.search(r"\d+ patches of 1 cases: balanced accuracy 0\.\d{3}, sensitivity .*, AUC 0\.\d{3}", ran.err)
    assert f"are in {folder}; to see a case: wsi-idc heatmap patient" in ran.err
    assert {file.name for file in folder.iterdir()} == FILES
    for name in FILES:
        if name.endswith(".png"):
            with Image.open(folder / name) as picture:
                assert np.ptp(np.asarray(picture.convert("L"))) > 100
    metrics = json.loads((folder / "metrics.json").read_text())
    training = json.loads(model.with_suffix(".json").read_text())["training"]
    assert (metrics["subset"], metrics["split"], metrics["seed"]) == ("test", "patient", 7)
    assert list(metrics["per_case"]) == training["cases_test"]
    assert metrics["n"] == 12 * len(training["cases_test"])
    assert set(metrics["ci"]) < set(metrics)
    rows = list(csv.DictReader((folder / "per_case.csv").open()))
    assert [row["case"] for row in rows] == training["cases_test"]
    assert sum(int(row["tp"]) for row in rows) == metrics["tp"]
    validation = run("evaluate", "--data", tmp_path / "idc", "--model", model, "--subset", "val")
    assert "optimistically biased" in validation.err
    figures = json.loads(Path("wsi-idc-results/evaluate-val/metrics.json").read_text())
    assert list(figures["per_case"]) == training["cases_val"]
    assert figures["n"] == training["metrics_val"]["n"]


def test_patches_that_a_split_by_patch_left_out_are_a_test_that_leaks(run: Run, tmp_path: Path) -> None:
    data = make_patch_set(tmp_path / "idc", ("9000", "9001", "9002"))
    trained = run("train", "--data", data, "--out", tmp_path / "model", "--epochs", 1, "--split", "patch", "--seed", 3)
    assert "data leakage" in trained.err
    model = trained.out.strip()
    ran = run("evaluate", "--data", data, "--model", model, "--out", tmp_path / "out")
    assert ran.code == 0
    assert "data leakage" in ran.err
    metrics = json.loads((tmp_path / "out/evaluate-test/metrics.json").read_text())
    training = json.loads(Path(model).with_suffix(".json").read_text())["training"]
    assert metrics["n"] == training["patches_test"]
    for other in (("--seed", 4), ("--split", "patient")):
        assert run("evaluate", "--data", data, "--model", model, *other).code == 2
    next((data / "9000").rglob("*.png")).unlink()
    assert run("evaluate", "--data", data, "--model", model).code == 2


def test_a_test_on_seen_cases_is_refused(run: Run, model: Path, tmp_path: Path) -> None:
    args = ("evaluate", "--data", tmp_path / "idc", "--model", model, "--split", "patch", "--out", tmp_path / "out")
    ran = run(*args)
    assert (ran.code, ran.out) == (2, "")
    assert "--allow-trained" in ran.err
    assert not (tmp_path / "out").exists()
    assert run(*args, "--allow-trained").code == 0


def test_a_part_without_patches(run: Run, patch_set: Path) -> None:
    ran = run("evaluate", "--data", patch_set, "--subset", "test")
    assert ran.code == 2
    assert "holds no patch" in ran.err


def test_figures_agree_with_the_metrics_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    label, prob = rng.integers(0, 2, 90).astype(np.int8), rng.random(90).round(6)
    evaluation = Evaluation(np.repeat(["9", "10", "8"], 30), label, prob, 0.4)
    assert evaluation.cases == ["8", "9", "10"]
    assert evaluation.metrics == compute_metrics(label, prob, 0.4)
    assert evaluation.per_case["9"] == compute_metrics(label[:30], prob[:30], 0.4)
