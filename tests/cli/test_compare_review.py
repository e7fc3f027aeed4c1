"""``wsi-idc compare`` and ``wsi-idc review`` over results folders."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Ran
from tests.plotting.conftest import make_source
from tests.plotting.results import HOSTILE, add_slide, make_results
from wsi_idc.report.comparison import picture_name
from wsi_idc.scoring.corrections import Correction, write_corrections

Run = Callable[..., Ran]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two results of three slides, one of them a raw slide below a folder; each has a slide of its own."""
    a, b = tmp_path / "a", tmp_path / "b"
    for seed, out in enumerate((a, b)):
        add_slide(out, make_source(24, 20, keep=0.8), "8863", seed=seed, draw=out == a)
        add_slide(out, make_source(12, 10, unreadable=5), "9022", seed=seed, draw=False)
        raw = make_source(12, 10, labels="none", kind="slide", mpp_source="file")
        add_slide(out, raw, "deep/x.svs", draw=False, seed=seed)
        add_slide(out, make_source(6, 6), f"91{seed}", draw=False)
    return a, b


def test_two_results_are_compared(run: Run, two: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "compared"
    ran = run("compare", *two, "--out", out)
    assert (ran.code, ran.out) == (0, f"{out / 'compare.csv'}\n")
    table = {row["slide"]: row for row in rows(out / "compare.csv")}
    assert list(table) == ["8863", "9022", "deep/x.svs"]
    assert float(table["8863"]["mean_abs_difference"]) > 0
    assert int(table["8863"]["gained"]) > 0 and int(table["8863"]["lost"]) > 0
    assert table["9022"]["patches"] == "115"
    assert table["deep/x.svs"]["auc_a"] == ""
    told = json.loads((out / "compare.json").read_text())
    assert told["slides"] == 3
    assert (told["a"], told["b"]) == tuple(map(str, two))
    assert told["labelled"]["ci"]["auc"] is not None
    pictures = sorted(file.name for file in out.glob("*.png"))
    assert pictures == sorted(map(picture_name, table))
    with Image.open(out / "8863.png") as drawn:
        page = np.asarray(drawn.convert("RGB")).astype(int)
    assert page.shape[1] > page.shape[0] > 1000
    purple = (page[..., 2] > page[..., 1] + 40) & (page[..., 0] > page[..., 1])
    orange = (page[..., 0] > page[..., 2] + 60) & (page[..., 1] > page[..., 2])
    third = page.shape[1] * 2 // 3
    assert min(purple[:, third:].sum(), orange[:, third:].sum()) > 1000


def test_equal_results_have_no_difference_in_colour(run: Run, two: tuple[Path, Path], tmp_path: Path) -> None:
    run("compare", two[0], two[0], "--out", tmp_path / "same")
    table = rows(tmp_path / "same" / "compare.csv")
    assert {(row["mean_abs_difference"], row["gained"], row["lost"]) for row in table} == {("0.0", "0", "0")}
    ends = json.loads((tmp_path / "same" / "compare.json").read_text())["labelled"]["ci"]["auc"]
    assert ends == [0, 0]


def test_agreement_with_corrections_is_counted(run: Run, two: tuple[Path, Path], tmp_path: Path) -> None:
    scores = rows(two[0] / "8863" / "scores.csv")
    said = [
        Correction(*(int(row[name]) for name in ("minx", "miny", "width", "height")), row["pred"] == "0", "", "me")
        for row in scores[:20]
    ]
    write_corrections(two[0] / "8863", said)
    run("compare", *two, "--out", tmp_path / "out")
    row = rows(tmp_path / "out" / "compare.csv")[0]
    assert (row["corrections"], row["agree_a"]) == ("20", "0")
    other = [one["pred"] for one in rows(two[1] / "8863" / "scores.csv")[:20]]
    assert row["agree_b"] == str(sum(one["pred"] != b for one, b in zip(scores[:20], other, strict=True)))
    assert row["auc_rest_a"] != row["auc_a"]
    told = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert told["corrections"]["patches"] == 20
    assert told["labelled"]["a"]["n"] - told["not_corrected"]["a"]["n"] == 20


def test_folders_that_cannot_be_compared_are_refused(run: Run, two: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    add_slide(other, make_source(6, 6), "1", draw=False)
    ran = run("compare", two[0], other)
    assert ran.code == 2 and "no slide in common" in ran.err
    source = make_source(24, 20, keep=0.8)
    add_slide(other, replace(source, mpp=(4.0, 4.0)), "8863", draw=False)
    ran = run("compare", two[0], other)
    assert ran.code == 2 and "another size or scale" in ran.err
    assert run("compare", two[0], tmp_path / "none").code == 2
    (two[0] / "8863" / "corrections.geojson").write_text("{")
    ran = run("compare", *two)
    assert ran.code == 2 and "corrections.geojson" in ran.err
    assert not Path("wsi-idc-compare").exists()


def test_slides_that_are_not_finished_are_named(run: Run, two: tuple[Path, Path], tmp_path: Path) -> None:
    (two[1] / "9022" / "run.json").unlink()
    ran = run("compare", *two, "--out", tmp_path / "out")
    assert ran.code == 0 and "9022 is not finished" in ran.err
    assert [row["slide"] for row in rows(tmp_path / "out" / "compare.csv")] == ["8863", "deep/x.svs"]


def test_pictures_are_files_of_their_own_whatever_slides_are_called() -> None:
    names = ["8863", "a/b.svs", "a_b.svs", "../x", ".x", HOSTILE, "\udcff", "é" * 200, "é" * 201]
    made = [picture_name(name) for name in names]
    assert len(set(made)) == len(names)
    assert all(Path(name).name == name and not name.startswith(".") and len(name.encode()) < 160 for name in made)


def test_a_cohort_of_every_kind_of_slide(run: Run, tmp_path: Path) -> None:
    make_results(tmp_path / "a")
    ran = run("review", tmp_path / "a", "--top", 12, "--per-slide", 3)
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'a' / 'review.csv'}\n")
    table = rows(tmp_path / "a" / "review.csv")
    assert list(table[0]) == ["slide", "minx", "miny", "width", "height", "prob_idc", "reason", "rank"]
    assert [row["rank"] for row in table] == [str(rank) for rank in range(1, 13)]
    slides = [row["slide"] for row in table]
    assert len(set(slides)) >= 4 and max(map(slides.count, slides)) <= 3
    ran = run("compare", tmp_path / "a", tmp_path / "a", "--out", tmp_path / "out")
    assert ran.code == 0
    assert len(rows(tmp_path / "out" / "compare.csv")) == len(list((tmp_path / "out").glob("*.png"))) == 7


def test_review_needs_results(run: Run, tmp_path: Path) -> None:
    assert run("review", tmp_path).code == 2
    add_slide(tmp_path, make_source(6, 6), "8863", draw=False)
    (tmp_path / "8863" / "run.json").unlink()
    ran = run("review", tmp_path)
    assert ran.code == 2 and "finished" in ran.err
