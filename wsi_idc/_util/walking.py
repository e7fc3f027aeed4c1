"""Walking through a folder and what is linked below it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path


def walk(
    top: Path, leave_out: Sequence[Path] = (), hidden: bool = True
) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """Walk through a folder; links to folders are followed, and a folder that is reached twice is walked once.

    Real folders come before linked ones, so that a link back into the tree changes no path.

    Parameters
    ----------
    top : Path
    leave_out : sequence of Path
        Folders below that are not walked, if they are there.
    hidden : bool
        Whether to look at names that begin with a dot.

    Yields
    ------
    prefix : str
        Path of a folder below `top` in POSIX form, empty or ending with a slash.
    files : list of os.DirEntry
        What is no folder in it, sorted by name; pipes and links that lead nowhere are among it.

    Raises
    ------
    OSError
        Where a folder cannot be listed; `filename` names it.
    """
    seen: set[tuple[int, int]] = set()
    for folder in leave_out:
        if folder.is_dir():
            seen.add(_identity(folder))
    waiting, linked = [""], list[str]()
    while waiting:
        prefix = waiting.pop()
        identity = _identity(top / prefix)
        if not prefix or identity not in seen:
            seen.add(identity)
            with os.scandir(top / prefix) as entries:
                listed = sorted((e for e in entries if hidden or e.name[0] != "."), key=lambda entry: entry.name)
            folders = [entry for entry in listed if entry.is_dir(follow_symlinks=False)]
            links = [entry for entry in listed if kind_of(entry) == stat.S_IFDIR and entry.is_symlink()]
            aside = {entry.name for entry in (*folders, *links)}
            yield prefix, [entry for entry in listed if entry.name not in aside]
            # The last in is the first out: in reverse, so that folders come in the order of their names.
            waiting += [f"{prefix}{entry.name}/" for entry in reversed(folders)]
            linked += [f"{prefix}{entry.name}/" for entry in links]
        if not waiting:
            waiting, linked = linked[::-1], []


def kind_of(entry: os.DirEntry[str]) -> int | None:
    """File type of what an entry is or leads to, as ``stat.S_IFREG``; None for a link that leads nowhere."""
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    try:
        return stat.S_IFMT(entry.stat().st_mode)
    except OSError:
        return None


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino
