"""Pack a data set into a patch store: interrupted and begun again, by one process at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from wsi_idc._util.files import make_folder, writing_thread
from wsi_idc._util.lock import try_lock
from wsi_idc.datasets.dataset import Dataset
from wsi_idc.datasets.opening import ZARR_FILE
from wsi_idc.datasets.store import STORE_NAMES, DamagedStoreError, PatchStore, StoreWriter
from wsi_idc.errors import NotIdcDataError, OutputError, WsiIdcError
from wsi_idc.source import Problem

_GROWING, _REPLACED = "store", "damaged"
"""In the hidden folder beside a store that is being made: the store, and what was at its place."""


def ingest(dataset: Dataset, out: Path, on_patches: Callable[[int], None] | None = None) -> list[Problem]:
    """Pack a data set into a new patch store, which is read back and compared before it gets its name.

    Interrupted, the same call goes on: what is packed waits beside `out` in a hidden folder, and is kept if the data
    are still the same. A store at `out` that is damaged is replaced.

    Parameters
    ----------
    dataset : Dataset
    out : path
        Folder to make.
    on_patches : callable, optional
        Called with the number of patches packed, now or before.

    Returns
    -------
    list of Problem
        One for each patch that is unreadable.

    Raises
    ------
    NotIdcDataError
        Where what is read back is not what was written.
    OutputError
        Where there is something else at `out`, or another process makes this store.
    """
    waiting = make_folder(_waiting(out))
    lock = try_lock(waiting)
    if lock is None:
        raise OutputError(f"Another process is making {out}: wait for its end, or choose another name.")
    with lock:
        check_store_free(out)
        problems = _pack(dataset, waiting / _GROWING, on_patches)
        if out.exists():
            shutil.rmtree(waiting / _REPLACED, ignore_errors=True)
            out.rename(waiting / _REPLACED)
        (waiting / _GROWING).rename(out)
        shutil.rmtree(waiting, ignore_errors=True)
    return problems


def check_store_free(out: Path) -> None:
    """OutputError where there is something at a path that `ingest` would not replace."""
    if (out.exists() or out.is_symlink()) and not _is_damaged_store(out):
        _tidy(out)
        raise OutputError(f"{out} is there already: choose another name.")


def _waiting(out: Path) -> Path:
    return out.with_name(f".{out.name}.part")


def _tidy(out: Path) -> None:
    """Remove what is left beside a finished store where its process was killed at the very end."""
    if _waiting(out).is_dir():
        with suppress(WsiIdcError):
            lock = try_lock(_waiting(out))
            if lock is not None:
                with lock:
                    shutil.rmtree(_waiting(out), ignore_errors=True)


def _is_damaged_store(path: Path) -> bool:
    """Whether a folder holds what a store is made of and nothing else, and cannot be read as one."""
    if path.is_symlink() or not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    if not {ZARR_FILE} <= names <= set(STORE_NAMES):
        return False
    try:
        _read_back(path)
    except DamagedStoreError:
        return True
    except NotIdcDataError:
        return False  # Of another version, or another's Zarr.
    return False


def _pack(dataset: Dataset, path: Path, on_patches: Callable[[int], None] | None) -> list[Problem]:
    """Write the store at `path`, from where it stands; the problems of its unreadable patches come back."""
    with writing_thread() as thread:
        writer = _begun(path, thread, dataset)
        problems = writer.problems
        for case in dataset.cases:
            if case in writer.packed:
                if on_patches:
                    on_patches(writer.packed[case])
            else:
                problems += writer.add(dataset.case(case), on_patches)
        writer.finish()
    _reach_the_disk(path)
    try:
        if _read_back(path) != {case: len(dataset.labels(case)) for case in dataset.cases}:
            raise NotIdcDataError(f"{path} came back with other cases than were written: check the disk.")
    except NotIdcDataError:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise
    return problems


def _begun(path: Path, thread: ThreadPoolExecutor, dataset: Dataset) -> StoreWriter:
    """What was begun before; anew where that was cut off in the middle of a write, or begun with other data."""
    for half in path.rglob("*.partial"):
        half.unlink()  # of Zarr, where it was killed
    with suppress(Exception):  # zarr raises whatever its parts raise on damaged files
        writer = StoreWriter(make_folder(path), thread)
        if writer.begins(dataset):
            return writer
    shutil.rmtree(path)
    return StoreWriter(make_folder(path), thread)


def _reach_the_disk(folder: Path) -> None:
    """Wait until the disk holds all files of a folder: a power cut leaves those empty that it does not."""
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            with suppress(OSError):  # Some file systems cannot do that with a folder.
                os.fsync(handle)
        finally:
            os.close(handle)


def _read_back(path: Path) -> dict[str, int]:
    """How many patches each case of a store has, all of them read and compared with their hashes."""
    store = PatchStore(path)
    return {case: len(store.case(case).patches) for case in store.cases}
