"""Shapes by lengths in µm, the same whichever way they are computed."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.morphology import isotropic_dilation, isotropic_erosion

from wsi_idc.slides.morphology import close_gaps, fill_holes, grow, open_gaps, shrink


@pytest.mark.parametrize("um", [(32.0, 32.0), (24.0, 31.0), (60.0, 20.0)])
@pytest.mark.parametrize("by_um", [10.0, 32.0, 70.0, 120.0, 400.0])
def test_lengths_are_true(um: tuple[float, float], by_um: float) -> None:
    mask = np.random.default_rng(0).random((40, 50)) < 0.02
    np.testing.assert_array_equal(grow(mask, by_um, um), isotropic_dilation(mask, by_um, spacing=um))
    np.testing.assert_array_equal(shrink(~mask, by_um, um), isotropic_erosion(~mask, by_um, spacing=um))


@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (1, 30)])
@pytest.mark.parametrize("by_um", [40.0, 4000.0])
def test_what_has_no_edge_stays(value: bool, shape: tuple[int, int], by_um: float) -> None:
    mask = np.full(shape, value)
    for change in (grow, shrink, close_gaps, open_gaps):
        np.testing.assert_array_equal(change(mask, by_um, (16.0, 16.0)), mask)


def test_only_small_holes_away_from_the_border_are_filled() -> None:
    mask = np.ones((30, 30), dtype=np.bool_)
    mask[5:8, 5:8] = mask[12:24, 12:24] = mask[:3, 20:23] = False
    filled = fill_holes(mask, 0.01, (20.0, 20.0))
    assert filled[5:8, 5:8].all()
    assert not filled[12:24, 12:24].any() and not filled[:3, 20:23].any()
