"""Atomic writes, and folders for them."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from wsi_idc.errors import OutputError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

DEFAULT_OUT = Path("wsi-idc-results")
"""Folder of results, where none is named."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""No room on the disk, or none left of the user's share of it."""


TEMPORARY = ".wsi-idc-"
"""Beginning of the names of files and folders that are being written."""


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/wsi-idc``, by default where the system keeps caches: ``~/.cache/wsi-idc`` on Linux.

    OutputError where there is no home folder.
    """
    from platformdirs import user_cache_path  # every command imports this module, and hardly one needs that

    named = os.environ.get("XDG_CACHE_HOME")
    folder = Path(named) / "wsi-idc" if named else user_cache_path("wsi-idc", appauthor=False)
    if not named and not folder.is_absolute():
        raise OutputError("There is no home folder to keep files in: set XDG_CACHE_HOME to a folder.")
    return folder


def make_private(folder: Path) -> Path:
    """Make a folder that only this user can enter, and those above it that are not there.

    PermissionError where it is another user's, or where others can write into it.
    """
    for missing in reversed([folder, *folder.parents]):
        with suppress(FileExistsError):
            missing.mkdir(mode=0o700)
    if not is_private(folder):
        raise PermissionError(errno.EACCES, "another user can write there", str(folder))
    return folder


def is_private(path: Path) -> bool:
    """Whether a file or folder is this user's, and nobody else can write it; on Windows, whether it is no link."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return False
    return not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)


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
        temporary = path.with_name(f"{TEMPORARY}{os.urandom(6).hex()}-{path.name}")
        # Made here and not by tempfile, so that others may read it as far as the umask lets them.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
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


def remove_unfinished(folder: Path, *names: str) -> None:
    """Remove what `replacing` left beside files of these names where a run was killed. Nobody must be writing them."""
    ends = tuple(f"-{name}" for name in names)
    with suppress(FileNotFoundError, NotADirectoryError):
        for left in list(folder.iterdir()):
            if left.name.startswith(TEMPORARY) and left.name.endswith(ends):
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
            prefix=TEMPORARY, suffix=f"-{path.name}", dir=path.parent, ignore_cleanup_errors=True
        )
    with beside as folder:
        yield Path(folder)


@contextmanager
def writing_thread() -> Iterator[ThreadPoolExecutor]:
    """Give one thread to write Zarr in, which is waited for when the block ends.

    Ctrl-C leaves a Zarr call of the main thread at once, and Zarr would go on writing into a folder that is about to be
    removed.
    """
    from concurrent.futures import ThreadPoolExecutor

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


@contextmanager
def replacing_text(path: Path) -> Iterator[TextIO]:
    """Give a file to write UTF-8 text with bare newlines into, atomically: see `replacing`."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        yield file


def write_json(path: Path, value: Any, *, durable: bool = False) -> None:
    """Write JSON, indented, atomically; NaN and infinity are refused.

    Where it is to be `durable`, it is on the disk when this returns, power cut or not.
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with replacing_text(path) as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    if durable:
        _sync(path.parent)


def sync(paths: Iterable[Path]) -> None:
    """Wait until the disk holds these files, and the files of these folders; those that are not there are left out."""
    for path in paths:
        if path.is_dir():
            sync(sorted(path.iterdir()))
        with suppress(FileNotFoundError):
            _sync(path)


def _sync(path: Path) -> None:
    # Windows lets nothing be flushed that is open for reading only, and no folder.
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # Some file systems know no such thing of folders.
            raise
    finally:
        os.close(handle)


def make_folder(path: Path) -> Path:
    """Make a folder and its parents; OutputError where that cannot be done or it cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be made ({error.strerror}): choose another place.") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: choose another place.")
    return path
