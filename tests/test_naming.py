from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_idc.naming import MAX_COORDINATE_PX, PatchName, almost_a_patch_name, is_jpeg_name, parse_patch_name

COORDINATE = st.integers(1, MAX_COORDINATE_PX)


@given(
    st.builds(PatchName, st.integers(0, 999_999_999).map(str), COORDINATE, COORDINATE, st.sampled_from([0, 1, None]))
)
def test_name_survives_the_round_trip(name: PatchName) -> None:
    assert parse_patch_name(str(name)) == name


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_none(text: str) -> None:
    name = parse_patch_name(text)
    assert name is None or str(name).rpartition(".")[0] == text.rpartition(".")[0]


def test_kaggles_name() -> None:
    assert parse_patch_name("8863_idx5_x451_y1451_class0.png") == PatchName("8863", 451, 1451, 0)


@pytest.mark.parametrize(("ending", "jpeg"), [("PNG", False), ("jpg", True), ("JPG", True), ("jpeg", True)])
def test_other_endings(ending: str, jpeg: bool) -> None:
    name = f"8863_idx5_x451_y1451_class0.{ending}"
    assert parse_patch_name(name) == PatchName("8863", 451, 1451, 0)
    assert is_jpeg_name(name) is jpeg


def test_without_class_is_unlabelled() -> None:
    assert parse_patch_name("8863_idx5_x451_y1451.png") == PatchName("8863", 451, 1451, None)


@pytest.mark.parametrize(
    "name",
    [
        "8863_idx5_x451_y1451_class2.png",
        "8863_idx4_x451_y1451_class0.png",
        "8863_idx5_x0_y1451_class0.png",
        "8863_idx5_x-49_y1451_class0.png",
        "8863_idx5_x451_y1451_class0 (1).png",
        "8863_idx5_x451_y1451_class0.gif",
        "8863_idx5_x451_y1451_CLASS0.png",
        "8863_idx5_x451.0_y1451_class0.png",
        "8863_idx5_x9999999_y1_class0.png",
        "_idx5_x451_y1451_class0.png",
        "٨٨٦٣_idx5_x451_y1451_class0.png",
    ],
)
def test_almost_is_not_a_name_but_is_noticed(name: str) -> None:
    assert parse_patch_name(name) is None
    assert almost_a_patch_name(name)


@pytest.mark.parametrize("name", ["README.md", "0a1b.tif", "slide.png", "8863.png", "", "Thumbs.db"])
def test_foreign_files_pass_unnoticed(name: str) -> None:
    assert parse_patch_name(name) is None
    assert not almost_a_patch_name(name)
