"""Regions that are called IDC."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wsi_idc.scoring.regions import region_widths_mm
from wsi_idc.scoring.scores import make_scores
from wsi_idc.source import Patch, Patches

PX, MPP = 50, (8.0, 8.0)


def widths(*called: tuple[int, int], mpp: tuple[float, float] = MPP) -> list[float]:
    """Of a grid of 6 x 6 patches, of which those at these columns and rows are called."""
    places = [(column, row) for row in range(6) for column in range(6)]
    patches = Patches.of([Patch(x * PX, y * PX, PX, PX, 0) for x, y in places])
    prob = np.array([0.9 if place in called else 0.1 for place in places])
    return region_widths_mm(make_scores("a", patches, np.column_stack([1 - prob, prob]), 0.5), mpp).tolist()


def test_one_patch_is_as_wide_as_its_diagonal() -> None:
    assert widths((2, 3)) == pytest.approx([0.4 * math.sqrt(2)])


def test_the_widest_region_comes_first() -> None:
    row, alone = [(0, 0), (1, 0), (2, 0), (3, 0)], (5, 5)
    assert widths(alone, *row) == pytest.approx([math.hypot(1.6, 0.4), math.hypot(0.4, 0.4)])


def test_patches_that_touch_at_a_corner_are_two_regions() -> None:
    assert len(widths((1, 1), (2, 2))) == 2


def test_a_bent_region_is_measured_straight_across() -> None:
    bent = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2)]
    assert widths(*bent) == pytest.approx([math.hypot(1.2, 1.2)])


def test_each_side_has_its_scale() -> None:
    assert widths((0, 0), (1, 0), mpp=(8.0, 4.0)) == pytest.approx([math.hypot(0.8, 0.2)])


def test_nothing_called() -> None:
    assert widths() == []
