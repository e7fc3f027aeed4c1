from __future__ import annotations

import warnings

import numpy as np
import pytest

from wsi_idc.errors import OptionError
from wsi_idc.plotting.caption import threshold_text
from wsi_idc.plotting.style import Style, table_index


@pytest.mark.parametrize("name", ["cividis", "viridis", "magma", "plasma", "inferno", "cividis_r", "gray"])
def test_uniform_colormaps_are_taken_quietly(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Style(name).colormap == name


@pytest.mark.parametrize("name", ["jet", "rainbow", "hsv", "turbo", "hot", "tab10", "coolwarm"])
def test_a_misleading_colormap_is_warned_of(name: str) -> None:
    with pytest.warns(UserWarning, match="not perceptually uniform"):
        Style(name)


@pytest.mark.parametrize(("wrong", "near"), [("virids", "viridis"), ("Cividis", "cividis"), ("magna", "magma")])
def test_an_unknown_colormap_names_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(OptionError, match=f"nearest name is {near};"):
        Style(wrong)


@pytest.mark.parametrize("bad", [0, -0.1, 1.01, float("nan"), float("inf")])
def test_opacity_is_checked(bad: float) -> None:
    with pytest.raises(OptionError, match="opacity"):
        Style(opacity=bad)


@pytest.mark.parametrize("bad", [0, -200, 71, 601])
def test_dpi_is_checked(bad: int) -> None:
    with pytest.raises(OptionError, match="dpi"):
        Style(dpi=bad)


def test_the_scale_is_fixed_at_0_to_1() -> None:
    assert table_index(np.array([0.0, 0.5, 1.0])).tolist() == [0, 128, 255]
    assert table_index(np.array([0.3, 0.31])).tolist() == [76, 79]


@pytest.mark.parametrize(
    ("threshold", "text"), [(0.5, "0.50"), (0.3711, "0.3711"), (0.123, "0.123"), (0.0, "0.00"), (1.0, "1.00")]
)
def test_a_threshold_is_written_as_it_is(threshold: float, text: str) -> None:
    assert threshold_text(threshold) == text
