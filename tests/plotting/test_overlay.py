from __future__ import annotations

from itertools import compress

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.plotting.conftest import MadeSource, make_probs, make_source, score
from wsi_idc.plotting.error_map import OUTCOMES, outcomes, paint_agreement
from wsi_idc.plotting.image_ops import Boxes, grow_mask, place_boxes, shrink_mask
from wsi_idc.plotting.mosaic import rebuild_mosaic
from wsi_idc.plotting.overlay import (
    HALO_RGB,
    LINE_RGB,
    UNREADABLE_LINE_RGB,
    as_grey,
    bar_colours,
    mean_grey,
    paint_overlay,
)
from wsi_idc.plotting.style import Style, colour_table
from wsi_idc.scoring.scores import Scores

LINE_PX = 5


def area(source: MadeSource, which: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the chosen patches at full size."""
    mask = np.zeros(source.size_px[::-1], dtype=bool)
    for patch in compress(source.patches, which):
        mask[patch.y : patch.y + patch.height, patch.x : patch.x + patch.width] = True
    return mask


def is_colour(pixels: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    return np.asarray((pixels == colour).all(axis=2))


def beside(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Pixels within `reach`, diagonals included, of a pixel outside the mask or the picture; slow and plain."""
    padded = np.pad(mask, reach)
    found = np.zeros_like(mask)
    for y in range(2 * reach + 1):
        for x in range(2 * reach + 1):
            found |= ~padded[y : y + mask.shape[0], x : x + mask.shape[1]]
    return found


@pytest.mark.parametrize("limit", [8192, 300])
def test_holes_keep_every_pixel(limit: int) -> None:
    source = make_source(14, 12, keep=0.7, unreadable=5)
    mosaic = rebuild_mosaic(source, max_side_px=limit)
    painted = paint_overlay(mosaic, score(source), Style())
    boxes = place_boxes(score(source), (1 / mosaic.factor, 1 / mosaic.factor))
    hole = ~boxes.mask(np.ones(len(source.patches), dtype=bool), painted.shape[:2])
    assert painted.shape == mosaic.pixels.shape
    assert hole.any() and (painted[hole] == mosaic.pixels[hole]).all()
    assert (painted[~hole] != mosaic.pixels[~hole]).any()


def test_holes_keep_pixels_that_are_not_white() -> None:
    source = make_source(6, 5, keep=0.5)
    mosaic = rebuild_mosaic(source)
    mosaic.pixels[~area(source, np.ones(len(source.patches), dtype=bool))] = (1, 2, 3)
    painted = paint_overlay(mosaic, score(source), Style())
    assert (painted[~area(source, np.ones(len(source.patches), dtype=bool))] == (1, 2, 3)).all()


@pytest.mark.parametrize("style", [Style(), Style("viridis", opacity=1.0), Style("magma", opacity=0.2)])
def test_a_patch_has_the_bars_colour(style: Style) -> None:
    source = make_source(6, 5)
    scores = score(source)
    painted = paint_overlay(rebuild_mosaic(source), scores, style)
    for patch, tissue, prob in zip(source.patches, source.colours, scores.prob_idc, strict=True):
        centre = painted[patch.y + patch.height // 2, patch.x + patch.width // 2]
        grey = float(tissue @ np.array([0.299, 0.587, 0.114]))
        colour = colour_table(style.colormap)[round(prob * 255)]
        assert np.abs(centre - (style.opacity * colour + (1 - style.opacity) * grey)).max() <= 0.51 + 0.5 * (
            1 - style.opacity
        )
        assert np.abs(centre - bar_colours(grey, style)[round(prob * 255)].astype(int)).max() <= 1


def test_the_bar_stands_on_the_mean_grey_of_scored_tissue() -> None:
    source = make_source(4, 4, unreadable=3)
    scores = score(source)
    pixels = rebuild_mosaic(source).pixels
    expected = (pixels[area(source, scores.readable)] @ np.array([0.299, 0.587, 0.114])).mean()
    assert mean_grey(pixels, place_boxes(scores, (1, 1)), scores) == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_the_outline_lies_exactly_on_the_edge_of_what_is_called(threshold: float) -> None:
    source = make_source(14, 12, keep=0.85, unreadable=4)
    scores = score(source, threshold=threshold)
    called = area(source, np.nan_to_num(scores.prob_idc) >= threshold)
    painted = paint_overlay(rebuild_mosaic(source), scores, Style())
    assert called.any() and not called.all()
    assert (is_colour(painted, LINE_RGB) == (called & beside(called, LINE_PX))).all()


def test_the_halo_keeps_to_scored_patches_on_both_sides() -> None:
    source = make_source(10, 10)
    scores = score(source)
    called = area(source, scores.pred)
    halo = is_colour(paint_overlay(rebuild_mosaic(source), scores, Style()), HALO_RGB)
    assert (halo & called).any() and (halo & ~called).any()
    near = beside(called, LINE_PX + 2) & beside(~called, 2) | called & beside(called, LINE_PX + 2)
    assert not (halo & ~near).any()


def test_a_probability_at_the_threshold_is_outlined() -> None:
    source = make_source(2, 1)
    painted = paint_overlay(rebuild_mosaic(source), score(source, np.array([0.499999, 0.5])), Style())
    line = is_colour(painted, LINE_RGB)
    assert not line[:, :50].any() and line[:, 50].all()


def test_nothing_called_is_not_outlined() -> None:
    source = make_source(4, 4)
    painted = paint_overlay(rebuild_mosaic(source), score(source, np.full(16, 0.1)), Style())
    assert not is_colour(painted, LINE_RGB).any()


def test_an_unreadable_patch_is_neither_zero_nor_a_hole() -> None:
    source = make_source(6, 6, unreadable=2)
    painted = paint_overlay(rebuild_mosaic(source), score(source), Style())
    for i in source.unreadable:
        patch = source.patches[i]
        tile = painted[patch.y : patch.y + patch.height, patch.x : patch.x + patch.width]
        assert (tile[..., 0] == tile[..., 1]).all() and (tile[..., 1] == tile[..., 2]).all()
        assert (tile < 255).all()
        assert (tile[0] == UNREADABLE_LINE_RGB).all()
        assert len(np.unique(tile)) == 2


@pytest.mark.parametrize("by_px", [0, 1, 2, 3, 5, 14, 20, 50])
def test_masks_shrink_and_grow(by_px: int) -> None:
    mask = np.random.default_rng(4).random((40, 30)) < 0.9
    assert (shrink_mask(mask, by_px) == (mask & ~beside(mask, by_px))).all()
    outside = np.pad(~mask, by_px, constant_values=True)
    grown = ~(outside & ~beside(outside, by_px))
    assert (grow_mask(mask, by_px) == grown[by_px : by_px + 40, by_px : by_px + 30]).all()


def test_masks_cover_their_boxes_wherever_they_lie() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        left, top = rng.integers(-10, 60, (2, 12))
        boxes = Boxes(left, top, left + rng.integers(0, 20, 12), top + rng.integers(0, 20, 12))
        which = rng.random(12) < 0.7
        wanted = np.zeros((40, 50), dtype=bool)
        y, x = np.mgrid[:40, :50]
        for i in np.flatnonzero(which):
            wanted |= (y >= boxes.top[i]) & (y < boxes.bottom[i]) & (x >= boxes.left[i]) & (x < boxes.right[i])
        np.testing.assert_array_equal(boxes.mask(which, (40, 50)), wanted)


def test_boxes_share_edges_at_any_scale() -> None:
    source = make_source(30, 20)
    boxes = place_boxes(score(source), (0.2371, 0.2413))
    assert np.abs(boxes.left - [patch.x * 0.2371 for patch in source.patches]).max() <= 0.5
    assert np.abs(boxes.bottom - [(patch.y + patch.height) * 0.2413 for patch in source.patches]).max() <= 0.5
    counts = np.zeros((300, 400), dtype=int)
    for _, where in boxes.slices(np.ones(600, dtype=bool)):
        counts[where] += 1
    assert counts.max() == 1
    assert (counts[: boxes.bottom.max(), : boxes.right.max()] == 1).all()


def make_outcomes() -> tuple[MadeSource, Scores]:
    source = make_source(8, 6, keep=0.9, unreadable=3)
    return source, score(source, make_probs(source, seed=3))


def test_the_agreement_map_shows_each_outcome() -> None:
    source, scores = make_outcomes()
    metrics = scores.metrics
    assert metrics is not None
    found = outcomes(scores)
    assert [int(found[name].sum()) for name in ("TP", "FP", "FN", "TN")] == [
        metrics.tp,
        metrics.fp,
        metrics.fn,
        metrics.tn,
    ]
    painted = paint_agreement(rebuild_mosaic(source).pixels, place_boxes(scores, (1, 1)), scores)
    for name, which in found.items():
        for patch in compress(source.patches, which):
            centre = painted[patch.y + patch.height // 2, patch.x + patch.width // 2].astype(int)
            distance = {other: np.abs(centre - np.array(rgb)).sum() for other, (_, rgb) in OUTCOMES.items()}
            assert min(distance, key=lambda other: distance[other]) == name


def test_the_agreement_map_outlines_the_labels() -> None:
    source, scores = make_outcomes()
    labelled = area(source, scores.label == 1)
    painted = paint_agreement(rebuild_mosaic(source).pixels, place_boxes(scores, (1, 1)), scores, line_px=2)
    edge = labelled & beside(labelled, 2)
    line = is_colour(painted, LINE_RGB)
    assert (line | is_colour(painted, HALO_RGB))[edge].all()
    assert not line[~edge].any()
    assert 0.4 < line[edge].mean() < 0.6, "unlike the outline of what is called IDC, it is dashed"


def test_false_positives_are_hatched_for_grey_print() -> None:
    source, scores = make_outcomes()
    painted = as_grey(paint_agreement(rebuild_mosaic(source).pixels, place_boxes(scores, (1, 1)), scores))
    spread = {
        name: np.ptp(painted[patch.y + 15 : patch.y + 35, patch.x + 15 : patch.x + 35])
        for name, which in outcomes(scores).items()
        for patch in compress(source.patches, which)
        if min(patch.width, patch.height) > 35
    }
    assert spread.pop("FP") > 40
    assert len(spread) >= 2
    assert max(spread.values()) < 10
