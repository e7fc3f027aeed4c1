from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ran
from tests.slides.test_slide import damage, smooth_tissue, write_slide

Run = Callable[..., Ran]


def probabilities(folder: Path) -> list[tuple[str, str]]:
    with (folder / "scores.csv").open(newline="") as file:
        return [(row["prob_idc"], row["status"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("name", ["set", "set.zip", "set.zarr"])
def test_tiles_score_as_the_slide_does(run: Run, tmp_path: Path, name: str) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(960, 1_350), 1.0)
    ran = run("tile", path, tmp_path / name, "--case", 777_777, "--no-tissue-mask")
    assert (ran.code, ran.out) == (0, f"{tmp_path / name}\n")
    assert run("score", "patient", 777_777, "--data", tmp_path / name, "--out", tmp_path / "out").code == 0
    assert run("score", "slide", path, "--no-tissue-mask", "--out", tmp_path / "out").code == 0
    of_slide = probabilities(tmp_path / "out" / "a.tiff")
    assert len(of_slide) == 12
    assert probabilities(tmp_path / "out" / "777777") == of_slide


def test_unreadable_tiles_are_named(run: Run, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(1_300, 1_300), 2.0, tile=400)
    damage(path, 5, b"\x00")
    ran = run("tile", path, tmp_path / "set", "--no-tissue-mask")
    assert ran.code == 1
    assert "x 400, y 400" in ran.err
    assert "4 of the 49 tiles" in ran.err
    assert len(list((tmp_path / "set").rglob("*.png"))) == 45


def test_what_cannot_be_cut(run: Run, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(300, 300), 2.0)
    (tmp_path / "there").mkdir()
    for args, said in (
        ((path, tmp_path / "there"), "is there already"),
        ((path, tmp_path / "set", "--case", 90_001), "phantoms"),
        ((tmp_path / "absent.svs", tmp_path / "set"), "There is no slide file"),
        ((path, tmp_path / "set", "--labels", tmp_path / "absent.geojson"), "absent.geojson"),
    ):
        ran = run("tile", *args)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err
    assert not (tmp_path / "set").exists()
