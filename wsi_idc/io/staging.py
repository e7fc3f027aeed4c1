"""A folder of limited size in which slides of object stores lie while they are read.

Several processes of one machine share it. What is accounted for is done under one lock; a slide that is in use has a
locked file beside it, whose lock the system takes away from a process that dies.

    slides.lock           held while rooms are counted, given and taken away
    slides/<key>/size     bytes that are set aside for a slide
    slides/<key>/whole    there where all its files are; its time is that of the last use
    slides/<key>/files/   its files
    slides/<key>/use-*    one for each that uses it, or fetches it
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from filelock import FileLock, Timeout

from wsi_idc._util.files import Closable, cache_folder, make_folder
from wsi_idc.errors import OptionError, SlideError
from wsi_idc.io.stores import RemoteFile, Store

MOST_BYTES = 50_000_000_000
"""Size of the folder where none is given, or half of what is free if that is less."""

_LOOK_S = 0.2
_UNSAID = 1_000_000_000
"""Bytes set aside for a file whose size a web server does not say."""


class Staged(Closable):
    """A slide that lies in the cache, and stays there until `close`.

    Attributes
    ----------
    path : Path
        The file that names it.
    told : str
        Where it comes from, without anything secret.
    """

    def __init__(self, path: Path, told: str, entry: Path, use: FileLock) -> None:
        self.path, self.told = path, told
        self._entry, self._use = entry, use

    def close(self) -> None:
        """Let the slide be dropped when room is needed."""
        with suppress(FileNotFoundError):
            os.utime(self._entry / "whole")
        _end(self._use)


@dataclass(frozen=True)
class SlideCache:
    """Where slides of stores are kept, and how much of them.

    Attributes
    ----------
    folder : Path
        On a disk of this machine.
    most_bytes : int
    """

    folder: Path
    most_bytes: int

    @classmethod
    def of(cls, folder: Path | None = None, gigabytes: float | None = None) -> SlideCache:
        """By default ``wsi-idc/stores`` where the system keeps caches, and 50 GB or half of what is free there."""
        if gigabytes is not None and not math.isfinite(gigabytes):
            raise OptionError(f"A cache of {gigabytes} GB cannot be: give --cache-gb a number.")
        folder = make_folder((cache_folder() / "stores" if folder is None else folder).absolute())
        if gigabytes is not None:
            return cls(folder, int(gigabytes * 1e9))
        kept = sum(map(_size, folder.glob("slides/*")))
        return cls(folder, min(MOST_BYTES, (shutil.disk_usage(folder).free + kept) // 2))

    def stage(self, url: str, stop: Event | None = None) -> Staged:
        """Fetch a slide, unless it is here as the store has it, and keep it until what is returned is closed.

        Waits while others fetch it, and for room while all that is here is in use; gives up when `stop` is set.

        Raises
        ------
        SlideError
            Where it cannot be fetched, or is larger than the cache.
        OptionError
            Where the package for such addresses is not installed.
        OSError
            Where the disk is full.
        """
        store = Store(url)
        files = store.files()
        told = json.dumps([store.told, [(file.name, file.size, file.version) for file in files]])
        entry = self.folder / "slides" / hashlib.sha256(told.encode()).hexdigest()[:24]
        size = sum(_UNSAID if file.size is None else file.size for file in files)
        if size > self.most_bytes:
            raise SlideError(
                f"{store.told} takes {size / 1e9:,.2f} GB, and the cache holds {self.most_bytes / 1e9:,.2f} GB: give "
                "more with --cache-gb, or a larger disk with --cache."
            )
        use = self._taken(entry, size, stop or Event())
        try:
            path = entry / "files" / files[0].name
            if not (entry / "whole").exists():
                self._fill(entry, store, files, stop or Event())
        except BaseException:
            with self._locked():
                _end(use)
                if not _in_use(entry):
                    shutil.rmtree(entry, ignore_errors=True)
            raise
        return Staged(path, store.told, entry, use)

    def _locked(self) -> FileLock:
        return FileLock(self.folder / "slides.lock", thread_local=False)

    def _taken(self, entry: Path, size: int, stop: Event) -> FileLock:
        """Have a slide for use, or an empty place of this size for it."""
        while True:
            with self._locked():
                here, used = entry.is_dir(), _in_use(entry)
                whole = (entry / "whole").exists()
                if here and not whole and not used:
                    shutil.rmtree(entry)
                    here = False
                if whole or (not here and self._make_room(size)):
                    (entry / "files").mkdir(parents=True, exist_ok=True)
                    if not whole:
                        (entry / "size").write_text(str(size))
                    use = FileLock(entry / f"use-{secrets.token_hex(8)}", thread_local=False)
                    use.acquire()
                    return use
            if stop.wait(_LOOK_S):
                raise SlideError("The run was ended while a slide waited for room in the cache.")

    def _make_room(self, size: int) -> bool:
        """Drop what was not used for longest until there is room; False where there cannot be for now."""
        entries = [entry for entry in (self.folder / "slides").glob("*") if entry.is_dir()]
        free = self.most_bytes - sum(map(_size, entries))
        for entry in sorted(entries, key=_last_use):
            if free >= size:
                break
            if not _in_use(entry):
                free += _size(entry)
                shutil.rmtree(entry)
        return free >= size

    def _fill(self, entry: Path, store: Store, files: list[RemoteFile], stop: Event) -> None:
        for file in files:
            path = entry / "files" / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            store.fetch(file, path, stop)
        size = sum((entry / "files" / file.name).stat().st_size for file in files)
        with self._locked():
            (entry / "size").write_text(str(size))
            (entry / "whole").touch()


def _size(entry: Path) -> int:
    try:
        return int((entry / "size").read_text())
    except (OSError, ValueError):
        return 0


def _last_use(entry: Path) -> float:
    try:
        return (entry / "whole").stat().st_mtime
    except OSError:
        return 0.0


def _in_use(entry: Path) -> bool:
    """Whether a live process uses a slide; what dead ones left is removed."""
    used = False
    for left in entry.glob("use-*"):
        lock = FileLock(left, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            used = True
        else:
            _end(lock)
    return used


def _end(use: FileLock) -> None:
    use.release()
    Path(use.lock_file).unlink(missing_ok=True)
