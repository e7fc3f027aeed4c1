"""How much room a cache takes, looked at all the time."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil


class CacheWatch(threading.Thread):
    """The most bytes in a cache, and the most in files of it that are deleted but open."""

    def __init__(self, cache: Path) -> None:
        super().__init__(daemon=True)
        self.most = self.most_held = 0
        self._cache, self._ended = cache, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.005):
            with suppress(OSError):  # A folder may go while it is listed.
                self.most = max(self.most, sum(map(_size, self._cache.rglob("files/*"))))
            with suppress(psutil.Error):
                self.most_held = max(self.most_held, _deleted(self._cache))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _deleted(cache: Path) -> int:
    """Bytes of deleted files that this process or its children hold open; 0 where the system has no /proc."""
    found: dict[int, int] = {}
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        for handle in Path(f"/proc/{process.pid}/fd").glob("*"):
            try:
                if str(cache) in (told := str(handle.readlink())) and told.endswith(" (deleted)"):
                    found[handle.stat().st_ino] = handle.stat().st_size
            except OSError:
                continue
    return sum(found.values())
