from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import make_patch_set
from wsi_idc.datasets.idc import IdcCase, IdcDataset
from wsi_idc.model.classifier import Classifier, load_model
from wsi_idc.scoring import run_json
from wsi_idc.scoring.results import SlideResult, score_into


@pytest.fixture(scope="module")
def model() -> Classifier:
    return load_model()


@pytest.fixture
def case(patch_set: Path) -> IdcCase:
    with IdcDataset(patch_set) as dataset:
        return dataset.case("8863")


def stamp(path: Path) -> int:
    return path.stat().st_mtime_ns


def test_what_a_scored_slide_leaves(case: IdcCase, model: Classifier, tmp_path: Path) -> None:
    result = score_into(case, model, tmp_path / "out", command=["wsi-idc", "score"])
    assert sorted(file.name for file in result.folder.iterdir()) == ["metrics.json", "run.json", "scores.csv"]
    run = json.loads((result.folder / "run.json").read_text())
    assert set(run) >= {
        *("wsi_idc_version", "command", "started", "finished", "seconds", "slide", "source", "model", "patches"),
        *("software", "runtime", "device", "key"),
    }
    assert set(run["source"]) == {"kind", "path", "fingerprint", "mpp", "mpp_source", "size_px"}
    assert run["patches"] == {"total": 12, "scored": 12, "unreadable": 0}
    assert run["model"]["sha256"] == model.config.sha256
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert list(metrics) == [
        *("n", "tn", "fp", "fn", "tp", "threshold", "accuracy", "balanced_accuracy", "sensitivity", "specificity"),
        *("precision", "npv", "f1", "auc", "average_precision", "brier"),
    ]
    assert metrics["tn"] + metrics["fp"] + metrics["fn"] + metrics["tp"] == metrics["n"] == 12
    assert stamp(result.folder / "run.json") >= max(map(stamp, result.folder.iterdir()))


def test_a_finished_slide_is_taken_as_it_is(case: IdcCase, model: Classifier, tmp_path: Path) -> None:
    first = score_into(case, model, tmp_path)
    before = {file: stamp(file) for file in first.folder.iterdir()}
    seen: list[int] = []
    again = score_into(case, model, tmp_path, on_patches=seen.append)
    assert {file: stamp(file) for file in first.folder.iterdir()} == before
    assert seen == [12]
    np.testing.assert_array_equal(again.scores.prob_idc, first.scores.prob_idc)
    score_into(case, model, tmp_path, restart=True)
    assert stamp(first.scores_path) > before[first.scores_path]


def test_results_of_code_that_read_pixels_otherwise_are_made_again(
    case: IdcCase, model: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_json, "PIXELS_VERSION", run_json.PIXELS_VERSION - 1)
    first = score_into(case, model, tmp_path)
    old, key = stamp(first.scores_path), json.loads((first.folder / "run.json").read_text())["key"]
    monkeypatch.undo()
    again = score_into(case, model, tmp_path)
    assert stamp(again.scores_path) > old
    assert json.loads((again.folder / "run.json").read_text())["key"] != key


def test_another_instruction_set_is_said_and_keeps_what_is_there(
    case: IdcCase, model: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = score_into(case, model, tmp_path)
    told = json.loads((first.folder / "run.json").read_text())["software"]["instruction_set"]
    assert told == model.instruction_set
    written = first.scores_path.read_bytes()
    monkeypatch.setattr("wsi_idc.model.classifier.instruction_set", lambda: "x86_64 other")
    with pytest.warns(UserWarning, match=f"scored on a processor of {told} and are kept; this one is x86_64 other"):
        score_into(case, model, tmp_path)
    assert first.scores_path.read_bytes() == written
    assert json.loads((first.folder / "run.json").read_text())["software"]["instruction_set"] == told


def test_another_threshold_calls_again_and_drops_stale_pictures(
    case: IdcCase, model: Classifier, tmp_path: Path
) -> None:
    folder = score_into(case, model, tmp_path, threshold=0.0).folder
    (folder / "heatmap.png").write_bytes(b"old")
    result = score_into(case, model, tmp_path, threshold=1.0)
    assert not (folder / "heatmap.png").exists()
    assert not result.scores.pred.any()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["threshold"], metrics["fp"], metrics["tp"]) == (1.0, 0, 0)
    assert json.loads((folder / "run.json").read_text())["model"]["threshold"] == 1.0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "run.json").unlink(),
        lambda folder: (folder / "scores.csv").unlink(),
        lambda folder: (folder / "run.json").write_text("{"),
        lambda folder: (folder / "run.json").write_text("[]"),
        lambda folder: (folder / "metrics.json").write_text("{}"),
        lambda folder: (folder / "scores.csv").write_text(
            (folder / "scores.csv").read_text().replace(",1,ok", ",0,ok")
        ),
        lambda folder: (folder / "scores.csv").write_text((folder / "scores.csv").read_text()[:-60]),
    ],
)
def test_what_is_not_whole_is_made_again(case: IdcCase, model: Classifier, tmp_path: Path, spoil: object) -> None:
    first = score_into(case, model, tmp_path)
    whole = first.scores_path.read_bytes()
    spoil(first.folder)  # type: ignore[operator]
    score_into(case, model, tmp_path)
    assert first.scores_path.read_bytes() == whole
    assert json.loads((first.folder / "run.json").read_text())["patches"]["total"] == 12


def test_new_oddities_are_told_without_scoring_again(model: Classifier, patch_set: Path, tmp_path: Path) -> None:
    def run() -> SlideResult:
        with IdcDataset(patch_set) as dataset:
            return score_into(dataset.case("8863"), model, tmp_path / "out")

    before = stamp(run().scores_path)
    (patch_set / "8863" / "0" / "8863_idx5_x1_y1_class7.png").write_bytes(b"x")
    result = run()
    assert [problem.path for problem in result.oddities] == ["8863/0/8863_idx5_x1_y1_class7.png"]
    assert stamp(result.scores_path) == before
    assert len(json.loads((result.folder / "run.json").read_text())["problems"]["source"]) == 1


def test_changed_pixels_are_scored_again(model: Classifier, patch_set: Path, tmp_path: Path) -> None:
    def run() -> str:
        with IdcDataset(patch_set) as dataset:
            folder = score_into(dataset.case("8863"), model, tmp_path / "out").folder
        return str(json.loads((folder / "run.json").read_text())["key"])

    key = run()
    bad = patch_set / "8863" / "1" / "8863_idx5_x1_y1_class1.png"
    good = bad.read_bytes()
    bad.write_bytes(good[:-100])
    assert run() != key
    saved = json.loads((tmp_path / "out" / "8863" / "run.json").read_text())
    assert saved["patches"]["unreadable"] == 1
    assert saved["problems"]["unreadable"][0]["path"] == "8863/1/8863_idx5_x1_y1_class1.png"
    bad.write_bytes(good)
    assert run() == key


def test_batch_size_and_case_order_do_not_change_the_bytes(model: Classifier, tmp_path: Path) -> None:
    make_patch_set(tmp_path / "idc", columns=9, rows=7)
    written = []
    for size in (1, 5, 50, 256):
        with IdcDataset(tmp_path / "idc") as dataset:
            result = score_into(dataset.case("9022"), model, tmp_path / f"out{size}", batch_size=size)
        written.append(result.scores_path.read_bytes())
    assert len(set(written)) == 1
