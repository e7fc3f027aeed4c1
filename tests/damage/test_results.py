"""A results folder that is damaged between two runs: what is not whole is made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ran
from wsi_idc.datasets.idc import IdcDataset
from wsi_idc.model.classifier import Classifier
from wsi_idc.scoring.results import score_into

Run = Callable[..., Ran]

DAMAGE: dict[str, Callable[[Path], object]] = {
    "no run.json": lambda folder: (folder / "run.json").unlink(),
    "run.json empty": lambda folder: (folder / "run.json").write_bytes(b""),
    "run.json of bytes": lambda folder: (folder / "run.json").write_bytes(b"\xff\0"),
    "run.json a list": lambda folder: (folder / "run.json").write_text("[]"),
    "run.json with texts": lambda folder: _change_run(folder, patches="x", problems="x"),
    "run.json with another threshold": lambda folder: _change_run(folder, model={"threshold": "x"}),
    "table empty": lambda folder: (folder / "scores.csv").write_text(""),
    "table cut": lambda folder: (folder / "scores.csv").write_text((folder / "scores.csv").read_text()[:-40]),
    "table of bytes": lambda folder: (folder / "scores.csv").write_bytes(b"\xff\xfe"),
    "table with text": lambda folder: _change_table(folder, b"\n0,0,", b"\nx,0,"),
    "run.json nested deeply": lambda folder: (folder / "run.json").write_text("[" * 100_000),
    "run.json with a time that is none": lambda folder: _change_run(folder, seconds="long"),
    "run.json with a time of 400 digits": lambda folder: _change_run(folder, seconds=10**400),
    "run.json with an endless time": lambda folder: _change_run(folder, seconds=float("inf")),
    "run.json with a threshold of 400 digits": lambda folder: _change_run(folder, model={"threshold": 10**400}),
    "run.json with a context that is none": lambda folder: _change_run(folder, context="x"),
    "run.json that does not say when it finished": lambda folder: _drop(folder, "finished"),
    "table with a number of 30 digits": lambda folder: _change_table(folder, b"\n0,0,", b"\n" + b"9" * 30 + b",0,"),
    "table with a cell of a megabyte": lambda folder: _change_table(folder, b"\n0,0,", b"\n" + b"x" * 2**20 + b",0,"),
}


def _drop(folder: Path, name: str) -> None:
    told = json.loads((folder / "run.json").read_text())
    del told[name]
    (folder / "run.json").write_text(json.dumps(told))


def _change_run(folder: Path, **changed: object) -> None:
    told = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(told | changed))


def _change_table(folder: Path, old: bytes, new: bytes) -> None:
    table = (folder / "scores.csv").read_bytes()
    assert old in table
    (folder / "scores.csv").write_bytes(table.replace(old, new, 1))


@pytest.mark.parametrize("harm", DAMAGE.values(), ids=DAMAGE)
def test_damaged_results_are_made_again(
    patch_set: Path, tmp_path: Path, classifier: Classifier, harm: Callable[[Path], object]
) -> None:
    with IdcDataset(patch_set) as dataset:
        case = dataset.case("8863")
    folder = score_into(case, classifier, tmp_path, batch_size=16).folder
    whole = (folder / "scores.csv").read_bytes()
    harm(folder)
    score_into(case, classifier, tmp_path, batch_size=16)
    assert (folder / "scores.csv").read_bytes() == whole
    told = json.loads((folder / "run.json").read_text())
    assert told["patches"]["scored"] == 12
    assert told["finished"] >= told["started"]


@pytest.mark.parametrize("seconds", ["long", 10**400], ids=["a text", "400 digits"])
def test_a_damaged_result_does_not_end_a_cohort(run: Run, patch_set: Path, tmp_path: Path, seconds: object) -> None:
    args = ("score", "all", "--data", patch_set, "--out", tmp_path / "out", "--batch-size", 16)
    assert run(*args).code == 0
    _change_run(tmp_path / "out" / "8863", seconds=seconds)
    assert run(*args).code == 0
