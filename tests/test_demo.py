"""The main job where there are no data and no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from tests.conftest import Ran
from wsi_idc import load_model, open_case, score
from wsi_idc.datasets.opening import demo_data, open_dataset
from wsi_idc.naming import PHANTOM_CASES
from wsi_idc.phantom import DEMO_CASES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("demo")]

Run = Callable[..., Ran]
FIRST_CASE = PHANTOM_CASES[0]


def test_heatmap_of_a_demo_case(run: Run, tmp_path: Path) -> None:
    ran = run("heatmap", "patient", FIRST_CASE, "--data", "demo", "--out", tmp_path)
    assert (ran.code, ran.out, ran.err) == (0, f"{tmp_path / str(FIRST_CASE) / 'heatmap.png'}\n", "")
    assert '"kind": "phantom"' in (tmp_path / str(FIRST_CASE) / "run.json").read_text()


def test_demo_is_painted_once() -> None:
    painted = demo_data()
    before = painted.stat().st_mtime_ns
    assert demo_data() == painted
    assert painted.stat().st_mtime_ns == before
    with open_dataset("demo") as dataset:
        assert dataset.cases == [str(FIRST_CASE + i) for i in range(DEMO_CASES)]


def test_the_bundled_model_sees_more_in_the_phantom_than_its_colour() -> None:
    """A retrained model may move a little: 0.90 is the aim, 0.85 the floor."""
    model = load_model()
    label, prob, colour, group = [], [], [], []
    for i in range(DEMO_CASES):
        case = open_case(FIRST_CASE + i, "demo")
        scores = score(case, model).scores
        label += scores.label.tolist()
        prob += scores.prob_idc.tolist()
        colour += case.read(0, len(case.patches)).pixels.mean(axis=(1, 2)).tolist()
        group += [i] * len(scores)
    regression = cross_val_predict(
        LogisticRegression(max_iter=1000), np.array(colour) / 255, label, groups=group, cv=LeaveOneGroupOut(),
        method="predict_proba",
    )  # fmt: skip
    by_network, by_colour = roc_auc_score(label, prob), roc_auc_score(label, regression[:, 1])
    assert by_network >= 0.85
    assert by_network > by_colour


def test_without_a_folder_to_paint_in(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    ran = run("score", "patient", FIRST_CASE, "--data", "demo")
    assert ran.code == 2
    assert "XDG_CACHE_HOME" in ran.err
