"""Corrected patches are read from what was scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import make_patch_set, zip_folder
from tests.slides.test_slide import smooth_tissue, write_slide
from wsi_idc.datasets.opening import open_case
from wsi_idc.errors import CorrectionsError, DataNotFoundError
from wsi_idc.model.classifier import Classifier, load_model
from wsi_idc.scoring.corrected import load_corrected
from wsi_idc.scoring.corrections import Correction, write_corrections
from wsi_idc.scoring.results import SlideResult, score_into
from wsi_idc.scoring.slide_stain import measure_stain
from wsi_idc.slides.slide import Slide


@pytest.fixture(scope="module")
def model() -> Classifier:
    return load_model()


def correct(result: SlideResult, rows: list[int], is_idc: bool = True) -> None:
    scores = result.scores
    sides = (scores.minx, scores.miny, scores.width, scores.height)
    said = [Correction(*(int(side[row]) for side in sides), is_idc) for row in rows]
    write_corrections(result.folder, said)


def test_patches_of_a_case_are_read_in_its_order(model: Classifier, patch_set: Path, tmp_path: Path) -> None:
    case = open_case("8863", patch_set)
    correct(score_into(case, model, tmp_path / "out"), [7, 2])
    correct(score_into(open_case("9022", patch_set), model, tmp_path / "out"), [11], is_idc=False)
    found = load_corrected(tmp_path / "out", model.config.normalization)
    assert found.patches.case.tolist() == ["8863", "8863", "9022"]
    assert found.patches.label.tolist() == [1, 1, 0]
    assert found.patches.position.tolist()[:2] == [list(case.patches[row][:2]) for row in (2, 7)]
    np.testing.assert_array_equal(found.patches.pixels[:2], case.read(0, 12).pixels[[2, 7]])
    # The stain is that of the whole slide, not of two patches.
    assert found.stains.of_case["8863"] == measure_stain(case, model.config.normalization)
    assert found.slides == ["8863", "9022"]
    assert load_corrected(tmp_path / "out", None).stains.of_case == {}


def test_data_that_moved_are_named(model: Classifier, patch_set: Path, tmp_path: Path) -> None:
    correct(score_into(open_case("8863", patch_set), model, tmp_path / "out"), [0])
    moved = zip_folder(patch_set, tmp_path / "moved.zip")
    shutil.rmtree(patch_set)
    with pytest.raises(CorrectionsError, match="8863 cannot be opened"):
        load_corrected(tmp_path / "out", None)
    assert len(load_corrected(tmp_path / "out", None, data=moved)) == 1
    make_patch_set(patch_set, ("8863",), columns=5)
    with pytest.raises(CorrectionsError, match=r"not what .* was scored from"):
        load_corrected(tmp_path / "out", None)


@pytest.mark.parametrize("options", [{}, {"mpp": 1.5, "min_tissue": 0.1}, {"tissue_mask": False}, {"roi": True}])
def test_tiles_of_a_raw_slide_are_read_as_they_were_scored(
    model: Classifier, tmp_path: Path, options: dict[str, object]
) -> None:
    path = write_slide(tmp_path / "a.tif", smooth_tissue(900, 1100), 2.0, levels=2)
    if "roi" in options:
        ring = [[0, 0], [400, 0], [400, 900], [0, 900], [0, 0]]
        outline = {"type": "Polygon", "coordinates": [ring]}
        roi = tmp_path / "roi.geojson"
        roi.write_text(json.dumps({"type": "Feature", "geometry": outline, "properties": {}}))
        options = {"roi": roi}
    with Slide(path, name="deep/a.tif", **options) as slide:  # type: ignore[arg-type]
        correct(score_into(slide, model, tmp_path / "out"), [1, 3])
        pixels = slide.read(0, len(slide.patches)).pixels[[1, 3]]
    found = load_corrected(tmp_path / "out", model.config.normalization)
    assert found.slides == ["deep/a.tif"]
    np.testing.assert_array_equal(found.patches.pixels, pixels)


def test_what_lies_on_no_patch_is_told(model: Classifier, patch_set: Path, tmp_path: Path) -> None:
    result = score_into(open_case("8863", patch_set), model, tmp_path)
    write_corrections(result.folder, [Correction(7, 7, 50, 50, True), Correction(0, 0, 50, 50, True)])
    found = load_corrected(tmp_path, None)
    assert len(found) == 1
    assert ["1 corrections lie on no patch" in str(problem) for problem in found.patches.problems] == [True]
    write_corrections(result.folder, [Correction(7, 7, 50, 50, True)])
    with pytest.raises(CorrectionsError, match="lies on a patch"):
        load_corrected(tmp_path, None)


def test_folders_without_corrections_and_damaged_ones(model: Classifier, patch_set: Path, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="is no folder"):
        load_corrected(tmp_path / "none", None)
    result = score_into(open_case("8863", patch_set), model, tmp_path / "out")
    with pytest.raises(CorrectionsError, match="No patch is corrected"):
        load_corrected(tmp_path / "out", None)
    write_corrections(result.folder, [Correction(0, 0, 50, 50, None, "only a note")])
    with pytest.raises(CorrectionsError, match="No patch is corrected"):
        load_corrected(tmp_path / "out", None)
    correct(result, [0])
    (result.folder / "run.json").write_text("{}")
    with pytest.raises(CorrectionsError, match=r"run\.json is missing or damaged"):
        load_corrected(tmp_path / "out", None)
