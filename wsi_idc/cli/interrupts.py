"""Ctrl-C: the first ends a command in order, another one ends it at once."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from typing import Any, NoReturn

_INTERRUPTED = 130

_SHOW_CURSOR = b"\x1b[?25h"
"""A progress bar hides it."""


class Interrupts:
    """What Ctrl-C does to a command of a process of its own.

    Parameters
    ----------
    sentence : str
        What is said of it, once.
    """

    def __init__(self, sentence: str) -> None:
        self._sentence, self._said = sentence, False

    def take(self) -> None:
        """Decide over Ctrl-C from now on, unless it is ignored, as for what runs in the background."""
        in_charge = threading.current_thread() is threading.main_thread()
        if in_charge and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._first)

    def say(self) -> None:
        """Say that the command was interrupted, if that is not said yet."""
        if not self._said:
            self._said = True
            # Not through sys.stderr: it may have been left in the middle of a write.
            os.write(2, self._sentence.encode() + b"\n")

    def _first(self, *_: Any) -> NoReturn:
        signal.signal(signal.SIGINT, self._second)
        # At the very end, Python takes its handlers off.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    def _second(self, *_: Any) -> NoReturn:
        if sys.stderr.isatty():
            os.write(2, _SHOW_CURSOR)
        self.say()
        # Locks that stay are those of a process that is gone, like half of what is written to temporary names.
        os._exit(_INTERRUPTED)
