"""Close-ups: which patches, from where, and how they stand on the sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.plotting.conftest import caption_of, make_source
from tests.slides.test_slide import smooth_tissue, write_slide
from wsi_idc.plotting.close_ups import choose_patches, take_close_ups
from wsi_idc.plotting.layout import PAGE_H, STRIP_H
from wsi_idc.plotting.mosaic import rebuild_mosaic
from wsi_idc.plotting.sheet import compose_sheet
from wsi_idc.plotting.style import Style
from wsi_idc.scoring.scores import Scores, make_scores
from wsi_idc.slides.slide import Slide
from wsi_idc.source import Patch

MPP = 0.5


def scores_of(prob: np.ndarray, side: int = 50) -> Scores:
    """A slide of as many rows and columns of patches as the probabilities have."""
    rows, columns = prob.shape
    patches = [Patch(side * x, side * y, side, side) for y in range(rows) for x in range(columns)]
    return make_scores("a", patches, np.column_stack([1 - prob.ravel(), prob.ravel()]).astype(np.float32), 0.5)


def test_six_patches_and_why() -> None:
    prob = np.full((5, 9), 0.1)
    prob[1:4, 0:3] = 0.7  # the largest region, around (1, 1)
    prob[0:2, 5:7] = 0.8
    prob[4, 8] = 0.95
    prob[3, 2] = 0.52
    prob[4, 4] = 0.4
    prob[0, 8] = 0.02
    chosen = {title: divmod(i, 9) for title, i in choose_patches(scores_of(prob))}
    assert chosen.pop("second largest region")[0] in (0, 1)
    assert chosen == {
        "highest probability": (4, 8),
        "largest region called": (2, 1),
        "least certain call": (3, 2),
        "highest not called": (4, 4),
        "lowest probability": (0, 8),
    }


def test_no_patch_twice_and_none_that_is_unreadable() -> None:
    assert choose_patches(scores_of(np.full((1, 1), 0.9))) == [("highest probability", 0)]
    assert choose_patches(scores_of(np.array([[0.9, np.nan, 0.1]]))) == [
        ("highest probability", 0),
        ("highest not called", 2),
    ]
    assert choose_patches(scores_of(np.empty((0, 0)))) == []


@pytest.fixture
def slide(tmp_path: Path) -> Slide:
    return Slide(write_slide(tmp_path / "a.tif", smooth_tissue(2_000, 2_400), MPP), tissue_mask=False)


def test_pixels_are_those_of_level_0(slide: Slide) -> None:
    pixels = smooth_tissue(2_000, 2_400)
    with slide:
        np.testing.assert_array_equal(slide.close_up((1_000, 700), 150, 300), pixels[550:850, 850:1150])
        np.testing.assert_array_equal(slide.close_up((2_390, 5), 150, 300), pixels[:300, 2_100:])
        reduced = slide.close_up((1_000, 700), 300, 300).astype(int)
    expected = pixels[400:1000, 700:1300].reshape(300, 2, 300, 2, 3).mean(axis=(1, 3))
    assert np.abs(reduced - expected).max() <= 1


def test_a_slide_smaller_than_a_close_up(tmp_path: Path) -> None:
    with Slide(write_slide(tmp_path / "a.tif", smooth_tissue(120, 90), MPP), tissue_mask=False) as slide:
        pixels = slide.close_up((45, 60), 100, 200)
    np.testing.assert_array_equal(pixels[:120, :90], smooth_tissue(120, 90))
    assert (pixels[120:] == 255).all()


def test_the_sheet_grows_by_a_strip(slide: Slide) -> None:
    with slide:
        prob = np.linspace(0, 1, len(slide.patches))
        scores = make_scores("a", slide.patches, np.column_stack([1 - prob, prob]).astype(np.float32), 0.5)
        close_ups = take_close_ups(slide, scores)
        assert [round(one.prob, 2) for one in close_ups][:1] == [1.0]
        page = compose_sheet(rebuild_mosaic(slide), scores, caption_of(slide), Style(dpi=72), close_ups)
    assert page.height == pytest.approx(PAGE_H + STRIP_H, abs=0.02)
    written = [line.text for line in page.lines]
    assert "highest probability" in written
    assert "50 µm" in written


def test_patches_and_coarse_slides_have_none(tmp_path: Path) -> None:
    source = make_source(1, 1)
    assert take_close_ups(source, scores_of(np.full((1, 1), 0.9))) == ()
    with Slide(write_slide(tmp_path / "a.tif", smooth_tissue(600, 600), 4.0), tissue_mask=False) as slide:
        prob = np.full(len(slide.patches), 0.9)
        scores = make_scores("a", slide.patches, np.column_stack([1 - prob, prob]).astype(np.float32), 0.5)
        assert take_close_ups(slide, scores) == ()
