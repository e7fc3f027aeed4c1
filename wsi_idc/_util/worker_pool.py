"""Processes of this machine that work for this one, and end when it does.

They import what they are given to do, and never the program that started them: a script needs no
``if __name__ == "__main__":``, and may come from stdin.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from threading import Lock, Thread
from types import ModuleType
from typing import ParamSpec, TypeVar

from wsi_idc._util.files import Closable

Given = ParamSpec("Given")
Made = TypeVar("Made")


class Helpers(Closable):
    """As many processes as there are processors, started when they are needed.

    They know nothing of Ctrl-C, which is for the process that started them, and outlive it in no case. Where the system
    starts none, this process does their work, with a UserWarning.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._alone = False
        self._others = set(active_children())

    def submit(self, function: Callable[Given, Made], *args: Given.args, **options: Given.kwargs) -> Future[Made]:
        """Call a function, of a module and not of a script, in one of the processes."""
        if not self._alone:
            try:
                return self._submit(function, *args, **options)
            except (OSError, RuntimeError) as error:
                # No room in /dev/shm for their locks, or no more of them allowed.
                self._alone = True
                self.kill()
                self._pool = None
                warnings.warn(
                    f"No further process can be started ({_reason(error)}), so this one draws, which takes longer.",
                    stacklevel=2,
                )
        done: Future[Made] = Future()
        try:
            done.set_result(function(*args, **options))
        except Exception as error:
            done.set_exception(error)
        return done

    def _submit(self, function: Callable[Given, Made], *args: Given.args, **options: Given.kwargs) -> Future[Made]:
        start_tracker()
        with interrupts_held(), main_hidden():
            if self._pool is not None:
                # Broken where one was killed, for want of memory for example. What they had has failed, no more.
                with suppress(BrokenProcessPool):
                    return self._pool.submit(function, *args, **options)
            self._pool = ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_begin)
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


def start_tracker() -> None:
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
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back; processes that are started meanwhile never get it.

    On Windows they begin with ignoring it: see `_begin`.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_hiding = Lock()
_hidden: list[ModuleType] = []
"""The program, once for each that hides it."""


@contextmanager
def main_hidden() -> Iterator[None]:
    """Hide the program from processes that are started meanwhile, which would run it once more."""
    with _hiding:
        _hidden.append(_hidden[0] if _hidden else sys.modules["__main__"])
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        with _hiding:
            main = _hidden.pop()
            if not _hidden:
                sys.modules["__main__"] = main


def _reason(error: OSError | RuntimeError) -> str:
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.ENOSPC, errno.ENOENT, errno.EACCES):
        return f"{error.strerror}: the locks that processes share lie in /dev/shm"
    if isinstance(error, OSError) and error.errno == errno.EAGAIN:
        return "their number is limited: see ulimit -u"
    return str(error)


def _begin() -> None:
    """Set up one of the processes."""
    # The process that started it is the one that says such things.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()


def _end_with_parent() -> None:
    """End this process when the one that started it ends, even where that is killed."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, name="watch of the parent", daemon=True).start()
