"""``summary.csv``, ``metrics.json`` and ``confusion.png`` over what a results folder holds."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.plotting.conftest import make_source
from tests.plotting.results import SCRIPT, add_slide, make_results
from wsi_idc.errors import DataNotFoundError
from wsi_idc.report.cohort_files import sum_up_results
from wsi_idc.report.gather import read_summary


def test_slides_that_were_scored_one_by_one_get_their_rows(tmp_path: Path) -> None:
    for name in ("9022", "10253", "8863"):
        add_slide(tmp_path, make_source(6, 6), name)
    (tmp_path / "9100").mkdir()
    (tmp_path / "9100" / "scores.csv").write_text("cut")
    summed_up = sum_up_results(tmp_path)
    assert summed_up.unfinished == ("9100",)
    with (tmp_path / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["slide"] for row in rows] == ["8863", "9022", "10253"]
    run = json.loads((tmp_path / "8863" / "run.json").read_text())
    assert float(rows[0]["seconds"]) == pytest.approx(run["seconds"])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["n"] == sum(int(row["n"]) for row in rows)
    assert list(metrics["per_case"]) == ["8863", "9022", "10253"]
    assert (tmp_path / "confusion.png").is_file()
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_of_every_kind_keeps_its_order_and_its_reasons(tmp_path: Path) -> None:
    make_results(tmp_path)
    order = list(read_summary(tmp_path))
    summed_up = sum_up_results(tmp_path)
    first = (tmp_path / "summary.csv").read_bytes()
    rows = read_summary(tmp_path)
    assert list(rows) == order
    assert {row.status for row in summed_up.rows} == {"ok", "partial", "no tissue", "failed"}
    assert SCRIPT in rows["no scale.tiff"]["error"]
    assert "the first:" in rows["9022"]["error"] and rows["9022"]["cautions"] == "trained"
    sum_up_results(tmp_path)
    assert (tmp_path / "summary.csv").read_bytes() == first


def test_what_is_gone_leaves_the_files(tmp_path: Path) -> None:
    for name in ("8863", "9022"):
        add_slide(tmp_path, make_source(6, 6), name)
    sum_up_results(tmp_path)
    n = json.loads((tmp_path / "metrics.json").read_text())["n"]
    shutil.rmtree(tmp_path / "9022")
    assert sum_up_results(tmp_path).unfinished == ("9022",)
    assert json.loads((tmp_path / "metrics.json").read_text())["n"] == n // 2
    assert sum_up_results(tmp_path).unfinished == ()


def test_a_folder_without_results_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError):
        sum_up_results(tmp_path)
    assert not list(tmp_path.iterdir())
