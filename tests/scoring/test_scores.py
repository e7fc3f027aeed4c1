from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_idc.scoring.scores import COLUMNS, Scores, make_scores, read_scores, write_scores
from wsi_idc.source import Patch

PATCHES = [Patch(0, 0, 50, 50, 1), Patch(50, 0, 38, 50, 0), Patch(0, 50, 50, 42, None), Patch(50, 50, 38, 42, 1)]
PROBS = np.array([[0.1, 0.9], [0.75, 0.25], [0.5, 0.5], [np.nan, np.nan]], np.float32)


@pytest.fixture
def scores() -> Scores:
    return make_scores("8863", PATCHES, PROBS, 0.5)


def test_the_file_to_the_letter(scores: Scores, tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.csv", scores)
    assert (tmp_path / "scores.csv").read_bytes().decode() == (
        "minx,miny,width,height,prob_no_idc,prob_idc,label,pred,status\n"
        "0,0,50,50,0.100000,0.900000,1,1,ok\n"
        "50,0,38,50,0.750000,0.250000,0,0,ok\n"
        "0,50,50,42,0.500000,0.500000,,1,ok\n"
        "50,50,38,42,,,1,,unreadable\n"
    )


def test_figures_count_only_patches_with_label_and_probability(scores: Scores) -> None:
    assert scores.metrics is not None
    assert (scores.metrics.n, scores.metrics.tp, scores.metrics.tn) == (2, 1, 1)
    assert make_scores("x", PATCHES[2:], PROBS[2:], 0.5).metrics is None


def test_another_threshold_changes_only_the_calls(scores: Scores) -> None:
    other = scores.with_threshold(0.2)
    assert scores.pred.tolist() == [True, False, True, False]
    assert other.pred.tolist() == [True, True, True, False]
    np.testing.assert_array_equal(other.prob_idc, scores.prob_idc)


@given(st.lists(st.floats(0, 1), max_size=20), st.floats(0, 1))
def test_pred_agrees_with_the_written_probability(tmp_path_factory: object, probs: list[float], cut: float) -> None:
    path = Path(tmp_path_factory.getbasetemp()) / "scores.csv"  # type: ignore[attr-defined]
    patches = [Patch(50 * i, 0, 50, 50) for i in range(len(probs))]
    table = np.array([(1 - p, p) for p in probs], np.float32).reshape(-1, 2)
    write_scores(path, make_scores("x", patches, table, cut))
    with path.open() as file:
        for row in csv.DictReader(file):
            assert (row["pred"] == "1") == (float(row["prob_idc"]) >= cut)
    again = read_scores(path, "x", cut)
    np.testing.assert_array_equal(again.prob_idc, make_scores("x", patches, table, cut).prob_idc)


def test_no_patches(tmp_path: Path) -> None:
    empty = make_scores("x", [], np.empty((0, 2), np.float32), 0.5)
    write_scores(tmp_path / "scores.csv", empty)
    assert (tmp_path / "scores.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert len(read_scores(tmp_path / "scores.csv", "x", 0.5)) == 0
    assert empty.metrics is None


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n1,2\n", ",".join(COLUMNS) + "\n0,0,50,50,0.1,0.9,1,1\n", ",".join(COLUMNS) + "\n0,0,50,x,,,,,ok\n"],
)
def test_a_damaged_file_is_not_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(ValueError):
        read_scores(tmp_path / "scores.csv", "x", 0.5)
