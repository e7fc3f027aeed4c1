"""``score all`` and ``heatmap all``: many slides, whatever befalls one of them."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ran, make_patch_set
from tests.slides.test_slide import smooth_tissue, write_slide
from wsi_idc.datasets.opening import open_dataset
from wsi_idc.datasets.packing import write_patches

Run = Callable[..., Ran]


def tables(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(out.glob("*/scores.csv"))}


def summary(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open(newline="") as file:
        return {row["slide"]: row for row in csv.DictReader(file)}


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Four cases of a dozen patches."""
    return make_patch_set(tmp_path / "idc", ("8863", "9022", "9100", "10253"))


def test_every_case_is_scored_as_by_itself(run: Run, cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = run("score", "all", "--data", cohort, "--out", out)
    assert ran.code == 0
    names = ["8863", "9022", "9100", "10253"]
    assert sorted(ran.out.split()) == sorted(str(out / name / "scores.csv") for name in names)
    assert run("score", "patient", *names, "--data", cohort, "--out", tmp_path / "apart").code == 0
    assert tables(out) == tables(tmp_path / "apart")
    keys = [json.loads((folder / "8863" / "run.json").read_text())["key"] for folder in (out, tmp_path / "apart")]
    assert keys[0] == keys[1]
    assert list(summary(out)) == names
    assert {row["status"] for row in summary(out).values()} == {"ok"}
    pooled = json.loads((out / "metrics.json").read_text())
    assert pooled["n"] == 48
    assert set(pooled["per_case"]) == set(names)
    assert len(pooled["ci"]["auc"]) == 2
    assert (out / "confusion.png").is_file()
    assert not list(out.rglob(".*"))


def test_layout_batch_and_workers_change_nothing(run: Run, cohort: Path, tmp_path: Path) -> None:
    with open_dataset(cohort) as dataset:
        for name in ("a.zip", "a.zarr"):
            write_patches(tmp_path / name, map(dataset.case, dataset.cases))
    expected = None
    for name, options in (("idc", ()), ("a.zip", ("--workers", 3)), ("a.zarr", ("--batch-size", 8))):
        out = tmp_path / f"out-{name}"
        assert run("score", "all", "--data", tmp_path / name, "--out", out, *options).code == 0
        expected = expected or tables(out)
        assert tables(out) == expected


def test_what_is_finished_is_kept(run: Run, cohort: Path, tmp_path: Path) -> None:
    args = ("score", "all", "--data", cohort, "--out", tmp_path / "out")
    assert run(*args).code == 0
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*.*")}
    (tmp_path / "out" / "9022" / "run.json").unlink()
    assert run(*args).code == 0
    changed = {path.parent.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert changed == {"9022"}
    assert summary(tmp_path / "out")["8863"]["patches"] == "12"


def test_what_changed_since_the_last_run_is_seen(run: Run, cohort: Path, tmp_path: Path) -> None:
    """Workers keep open what they read, and here they are threads of the process that runs both times."""
    args = ("score", "all", "--data", cohort, "--out", tmp_path / "out")
    assert run(*args).code == 0
    before = tables(tmp_path / "out")
    first, *_, last = sorted((cohort / "9022").rglob("*.png"))
    first.write_bytes(last.read_bytes())
    assert run(*args).code == 0
    after = tables(tmp_path / "out")
    assert [name for name in before if before[name] != after[name]] == ["9022"]


def test_all_slides_come_on_one_page(run: Run, cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = run("score", "all", "--data", cohort, "--out", out)
    assert ran.code == 0 and f"all slides on one page: {out / 'report.html'}" in ran.err
    assert "report" not in ran.out
    page, patches = (
        (out / "report.html").read_bytes(),
        {path: path.stat().st_mtime_ns for path in out.glob("*/report.js")},
    )
    assert len(patches) == 4
    assert run("report", out).code == 0
    assert (out / "report.html").read_bytes() == page
    assert {path: path.stat().st_mtime_ns for path in patches} == patches
    for left in (out / ".wsi-idc-abc-report.html", out / "8863" / ".wsi-idc-abc-report.js"):
        left.write_text("of a run that was killed")
    (out / "report.html").unlink()
    ran = run("score", "all", "--data", cohort, "--out", out, "--quiet")
    assert ran.code == 0 and "page" not in ran.err
    assert (out / "report.html").read_bytes() == page
    assert not list(out.rglob(".*"))


def test_a_page_that_cannot_be_made_is_told_of(run: Run, cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "report.html" / "in the way").mkdir(parents=True)
    next((cohort / "9100").rglob("*.png")).write_bytes(b"")
    for _ in range(2):
        ran = run("score", "all", "--data", cohort, "--out", out)
        assert (ran.code, len(ran.out.split())) == (1, 4)
        assert "9100: 1 of 12 patches" in ran.err and "report.html: the scores are whole" in ran.err
        assert "one page:" not in ran.err and "Traceback" not in ran.err
    assert len(summary(out)) == len(tables(out)) == 4
    assert not list(out.rglob(".*"))


def test_a_disk_that_is_full_at_last_is_one_sentence(
    run: Run, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_nothing(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("wsi_idc.report.write_slide_file", write_nothing)
    ran = run("score", "all", "--data", cohort, "--out", tmp_path / "out")
    assert (ran.code, len(ran.out.split())) == (2, 4)
    assert "the disk is full; finished slides are whole" in ran.err
    monkeypatch.undo()
    assert run("score", "all", "--data", cohort, "--out", tmp_path / "out").code == 0


def test_one_bad_slide_ends_no_cohort(run: Run, cohort: Path, tmp_path: Path) -> None:
    for path in (cohort / "9022").rglob("*.png"):
        path.write_bytes(b"no picture")
    next((cohort / "9100").rglob("*.png")).write_bytes(b"")
    slides = tmp_path / "slides"
    (slides / "deep").mkdir(parents=True)
    write_slide(slides / "deep" / "good.tiff", smooth_tissue(900, 900), 2.0)
    write_slide(slides / "no scale.tiff", smooth_tissue(300, 300), None)
    (slides / "text.svs").write_text("no slide")
    (slides / "notes.txt").write_text("no slide either")
    args = ("score", "all", "--data", cohort, "--slides", slides, "--out", tmp_path / "out")
    for _ in range(2):
        ran = run(*args)
        assert ran.code == 1
        rows = summary(tmp_path / "out")
        assert {name: row["status"] for name, row in rows.items()} == {
            "8863": "ok",
            "9022": "partial",
            "9100": "partial",
            "10253": "ok",
            "deep/good.tiff": "ok",
            "no scale.tiff": "failed",
            "text.svs": "failed",
        }
        assert "--mpp" in rows["no scale.tiff"]["error"]
        assert rows["9022"]["unreadable"] == "12"
        assert "other files, 1" in ran.err
        for name in ("9022", "9100", "no scale.tiff", "text.svs"):
            assert name in ran.err
    assert (tmp_path / "out" / "deep" / "good.tiff" / "scores.csv").is_file()


def test_a_manifest_gives_scale_and_labels(run: Run, tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tiff", smooth_tissue(900, 900), None)
    (tmp_path / "a.geojson").write_text(
        '{"type": "Polygon", "coordinates": [[[0, 0], [900, 0], [900, 400], [0, 400]]]}'
    )
    (tmp_path / "list.csv").write_text("path,mpp,labels\na.tiff,2.0,a.geojson\nabsent.tiff,,\n")
    ran = run("score", "all", "--manifest", tmp_path / "list.csv", "--out", tmp_path / "out", "--no-tissue-mask")
    assert ran.code == 1
    rows = summary(tmp_path / "out")
    assert (rows["a.tiff"]["status"], rows["a.tiff"]["n"]) == ("ok", "25")
    assert rows["absent.tiff"]["status"] == "failed"
    assert "a.geojson: 1 outline without a class counts as IDC" in ran.err
    assert "no object has a class, so its only outline counts as IDC" in ran.err


def test_a_row_of_a_manifest_that_cannot_be_used_costs_itself(run: Run, tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tiff", smooth_tissue(400, 400), None)
    (tmp_path / "list.csv").write_text("Path;MPP;Name\r\na.tiff;1,0;first\r\na.tiff;half;second\r\n;;\r\n")
    ran = run("score", "all", "--manifest", tmp_path / "list.csv", "--out", tmp_path / "out", "--no-tissue-mask")
    assert ran.code == 1
    assert "line 3: Line 3 of" in ran.err
    rows = summary(tmp_path / "out")
    assert (rows["first"]["status"], rows["line 3"]["status"]) == ("ok", "failed")
    assert "half" in rows["line 3"]["error"]


@pytest.mark.slow
def test_all_are_drawn(run: Run, cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = run("heatmap", "all", "--data", cohort, "--out", out, "--dpi", 72)
    assert ran.code == 0
    assert sorted(ran.out.split()) == sorted(str(path) for path in out.glob("*/heatmap.png"))
    for folder in out.glob("*/"):
        assert {path.name for path in folder.iterdir()} >= {"heatmap.png", "overlay.png", "mosaic.png", "run.json"}


def test_what_the_user_can_mend(run: Run, cohort: Path, tmp_path: Path) -> None:
    for args, said in (
        (("--data", tmp_path / "absent"), "There are no data"),
        (("--slides", tmp_path / "absent"), "absent"),
        (("--manifest", tmp_path / "absent.csv"), "absent.csv"),
        ((), "--data"),
        (("--data", cohort, "--scheduler", "nonsense://x"), "--scheduler"),
    ):
        ran = run("score", "all", *args, "--out", tmp_path / "out")
        assert (ran.code, ran.out) == (2, ""), ran
        assert said in ran.err


def start(*args: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "wsi_idc", *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.slow
def test_killed_and_started_again_ends_the_same(run: Run, tmp_path: Path) -> None:
    cohort = make_patch_set(tmp_path / "idc", tuple(str(9_000 + i) for i in range(12)), columns=12, rows=10)
    args = ("score", "all", "--data", cohort, "--out")
    assert run(*args, tmp_path / "undisturbed").code == 0
    rng = random.Random(0)
    killed = 0
    for _ in range(2):
        process = start(*args, tmp_path / "out")
        wanted = rng.randrange(1, 8)
        until = time.monotonic() + 120
        while len(tables(tmp_path / "out")) < wanted and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed
    assert run(*args, tmp_path / "out").code == 0
    assert tables(tmp_path / "out") == tables(tmp_path / "undisturbed")
    assert not list((tmp_path / "out").rglob(".*"))


@pytest.mark.slow
def test_two_runs_into_one_folder_share_the_work(run: Run, tmp_path: Path) -> None:
    cohort = make_patch_set(tmp_path / "idc", tuple(str(9_000 + i) for i in range(12)), columns=12, rows=10)
    args = ("score", "all", "--data", cohort, "--out")
    assert run(*args, tmp_path / "alone").code == 0
    runs = [start(*args, tmp_path / "out") for _ in range(2)]
    assert [process.wait(timeout=300) for process in runs] == [0, 0]
    assert tables(tmp_path / "out") == tables(tmp_path / "alone")
    assert len(summary(tmp_path / "out")) == 12


@pytest.mark.slow
def test_a_worker_that_dies_takes_nothing_with_it(run: Run, tmp_path: Path) -> None:
    """A scheduler and two workers as processes of their own; one is killed once the first results are in."""
    cohort = make_patch_set(tmp_path / "idc", tuple(str(9_000 + i) for i in range(16)), columns=20, rows=20)
    assert run("score", "all", "--data", cohort, "--out", tmp_path / "alone").code == 0
    address = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    env = os.environ | {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": env}
    servers = [subprocess.Popen([*dask, *local, "--port", "0", "--scheduler-file", str(address)], **quiet)]
    try:
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(address), "--no-nanny"]
        servers += [subprocess.Popen([*worker, *local, "--nthreads", "1"], **quiet) for _ in range(2)]
        while not address.exists():
            time.sleep(0.1)
        at = json.loads(address.read_text())["address"]
        process = start("score", "all", "--data", cohort, "--out", tmp_path / "out", "--scheduler", at)
        while len(tables(tmp_path / "out")) < 2 and process.poll() is None:
            time.sleep(0.01)
        os.kill(servers[1].pid, signal.SIGKILL)
        assert process.wait(timeout=300) == 0
    finally:
        for server in servers:
            server.kill()
            server.wait()
    assert tables(tmp_path / "out") == tables(tmp_path / "alone")
    assert {row["patches"] for row in summary(tmp_path / "out").values()} == {"400"}
