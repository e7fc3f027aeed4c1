"""Killed, interrupted or out of room at any moment, a command loses nothing, and the next run ends the same."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Ran, make_patch_set
from tests.damage.crash import (
    assert_whole,
    content,
    dask_cluster,
    ends_with_all_it_started,
    files,
    halted_when,
    interrupt,
    kill_when,
    leftovers,
    start,
    there,
    wait_until,
)
from tests.limits import file_size_limit
from wsi_idc.datasets.store import STORE_MARK

pytestmark = pytest.mark.slow

Run = Callable[..., Ran]

CASES = tuple(str(9_000 + i) for i in range(6))
INTERRUPTED = "Interrupted: finished slides are kept; run the same command again (train: with --resume)."


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six cases of 120 patches."""
    return make_patch_set(tmp_path_factory.mktemp("cohort") / "idc", CASES, columns=12, rows=10)


@pytest.fixture(scope="module")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six cases of twelve patches."""
    return make_patch_set(tmp_path_factory.mktemp("small") / "idc", CASES)


@pytest.fixture(scope="module")
def large_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty cases of a hundred patches."""
    cases = tuple(str(9_000 + i) for i in range(40))
    return make_patch_set(tmp_path_factory.mktemp("large") / "idc", cases, columns=10, rows=10)


def of_slides(contents: dict[str, object]) -> dict[str, object]:
    """What stands in a folder of its own, without what sums up, or belongs to a page that does."""
    return {name: content for name, content in contents.items() if "/" in name and not name.endswith("report.js")}


def assert_interrupted_in_a_sentence(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    said = [line for line in process.stderr.read().splitlines() if line and " slides, " not in line]
    assert said == [INTERRUPTED]
    assert process.returncode == 130


def test_scoring_a_cohort(run: Run, cohort: Path, tmp_path: Path) -> None:
    """Killed as the first slide is locked, as the first is finished, and as the sums are written."""
    args, out = ("score", "all", "--data", cohort, "--out"), tmp_path / "out"
    assert run(*args, tmp_path / "whole").code == 0
    for moment in (there(out, "*/.lock"), there(out, "*/run.json"), there(out, "summary.csv")):
        kill_when(moment, *args, out)
        assert_whole(out)
    assert run(*args, out).code == 0
    assert content(out) == content(tmp_path / "whole")
    assert leftovers(out) == []


def test_drawing_a_cohort(run: Run, small_cohort: Path, tmp_path: Path) -> None:
    """Interrupted, a run tidies up. Killed, it ends with the processes that draw for it, and nothing is half drawn."""
    options, out = ("--data", small_cohort, "--dpi", 72, "--out"), tmp_path / "out"
    args = ("heatmap", "all", *options)
    assert run("heatmap", "patient", *CASES, *options, tmp_path / "whole").code == 0
    process = start(*args, out)
    wait_until(there(out, "*/overlay.png"), process)
    assert interrupt(process) < 30
    ends_with_all_it_started(process)
    assert_interrupted_in_a_sentence(process)
    assert leftovers(out) == []
    kill_when(there(out, "*/heatmap.png", 2), *args, out)
    assert_whole(out)
    assert run(*args, out).code == 0
    assert of_slides(content(out)) == of_slides(content(tmp_path / "whole"))
    assert leftovers(out) == []


def test_packing(run: Run, tmp_path: Path) -> None:
    """Killed as it begins, after each file of patches, and as the whole is read back."""
    cohort = make_patch_set(tmp_path / "idc", CASES, columns=32, rows=32)
    part, out = tmp_path / "packed" / ".a.zarr.part" / "store", tmp_path / "packed" / "a.zarr"
    assert run("ingest", cohort, tmp_path / "whole.zarr").code == 0
    moments = [there(part, "pixels/zarr.json"), *(there(part, f"pixels/c/{i}") for i in range(3))]
    for moment in moments:
        kill_when(moment, "ingest", cohort, out)
        assert not out.exists()
    begun = (part / "pixels/c/0").stat().st_mtime_ns
    kill_when(lambda: STORE_MARK in (part / "zarr.json").read_text(), "ingest", cohort, out)
    assert not out.exists() or content(out) == content(tmp_path / "whole.zarr")
    if part.exists():
        assert (part / "pixels/c/0").stat().st_mtime_ns == begun, "what was packed is kept"
        assert run("ingest", cohort, out).code == 0
    assert content(out) == content(tmp_path / "whole.zarr")
    assert leftovers(out.parent) == []


@pytest.mark.parametrize(
    ("form", "appears"), [("png", ".lock"), ("ome-tiff", ".*-mosaic.ome.tif"), ("ome-zarr", ".*-mosaic.ome.zarr")]
)
def test_a_mosaic(run: Run, cohort: Path, tmp_path: Path, form: str, appears: str) -> None:
    """Killed as it begins, or as the file of temporary name appears."""
    args = ("mosaic", "patient", CASES[0], "--data", cohort, "--format", form, "--out")
    assert run(*args, tmp_path / "whole").code == 0
    folder = tmp_path / "out" / CASES[0]
    for _ in range(2):
        kill_when(there(folder, appears), *args, tmp_path / "out")
        assert_whole(folder)
        assert set(files(folder)) <= set(files(tmp_path / "whole" / CASES[0]))
    assert run(*args, tmp_path / "out").code == 0
    assert content(folder) == content(tmp_path / "whole" / CASES[0])
    assert leftovers(folder) == []


def test_training(run: Run, small_cohort: Path, tmp_path: Path) -> None:
    """Killed after the first epoch and, resumed, after the second of three; meanwhile no other may use the folder."""
    args = ("train", "--data", small_cohort, "--epochs", 3, "--batch-size", 16, "--quiet", "--out")
    out = tmp_path / "out"
    assert run(*args, tmp_path / "whole").code == 0
    with halted_when(there(out, "checkpoint.npz"), *args, out):
        ran = run(*args, out)
        assert (ran.code, ran.out) == (2, "")
        assert "Another training is at work" in ran.err
    assert_whole(out)
    kill_when(lambda: len((out / "history.csv").read_text().splitlines()) > 2, *args, out, "--resume")
    assert_whole(out)
    (out / ".wsi-idc-x-cancernet.keras").write_bytes(b"as if killed in the middle of a write")
    assert run(*args, out, "--resume").code == 0
    assert content(out) == content(tmp_path / "whole")
    assert leftovers(out) == []


def test_ctrl_c_twice_while_scoring(run: Run, cohort: Path, tmp_path: Path) -> None:
    args, out = ("score", "all", "--data", cohort, "--out"), tmp_path / "out"
    process = start(*args, out)
    wait_until(there(out, "*/run.json"), process)
    assert interrupt(process, again_after_s=0.1) < 5
    assert_interrupted_in_a_sentence(process)
    assert_whole(out)
    assert run(*args, out).code == 0
    assert len(files(out)) == 4 * len(CASES) + 4
    assert leftovers(out) == []


def test_ctrl_c_twice_while_drawing(run: Run, large_cohort: Path, tmp_path: Path) -> None:
    """Slides that wait to be drawn are held in memory and locked, so they are few at any time."""
    args = ("--data", large_cohort, "--dpi", 72, "--out", tmp_path / "out")
    process = start("heatmap", "all", "--workers", 1, *args)
    wait_until(there(tmp_path / "out", "*/heatmap.png"), process)
    assert len(list((tmp_path / "out").glob("*/.lock"))) <= 10
    assert interrupt(process, again_after_s=0.1) < 5
    ends_with_all_it_started(process)
    assert_interrupted_in_a_sentence(process)
    assert_whole(tmp_path / "out")
    assert run("heatmap", "patient", CASES[0], *args).code == 0
    assert leftovers(tmp_path / "out" / CASES[0]) == []


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "shut down"])
def test_a_scheduler_that_goes_away(run: Run, large_cohort: Path, tmp_path: Path, sent: signal.Signals) -> None:
    """Killed, it drops its connections; shut down, it says goodbye and falls silent."""
    args, out = ("score", "all", "--data", large_cohort, "--out", tmp_path / "out"), tmp_path / "out"
    with dask_cluster(tmp_path) as (address, scheduler):
        process = start(*args, "--scheduler", address)
        wait_until(there(out, "*/run.json", 2), process)
        scheduler.send_signal(sent)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    *before, last = said.splitlines()
    assert last.startswith("Error: The dask scheduler is gone;")
    assert [line for line in before if " slides, " not in line] == []
    assert_whole(out)
    assert leftovers(out) == []
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*/run.json")}
    assert 2 <= len(finished) < 40
    assert run(*args).code == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(files(out)) == 4 * 40 + 4


