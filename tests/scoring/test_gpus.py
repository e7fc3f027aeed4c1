"""``--gpus``: a process per GPU. The driver is a program that lists GPUs, so processors do the work of its workers."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client

from tests.conftest import Ran, make_patch_set
from wsi_idc._util.lock import FolderLock, try_lock
from wsi_idc.errors import OptionError
from wsi_idc.scoring.cluster import connect
from wsi_idc.scoring.gpus import Gpu, batch_by_memory, choose_gpus, find_gpus

Run = Callable[..., Ran]

GB = 1 << 30


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A driver that lists two GPUs."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nprintf '0, GPU-aaaa, 81559\\n1, GPU-bbbb, 8192\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return program


def tables(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in out.glob("*/scores.csv")}


def test_gpus_give_the_bytes_of_a_run_without(
    run: Run, driver: Path, patch_set: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    assert run("score", "all", "--data", patch_set, "--out", tmp_path / "one").code == 0
    ran = run("score", "all", "--data", patch_set, "--out", tmp_path / "two", "--gpus", "0,1")
    assert ran.code == 0
    assert "2 of the 2 GPUs cannot be used" in ran.err + " ".join(str(warning.message) for warning in recwarn)
    assert tables(tmp_path / "one") == tables(tmp_path / "two") != {}
    keys = [json.loads((tmp_path / out / "8863" / "run.json").read_text())["key"] for out in ("one", "two")]
    assert keys[0] == keys[1]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_process_sees_its_gpu_alone_and_nobody_else_reaches_the_scheduler(driver: Path) -> None:
    with connect(gpus=find_gpus(), workers=6) as client:
        seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
        assert sorted(seen.values()) == ["0", "1"]
        assert set(client.nthreads().values()) == {3}
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        for reached in (address, address.replace("tls", "tcp")):
            with pytest.raises((OSError, TypeError)):
                Client(reached, timeout=2, set_as_default=False)


def test_a_killed_process_costs_nothing_and_ctrl_c_leaves_none(driver: Path, tmp_path: Path) -> None:
    cases = make_patch_set(tmp_path / "idc", tuple(str(9_000 + i) for i in range(30)), columns=12, rows=10)
    command = [sys.executable, "-m", "wsi_idc", "score", "all", "--data", cases, "--gpus", "all", "--quiet", "--out"]
    expected = tmp_path / "expected"
    subprocess.run([*command[:7], *command[9:], expected], check=True, capture_output=True)

    with held_back(tmp_path / "interrupted"):
        interrupted = subprocess.Popen(
            [*command, tmp_path / "interrupted"], stderr=subprocess.PIPE, text=True, process_group=0
        )
        workers = started(interrupted, tmp_path / "interrupted")
        os.killpg(interrupted.pid, signal.SIGINT)  # As a terminal does: to all of its processes.
        told = interrupted.communicate(timeout=300)[1]
    assert interrupted.returncode == 130
    assert "Interrupted: finished slides are kept" in told and "Traceback" not in told
    assert not psutil.wait_procs(workers, timeout=120)[1]
    finished = tables(tmp_path / "interrupted")
    subprocess.run([*command, tmp_path / "interrupted"], check=True, capture_output=True)
    assert finished and tables(tmp_path / "interrupted") == tables(expected)

    with held_back(tmp_path / "killed"):
        killed = subprocess.Popen([*command, tmp_path / "killed"], stderr=subprocess.PIPE, text=True)
        started(killed, tmp_path / "killed")[0].kill()
    told = killed.communicate(timeout=300)[1]
    assert killed.returncode == 0, told
    assert "Traceback" not in told and "distributed" not in told
    assert tables(tmp_path / "killed") == tables(expected)


def held_back(out: Path) -> FolderLock:
    """The lock of one slide's folder: without it a run, however fast, does not end."""
    (out / "9029").mkdir(parents=True)
    lock = try_lock(out / "9029")
    assert lock is not None
    return lock


