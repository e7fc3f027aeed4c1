"""Tiles of a slide as named patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.slides.test_slide import damage, smooth_tissue, write_slide
from wsi_idc.datasets.opening import open_dataset
from wsi_idc.datasets.packing import write_patches
from wsi_idc.errors import OptionError, SlideError
from wsi_idc.slides.slide import Slide
from wsi_idc.slides.tiles import SlideTiles, case_number


@pytest.mark.parametrize("mpp", [1.0, 0.499, 3.1])
def test_patches_hold_the_pixels_of_the_slides_own_tiles(tmp_path: Path, mpp: float) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(960, 1_350), None)
    with Slide(path, mpp=mpp, tissue_mask=False) as slide:
        tiles = SlideTiles(slide, "700000")
        write_patches(tmp_path / "set", [tiles])
        tile_pixels = slide.read(0, len(slide.patches)).pixels
        assert tiles.size_px == slide.mosaic_px
        whole = slide.region(0, 0, *slide.mosaic_px)
    with open_dataset(tmp_path / "set") as dataset:
        case = dataset.case("700000")
        assert [(p.x, p.y, p.label) for p in case.patches] == [(p.x, p.y, None) for p in tiles.patches]
        np.testing.assert_array_equal(case.read(0, len(case.patches)).pixels, tile_pixels)
        assert case.size_px == (whole.shape[1], whole.shape[0])
        np.testing.assert_array_equal(case.region(0, 0, *case.size_px), whole)
        np.testing.assert_array_equal(case.region(7, 11, 60, 30), whole[11:41, 7:67])


def test_an_unreadable_tile_makes_no_patch(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(1_300, 1_300), 2.0, tile=400)
    damage(path, 5, b"\x00")
    with Slide(path, tissue_mask=False) as slide:
        tiles = SlideTiles(slide, "700000")
        for name, kept in (("set", 45), ("set.zip", 45), ("set.zarr", 49)):
            assert len(write_patches(tmp_path / name, [tiles])) == 4
            with open_dataset(tmp_path / name) as dataset:
                case = dataset.case("700000")
                assert len(case.patches) == kept
                assert case.read(0, kept).readable.sum() == 45


def test_numbers_of_cases(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(300, 300), 2.0)
    with Slide(path) as slide:
        number = case_number(slide)
        assert 100_000 <= int(number) < 1_000_000_000
        assert case_number(slide, 8863) == "8863"
        for wrong in (0, -1, 10**9):
            with pytest.raises(OptionError, match="case number"):
                case_number(slide, wrong)
        with pytest.raises(OptionError, match="90001 to 99999 are those of phantoms"):
            case_number(slide, 90_001)
    path.rename(tmp_path / "b.tiff")
    with Slide(tmp_path / "b.tiff") as slide:
        assert case_number(slide) == number


def test_without_tissue_there_is_nothing_to_cut(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "blank.tiff", np.full((800, 800, 3), 240, np.uint8), 2.0)
    with Slide(path) as slide, pytest.raises(SlideError, match="--no-tissue-mask"):
        SlideTiles(slide, "700000")
