"""``probability.dcm`` and ``segmentation.dcm``, read back by highdicom and laid over the slide."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from tests.conftest import Ran
from tests.damage.dicom import PERSONAL, dicom_slide
from tests.slides.test_slide import smooth_tissue
from wsi_idc.errors import OptionError
from wsi_idc.export.dicom_maps import UNSCORED, write_dicom_maps
from wsi_idc.export.outputs import Outputs
from wsi_idc.model.classes import Classes
from wsi_idc.model.classifier import load_model
from wsi_idc.model.config import ModelConfig
from wsi_idc.scoring.scores import Scores, make_scores
from wsi_idc.slides.slide import Slide

Run = Callable[..., Ran]

MODEL = ModelConfig("Cancer\\Net", "3fa9c07be1d24455" * 4, 0.5)
PLANTED = {name: f"Planted{i:02}" for i, name in enumerate(PERSONAL) if PERSONAL[name].kind in ("LO", "PN", "SH", "LT")}
FRAME = "1.2.826.0.1.3680043.10.9"


def write_slide(folder: Path, width: int = 2_300, height: int = 1_500, mpp: float = 1.0) -> Path:
    """A DICOM slide that lies turned in its frame of reference, beside a smaller level of itself."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, step in (("a.dcm", 2), ("b.dcm", 1)):
        pixels = smooth_tissue(height, width)[::step, ::step]
        slide = pydicom.dcmread(BytesIO(dicom_slide(pixels, PLANTED, mpp=mpp * step)))
        slide.FrameOfReferenceUID = FRAME
        slide.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
        corner = Dataset()
        corner.XOffsetInSlideCoordinateSystem, corner.YOffsetInSlideCoordinateSystem = "20.5", "40.25"
        slide.TotalPixelMatrixOriginSequence = [corner]
        slide.SOPInstanceUID = slide.file_meta.MediaStorageSOPInstanceUID = f"{FRAME}.{step}"
        slide.save_as(folder / name)
    return folder / "a.dcm"


def made_scores(slide: Slide, threshold: float = 0.5) -> Scores:
    """Another probability for every tile, one of them unreadable."""
    count = len(slide.patches)
    prob = np.random.default_rng(0).permutation((np.arange(count) + 0.5) / count).astype(np.float32)
    prob[1] = np.nan
    return make_scores(slide.slide, slide.patches, np.stack([1 - prob, prob], axis=1), threshold)


