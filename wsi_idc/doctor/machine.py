"""Whether this machine has what a run needs: GPU, disk, locks, threads, files and memory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wsi_idc._util.cpu_count import processors, require_threads
from wsi_idc._util.files import TEMPORARY, cache_folder
from wsi_idc._util.lock import try_lock
from wsi_idc.doctor.check import Check, fail, ok, warn
from wsi_idc.errors import ModelError

LEAST_FREE_BYTES = 100_000_000
"""A drawn slide takes up to some ten megabytes, and a cohort's report more."""

FEW_FREE_BYTES = 5_000_000_000

LEAST_FILES, FEW_FILES = 64, 256
"""Open files: each slide of several files, each shard of a store, and each connection to a worker takes one."""

FEW_MEMORY_BYTES = 2_000_000_000
"""``score all`` peaks below 1 GB, pictures of a large slide above."""


def gpu(model: str | Path | None, allow_code: bool = False) -> Iterator[Check]:
    """Whether a GPU that the system shows is used."""
    from wsi_idc.model.classifier import gpu_is_shown, load_model

    if not gpu_is_shown():
        yield ok("gpu", "none, so the processors are used")
        return
    try:
        device = load_model(model, allow_code=allow_code).device
    except ModelError:
        yield warn("gpu", "the system has one, which was not tried as the model does not load: mend that first.")
        return
    if device == "gpu":
        yield ok("gpu", "used")
    else:
        yield warn(
            "gpu",
            'the system has one, but the network runs on the processors: pip install "wsi-idc[gpu]", and see whether '
            "nvidia-smi lists it.",
        )


def out(folder: Path) -> Iterator[Check]:
    """Whether results can be written: rights, locks and room."""
    there = _nearest(folder)
    if not there.is_dir():
        yield fail("out", f"{there} is no folder: name another with --out.")
        return
    try:
        trial = tempfile.TemporaryDirectory(prefix=TEMPORARY, suffix="-doctor", dir=there)
    except OSError as error:
        yield fail("out", f"{there} cannot be written ({error.strerror}): name another folder with --out.")
        return
    with trial as name:
        problem = _lock_problem(Path(name))
    if problem:
        yield fail("out", f"{there}: {problem}")
        return
    yield _room("out", f"{folder} can be written, and locks work", there, "name another folder with --out")


def _nearest(folder: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    absolute = folder.absolute()
    return next((path for path in (absolute, *absolute.parents) if path.exists()), absolute)


def _lock_problem(folder: Path) -> str:
    """What is wrong with locks on this file system; empty where nothing is."""
    lock = try_lock(folder)
    if lock is None:
        return "a new folder cannot be locked: mount its file system with locks, or name another folder with --out."
    with lock:
        second = try_lock(folder)
        if second is None:
            return ""
        second.close()
    return (
        "its file system grants one lock twice, so that two runs could damage each other: mount it with locks, or name "
        "another folder with --out."
    )


def _room(name: str, told: str, folder: Path, remedy: str) -> Check:
    """`told`, if there is room for files."""
    free = shutil.disk_usage(folder).free
    files = os.statvfs(folder) if hasattr(os, "statvfs") else None
    if free < LEAST_FREE_BYTES:
        return fail(name, f"{folder} has {free / 1e6:,.0f} MB free: make room, or {remedy}.")
    if files is not None and files.f_files and not files.f_favail:
        return fail(name, f"{folder} can take no more files (df -i): remove some, or {remedy}.")
    if free < FEW_FREE_BYTES:
        return warn(name, f"{told}; only {free / 1e9:.1f} GB are free: make room, or {remedy}.")
    return ok(name, f"{told}, {free / 1e9:,.0f} GB free")


def cache() -> Iterator[Check]:
    """Whether downloads and the demo can be kept."""
    folder = cache_folder()
    there = _nearest(folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield warn("cache", f"{folder} cannot be made or written: set XDG_CACHE_HOME to a folder that can.")
        return
    yield _room("cache", str(folder), there, "set XDG_CACHE_HOME to a larger disk")


def threads() -> Iterator[Check]:
    """Whether as many threads can be started as libraries start."""
    try:
        require_threads()
    except RuntimeError:
        yield fail("threads", "no more can be started: allow more of them (ulimit -u, or pids of the container).")
        return
    yield ok("threads", f"enough for {processors()} {'processor' if processors() == 1 else 'processors'}")


def open_files() -> Iterator[Check]:
    """The limit on open files."""
    try:
        import resource
    except ImportError:  # Windows has none.
        return
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most == resource.RLIM_INFINITY:
        yield ok("files", "as many may be open as you like")
    elif most < LEAST_FILES:
        yield fail("files", f"only {most:,} may be open: allow more (ulimit -n 1024).")
    elif most < FEW_FILES:
        yield warn(
            "files", f"only {most:,} may be open, too few for slides of many files: allow more (ulimit -n 1024)."
        )
    else:
        yield ok("files", f"{most:,} may be open")


def memory() -> Iterator[Check]:
    """How much memory is free, as far as the system tells."""
    free = free_memory()
    if free is None:
        return
    told = f"{free / 1e9:.1f} GB free"
    if free < FEW_MEMORY_BYTES:
        yield warn("memory", f"{told}: end other programs, allow the job more, or take fewer --workers.")
    else:
        yield ok("memory", told)


def free_memory(proc: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that can still be had on Linux, under the limit of the container or job; None where nothing tells."""
    try:
        lines = dict(line.split(":", 1) for line in proc.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return None
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):  # No limit reads "max".
        return free
    return min(free, max(limit - used, 0))