@dataclass(frozen=True)
class SmallDisk:
    """A file system of its own in memory."""

    path: Path

    def resize(self, size: str) -> None:
        _mount("-o", f"remount,size={size}", str(self.path))

    def read_only(self) -> None:
        _mount("-o", "remount,ro", str(self.path))


def _mount(*args: str) -> None:
    done = subprocess.run(["mount", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[SmallDisk]:
    path.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "none", str(path))
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


FULL = "Error: the disk is full; finished slides are whole, so make room and run the same command again."


@pytest.mark.parametrize(
    ("command", "size", "room"),
    [
        (("score", "all", "--data", "COHORT", "--out", "DISK"), "64k", "1m"),
        (("heatmap", "all", "--data", "COHORT", "--dpi", "72", "--out", "DISK"), "5m", "40m"),
        (("ingest", "COHORT", "DISK/a.zarr"), "2m", "40m"),
        (("mosaic", "patient", CASES[0], "--data", "COHORT", "--out", "DISK"), "400k", "4m"),
        (("mosaic", "patient", CASES[0], "--data", "COHORT", "--out", "DISK", "--format", "ome-tiff"), "60k", "4m"),
        (("mosaic", "patient", CASES[0], "--data", "COHORT", "--out", "DISK", "--format", "ome-zarr"), "400k", "4m"),
    ],
    ids=["score", "heatmap", "ingest", "mosaic", "mosaic as OME-TIFF", "mosaic as OME-Zarr"],
)
def test_a_full_disk(run: Run, cohort: Path, tmp_path: Path, command: tuple[str, ...], size: str, room: str) -> None:
    """One sentence, and what is there is whole; once there is room, the same command ends as on a large disk."""

    def args(out: Path) -> list[str]:
        return [word.replace("COHORT", str(cohort)).replace("DISK", str(out)) for word in command]

    # By themselves, cases are drawn in this process, which takes less time.
    alone = ["heatmap", "patient", *CASES, *args(tmp_path / "large")[2:]]
    assert run(*(alone if command[0] == "heatmap" else args(tmp_path / "large"))).code == 0
    with small_disk(tmp_path / "disk", size) as disk:
        ran = run(*args(disk.path))
        assert ran.code == 2
        assert ran.err.endswith(FULL)
        assert ran.err.count("Error") == 1
        assert_whole(disk.path)
        finished = {path: path.read_bytes() for path in disk.path.glob("*/run.json")}
        assert bool(finished) == (command[1] == "all")
        disk.resize(room)
        assert run(*args(disk.path)).code == 0
        assert of_slides(content(disk.path)) == of_slides(content(tmp_path / "large"))
        assert leftovers(disk.path) == []
        if command[0] == "score":
            assert all(path.read_bytes() == was for path, was in finished.items())


def test_a_full_disk_while_training(run: Run, small_cohort: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        args = ("train", "--data", small_cohort, "--epochs", 1, "--batch-size", 16, "--quiet", "--out", disk.path)
        ran = run(*args)
        assert (ran.code, ran.err) == (2, FULL)
        assert_whole(disk.path)
        assert leftovers(disk.path) == []
        disk.resize("80m")
        assert run(*args, "--resume").code == 0
        assert_whole(disk.path)
        assert {"cancernet.keras", "cancernet.json", "history.csv", "history.png"} <= set(files(disk.path))


def test_a_limit_on_the_size_of_files(run: Run, cohort: Path, tmp_path: Path) -> None:
    """As ``ulimit -f`` and old file systems have one: what is too large fails by itself."""
    small = ("score", "patient", CASES[0], "--data", cohort, "--out", tmp_path)
    mosaic = ("mosaic", "patient", CASES[0], "--data", cohort, "--out", tmp_path)
    packing = ("ingest", cohort, tmp_path / "a.zarr")
    # The model is translated into the cache once.
    assert run(*small[:-1], tmp_path / "before").code == 0
    with file_size_limit(100_000):
        assert run(*small).code == 0
        for args in (mosaic, packing):
            ran = run(*args)
            assert ran.code == 2
            assert "File too large" in ran.err
            assert ran.err.count("Error") == 1
    assert_whole(tmp_path)
    for args in (mosaic, packing):
        assert run(*args).code == 0


def test_a_limit_below_the_size_of_the_translated_model(
    run: Run, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with file_size_limit(100_000):
        ran = run("score", "patient", CASES[0], "--data", cohort, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "Error: The model cannot be translated in" in ran.err
    assert "make room" in ran.err


@pytest.fixture
def read_only(run: Run, cohort: Path, tmp_path: Path) -> Iterator[Path]:
    """A results folder with one finished slide that cannot be written."""
    out = tmp_path / "out"
    scoring = ("score", "patient", CASES[0], "--data", cohort, "--out", out)
    if os.geteuid():
        assert run(*scoring).code == 0
        out.chmod(0o555)
        yield out
        out.chmod(0o755)
    else:
        with small_disk(out, "1m") as disk:
            assert run(*scoring).code == 0
            disk.read_only()
            yield out


@pytest.mark.parametrize(
    "command",
    [
        ("score", "all", "--data", "COHORT", "--out", "OUT"),
        ("score", "patient", CASES[1], "--data", "COHORT", "--out", "OUT"),
        ("heatmap", "all", "--data", "COHORT", "--out", "OUT"),
        ("mosaic", "patient", CASES[1], "--data", "COHORT", "--out", "OUT"),
        ("train", "--data", "COHORT", "--out", "OUT"),
        ("evaluate", "--data", "COHORT", "--split", "patient", "--allow-trained", "--out", "OUT"),
        ("report", "OUT"),
        ("ingest", "COHORT", "OUT/a.zarr"),
    ],
    ids=lambda command: " ".join(command[:2]) if command[1].islower() else command[0],
)
def test_a_results_folder_that_cannot_be_written(
    run: Run, cohort: Path, read_only: Path, command: tuple[str, ...]
) -> None:
    before = content(read_only)
    ran = run(*(word.replace("COHORT", str(cohort)).replace("OUT", str(read_only)) for word in command))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Error: ")
    assert "choose another place" in ran.err
    assert content(read_only) == before


def test_a_slide_whose_folder_cannot_be_written_ends_no_cohort(run: Run, cohort: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / CASES[2]
    with small_disk(folder, "1m") as disk:
        disk.read_only()
        ran = run("score", "all", "--data", cohort, "--out", tmp_path / "out")
    assert ran.code == 1
    assert f"{CASES[2]}: {folder} cannot be written: choose another place." in ran.err
    assert len(list((tmp_path / "out").glob("*/run.json"))) == len(CASES) - 1
