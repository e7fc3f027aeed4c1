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
from wsi_idc.io.stores import LISTED, Store, folder_url

_AT_ONCE = 4
"""Slides that are fetched or uploaded at once."""

_FOLDERS = ".ome.zarr"
"""Ending of results that are folders."""

_TRIAL = ".wsi-idc-trial"

_IN_STEP = ".uploaded"
"""Beside the local files of a slide that are as in the store: it holds the stamp of the file that seals them."""

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
    slide_files, cohort_files : iterable of str
        Names of the files and folders of a slide, and of the files over all slides, that a run makes. Of what the store
        has, nothing else is ever removed: corrections are a person's.
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

    def __init__(
        self,
        url: str,
        cache: Path,
        seal: str,
        slide_files: Iterable[str],
        cohort_files: Iterable[str],
        part: str = "",
    ) -> None:
        self._store = Store(folder_url(url))
        self.told = self._store.told
        if self._store.scheme not in LISTED:
            raise OptionError(
                f"{self.told} takes no results: give --out a folder, or an address s3://, gs:// or az://."
            )
        self._seal, self._slide_files, self._cohort_files = seal, frozenset(slide_files), tuple(cohort_files)
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

        What the local folder holds finished and an earlier run did not upload stays.

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
        if (self.folder / slide / self._seal).exists() and not self._in_step(slide):
            return
        for left in self._here(slide):
            (self.folder / left).unlink()
        for name in self._sealed_last(self._there[slide]):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store.fetch_below(name, path, self._stop)
            self._uploaded[name] = _stamp(path)
        self._note_in_step(slide)

    def upload(self, slide: str) -> Future[None]:
        """Upload a slide that is finished, in the background; OutputError from what is returned where it cannot be."""
        return self._pool.submit(_asked, partial(self._upload, slide))

    def _upload(self, slide: str) -> None:
        here, seal = self._here(slide), f"{slide}/{self._seal}"
        gone = {name for name in self._there.get(slide, set()) - here if self._is_made(slide, name)}
        changed = {name for name in here if self._uploaded.get(name) != _stamp(self.folder / name)}
        if gone or seal in changed:
            for name in (seal, *sorted(gone)):
                self._remove(name)
            changed.add(seal)
        for name in self._sealed_last(changed):
            self._put(name)
        self._note_in_step(slide)

    def finish(self, *, whole: bool) -> None:
        """Upload what is not yet there, with `whole` the files over all slides, too, and remove the local folder.

        Raises
        ------
        OutputError
            Where something could not be uploaded: then the local folder is kept.
        """
        sealed = sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob(self._seal))
        slides = [name.rpartition("/")[0] for name in sealed]
        # What an earlier run uploaded, and this one did not look at, may be older than what is there.
        touched = [
            one for one, name in zip(slides, sealed, strict=True) if name in self._uploaded or not self._in_step(one)
        ]
        for uploading in [self.upload(slide) for slide in touched]:
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

    def _is_made(self, slide: str, name: str) -> bool:
        """Whether a file of a slide in the store is one that a run makes."""
        return name[len(slide) + 1 :].partition("/")[0] in self._slide_files

    def _in_step(self, slide: str) -> bool:
        """Whether the local files of a slide are as an earlier run, or this one, left them in the store."""
        with suppress(OSError):
            return (self.folder / slide / _IN_STEP).read_text() == self._seal_stamp(slide)
        return False

    def _note_in_step(self, slide: str) -> None:
        (self.folder / slide / _IN_STEP).write_text(self._seal_stamp(slide))

    def _seal_stamp(self, slide: str) -> str:
        return " ".join(map(str, _stamp(self.folder / slide / self._seal)))

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
