"""What ``import wsi_idc`` offers."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest

import wsi_idc
from tests.conftest import make_patch_set
from tests.slides.test_slide import smooth_tissue, write_slide
from wsi_idc.cohort import Step, Watcher
from wsi_idc.errors import DataNotFoundError, ModelError, OptionError
from wsi_idc.model.backend import keras
from wsi_idc.scoring.engine import Outcome


def test_all_that_is_named_is_there() -> None:
    assert set(wsi_idc.__all__) <= set(dir(wsi_idc))
    for name in wsi_idc.__all__:
        assert getattr(wsi_idc, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        _ = wsi_idc.scores


def test_the_import_is_light() -> None:
    heavy = ("keras", "tensorflow", "matplotlib", "numpy", "distributed", "sklearn", "openslide")
    code = f"import sys, wsi_idc; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class Noting(Watcher):
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.ended: list[str] = []
        self.done = self.expected = 0

    def step(self, name: Step, slides: int = 0, patches: int = 0) -> AbstractContextManager[object]:
        self.steps.append(name)
        self.expected += patches
        return nullcontext()

    def more(self, patches: int) -> None:
        self.expected += patches

    def patches(self, count: int) -> None:
        self.done += count

    def slide(self, outcome: Outcome) -> None:
        self.ended.append(outcome.name)


def test_a_cohort_of_cases_and_slides(tmp_path: Path) -> None:
    cases = make_patch_set(tmp_path / "idc")
    (tmp_path / "slides").mkdir()
    write_slide(tmp_path / "slides" / "a.tiff", smooth_tissue(900, 900), 2.0)
    write_slide(tmp_path / "slides" / "no scale.tiff", smooth_tissue(300, 300), None)
    noted = Noting()
    cohort = wsi_idc.score_cohort(cases, tmp_path / "out", slides=tmp_path / "slides", threshold=0.25, watch=noted)
    names = ["8863", "9022", "a.tiff", "no scale.tiff"]
    assert [outcome.name for outcome in cohort.outcomes] == names == [row.slide for row in cohort.summary]
    assert [row.status for row in cohort.summary] == ["ok", "ok", "ok", "failed"]
    assert [problem.path for problem in cohort.problems] == ["no scale.tiff"]
    assert cohort.report == tmp_path / "out" / "report.html" and cohort.report.is_file()
    first = cohort.outcomes[0].result
    assert first is not None and first.scores.threshold == 0.25
    assert json.loads((tmp_path / "out" / "8863" / "run.json").read_text())["command"] == []
    assert noted.steps == ["find", "load", "score", "sum up", "report"]
    assert sorted(noted.ended) == names
    assert noted.done == noted.expected == sum(row.patches or 0 for row in cohort.summary)


def test_a_cohort_that_cannot_begin(tmp_path: Path) -> None:
    cases = make_patch_set(tmp_path / "idc")
    with pytest.raises(DataNotFoundError):
        wsi_idc.score_cohort(tmp_path / "absent", tmp_path / "out")
    with pytest.raises(ModelError):
        wsi_idc.score_cohort(cases, tmp_path / "out", model=tmp_path / "absent.keras")
    for options in ({"threshold": 2.0}, {"context": -1.0}):
        with pytest.raises(OptionError):
            wsi_idc.score_cohort(cases, tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*"))


def small_network(outputs: int = 2) -> keras.Model:
    layers = keras.layers
    network = keras.Sequential(
        [keras.Input((48, 48, 3)), layers.GlobalAveragePooling2D(), layers.Dense(outputs, activation="softmax")]
    )
    network.compile("adam", "sparse_categorical_crossentropy")
    return network


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    with wsi_idc.open_dataset(make_patch_set(tmp_path / "idc", columns=8, rows=6)) as dataset:
        train, held = wsi_idc.load_patches(dataset, ["8863"]), wsi_idc.load_patches(dataset, ["9022"])
        assert len(wsi_idc.load_patches(dataset)) == len(train) + len(held)
    network, path = small_network(), tmp_path / "deep" / "mine.keras"
    network.fit(wsi_idc.preprocess(train.pixels), train.label, verbose=0)
    config = wsi_idc.save_model(network, path, tuned_on=held, trained_on=["8863"], training={"epochs": 1})
    model = wsi_idc.load_model(path)
    assert model.config == config
    assert (config.name, config.trained_on, config.has_seen) == ("mine", ("8863",), {"8863", "9022"})
    assert config.training["epochs"] == 1
    with zipfile.ZipFile(path) as archive:
        assert "adam" not in archive.read("config.json").decode().lower()
    judged = wsi_idc.evaluate(held, model)
    part = wsi_idc.evaluate(held, model, np.arange(5))
    assert (judged.metrics.n, part.metrics.n) == (len(held), 5)
    np.testing.assert_array_equal(judged.prob[:5], part.prob)

    plain = wsi_idc.save_model(network, tmp_path / "plain.keras", name="Plain")
    assert (plain.name, plain.threshold, plain.calibration, plain.has_seen) == ("Plain", 0.5, None, frozenset())
    raw = network.predict(wsi_idc.preprocess(held.pixels), verbose=0)
    np.testing.assert_allclose(wsi_idc.load_model(tmp_path / "plain.keras").predict(held.pixels), raw, atol=1e-5)


def test_what_is_no_model_is_not_saved(tmp_path: Path) -> None:
    broken = small_network()
    broken.set_weights([np.full_like(weights, np.nan) for weights in broken.get_weights()])
    for network, name, options, error in (
        (small_network(3), "a.keras", {}, ModelError),
        (small_network(), "a.h5", {}, ModelError),
        (broken, "a.keras", {}, ModelError),
        (small_network(), "a.keras", {"threshold": 1.5}, OptionError),
    ):
        with pytest.raises(error):
            wsi_idc.save_model(network, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())
