"""What holds for all inputs: names, grids, and tables that are written and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_idc.geometry import IDC_PATCH, MAX_MPP, MIN_MPP, plausible_mpp, plausible_size, tile_edges
from wsi_idc.model.calibration import Calibration
from wsi_idc.model.config import ModelConfig, read_config
from wsi_idc.naming import MAX_COORDINATE_PX, PatchName, almost_a_patch_name, is_case_number, parse_patch_name
from wsi_idc.scoring.scores import make_scores, read_scores, write_scores
from wsi_idc.source import Patch

MPP = st.floats(MIN_MPP, MAX_MPP)
PLACE = st.integers(0, MAX_COORDINATE_PX - 1)
PATCH = st.builds(Patch, PLACE, PLACE, st.integers(1, 50), st.integers(1, 50), st.sampled_from([0, 1, None]))
PROBABILITY = st.floats(0, 1, width=32) | st.just(float("nan"))
LINE = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=60)


@given(st.text(max_size=40) | st.from_regex(r"\d{1,10}_idx\d_x-?\d{1,8}_y\d{1,8}(_class\d)?\.png"))
def test_a_name_is_read_to_the_letter_or_not_at_all(text: str) -> None:
    name = parse_patch_name(text)
    if name is None:
        return
    assert str(name) == text
    assert is_case_number(name.case)
    assert 1 <= min(name.x, name.y) <= max(name.x, name.y) <= MAX_COORDINATE_PX
    assert not almost_a_patch_name(text)


@given(st.integers(0, 999_999_999), PATCH)
def test_no_name_leads_out_of_a_folder(case: int, patch: Patch) -> None:
    name = str(PatchName(str(case), patch.x + 1, patch.y + 1, patch.label))
    assert Path(name).name == name
    assert parse_patch_name(name) == PatchName(str(case), patch.x + 1, patch.y + 1, patch.label)


@given(st.text(max_size=12))
def test_case_numbers_are_ascii_digits(text: str) -> None:
    assert is_case_number(text) == (0 < len(text) <= 9 and all(sign in "0123456789" for sign in text))


@given(st.integers(1, 300_000), MPP)
def test_tiles_cover_a_slide_without_gap_or_overlap(length: int, mpp: float) -> None:
    edges = tile_edges(length, mpp, IDC_PATCH.um)
    assert (edges[0], edges[-1]) == (0, length)
    steps = np.diff(edges)
    assert (steps > 0).all()
    inner = np.arange(1, len(edges) - 1)
    if IDC_PATCH.um / mpp >= 2:
        assert np.abs(np.array(edges[1:-1]) - inner * IDC_PATCH.um / mpp).max(initial=0) <= 0.5 + 1e-6
        assert steps.max(initial=0) <= IDC_PATCH.um / mpp + 1


@given(st.floats())
def test_a_scale_is_plausible_only_where_a_microscope_has_it(mpp: float) -> None:
    assert plausible_mpp(mpp) == (MIN_MPP <= mpp <= MAX_MPP)


@given(st.integers(1, 2**32), st.integers(1, 2**32), MPP)
def test_what_is_held_of_a_plausible_slide_is_bounded(width: int, height: int, mpp: float) -> None:
    if plausible_size((width, height), (mpp, mpp)):
        assert (width * mpp / 16) * (height * mpp / 16) < 60e6


@given(
    st.lists(st.tuples(PATCH, PROBABILITY), max_size=20),
    st.floats(0, 1),
    st.sampled_from([None, 0.5, 1.0]),
)
def test_a_table_survives_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[Patch, float]],
    threshold: float,
    context: float | None,
) -> None:
    path = tmp_path_factory.getbasetemp() / "scores.csv"
    patches, idc = [row[0] for row in rows], np.array([row[1] for row in rows], dtype=np.float32)
    probs = np.column_stack([1 - idc, idc]).astype(np.float32)
    scores = make_scores("a", patches, probs, threshold).with_context(context)
    write_scores(path, scores)
    again = read_scores(path, "a", threshold, context)
    for name in ("minx", "miny", "width", "height", "prob_no_idc", "prob_idc", "label", "pred", "prob"):
        np.testing.assert_array_equal(getattr(again, name), getattr(scores, name))
    written = path.read_bytes()
    write_scores(path, again)
    assert path.read_bytes() == written


@given(
    st.builds(
        ModelConfig,
        LINE,
        st.text("0123456789abcdef", min_size=64, max_size=64),
        st.floats(0, 1),
        LINE,
        LINE,
        st.none() | st.builds(Calibration, st.floats(1e-6, 1e6), st.floats(-1e6, 1e6)),
        st.fixed_dictionaries({"cases_train": st.lists(st.integers(1, 10**9 - 1).map(str), max_size=5)}),
    )
)
def test_a_configuration_survives_the_round_trip(tmp_path_factory: pytest.TempPathFactory, config: ModelConfig) -> None:
    path = tmp_path_factory.getbasetemp() / "model.json"
    config.write(path)
    assert read_config(path) == config