def corners(image: Dataset, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners of pixels, given as column and row, in the frame of reference."""
    transform = hd.spatial.ImageToReferenceTransformer.for_image(image, for_total_pixel_matrix=True)
    return np.asarray(transform(places))


@pytest.mark.parametrize("mpp", [1.0, 0.8])
def test_every_pixel_lies_over_its_tile(tmp_path: Path, mpp: float) -> None:
    path = write_slide(tmp_path / "slide", mpp=mpp)
    with Slide(path, tissue_mask=False) as slide:
        assert slide.size_px == (2_300, 1_500)
        scores = made_scores(slide)
        write_dicom_maps(slide, scores, MODEL, tmp_path)
    source = pydicom.dcmread(tmp_path / "slide" / "b.dcm")
    tile_px = 400 / mpp
    column, row = (scores.minx / tile_px).round().astype(int), (scores.miny / tile_px).round().astype(int)
    for name in ("probability.dcm", "segmentation.dcm"):
        image = hd.imread(tmp_path / name)
        assert image.FrameOfReferenceUID == FRAME
        np.testing.assert_allclose(
            corners(image, np.column_stack([column, row]).astype(float)),
            corners(source, np.column_stack([scores.minx, scores.miny]).astype(float)),
            atol=1e-6,
        )
        whole = corners(image, np.array([[1.0, 1.0]])) - corners(image, np.array([[0.0, 0.0]]))
        np.testing.assert_allclose(np.abs(whole[0]), [0.4, 0.4, 0], atol=1e-9)
    values = hd.imread(tmp_path / "probability.dcm").get_total_pixel_matrix(apply_real_world_transform=False)
    assert values.shape == (row.max() + 1, column.max() + 1)
    np.testing.assert_array_equal(
        values[row, column], np.where(scores.readable, scores.prob_idc, UNSCORED).astype(np.float32)
    )
    called = hd.seg.segread(tmp_path / "segmentation.dcm").get_total_pixel_matrix(combine_segments=True)
    np.testing.assert_array_equal(called[row, column], scores.pred)
    assert 0 < called.sum() < called.size


def test_what_the_files_say_of_slide_model_and_use(tmp_path: Path) -> None:
    with Slide(write_slide(tmp_path / "slide"), tissue_mask=False) as slide:
        write_dicom_maps(slide, made_scores(slide), MODEL, tmp_path)
    for name in ("probability.dcm", "segmentation.dcm"):
        image = pydicom.dcmread(tmp_path / name)
        assert image.ContentDescription == "For research use only. Not for use in diagnostic procedures."
        assert image.ManufacturerModelName == "Cancer/Net" and MODEL.sha256 in image.SoftwareVersions
        (study,) = image.StudiesContainingOtherReferencedInstancesSequence
        (instance,) = study.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert instance.ReferencedSOPInstanceUID == f"{FRAME}.1", "not the finest level"
        assert study.StudyInstanceUID != image.StudyInstanceUID
    segment = hd.seg.segread(tmp_path / "segmentation.dcm").get_segment_description(1)
    assert segment.segmented_property_type == codes.SCT.InfiltratingDuctCarcinoma
    (algorithm,) = segment.algorithm_identification
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("Cancer/Net", MODEL.sha256)
    probability = pydicom.dcmread(tmp_path / "probability.dcm")
    assert probability.ContentQualification == "RESEARCH"
    mapping = probability.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeMeaning == "Probability of cancer"


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize("keep_patient", [False, True])
@pytest.mark.parametrize("frame_px", [4, 256])
def test_dciodvfy_finds_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_patient: bool, frame_px: int
) -> None:
    """In maps of several frames, and of one."""
    monkeypatch.setattr("wsi_idc.export.dicom_maps.TILE_PX", frame_px)
    with Slide(write_slide(tmp_path / "slide"), tissue_mask=False) as slide:
        write_dicom_maps(slide, made_scores(slide), MODEL, tmp_path, keep_patient=keep_patient)
    for name in ("probability.dcm", "segmentation.dcm"):
        ran = subprocess.run(["dciodvfy", "-new", tmp_path / name], capture_output=True, text=True, check=False)
        assert not [line for line in ran.stderr.splitlines() if line.startswith("Error")], ran.stderr


def test_nobody_is_named_unless_it_is_asked_for(tmp_path: Path) -> None:
    names = ("probability.dcm", "segmentation.dcm")
    with Slide(write_slide(tmp_path / "slide"), tissue_mask=False) as slide:
        assert PLANTED["PatientName"].encode() in (tmp_path / "slide" / "b.dcm").read_bytes()
        scores = made_scores(slide)
        write_dicom_maps(slide, scores, MODEL, tmp_path)
        hidden = [(tmp_path / name).read_bytes() for name in names]
        write_dicom_maps(slide, scores, MODEL, tmp_path, keep_patient=True)
    source = pydicom.dcmread(tmp_path / "slide" / "b.dcm")
    for name, without in zip(names, hidden, strict=True):
        assert b"Planted" not in without
        assert pydicom.dcmread(BytesIO(without)).PatientIdentityRemoved == "YES"
        image = pydicom.dcmread(tmp_path / name)
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber", "ContainerIdentifier"):
            assert image[keyword].value == source[keyword].value, keyword
        assert "PatientIdentityRemoved" not in image
        assert "StudiesContainingOtherReferencedInstancesSequence" not in image
        assert image.SOPInstanceUID != pydicom.dcmread(BytesIO(without)).SOPInstanceUID


def test_the_same_scores_give_the_same_bytes_and_others_other_uids(tmp_path: Path) -> None:
    uids = set()
    with Slide(write_slide(tmp_path / "slide"), tissue_mask=False) as slide:
        for threshold in (0.5, 0.25):
            scores = made_scores(slide, threshold)
            twice = []
            for _ in range(2):
                twice.append([path.read_bytes() for path in write_dicom_maps(slide, scores, MODEL, tmp_path)])
            assert twice[0] == twice[1]
            uids |= {str(pydicom.dcmread(BytesIO(content)).SOPInstanceUID) for content in twice[0]}
    assert len(uids) == 4
    assert all(len(uid) <= 64 and uid.startswith("2.25.") for uid in uids)
    assert not list(tmp_path.glob(".*"))


def test_cases_of_patches_get_a_study_of_their_own(run: Run, patch_set: Path, tmp_path: Path) -> None:
    args = ("--data", patch_set, "--out", tmp_path / "out")
    ran = run("score", "patient", "8863", "9022", *args, "--dicom")
    assert (ran.code, len(ran.out.split())) == (0, 2) and "scores.csv" in ran.out
    images = [pydicom.dcmread(tmp_path / "out" / name / "probability.dcm") for name in ("8863", "9022")]
    assert images[0].StudyInstanceUID != images[1].StudyInstanceUID
    assert images[0].StudyInstanceUID == pydicom.dcmread(tmp_path / "out/8863/segmentation.dcm").StudyInstanceUID
    assert images[0].TotalPixelMatrixRows, images[0].TotalPixelMatrixColumns == (3, 4)
    assert (tmp_path / "out" / "8863" / "run.json").is_file()
    assert not (tmp_path / "out" / "8863" / "heatmap.png").exists()
    ran = run("heatmap", "patient", "8863", *args, "--dpi", 72, "--dicom")
    assert ran.code == 0 and ran.out.endswith("heatmap.png\n")
    assert (tmp_path / "out" / "8863" / "segmentation.dcm").is_file()
    assert run("heatmap", "patient", "8863", *args, "--dpi", 72).code == 0
    assert not list((tmp_path / "out" / "8863").glob("*.dcm")), "not asked for any more"


def test_nobody_is_named_in_the_log(run_apart: Run, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "slide")
    ran = run_apart("score", "slide", path, "--out", tmp_path / "out", "--dicom", "--keep-patient")
    assert ran.code == 0 and "Planted" not in ran.out + ran.err
    (made,) = tmp_path.glob("out/**/segmentation.dcm")
    assert pydicom.dcmread(made).PatientID == PLANTED["PatientID"]


def test_a_cohort_writes_them_too(run: Run, tmp_path: Path) -> None:
    write_slide(tmp_path / "slides")
    ran = run("score", "all", "--slides", tmp_path / "slides", "--out", tmp_path / "out", "--dicom", "--keep-patient")
    assert ran.code == 0 and ran.out.endswith("scores.csv\n")
    (path,) = tmp_path.glob("out/**/probability.dcm")
    assert pydicom.dcmread(path).PatientName == PLANTED["PatientName"]


def test_what_the_user_can_mend(run: Run, patch_set: Path, tmp_path: Path) -> None:
    for command in ("score", "heatmap"):
        ran = run(command, "patient", "8863", "--data", patch_set, "--out", tmp_path / "out", "--keep-patient")
        assert ran.code == 2 and "--dicom" in ran.err
    code = (
        "import sys, importlib.machinery as m; find = m.PathFinder.find_spec; "
        "m.PathFinder.find_spec = lambda name, *a: None if name == 'highdicom' else find(name, *a); "
        "from wsi_idc.cli import main; "
        f"sys.exit(main(['score', 'patient', '8863', '--data', {str(patch_set)!r}, '--dicom']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and 'pip install "wsi-idc[dicom]"' in done.stderr


def test_codes_are_those_of_idc() -> None:
    other = replace(load_model().config, name="Lung", classes=Classes(("stroma", "tumor"), "tumor"))
    with pytest.raises(OptionError, match="Lung is of stroma, tumor"):
        Outputs(dicom=True).check(other)
