"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from wsi_idc.errors import OutputError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""No room on the disk, or none left of the user's share of it."""


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


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`, renamed to it when the block ends well and removed when it does not.

    A folder that is at `path` goes. OutputError where the folder above cannot be written.
    """
    with _making_room(path.parent):
        beside = tempfile.TemporaryDirectory(
            prefix=".", suffix=f"-{path.name}", dir=path.parent, ignore_cleanup_errors=True
        )
    with beside as folder:
        new, old = Path(folder) / "new", Path(folder) / "old"
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
def _making_room(folder: Path) -> Iterator[None]:
    """Turn what the system says against a temporary file in this folder into an OutputError, but for a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise OutputError(f"{folder} cannot be written ({error.strerror}): choose another --out.") from error


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
        raise OutputError(f"{path} cannot be made ({error.strerror}): choose another --out.") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: choose another --out.")
    return path
