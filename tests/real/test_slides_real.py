"""Real slides, scored end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from openslide import OpenSlide

from tests.conftest import Ran
from wsi_idc.export.ome_tiff import write_tiff
from wsi_idc.io.areas import average_areas
from wsi_idc.io.opening import open_reader
from wsi_idc.model.classifier import load_model
from wsi_idc.scoring.score import score
from wsi_idc.scoring.scores import Scores
from wsi_idc.slides.slide import Slide

Run = Callable[..., Ran]


def scored(path: Path, mpp: float | None = None) -> Scores:
    with Slide(path, mpp=mpp) as slide:
        return score(slide, load_model()).scores


def test_a_slide_and_its_dicom_twin(slides: Path) -> None:
    svs = scored(slides / "CMU-1-Small-Region.svs")
    files = sorted((slides / "dicom-cmu1-small-region").iterdir())
    names = {open_reader(path).name for path in files}
    assert names == {files[0].name}
    dicom = scored(files[-1])
    one, other = (
        dict(zip(zip(of.minx.tolist(), of.miny.tolist(), strict=True), of.prob_idc.tolist(), strict=True))
        for of in (svs, dicom)
    )
    # The series is compressed anew, so a tile that is tissue by just about the least share may be none there.
    assert len(one.keys() ^ other.keys()) <= 1
    assert np.mean([abs(one[place] - other[place]) for place in one.keys() & other.keys()]) <= 0.05


def test_an_ome_tiff_that_openslide_refuses(slides: Path) -> None:
    with open_reader(slides / "OS-1-detail.ome.tif") as reader:
        assert type(reader).__name__ == "TiffReader"
    assert scored(slides / "OS-1-detail.ome.tif").readable.all()


def test_a_slide_without_a_scale(run: Run, slides: Path, tmp_path: Path) -> None:
    (path,) = slides.glob("tcga-cr-7395*.svs")
    ran = run("heatmap", "slide", path, "--out", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "--mpp" in ran.err
    assert run("heatmap", "slide", path, "--mpp", 0.25, "--out", tmp_path).code == 0


@pytest.mark.parametrize("compression", ["deflate", "jpeg"])
def test_the_same_slide_at_three_scales(slides: Path, tmp_path: Path, compression: str) -> None:
    (path,) = slides.glob("tcga-cr-7395*.svs")
    with OpenSlide(path) as slide:
        finest = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    results = []
    for factor in (1, 2, 4):
        down, across = (np.minimum(np.arange(-(-side // factor) + 1.0) * factor, side) for side in finest.shape[:2])
        pixels = np.rint(average_areas(finest, across, down)).astype(np.uint8)
        saved, mpp = tmp_path / f"{factor}.tif", 0.25 * factor
        write_tiff(saved, da.from_array(pixels, chunks=(512, 4096, 3)), (mpp, mpp), compression=compression)
        results.append(scored(saved))
    for factor, other in zip((2, 4), results[1:], strict=True):
        assert np.abs(results[0].minx / factor - other.minx).max() <= 1
        assert np.abs(results[0].miny / factor - other.miny).max() <= 1
        assert np.abs(results[0].prob_idc - other.prob_idc).mean() <= 0.03
        np.testing.assert_array_equal(results[0].pred, other.pred)
