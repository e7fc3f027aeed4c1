"""Processes of this machine that work for this one, and end when it does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from threading import Thread
from typing import ParamSpec, TypeVar

from wsi_idc._util.files import Closable

Given = ParamSpec("Given")
Made = TypeVar("Made")


class Helpers(Closable):
    """As many processes as there are processors, started when they are needed.

    They know nothing of Ctrl-C, which is for the process that started them, and outlive it in no case.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._others = set(active_children())

    def submit(self, function: Callable[Given, Made], *args: Given.args, **options: Given.kwargs) -> Future[Made]:
        """Call a function in one of the processes."""
        _start_tracker()
        with _interrupts_held():
            if self._pool is not None:
                # Broken where one was killed, for want of memory for example. What they had has failed, no more.
                with suppress(BrokenProcessPool):
                    return self._pool.submit(function, *args, **options)
            self._pool = ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_end_with_parent)
            return self._pool.submit(function, *args, **options)

    def kill(self) -> None:
        """End them at once, whatever they are at."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        children = set(active_children()) - self._others
        for child in children:
            child.kill()
        for child in children:
            child.join()

    def close(self) -> None:
        """Wait for what they are at, and end them."""
        if self._pool is not None:
            self._pool.shutdown()


def _start_tracker() -> None:
    """Start Python's resource tracker, if it does not run, and have it tidy up after a killed process without a word.

    It must run before interrupts are held: to start it, Python lets them through again.
    """
    before = os.environ.get("PYTHONWARNINGS")
    quiet = "ignore::UserWarning:multiprocessing.resource_tracker"
    os.environ["PYTHONWARNINGS"] = f"{before},{quiet}" if before else quiet
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back; processes that are started meanwhile never get it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End this process when the one that started it ends, even where that is killed."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, name="watch of the parent", daemon=True).start()
