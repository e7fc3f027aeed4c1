"""Tiles that follow each other by less than their width."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Ran
from tests.slides.test_slide import smooth_tissue, write_slide
from wsi_idc.errors import OptionError
from wsi_idc.geometry import IDC_PATCH, PatchSpec, step_of
from wsi_idc.slides.slide import Slide

Run = Callable[..., Ran]


def test_steps_are_whole_pixels_of_the_model() -> None:
    assert step_of(IDC_PATCH) == IDC_PATCH
    assert step_of(IDC_PATCH, 0.5) == step_of(IDC_PATCH, step_um=200) == PatchSpec(25, 8.0)
    assert step_of(IDC_PATCH, 0.33).size_px == 34
    assert step_of(IDC_PATCH, step_um=130).size_px == 16
    for wrong in ({"overlap": 0.8}, {"overlap": -0.1}, {"overlap": float("nan")}, {"step_um": 90}, {"step_um": 401}):
        with pytest.raises(OptionError, match="choose"):
            step_of(IDC_PATCH, **wrong)
    with pytest.raises(OptionError, match="one of them"):
        step_of(IDC_PATCH, 0.5, 200)


@pytest.mark.parametrize("overlap", [0.3, 0.5, 0.75])
def test_cells_cover_the_slide_once_and_each_is_the_middle_of_its_tile(tmp_path: Path, overlap: float) -> None:
    pixels = smooth_tissue(900, 1_250)
    path = write_slide(tmp_path / "a.tiff", pixels, 2.0)
    with Slide(path, tissue_mask=False, overlap=overlap) as slide:
        boxes = slide.patches.boxes
        covered = np.zeros(pixels.shape[:2], int)
        for x, y, width, height in boxes.tolist():
            covered[y : y + height, x : x + width] += 1
        assert covered.max() == 1
        tiles = slide.read(0, len(boxes)).pixels
        assert tiles.shape[1:] == (50, 50, 3)
        step = slide.patch.size_px
        reduced = pixels[:900, :1_248].reshape(225, 4, 312, 4, 3).mean(axis=(1, 3))
        for box, tile in zip(boxes.tolist(), tiles, strict=True):
            left, top = (
                min(max(round(first / (4 * step)) * step - (50 - step) // 2, 0), side - 50)
                for first, side in zip(box[:2], (312, 225), strict=True)
            )
            np.testing.assert_allclose(tile, reduced[top : top + 50, left : left + 50], atol=1.5)
        np.testing.assert_array_equal(slide.read(5, 8).pixels, tiles[5:8])


def test_a_slide_smaller_than_a_tile_is_padded(tmp_path: Path) -> None:
    with Slide(write_slide(tmp_path / "a.tiff", smooth_tissue(120, 300), 2.0), tissue_mask=False, overlap=0.5) as slide:
        tiles = slide.read(0, len(slide.patches)).pixels
    assert (tiles[:, 30:] == 255).all()
    assert not (tiles[:, :30] == 255).all(axis=-1).any()


def test_files_follow_the_grid_of_steps(run: Run, tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    path = write_slide(tmp_path / "slides" / "a.tiff", smooth_tissue(800, 1_200), 2.0)
    given = ("--no-tissue-mask", "--out", tmp_path / "out", "--quiet")
    folder = tmp_path / "out" / "a.tiff"

    def told() -> tuple[list[dict[str, str]], dict[str, object]]:
        with (folder / "scores.csv").open(newline="") as file:
            return list(csv.DictReader(file)), json.loads((folder / "run.json").read_text())

    assert run("score", "slide", path, *given).code == 0
    rows, plain = told()
    assert (len(rows), "step_px" in plain["source"], "prob_idc_context" in rows[0]) == (24, False, True)
    assert run("heatmap", "slide", path, *given, "--overlap", "0.5", "--geojson", "contours").code == 0
    rows, half = told()
    assert half["key"] != plain["key"]
    assert (half["source"]["step_px"], half["model"]["patch_size_pixels"]) == (25, 50)
    assert len(rows) == 96
    assert sum(int(row["width"]) * int(row["height"]) for row in rows) == 800 * 1_200
    assert "prob_idc_context" not in rows[0]
    before = (folder / "scores.csv").read_bytes()
    assert run("score", "all", "--slides", path.parent, *given, "--step", "200").code == 0
    assert (folder / "scores.csv").read_bytes() == before
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        assert float(next(csv.DictReader(file))["tissue_mm2"]) == pytest.approx(800 * 1_200 * 4 / 1e6, rel=1e-3)


def test_what_overlap_does_not_go_with(run: Run, patch_set: Path, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(400, 400), 2.0)
    given = ("--out", tmp_path / "out", "--quiet")
    for wrong, said in (
        (("score", "slide", path, "--overlap", "0.5", "--context", "learned"), "leave out --overlap"),
        (("score", "all", "--slides", tmp_path, "--overlap", "0.5", "--context", "learned"), "leave out --overlap"),
        (("score", "slide", path, "--step", "20"), "choose 100 to 400"),
        (("score", "all", "--slides", tmp_path, "--step", "20"), "choose 100 to 400"),
        (("score", "all", "--data", patch_set, "--overlap", "0.5"), "come cut into patches side by side"),
        (("score", "patient", "8863", "--data", patch_set, "--overlap", "0.5"), "--overlap"),
    ):
        ran = run(*wrong, *given)
        assert (ran.code, said in ran.err) == (2, True), (wrong, ran.err)
