from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.test_fitting import RECIPE, InterruptionError, easy_patches, weights
from wsi_idc.errors import TrainingError
from wsi_idc.evaluation.evaluate import evaluate
from wsi_idc.model.classifier import load_model
from wsi_idc.training.fitting import Trained
from wsi_idc.training.folds import OUT_OF_FOLD_FILE, cross_fit

DATA = easy_patches(n=240, cases=12)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model with two folds, which no test changes."""
    return cross_fit(DATA, RECIPE, 2, tmp_path_factory.mktemp("whole"))


@pytest.mark.slow
def test_every_case_is_judged_by_a_model_that_did_not_see_it(whole: Trained) -> None:
    final, folder = load_model(whole.model), whole.model.parent
    with (folder / OUT_OF_FOLD_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({(row["case"], row["minx"], row["miny"]) for row in rows}) <= len(rows)
    judged = set()
    for fold in (1, 2):
        model = load_model(folder / f"fold-{fold}" / "cancernet.keras")
        held = set(model.config.training["cases_held_out"])
        assert held
        assert held.isdisjoint(model.config.trained_on)
        assert held.isdisjoint(judged)
        judged |= held
        assert held | set(model.config.trained_on) == set(final.config.trained_on)
        mine = np.flatnonzero(np.isin(DATA.case, list(held)))
        written = [float(row["prob_idc"]) for row in rows if row["fold"] == str(fold)]
        np.testing.assert_allclose(evaluate(DATA, model, mine).prob, written, atol=2e-6)
        called = [row["pred"] == "1" for row in rows if row["fold"] == str(fold)]
        assert called == (np.array(written) >= model.config.threshold).tolist()
        assert final.config.training["metrics_folds"][str(fold)] == model.config.training["metrics_held_out"]
    assert judged == set(final.config.trained_on)
    assert judged.isdisjoint(final.config.training["cases_test"])
    assert final.config.calibration is not None
    raw = final.network.predict(DATA.pixels, 64)[:, 1]
    np.testing.assert_allclose(
        final.predict_normalized(DATA.pixels)[:, 1], final.config.calibration.apply(raw), atol=1e-6
    )


@pytest.mark.slow
def test_interrupted_folds_end_like_unbroken_ones(whole: Trained, tmp_path: Path) -> None:
    told: list[str] = []

    def stop(_: object) -> None:
        if len(told) == 2:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        cross_fit(DATA, RECIPE, 2, tmp_path / "broken", on_training=told.append, on_epoch=stop)
    assert told == ["Fold 1 of 2", "Fold 2 of 2"]
    broken = cross_fit(DATA, RECIPE, 2, tmp_path / "broken", resume=True)
    for one, other in zip(weights(whole.model), weights(broken.model), strict=True):
        np.testing.assert_array_equal(one, other)
    configs = [json.loads(trained.model.with_suffix(".json").read_text()) for trained in (whole, broken)]
    assert [config["threshold"] for config in configs] == [configs[0]["threshold"]] * 2
    assert whole.model.with_name(OUT_OF_FOLD_FILE).read_bytes() == broken.model.with_name(OUT_OF_FOLD_FILE).read_bytes()


def test_folds_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="whole cases"):
        cross_fit(DATA, replace(RECIPE, split="patch"), 3, tmp_path)
    with pytest.raises(TrainingError, match="too few cases for 20 folds"):
        cross_fit(DATA, RECIPE, 20, tmp_path)
