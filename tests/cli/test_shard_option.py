"""``--shard``: a cohort split over runs of their own, which share a results folder."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ran, make_patch_set
from wsi_idc import score_cohort
from wsi_idc.scoring.array_jobs import Shard

Run = Callable[..., Ran]

CASES = tuple(str(9_000 + i) for i in range(12))
TIMED = {"run.json", "report.html", "report.js", "summary.csv"}
"""They hold times."""


def files(out: Path) -> dict[str, bytes]:
    """All that is the same whoever scored when."""
    found = (path for path in out.rglob("*") if path.is_file() and path.name not in TIMED)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def rows(out: Path) -> list[dict[str, str]]:
    """Of ``summary.csv``, without what each slide took."""
    with (out / "summary.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def start(*args: object, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "wsi_idc", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environ,
    )


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """Options that name twelve cases and a file that is no slide."""
    folder = tmp_path_factory.mktemp("cohort")
    (folder / "slides").mkdir()
    (folder / "slides" / "text.svs").write_text("no slide")
    cases = make_patch_set(folder / "idc", CASES, columns=12, rows=10)
    return "--data", cases, "--slides", folder / "slides"


@pytest.mark.slow
def test_four_shards_at_once_are_one_run(run: Run, cohort: tuple[object, ...], tmp_path: Path) -> None:
    """One of them is killed in the middle and started again."""
    assert run("score", "all", *cohort, "--out", tmp_path / "one").code == 1
    out = tmp_path / "out"
    options = ("score", "all", *cohort, "--out", out, "--shard")
    shards = {number: start(*options, f"{number}/4") for number in range(1, 5)}
    own = [name for i, name in enumerate(sorted([*CASES, "text.svs"])) if i % 4 == 2]
    until = time.monotonic() + 120
    while not any((out / name / "scores.csv").exists() for name in own) and time.monotonic() < until:
        time.sleep(0.005)
    shards[3].send_signal(signal.SIGKILL)
    assert shards[3].wait() == -signal.SIGKILL
    shards[3].communicate()
    shards[3] = start(*options, f"{3}/4")
    printed = {number: process.communicate(timeout=300) for number, process in shards.items()}
    assert sorted(process.returncode for process in shards.values()) == [0, 0, 0, 1]
    assert "text.svs" in next(printed[number][1] for number, process in shards.items() if process.returncode)
    assert sorted(line for told, _ in printed.values() for line in told.splitlines()) == sorted(
        str(out / name / "scores.csv") for name in CASES
    )
    assert not (out / "report.html").exists() and not (out / "metrics.json").exists()
    assert rows(out) == rows(tmp_path / "one")
    ran = run("report", out)
    assert (ran.code, ran.out, ran.err) == (0, f"{out / 'report.html'}\n", "")
    assert rows(out) == rows(tmp_path / "one")
    assert files(out) == files(tmp_path / "one")
    assert {"metrics.json", "confusion.png"} <= set(files(out))
    assert not list(out.rglob(".*"))
    page = (out / "report.html").read_text()
    assert all(name in page for name in (*CASES, "text.svs"))


def test_report_after_a_run_over_all_changes_nothing(run: Run, cohort: tuple[object, ...], tmp_path: Path) -> None:
    assert run("score", "all", *cohort, "--out", tmp_path).code == 1
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run("report", tmp_path).code == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_shard_says_what_it_does_and_touches_no_row_of_others(run: Run, tmp_path: Path) -> None:
    cases = make_patch_set(tmp_path / "idc", ("8863", "9022", "9100", "10253"))
    args = ("score", "all", "--data", cases, "--out", tmp_path / "out")
    assert run(*args).code == 0
    before = rows(tmp_path / "out")
    metrics = (tmp_path / "out" / "metrics.json").read_bytes()
    ran = run(*args, "--shard", "2/2")
    assert ran.code == 0
    assert "shard 2 of 2: 2 of 4 slides" in ran.err and f"wsi-idc report {tmp_path / 'out'} sums up" in ran.err
    # By name 10253 is the first, so 8863 and 9100 stand in even places.
    assert sorted(Path(line).parent.name for line in ran.out.splitlines()) == ["8863", "9100"]
    assert rows(tmp_path / "out") == before, "nothing has changed"
    assert (tmp_path / "out" / "metrics.json").read_bytes() == metrics
    assert run(*args, "--shard", "2/2", "--threshold", 0.9).code == 0
    after = rows(tmp_path / "out")
    assert [row["slide"] for row in after] == [row["slide"] for row in before]
    thresholds = {row["slide"]: row["threshold"] for row in after}
    assert thresholds["8863"] == thresholds["9100"] == "0.9"
    assert [row for row in after if row["slide"] in ("9022", "10253")] == [before[1], before[3]]
    assert not (tmp_path / "out" / "metrics.json").exists(), "metrics of another state"
    ran = run("report", tmp_path / "out")
    assert ran.code == 0 and "2 thresholds" in ran.err
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["n"] == 48


def test_the_task_of_an_array_scores_its_part(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = make_patch_set(tmp_path / "idc", ("8863", "9022", "9100"))
    args = ("score", "all", "--data", cases, "--out", tmp_path / "out", "--shard", "auto")
    ran = run(*args)
    assert ran.code == 2 and "SLURM_ARRAY_TASK_ID" in ran.err and not (tmp_path / "out").exists()
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "0")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    ran = run(*args)
    assert ran.code == 0 and "shard 3 of 5 (SLURM_ARRAY_TASK_ID=2): 1 of 3 slides" in ran.err
    assert ran.out == f"{tmp_path / 'out' / '9100' / 'scores.csv'}\n"
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")
    ran = run(*args)
    assert (ran.code, ran.out) == (0, "") and "0 of 3 slides" in ran.err
    assert [row["slide"] for row in rows(tmp_path / "out")] == ["9100"]
    assert "shard" not in run(*args, "--quiet").err


def test_shards_draw(run: Run, patch_set: Path, tmp_path: Path) -> None:
    args = ("heatmap", "all", "--data", patch_set, "--out", tmp_path / "out", "--dpi", 72, "--shard")
    for number, name in ((1, "8863"), (2, "9022")):
        ran = run(*args, f"{number}/2")
        assert (ran.code, ran.out) == (0, f"{tmp_path / 'out' / name / 'heatmap.png'}\n")
    assert run("report", tmp_path / "out").code == 0


def test_one_shard_of_one_is_all(patch_set: Path, tmp_path: Path) -> None:
    cohort = score_cohort(patch_set, tmp_path / "out", shard=Shard(1, 1))
    assert cohort.report == tmp_path / "out" / "report.html"
    assert (tmp_path / "out" / "metrics.json").is_file()
    part = score_cohort(patch_set, tmp_path / "part", shard="1/2")
    assert part.report is None and [row.slide for row in part.summary] == ["8863"]
