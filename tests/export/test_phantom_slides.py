"""The same synthetic tissue as patches and as a slide."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Ran
from wsi_idc import phantom
from wsi_idc.datasets.opening import open_case
from wsi_idc.export import phantom_slides
from wsi_idc.export.phantom_slides import outline_tumour
from wsi_idc.model.classifier import load_model
from wsi_idc.phantom import paint_slide
from wsi_idc.scoring.score import score
from wsi_idc.slides.annotations import read_annotations
from wsi_idc.slides.outline_shapes import share_inside
from wsi_idc.slides.slide import Slide

Run = Callable[..., Ran]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paint small slides; their size is no multiple of a patch."""
    for module in (phantom, phantom_slides):
        monkeypatch.setattr(module, "paint_slide", partial(paint_slide, width_px=442, height_px=435))


@pytest.mark.usefixtures("small")
def test_both_routes_give_the_same_scores_and_labels(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert run("phantom", out, "--slides", "--cases", 1).out == f"{out}\n"
    case, model = open_case("90001", out), load_model()
    with Slide(out / "slides" / "90001.tif", labels=out / "slides" / "90001.geojson") as slide:
        assert (slide.kind, slide.mpp_source) == ("phantom", "file")
        assert slide.mpp == pytest.approx((1.0, 1.0), rel=1e-3)
        assert slide.size_px == (442 * 8, 435 * 8)
        of_slide = score(slide, model).scores
    of_case = score(case, model).scores
    place = {box: i for i, box in enumerate(zip(of_slide.minx.tolist(), of_slide.miny.tolist(), strict=True))}
    boxes = zip((of_case.minx * 8).tolist(), (of_case.miny * 8).tolist(), strict=True)
    same = np.array([place[box] for box in boxes])
    assert len(same) > 30
    assert np.abs(of_slide.prob_idc[same] - of_case.prob_idc).mean() <= 0.03
    assert (of_slide.pred[same] == of_case.pred).mean() >= 0.97
    np.testing.assert_array_equal(of_slide.label[same], of_case.label)
    assert 0 < of_case.label.mean() < 1


@pytest.mark.usefixtures("small")
def test_slides_lie_beside_a_zip_and_tile_to_the_same_case(run: Run, tmp_path: Path) -> None:
    assert run("phantom", tmp_path / "set.zip", "--slides", "--cases", 1).code == 0
    slide = tmp_path / "set-slides" / "90001.tif"
    assert run("tile", slide, tmp_path / "tiles.zarr").code == 0
    assert open_case("90001", tmp_path / "tiles.zarr").kind == "phantom"
    ran = run("tile", slide, tmp_path / "other", "--case", "8863")
    assert ran.code == 2
    assert "phantom" in ran.err
    ran = run("phantom", tmp_path / "set.zip")
    assert ran.code == 2
    assert "is there already" in ran.err


def test_a_hole_with_a_longer_edge_than_its_area() -> None:
    mask = np.zeros((60, 60), np.bool_)
    mask[5:55, 5:55] = True
    mask[10:50, 10:50:2] = False
    mask[10, 10:50] = False
    (ring, *holes) = outline_tumour(mask)["features"][0]["geometry"]["coordinates"]
    assert np.ptp(ring, axis=0).tolist() == [400, 400]
    assert holes


def test_outlines_of_a_mask_with_a_hole(tmp_path: Path) -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[5:25, 10:40] = True
    mask[10:15, 20:30] = False
    mask[30:40, 50:60] = True
    (tmp_path / "a.geojson").write_text(json.dumps(outline_tumour(mask)))
    areas = read_annotations(tmp_path / "a.geojson").idc
    row, column = (axis.ravel() for axis in np.mgrid[:8, :12])
    share = share_inside(areas, column * 40, row * 40, column * 40 + 40, row * 40 + 40)
    expected = mask.reshape(8, 5, 12, 5).mean(axis=(1, 3)).ravel()
    np.testing.assert_allclose(share, expected, atol=0.02)
    (tmp_path / "none.geojson").write_text(json.dumps(outline_tumour(np.zeros((5, 5), np.bool_))))
    assert read_annotations(tmp_path / "none.geojson").idc == ()