def started(process: subprocess.Popen[str], out: Path) -> list[psutil.Process]:
    """The processes of both GPUs, when they have begun to score."""
    until = time.monotonic() + 300
    while not tables(out) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    children = psutil.Process(process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_processes_end_with_the_one_that_started_them(driver: Path, tmp_path: Path) -> None:
    cases = make_patch_set(tmp_path / "idc", tuple(str(9_000 + i) for i in range(30)), columns=12, rows=10)
    command = [sys.executable, "-m", "wsi_idc", "score", "all", "--data", cases, "--gpus", "all", "--quiet", "--out"]
    with held_back(tmp_path / "out"):
        process = subprocess.Popen([*command, tmp_path / "out"], stderr=subprocess.DEVNULL, text=True)
        workers = started(process, tmp_path / "out")
        process.kill()
        process.wait()
    assert workers and not psutil.wait_procs(workers, timeout=120)[1]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tls://127.0.0.1:1"])
def test_a_scheduler_that_does_not_answer_leaves_dasks_configuration_as_it_was(address: str) -> None:
    before = dask.config.get("scheduler", None)
    with pytest.raises(OptionError, match="No dask scheduler answers"), connect(address):
        pass
    gc.collect()  # A client that is let go of puts back what it found.
    assert dask.config.get("scheduler", None) == before


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("0,2", "There is no GPU 2: name some of 0 to 1"),
        ("1,1", "names a GPU twice"),
        ("first", "is no list of GPUs"),
        ("0,", "is no list of GPUs"),
        ("", "is no list of GPUs"),
    ],
)
def test_gpus_that_cannot_be_meant(run: Run, driver: Path, tmp_path: Path, asked: str, said: str) -> None:
    ran = run("score", "all", "--data", "demo", "--out", tmp_path / "out", "--gpus", asked)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert not (tmp_path / "out").exists()


def test_no_gpu_and_another_machine(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    options = ("heatmap", "all", "--data", "demo", "--out", tmp_path / "out", "--gpus", "all")
    ran = run(*options)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Error: This machine shows no GPU") and ran.err.count(". ") == 0
    ran = run(*options, "--scheduler", "tcp://127.0.0.1:1")
    assert ran.code == 2 and "leave it out with --scheduler" in ran.err


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ("0", "1")),
        ("1,0", ("1", "0")),
        ("GPU-bb", ("GPU-bb",)),
        ("0,7,1", ("0",)),
        ("-1", ()),
        ("", ()),
        ("MIG-1f", ("MIG-1f",)),
    ],
)
def test_what_a_batch_scheduler_gave_is_kept(
    driver: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, names: tuple[str, ...]
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = find_gpus()
    assert tuple(gpu.name for gpu in found) == names
    assert {gpu.memory_bytes for gpu in found} <= {81559 << 20, 8 * GB, None}
    if names:
        assert choose_gpus("0", found) == found[:1]


@pytest.mark.parametrize("told", ["", "No devices were found", "0, GPU-a", "x, y, z", "0, GPU-a, [N/A]"])
def test_a_driver_that_says_something_else(driver: Path, told: str) -> None:
    driver.write_text(f"#!/bin/sh\necho '{told}'\n")
    assert find_gpus() == ((Gpu("0"),) if "N/A" in told else ())


def test_a_list_with_all_places() -> None:
    gpus = tuple(Gpu(str(i)) for i in range(3))
    assert choose_gpus("all", gpus) == gpus
    assert choose_gpus("2,0", gpus) == (gpus[2], gpus[0])
    with pytest.raises(OptionError, match="no GPU 3"):
        choose_gpus("3", gpus)


@pytest.mark.parametrize(
    ("gigabytes", "patch_px", "batch"),
    [((80,), 50, 1_024), ((80, 4), 50, 512), ((8,), 350, 32), ((1,), 512, 16), ((None,), 50, 256), ((), 50, 256)],
)
def test_batch_follows_the_smallest_memory(gigabytes: tuple[int | None, ...], patch_px: int, batch: int) -> None:
    gpus = [Gpu(str(i), gb and gb * GB) for i, gb in enumerate(gigabytes)]
    assert batch_by_memory(gpus, patch_px) == batch
