"""Many at once: runs into one folder, and slides in one cohort."""

from __future__ import annotations

import csv
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.conftest import Ran, make_patch_set, tissue_like
from tests.damage.crash import PATIENCE_S, assert_whole, content, leftovers, start
from wsi_idc.datasets.case import LoadedCase
from wsi_idc.datasets.packing import write_patches
from wsi_idc.model.classifier import load_model
from wsi_idc.source import Patch

pytestmark = pytest.mark.slow

Run = Callable[..., Ran]

RUNS, SLIDES = 10, 500


@dataclass(frozen=True)
class Peak:
    """The most that a process held at any time."""

    memory_bytes: int
    descriptors: int
    threads: int


def test_runs_at_once_into_one_folder(run: Run, tmp_path: Path) -> None:
    cohort = make_patch_set(tmp_path / "idc", ("8863",))
    args = ("score", "patient", "8863", "--data", cohort, "--out")
    assert run(*args, tmp_path / "alone").code == 0
    runs = [start(*args, tmp_path / "out") for _ in range(RUNS)]
    for process in runs:
        _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert all(line.startswith("Waiting for process ") for line in said.splitlines())
    assert content(tmp_path / "out") == content(tmp_path / "alone")
    assert leftovers(tmp_path / "out") == []


def test_hundreds_of_slides(tmp_path: Path) -> None:
    """Two patches each, with labels in every tenth: what is held does not grow with the number of slides."""
    load_model()  # translated into the cache once, for which TensorFlow takes a gigabyte
    write_patches(tmp_path / "a.zarr", tiny_cases())
    out = tmp_path / "out"
    process = start("score", "all", "--data", tmp_path / "a.zarr", "--out", out, "--quiet")
    peak = watch(process)
    assert process.returncode == 0
    with (out / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["status"] for row in rows} == {"ok"}
    assert [int(row["slide"]) for row in rows] == list(range(20_000, 20_000 + SLIDES))
    assert len(list(out.glob("*/run.json"))) == SLIDES
    assert peak.memory_bytes < 0.6e9
    assert peak.descriptors < 60
    assert peak.threads < 100
    assert_whole(out / "20000")
    assert leftovers(out) == []


def tiny_cases() -> Iterator[LoadedCase]:
    """Cases of two patches."""
    pixels = np.stack([tissue_like(seed) for seed in range(2)])
    for i in range(SLIDES):
        labels = (0, 1) if i % 10 == 0 else (None, None)
        patches = [Patch(50 * x, 0, 50, 50, label) for x, label in enumerate(labels)]
        yield LoadedCase(str(20_000 + i), "made", patches, np.roll(pixels, i, axis=2), f"{i:064x}")


def watch(process: subprocess.Popen[str]) -> Peak:
    """Look at a process until it ends."""
    seen = psutil.Process(process.pid)
    memory = descriptors = threads = 0
    end = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        try:
            with seen.oneshot():
                memory = max(memory, seen.memory_info().rss)
                descriptors = max(descriptors, seen.num_fds())
                threads = max(threads, seen.num_threads())
        except psutil.Error:
            continue
        time.sleep(0.05)
    process.communicate(timeout=1)
    return Peak(memory, descriptors, threads)
