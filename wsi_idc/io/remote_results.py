"""A results folder in an object store: made in a folder of this machine, and uploaded slide by slide.

A slide's ``run.json`` is removed there before anything of it changes and uploaded last, as in a folder of this machine.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import TypeVar

from filelock import FileLock, Timeout

from wsi_idc._util.files import Closable, make_folder
from wsi_idc.errors import OptionError, OutputError, SlideError
from wsi_idc.io.stores import LISTED, Store

_AT_ONCE = 4
"""Slides that are fetched or uploaded at once."""

_FOLDERS = ".ome.zarr"
"""Ending of results that are folders."""

_TRIAL = ".wsi-idc-trial"

Answer = TypeVar("Answer")

Stamp = tuple[int, int]
"""Size and time of a file: whether it changed since it was uploaded."""


class RemoteResults(Closable):
    """Results that go to a store.

    Parameters
    ----------
    url : str
        ``s3://``, ``gs://`` or ``az://``, bucket and folder.
    cache : Path
        Folder of this machine in which the local folder is made.
    seal : str
        Name of the file that is there where a slide is finished.
    cohort_files : iterable of str
        Names of the files over all slides that may be absent; what the store has of them is removed then.
    part : str
        Which part of the slides: runs over different parts have local folders of their own.

    Attributes
    ----------
    told : str
        The address, without anything secret.
    folder : Path
        The local folder. Where results could not be uploaded it is kept, and taken up by the next run.

    Raises
    ------
    OptionError
        Where it is no such address, or a run of this machine has the folder.
    OutputError
        Where nothing can be written there.
    """

    def __init__(self, url: str, cache: Path, seal: str, cohort_files: Iterable[str], part: str = "") -> None:
        self._store = Store(url.rstrip("/"))
        self.told = self._store.told
        if self._store.scheme not in LISTED:
            raise OptionError(
                f"{self.told} takes no results: give --out a folder, or an address s3://, gs:// or az://."
            )
        self._seal, self._cohort_files = seal, tuple(cohort_files)
        self._stop = Event()
        self._uploaded: dict[str, Stamp] = {}
        name = hashlib.sha256(f"{self._store.scheme}://{self._store.place}\n{part}".encode()).hexdigest()[:24]
        above = make_folder(cache.absolute() / "results")
        self.folder = above / name
        self._lock = FileLock(above / f"{name}.lock", thread_local=False)
        with ExitStack() as undo:
            try:
                self._lock.acquire(timeout=0)
            except Timeout as error:
                raise OptionError(
                    f"Another run of this machine writes to {self.told}: wait until it has ended, or split the slides "
                    "with --shard."
                ) from error
            undo.callback(self._lock.release)
            self._pool = ThreadPoolExecutor(_AT_ONCE, "uploader")
            undo.callback(self._pool.shutdown)
            self._there: dict[str, set[str]] = {}
            for name in _asked(self._store.tree):
                folder = _folder_of(name)
                # What begins with a dot are locks and unfinished files, and none of the results.
                if not name[len(folder) :].lstrip("/").startswith("."):
                    self._there.setdefault(folder, set()).add(name)
            # Known before hours of scoring, and not after them.
            trial = above / f"{self.folder.name}{_TRIAL}"
            undo.callback(trial.unlink, missing_ok=True)
            trial.write_text("Shows that results can be written here.")
            _asked(partial(self._store.put, trial, _TRIAL, self._stop))
            _asked(partial(self._store.remove, _TRIAL, self._stop))
            trial.unlink()
            make_folder(self.folder)
            undo.pop_all()

    def close(self) -> None:
        """End uploads; the local folder stays unless `finish` removed it."""
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)
        with suppress(OSError):
            self.folder.rmdir()  # where it is empty
        self._lock.release()

    def url_of(self, path: Path) -> str:
        """The address of a file in the local folder."""
        return f"{self.told}/{path.relative_to(self.folder).as_posix()}"

    def fetch(self, slides: Iterable[str] | None = None) -> None:
        """Fetch what is finished there into the local folder, of these slides or of all.

        What the local folder holds finished was not uploaded by an earlier run, and stays.

        Raises
        ------
        OutputError
            Where it cannot be fetched.
        """
        finished = {folder for folder, names in self._there.items() if f"{folder}/{self._seal}" in names}
        wanted = finished if slides is None else finished & set(slides)
        for fetching in [self._pool.submit(_asked, partial(self._fetch, slide)) for slide in sorted(wanted)]:
            fetching.result()

    def _fetch(self, slide: str) -> None:
        if (self.folder / slide / self._seal).exists():
            return
        for left in self._here(slide):
            (self.folder / left).unlink()
        for name in self._sealed_last(self._there[slide]):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store.fetch_below(name, path, self._stop)
            self._uploaded[name] = _stamp(path)

    def upload(self, slide: str) -> Future[None]:
        """Upload a slide that is finished, in the background; OutputError from what is returned where it cannot be."""
        return self._pool.submit(_asked, partial(self._upload, slide))

    def _upload(self, slide: str) -> None:
        here, seal = self._here(slide), f"{slide}/{self._seal}"
        gone = self._there.get(slide, set()) - here
        changed = {name for name in here if self._uploaded.get(name) != _stamp(self.folder / name)}
        if gone or seal in changed:
            for name in (seal, *sorted(gone)):
                self._remove(name)
            changed.add(seal)
        for name in self._sealed_last(changed):
            self._put(name)

    def finish(self, *, whole: bool) -> None:
        """Upload what is not yet there, with `whole` the files over all slides, too, and remove the local folder.

        Raises
        ------
        OutputError
            Where something could not be uploaded: then the local folder is kept.
        """
        slides = sorted(path.parent.relative_to(self.folder).as_posix() for path in self.folder.rglob(self._seal))
        for uploading in [self.upload(slide) for slide in slides]:
            uploading.result()
        if whole:
            here = self._here("")
            for name in sorted(here):
                _asked(partial(self._put, name))
            for name in sorted({*self._cohort_files} - here):
                _asked(partial(self._remove, name))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _here(self, slide: str) -> set[str]:
        """Files of a slide in the local folder, without those that are being written, and locks."""
        found = set()
        for path in (self.folder / slide).glob("*"):
            if not path.name.startswith("."):
                files = path.rglob("*") if path.name.endswith(_FOLDERS) else [path]
                found |= {file.relative_to(self.folder).as_posix() for file in files if file.is_file()}
        return found

    def _sealed_last(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: (name.rpartition("/")[2] == self._seal, name))

    def _put(self, name: str) -> None:
        stamp = _stamp(self.folder / name)
        self._store.put(self.folder / name, name, self._stop)
        self._there.setdefault(_folder_of(name), set()).add(name)
        self._uploaded[name] = stamp

    def _remove(self, name: str) -> None:
        names = self._there.get(_folder_of(name), set())
        if name in names:
            self._store.remove(name, self._stop)
            names.discard(name)
            self._uploaded.pop(name, None)


def _folder_of(name: str) -> str:
    """Folder of the slide that a file is of; empty of a file over all slides."""
    parts = name.split("/")
    inside = next((place for place, part in enumerate(parts) if part.endswith(_FOLDERS)), len(parts) - 1)
    return "/".join(parts[:inside])


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _asked(ask: Callable[[], Answer]) -> Answer:
    """What a store answers; OutputError where it does not."""
    try:
        return ask()
    except SlideError as error:
        raise OutputError(str(error)) from error
