"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from wsi_idc.errors import OutputError

DEFAULT_OUT = Path("wsi-idc-results")
"""Folder of results, where none is named."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""No room on the disk, or none left of the user's share of it."""


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/wsi-idc``, by default ``~/.cache/wsi-idc``; OutputError where there is no home folder."""
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(named) if named else Path.home() / ".cache") / "wsi-idc"
    except RuntimeError as error:
        raise OutputError("There is no home folder to keep files in: set XDG_CACHE_HOME to a folder.") from error


class Closable:
    """Something open: close it, or use it in a ``with`` statement."""

    def close(self) -> None:
        """Let go of what is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed to it when the block ends well and removed when it does not.

    The temporary name ends like `path`, for writers that look at the ending. OutputError where the folder
    cannot be written.
    """
    with _making_room(path.parent):
        handle, name = tempfile.mkstemp(prefix=".", suffix=f"-{path.name}", dir=path.parent)
        os.fchmod(handle, 0o666 & ~_umask())
        os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_unfinished(path: Path) -> None:
    """Remove what `replacing` left beside `path` where a run was killed. Nobody must be writing it."""
    for left in path.parent.glob(f".*-{path.name}"):
        remove(left)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`, renamed to it when the block ends well and removed when it does not.

    A folder that is at `path` goes. OutputError where the folder above cannot be written.
    """
    with temporary_folder(path) as folder:
        new, old = folder / "new", folder / "old"
        new.mkdir()
        yield new
        try:
            if path.exists():
                path.rename(old)
            new.rename(path)
        finally:
            if old.exists() and not path.exists():
                old.rename(path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`, renamed to it when the block ends well and removed when it does not.

    FileExistsError or OSError where there is something at `path` by then; OutputError where the folder above cannot be
    written.
    """
    with temporary_folder(path) as folder:
        new = folder / path.name
        new.mkdir()
        yield new
        new.rename(path)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Give a folder beside `path` that is removed in the end."""
    with _making_room(path.parent):
        beside = tempfile.TemporaryDirectory(
            prefix=".", suffix=f"-{path.name}", dir=path.parent, ignore_cleanup_errors=True
        )
    with beside as folder:
        yield Path(folder)


@contextmanager
def writing_thread() -> Iterator[ThreadPoolExecutor]:
    """Give one thread to write Zarr in, which is waited for when the block ends.

    Ctrl-C leaves a Zarr call of the main thread at once, and Zarr would go on writing into a folder that is about to be
    removed.
    """
    with ThreadPoolExecutor(1) as pool:
        # Started before there is anything to write: interrupted while it starts, it would not be waited for.
        pool.submit(int).result()
        yield pool


@contextmanager
def _making_room(folder: Path) -> Iterator[None]:
    """Turn what the system says against a temporary file in this folder into an OutputError, but for a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise OutputError(f"{folder} cannot be written ({error.strerror}): choose another place.") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def replacing_text(path: Path) -> Iterator[TextIO]:
    """Give a file to write UTF-8 text with bare newlines into, whole or not at all: see `replacing`."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        yield file


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, whole or not at all; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with replacing_text(path) as file:
        file.write(text)


def make_folder(path: Path) -> Path:
    """Make a folder and its parents; OutputError where that cannot be done or it cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be made ({error.strerror}): choose another place.") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: choose another place.")
    return path
