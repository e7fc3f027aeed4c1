from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.plotting.conftest import MadeSource, make_source
from wsi_idc.plotting.mosaic import rebuild_mosaic
from wsi_idc.source import Patch, Patches


def one_patch(patch: Patch, size: tuple[int, int], colour: tuple[int, int, int] = (10, 20, 30)) -> MadeSource:
    return MadeSource(Patches.of([patch]), size, np.array([colour], dtype=np.uint8))


def test_patches_lie_at_their_true_place_and_size() -> None:
    source = make_source(3, 2)
    mosaic = rebuild_mosaic(source)
    assert mosaic.pixels.shape == (80, 142, 3)
    assert (mosaic.factor, mosaic.size_l0, mosaic.mpp) == (1, (142, 80), (8.0, 8.0))
    for patch, colour in zip(source.patches, source.colours, strict=True):
        area = mosaic.pixels[patch.y : patch.y + patch.height, patch.x : patch.x + patch.width]
        assert (area == colour).all()


def test_a_small_patch_brings_no_white_padding() -> None:
    # The small patch comes last: its padding would wipe out its neighbours.
    patches = [Patch(50, 0, 50, 50), Patch(0, 50, 50, 50), Patch(0, 0, 38, 8)]
    source = MadeSource(Patches.of(patches), (100, 100), np.array([[9, 9, 9]] * 3, dtype=np.uint8))
    pixels = rebuild_mosaic(source).pixels
    assert (pixels[:8, :38] == 9).all() and (pixels[:50, 50:] == 9).all() and (pixels[50:, :50] == 9).all()
    assert (pixels[8:50, :50] == 255).all() and (pixels[:8, 38:50] == 255).all()


def test_holes_and_unreadable_patches_stay_white() -> None:
    source = make_source(8, 6, keep=0.6, unreadable=4)
    pixels = rebuild_mosaic(source).pixels
    covered = np.zeros(pixels.shape[:2], dtype=bool)
    for i, patch in enumerate(source.patches):
        if i not in source.unreadable:
            covered[patch.y : patch.y + patch.height, patch.x : patch.x + patch.width] = True
    assert (pixels[~covered] == 255).all()
    assert (pixels[covered] != 255).any(axis=1).all()


@pytest.mark.parametrize("limit", [142, 100, 71, 40, 7, 1])
def test_the_factor_is_the_smallest_that_fits(limit: int) -> None:
    mosaic = rebuild_mosaic(make_source(3, 2), max_side_px=limit)
    assert max(mosaic.pixels.shape) <= max(limit, 3)
    assert mosaic.factor == 1 or -(-142 // (mosaic.factor - 1)) > limit
    assert mosaic.mpp == (8.0 * mosaic.factor, 8.0 * mosaic.factor)


@pytest.mark.parametrize("limit", [71, 48, 29, 11])
def test_reduced_pixels_are_means_of_the_full_mosaic(limit: int) -> None:
    source = make_source(3, 2, keep=0.8)
    full, small = rebuild_mosaic(source), rebuild_mosaic(source, max_side_px=limit)
    factor, (height, width) = small.factor, small.pixels.shape[:2]
    padded = np.full((height * factor, width * factor, 3), 255.0)
    padded[: full.pixels.shape[0], : full.pixels.shape[1]] = full.pixels
    means = padded.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
    assert np.abs(small.pixels - means).max() <= 1


def test_a_flat_patch_keeps_its_colour_when_reduced() -> None:
    source = make_source(4, 4)
    source = dataclasses.replace(source, colours=np.full_like(source.colours, (33, 66, 99)))
    mosaic = rebuild_mosaic(source, max_side_px=48)
    assert mosaic.factor == 4
    # 192x180 px: every reduced pixel is wholly covered, many by two or four patches.
    assert (mosaic.pixels[: 180 // 4, : 192 // 4] == (33, 66, 99)).all()


def test_patches_that_overlap_do_not_wrap_round_to_white() -> None:
    patches = Patches.of([Patch(0, 0, 50, 50), Patch(10, 10, 50, 50)])
    source = MadeSource(patches, (60, 60), np.zeros((2, 3), dtype=np.uint8))
    assert (rebuild_mosaic(source, max_side_px=30).pixels[5:25, 5:25] == 0).all()


def test_level_0_finer_than_the_patches_is_reduced_to_their_scale() -> None:
    source = one_patch(Patch(800, 400, 400, 400), (1600, 1200))
    source = dataclasses.replace(source, mpp=(1.0, 1.0), mpp_source="file")
    mosaic = rebuild_mosaic(source)
    assert (mosaic.factor, mosaic.mpp, mosaic.pixels.shape) == (8, (8.0, 8.0), (150, 200, 3))
    assert (mosaic.pixels[50:100, 100:150] == (10, 20, 30)).all()
    assert (mosaic.pixels != 255).any(axis=2).sum() == 2500


def test_a_far_coordinate_costs_no_memory() -> None:
    mosaic = rebuild_mosaic(one_patch(Patch(999_950, 999_950, 50, 50), (1_000_000, 1_000_000)), max_side_px=4000)
    assert (mosaic.factor, mosaic.pixels.shape) == (250, (4000, 4000, 3))
    assert mosaic.pixels[-1, -1].max() < 255


def test_many_blocks_are_joined() -> None:
    source = make_source(40, 30)
    pixels = rebuild_mosaic(source).pixels
    assert (pixels[25::50, 20::50].reshape(-1, 3) == source.colours).all()


def test_no_patches_give_a_white_mosaic() -> None:
    mosaic = rebuild_mosaic(make_source(5, 4, keep=0.0))
    assert mosaic.pixels.shape == (180, 242, 3)
    assert (mosaic.pixels == 255).all()
