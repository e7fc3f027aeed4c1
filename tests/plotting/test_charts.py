from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

from tests.plotting.pages import RESEARCH, assert_tidy, words
from wsi_idc.errors import OutputError
from wsi_idc.evaluation.reliability import expected_calibration_error, reliability_bins
from wsi_idc.metrics import compute_metrics
from wsi_idc.plotting.charts import (
    Judged,
    build_precision_recall,
    build_reliability,
    build_roc,
)
from wsi_idc.plotting.page import Page, save_page

Data = tuple[NDArray[np.int8], NDArray[np.float64]]
Build = Callable[..., Page]

BUILDS = {"roc": build_roc, "precision-recall": build_precision_recall, "reliability": build_reliability}
HEADING, SUBHEADING = "Validation: 29 cases, 5,983 patches", "CancerNet 3fa9c07b \N{MIDDLE DOT} threshold 0.634"


def made(n: int, seed: int = 0) -> Data:
    """Patches that a fair model scored: probabilities pile up at both ends, as real ones do."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.28).astype(np.int8)
    return label, 1 / (1 + np.exp(-2 * rng.normal(3 * label - 1.8, 1.3)))


def data(label: list[int], prob: list[float]) -> Data:
    return np.array(label, dtype=np.int8), np.array(prob, dtype=np.float64)


DATA: dict[str, Data] = {
    "usual": made(5983),
    "few": made(40, seed=3),
    "large": made(200_000, seed=1),
    "perfect": data([0, 1] * 50, [0.0, 1.0] * 50),
    "all wrong": data([1, 0] * 50, [0.1, 0.9] * 50),
    "all equal": data([1, 0] * 50, [0.5] * 100),
    "all IDC": data([1] * 12, [0.1] * 6 + [0.9] * 6),
    "no IDC": data([0] * 12, [0.1] * 6 + [0.9] * 6),
    "single": data([1], [0.7]),
    "none": data([], []),
}
UNDEFINED = {"all IDC", "no IDC", "single", "none"}


def page_of(build: Build, name: str, threshold: float = 0.634, **more: bool) -> Page:
    label, prob = DATA[name]
    metrics = compute_metrics(label, prob, threshold)
    around = {key: (value - 0.02, value + 0.01) for key, value in metrics.as_dict().items() if value is not None}
    return build(Judged(label, prob, metrics, {**around, "npv": None}, HEADING, SUBHEADING, **more))


def line(page: Page, marker: str) -> Line2D | None:
    """The curve (marker "None"), which is the blue solid line, or the points of a marker."""
    lines = [drawn for drawn in page.figure.axes[0].lines if drawn.get_marker() == marker]
    if marker == "None":
        lines = [drawn for drawn in lines if drawn.get_linestyle() == "-"]
    return lines[0] if lines else None


def points(page: Page, marker: str = "None") -> NDArray[np.float64]:
    drawn = line(page, marker)
    assert drawn is not None
    return np.asarray(drawn.get_xydata(), dtype=np.float64)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("chart", BUILDS)
def test_texts_neither_overlap_nor_leave_the_page(chart: str, name: str) -> None:
    page = page_of(BUILDS[chart], name)
    said = words(page)
    assert {RESEARCH, HEADING, SUBHEADING} <= set(said.split("\n"))
    assert ("undefined" in said) == (name in UNDEFINED)
    assert "nan" not in said and "PHANTOM" not in said
    assert_tidy(page)


@pytest.mark.parametrize("chart", BUILDS)
def test_a_phantom_and_long_headings_stay_on_the_page(chart: str) -> None:
    label, prob = DATA["usual"]
    page = BUILDS[chart](Judged(label, prob, compute_metrics(label, prob, 0.5), {}, "h" * 300, "s" * 300, phantom=True))
    assert "PHANTOM" in words(page)
    assert_tidy(page)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
@pytest.mark.parametrize("chart", BUILDS)
def test_the_ends_of_the_thresholds(chart: str, threshold: float) -> None:
    assert_tidy(page_of(BUILDS[chart], "usual", threshold))


def test_the_roc_curve_of_four_patches() -> None:
    label, prob = data([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    page = build_roc(Judged(label, prob, compute_metrics(label, prob, 0.36), {"auc": (0.7, 0.8)}, HEADING, SUBHEADING))
    assert points(page).tolist() == [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]
    assert points(page, "D").tolist() == [[0.5, 0.5]]
    said = words(page).split("\n")
    assert "AUC 0.750 (95 % 0.70\N{EN DASH}0.80 over cases)" in said
    assert {"at threshold 0.36:", "sensitivity 0.500", "specificity 0.500"} <= set(said)


def test_the_precision_recall_curve_of_four_patches() -> None:
    label, prob = data([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    metrics = compute_metrics(label, prob, 0.35)
    page = build_precision_recall(Judged(label, prob, metrics, {"average_precision": None}, HEADING, SUBHEADING))
    assert points(page).tolist() == [[1, 0.5], [1, pytest.approx(2 / 3)], [0.5, 0.5], [0.5, 1], [0, 1]]
    assert points(page, "D").tolist() == [[1, pytest.approx(2 / 3)]]
    base = [drawn for drawn in page.figure.axes[0].lines if drawn.get_linestyle() == "--"]
    assert [set(drawn.get_ydata()) for drawn in base] == [{0.5}]
    assert "average precision 0.833" in words(page)


def test_a_first_patch_that_is_no_idc_is_not_drawn_as_precision_1() -> None:
    label, prob = data([1, 0], [0.2, 0.9])
    page = build_precision_recall(Judged(label, prob, compute_metrics(label, prob, 0.5), {}, HEADING, SUBHEADING))
    assert points(page)[:, 1].max() == 0.5


def test_without_a_call_there_is_no_point_and_it_is_said() -> None:
    page = page_of(build_precision_recall, "usual", threshold=1.0)
    assert line(page, "D") is None
    assert "threshold 1.00: no patch is called IDC" in words(page)


@pytest.mark.parametrize("name", ["usual", "few", "large", "all wrong", "all equal"])
def test_the_area_under_what_is_drawn_is_the_figure_that_is_written(name: str) -> None:
    metrics = compute_metrics(*DATA[name], 0.634)
    across, up = points(page_of(build_roc, name)).T
    assert np.sum(np.diff(across) * (up[1:] + up[:-1]) / 2) == pytest.approx(metrics.auc, abs=5e-4)
    page = page_of(build_precision_recall, name)
    recall, precision = points(page).T
    drawn = line(page, "None")
    assert drawn is not None and drawn.get_drawstyle() == "steps-post"
    assert -np.sum(np.diff(recall) * precision[:-1]) == pytest.approx(metrics.average_precision, abs=5e-4)


def test_many_patches_make_few_points_that_cover_the_curve() -> None:
    for build in (build_roc, build_precision_recall):
        drawn = points(page_of(build, "large"))
        assert len(drawn) < 20_000
        assert {drawn[0, 0], drawn[-1, 0]} == {0, 1}


def test_a_perfect_model_runs_through_the_corner() -> None:
    assert [0, 1] in points(page_of(build_roc, "perfect")).tolist()
    assert [1, 1] in points(page_of(build_precision_recall, "perfect")).tolist()


def test_the_reliability_curve_shows_filled_bins_above_their_counts() -> None:
    label, prob = data([0] * 30 + [1] * 10 + [1] * 3, [0.25] * 40 + [0.9] * 3)
    page = build_reliability(Judged(label, prob, compute_metrics(label, prob, 0.5), {}, HEADING, SUBHEADING))
    solid, hollow = (drawn for drawn in page.figure.axes[0].lines if drawn.get_marker() == "o")
    assert np.asarray(solid.get_xydata()).tolist() == [[0.25, 0.25]]
    assert np.asarray(hollow.get_xydata()).tolist() == [[pytest.approx(0.9), 1]]
    assert to_hex(hollow.get_color()) == "#ffffff"
    (bars,) = page.figure.axes[1].containers
    assert isinstance(bars, BarContainer)
    assert [bar.get_height() for bar in bars] == [0, 0, 40, 0, 0, 0, 0, 0, 0, 3]
    said = words(page)
    assert f"(ECE) {3 / 43 * 0.1:.3f}" in said and "fewer than 20 patches" in said
    assert "fewer than" not in words(page_of(build_reliability, "usual"))


def test_an_interval_is_written_so_that_its_ends_differ() -> None:
    label, prob = DATA["usual"]
    metrics = compute_metrics(label, prob, 0.5)
    for interval, told in [
        ((0.941, 0.972), "(95 % 0.94\N{EN DASH}0.97 over cases)"),
        ((0.9571, 0.9593), "(95 % 0.957\N{EN DASH}0.959 over cases)"),
    ]:
        assert told in words(build_roc(Judged(label, prob, metrics, {"auc": interval}, HEADING, SUBHEADING)))
    for missing in ({}, {"auc": None}, {"auc": (float("nan"), 1.0)}):
        assert "95 %" not in words(build_roc(Judged(label, prob, metrics, missing, HEADING, SUBHEADING)))


@pytest.mark.parametrize("chart", BUILDS)
def test_a_chart_is_written_whole_and_twice_the_same(chart: str, tmp_path: Path) -> None:
    label, prob = DATA["few"]
    judged = Judged(label, prob, compute_metrics(label, prob, 0.5), {}, HEADING, SUBHEADING)
    for name in ("one.png", "two.png"):
        save_page(tmp_path / name, BUILDS[chart](judged))
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]
    with Image.open(tmp_path / "one.png") as image:
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        assert image.width / 200 < 8.27 and image.height / 200 < 11.69
    with pytest.raises(OutputError):
        save_page(tmp_path / "missing" / "one.png", BUILDS[chart](judged))


@pytest.mark.parametrize(
    ("label", "prob", "error"),
    [
        ([0, 0, 0, 1], [0.25] * 4, 0.0),
        ([0, 1], [0.0, 1.0], 0.0),
        ([0, 1], [1.0, 1.0], 0.5),
        ([1, 0], [0.0, 1.0], 1.0),
        ([0, 0, 0, 1], [0.15, 0.15, 0.15, 0.55], (3 * 0.15 + 0.45) / 4),
        # One bin holds both: its mean is 0.65 and half is IDC.
        ([0, 1], [0.61, 0.69], 0.15),
    ],
)
def test_the_calibration_error_of_hand_made_patches(label: list[int], prob: list[float], error: float) -> None:
    assert expected_calibration_error(label, prob) == pytest.approx(error)


def test_a_tenth_opens_its_bin_and_1_is_in_the_last() -> None:
    bins = reliability_bins([1] * 11, [i / 10 for i in range(11)])
    assert bins.count.tolist() == [1] * 9 + [2]
    assert bins.edges.tolist() == [i / 10 for i in range(11)]


@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.floats(0, 1)), min_size=1, max_size=60))
def test_bins_hold_every_patch_once_and_their_means(patches: list[tuple[int, float]]) -> None:
    label, prob = (np.array(column) for column in zip(*patches, strict=True))
    bins = reliability_bins(label.astype(np.int8), prob)
    assert bins.count.sum() == len(patches)
    filled = bins.filled
    assert np.isnan(bins.mean_prob[~filled]).all() and np.isnan(bins.idc_share[~filled]).all()
    assert np.dot(bins.count[filled], bins.idc_share[filled]) == pytest.approx(label.sum())
    assert (bins.mean_prob[filled] >= bins.edges[:-1][filled] - 1e-12).all()
    assert (bins.mean_prob[filled] <= bins.edges[1:][filled] + 1e-12).all()
    # The patches' own mean is nearer than the bins' distances: the triangle inequality.
    assert abs(label.mean() - prob.mean()) <= expected_calibration_error(label, prob) + 1e-9 <= 1 + 1e-8


def test_int8_labels_do_not_overflow() -> None:
    bins = reliability_bins(np.ones(1000, dtype=np.int8), np.full(1000, 0.95))
    assert bins.idc_share[9] == 1


@pytest.mark.parametrize(
    ("label", "prob"), [([0, 1], [0.5]), ([2], [0.5]), ([-1], [0.5]), ([1], [np.nan]), ([1], [1.01]), ([1], [-0.1])]
)
def test_what_cannot_be_binned_is_refused(label: list[int], prob: list[float]) -> None:
    with pytest.raises(ValueError):
        reliability_bins(label, prob)


def test_no_patch_has_no_calibration_error() -> None:
    with pytest.raises(ValueError):
        expected_calibration_error([], [])
