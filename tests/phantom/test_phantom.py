"""The phantom: the same each time, in the form of the IDC set, and neither too easy nor too hard to tell by colour."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from wsi_idc import phantom
from wsi_idc.datasets.idc import IdcCase, IdcDataset
from wsi_idc.errors import OutputError
from wsi_idc.geometry import PATCH_PX
from wsi_idc.naming import PHANTOM_CASES, PatchName, parse_patch_name
from wsi_idc.phantom import DEMO_CASES, PhantomSlide, cut_patches, paint_slide, write_phantom

SEED = 7
FIRST_CASE = PHANTOM_CASES[0]
CASES = [str(FIRST_CASE), str(FIRST_CASE + 1)]

Cut = list[tuple[PatchName, NDArray[np.uint8]]]
"""The patches of a case."""

paint_small = partial(paint_slide, width_px=342, height_px=285)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `write_phantom` paint small slides."""
    monkeypatch.setattr(phantom, "paint_slide", paint_small)


@pytest.fixture(scope="module")
def slide() -> PhantomSlide:
    return paint_small(CASES[0], SEED)


@pytest.fixture(scope="module")
def demo_cases(demo: Path) -> list[Cut]:
    with IdcDataset(demo) as data:
        cases = [data.case(case) for case in data.cases]
    assert len(cases) == DEMO_CASES
    return [
        [
            (PatchName(case.slide, at.x + 1, at.y + 1, at.label), pixels[: at.height, : at.width])
            for at, pixels in zip(case.patches, case.read(0, len(case.patches)).pixels, strict=True)
        ]
        for case in cases
    ]


def test_same_arguments_paint_the_same_bytes(slide: PhantomSlide) -> None:
    again = paint_small(CASES[0], SEED)
    assert np.array_equal(slide.pixels, again.pixels)
    assert np.array_equal(slide.tumour, again.tumour)
    assert np.array_equal(slide.tissue, again.tissue)


@pytest.mark.parametrize(("case", "seed"), [(CASES[0], SEED + 1), (CASES[1], SEED)])
def test_another_case_or_seed_paints_another_slide(slide: PhantomSlide, case: str, seed: int) -> None:
    other = paint_small(case, seed)
    assert not np.array_equal(slide.tumour, other.tumour)


def test_slide_arrays_have_the_size_asked_for(slide: PhantomSlide) -> None:
    assert slide.pixels.shape == (285, 342, 3)
    assert slide.tumour.shape == slide.tissue.shape == (285, 342)
    assert [a.dtype.name for a in (slide.pixels, slide.tumour, slide.tissue)] == ["uint8", "bool", "bool"]


def test_label_is_one_where_four_fifths_lie_inside_the_outline() -> None:
    tumour = np.zeros((PATCH_PX, 3 * PATCH_PX), dtype=np.bool_)
    tumour[:, :39] = True
    tumour[:, PATCH_PX : PATCH_PX + 40] = True
    full = PhantomSlide("90001", np.zeros((*tumour.shape, 3), np.uint8), tumour, np.ones_like(tumour))
    assert [name.label for name, _ in cut_patches(full)] == [0, 1, 0]


def test_patches_without_tissue_are_left_out() -> None:
    tissue = np.zeros((PATCH_PX + 8, 2 * PATCH_PX), dtype=np.bool_)
    tissue[:, PATCH_PX:] = True
    pixels = np.zeros((*tissue.shape, 3), np.uint8)
    cut = list(cut_patches(PhantomSlide("90001", pixels, np.zeros_like(tissue), tissue)))
    assert [(name.x, name.y, patch.shape) for name, patch in cut] == [(51, 1, (50, 50, 3)), (51, 51, (8, 50, 3))]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["set", "set.zip"])
