"""How many processors there are, and whether threads for them can be started."""

from __future__ import annotations

import os
from threading import Event, Thread

_BESIDE = 12
"""Threads that a library starts beside one or two for each processor, about."""


def processors() -> int:
    """Processors that this process may use, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_threads() -> None:
    """Raise RuntimeError where so many more threads as the libraries need cannot be started.

    Where the system allows no more of them (``ulimit -u``), libraries wait for ever for threads that they could not
    start.
    """
    release = Event()
    started = []
    try:
        for _ in range(2 * processors() + _BESIDE):
            thread = Thread(target=release.wait, daemon=True)
            thread.start()
            started.append(thread)
    finally:
        release.set()
        for thread in started:
            thread.join()
