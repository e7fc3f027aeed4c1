"""The same model under every Keras backend that is installed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ran, make_patch_set

pytestmark = pytest.mark.slow

Run = Callable[..., Ran]


def probabilities(path: Path) -> list[float]:
    with path.open() as file:
        return [float(row["prob_idc"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_backends_agree_and_train(run: Run, run_apart: Run, tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    data = make_patch_set(tmp_path / "idc", cases=("9000", "9001", "9002", "9003"), columns=6, rows=5)
    common = ("9000", "--data", data, "--batch-size", "16", "--out")
    expected = run("score", "patient", *common, tmp_path / "tensorflow")
    ran = run_apart("score", "patient", *common, tmp_path / backend, KERAS_BACKEND=backend)
    assert (expected.code, ran.code) == (0, 0), ran.err
    assert f'"keras-{backend}' in (tmp_path / backend / "9000" / "run.json").read_text()
    other, own = (probabilities(Path(done.out.strip())) for done in (ran, expected))
    assert other == pytest.approx(own, abs=1e-4)
    options = ("--data", data, "--out", tmp_path / "model", "--epochs", "1", "--batch-size", "16")
    trained = run_apart("train", *options, KERAS_BACKEND=backend)
    assert trained.code == 0, trained.err
    assert Path(trained.out.strip()).is_file()
