from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from tests.plotting.colour_vision import DEFICIENCIES, simulate
from tests.plotting.conftest import make_source, score
from wsi_idc.plotting.error_map import OUTCOMES, outcome_colour, outcomes, paint_agreement
from wsi_idc.plotting.image_ops import place_boxes
from wsi_idc.plotting.mosaic import rebuild_mosaic
from wsi_idc.plotting.overlay import HALO_RGB, LINE_RGB, bar_colours
from wsi_idc.plotting.style import Style

TISSUE_GREYS = (60, 120, 180, 240)
"""From nuclei to fat."""

FAR_APART = 15
"""CIEDE2000: 1 is just noticeable side by side; small squares of a map need many times that."""

everyone = pytest.mark.parametrize("deficiency", ["none", *DEFICIENCIES])


def difference(one: object, other: object, deficiency: str) -> float:
    """The least between a colour of one kind, RGB 0-1 of shape (3,) or (n, 3), and a colour of the other."""
    ours, theirs = (
        rgb2lab(simulate(np.atleast_2d(np.asarray(rgb, dtype=np.float64)), deficiency)) for rgb in (one, other)
    )
    return float(deltaE_ciede2000(ours[:, None], theirs[None]).min())


def lightness(rgb: NDArray[np.uint8], deficiency: str) -> NDArray[np.float64]:
    return np.asarray(rgb2lab(simulate(rgb / 255, deficiency))[..., 0])


@everyone
@pytest.mark.parametrize(("one", "other"), list(combinations(OUTCOMES, 2)))
def test_outcomes_stay_apart_over_any_tissue(one: str, other: str, deficiency: str) -> None:
    for here, there in product(TISSUE_GREYS, repeat=2):
        ours, theirs = (np.array(outcome_colour(*of)) / 255 for of in ((one, here), (other, there)))
        assert difference(ours, theirs, deficiency) > FAR_APART


@everyone
def test_outcomes_stay_apart_as_the_map_paints_them(deficiency: str) -> None:
    source = make_source(24, 20)
    scores = score(source)
    painted = paint_agreement(rebuild_mosaic(source).pixels, place_boxes(scores, (1, 1)), scores)
    centres = np.array([painted[p.y + p.height // 2, p.x + p.width // 2] for p in source.patches]) / 255
    groups = [centres[which] for which in outcomes(scores).values()]
    assert all(len(group) for group in groups)
    for one, other in combinations(groups, 2):
        assert difference(one, other, deficiency) > FAR_APART


@everyone
def test_a_higher_probability_is_lighter_to_everyone(deficiency: str) -> None:
    for grey in TISSUE_GREYS:
        light = lightness(bar_colours(grey, Style())[None, ::16], deficiency)[0]
        assert (np.diff(light) > 0.3).all() and light[-1] - light[0] > 25


@everyone
def test_the_outline_is_seen_on_every_probability(deficiency: str) -> None:
    for grey in TISSUE_GREYS:
        light = lightness(bar_colours(grey, Style()), deficiency)
        line, halo = (lightness(np.array([rgb], dtype=np.uint8), deficiency)[0] for rgb in (LINE_RGB, HALO_RGB))
        assert np.maximum(light - line, halo - light).min() > 30


def test_the_simulation_keeps_greys_and_mixes_up_what_the_colour_blind_do() -> None:
    grey = np.full((1, 3), 0.5)
    red, green = np.array([0.8, 0.3, 0.2]), np.array([0.5, 0.5, 0.2])
    for deficiency in DEFICIENCIES:
        assert simulate(grey, deficiency) == pytest.approx(grey, abs=1e-3)
    assert difference(red, green, "deuteranopia") < difference(red, green, "none") / 2