def test_written_patches_rebuild_the_painted_pixels(tmp_path: Path, name: str) -> None:
    out = write_phantom(tmp_path / name, cases=2, seed=SEED)
    with IdcDataset(out) as data:
        assert data.cases == CASES
        assert data.index.foreign == 0
        for case in CASES:
            read = data.case(case)
            assert read.kind == "phantom"
            assert not read.problems
            _assert_same_pixels(read, paint_small(case, SEED))


def _assert_same_pixels(read: IdcCase, painted: PhantomSlide) -> None:
    expected = {(name.x - 1, name.y - 1): (name.label, patch) for name, patch in cut_patches(painted)}
    block = read.read(0, len(read.patches))
    assert block.readable.all()
    assert [(patch.x, patch.y) for patch in read.patches] == list(expected)
    for patch, pixels in zip(read.patches, block.pixels, strict=True):
        label, cut = expected[patch.x, patch.y]
        assert patch.label == label
        assert (patch.height, patch.width) == cut.shape[:2]
        assert np.array_equal(pixels[: patch.height, : patch.width], cut)


@pytest.mark.usefixtures("small")
def test_folder_and_zip_hold_the_same_files(tmp_path: Path) -> None:
    folder = write_phantom(tmp_path / "set", cases=2, seed=SEED)
    archive = write_phantom(tmp_path / "set.zip", cases=2, seed=SEED)
    with IdcDataset(folder) as one, IdcDataset(archive) as other:
        assert [one.case(c).fingerprint for c in CASES] == [other.case(c).fingerprint for c in CASES]
    again = write_phantom(tmp_path / "again.zip", cases=2, seed=SEED)
    assert archive.read_bytes() == again.read_bytes()


@pytest.mark.usefixtures("small")
def test_files_lie_in_case_and_class_folders(tmp_path: Path) -> None:
    out = write_phantom(tmp_path / "set", cases=2, seed=SEED)
    for path in out.rglob("*.png"):
        name = parse_patch_name(path.name)
        assert name is not None
        assert path.relative_to(out).parts[:2] == (name.case, str(name.label))


@pytest.mark.usefixtures("small")
def test_progress_is_told_after_each_case(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_phantom(tmp_path / "set", cases=2, seed=SEED, on_case=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["set", "set.zip"])
def test_nothing_is_left_when_writing_fails_midway(tmp_path: Path, name: str) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / name, cases=2, seed=SEED, on_case=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["set", "set.zip"])
def test_what_is_there_already_is_not_touched(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    out.mkdir()
    with pytest.raises(OutputError, match="is there already"):
        write_phantom(out, cases=1, seed=SEED)
    assert list(tmp_path.rglob("*")) == [out]


def test_demo_slides_resemble_cases_of_the_idc_set(demo_cases: list[Cut]) -> None:
    for case in demo_cases:
        assert 500 <= len(case) <= 900
        assert 0.15 <= np.mean([name.label == 1 for name, _ in case]) <= 0.40
    shapes = [patch.shape for case in demo_cases for _, patch in case]
    assert any(shape[1] < PATCH_PX for shape in shapes)
    assert any(shape[0] < PATCH_PX for shape in shapes)


def test_mean_colour_alone_tells_tumour_about_as_well_as_in_real_slides(
    demo_cases: list[Cut],
) -> None:
    rows = [(patch.mean((0, 1)), name.label, i) for i, case in enumerate(demo_cases) for name, patch in case]
    colours, labels, cases = (np.array(column) for column in zip(*rows, strict=True))
    scores = np.zeros(len(labels))
    for case in range(DEMO_CASES):
        held_out = cases == case
        scores[held_out] = _regression().fit(colours[~held_out], labels[~held_out]).decision_function(colours[held_out])
    assert 0.80 <= roc_auc_score(labels, scores) <= 0.94
    pooled: NDArray[np.float64] = cross_val_predict(_regression(), colours, labels, cv=5, method="decision_function")
    assert 0.80 <= roc_auc_score(labels, pooled) <= 0.94


def _regression() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression())
