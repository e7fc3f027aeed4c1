"""Run commands in turn, a second each while the others are stopped: all meet the same machine. Linux only."""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TURN_S = 1.0

Turns = list[tuple[float, float]]


@dataclass(frozen=True)
class Ran:
    """A command that has ended.

    Attributes
    ----------
    output : str
        What it printed.
    turns : list of (float, float)
        When it ran, by `time.monotonic`.
    """

    output: str
    turns: Turns

    def seconds(self, began: float = -math.inf, ended: float = math.inf) -> float:
        """How long it ran between two times."""
        return sum(max(0.0, min(stop, ended) - max(start, began)) for start, stop in self.turns)


def run_in_turn(*commands: Sequence[str]) -> list[Ran]:
    """Run Python with each of these arguments, until all have ended.

    Raises
    ------
    RuntimeError
        With the end of what a command said that failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processes = [_start(command, folder / f"{i}") for i, command in enumerate(commands)]
        turns: list[Turns] = [[] for _ in commands]
        try:
            while sum(_take_turn(*of) for of in zip(processes, turns, strict=True)):
                pass
        finally:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for i, process in enumerate(processes):
            if process.returncode:
                said = (folder / f"{i}.err").read_text()[-300:]
                raise RuntimeError(f"{' '.join(commands[i])} ended with {process.returncode}: {said}")
        return [Ran((folder / f"{i}.out").read_text(), of) for i, of in enumerate(turns)]


def _start(arguments: Sequence[str], into: Path) -> subprocess.Popen[bytes]:
    with into.with_suffix(".out").open("wb") as output, into.with_suffix(".err").open("wb") as errors:
        # Of a group of its own, so that the processes that it starts are stopped with it.
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=errors, process_group=0)
    os.killpg(process.pid, signal.SIGSTOP)
    return process


def _take_turn(process: subprocess.Popen[bytes], turns: Turns) -> bool:
    """Let a command run until its turn is over; tell whether it has not ended."""
    if process.poll() is not None:
        return False
    ends = os.pidfd_open(process.pid)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGCONT)
    ended = bool(select.select([ends], [], [], TURN_S)[0])
    if not ended:
        os.killpg(process.pid, signal.SIGSTOP)
    turns.append((began, time.monotonic()))
    os.close(ends)
    return not ended
