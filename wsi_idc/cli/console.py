"""What the user sees on stderr while a command works."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from wsi_idc.errors import WsiIdcError, printable
from wsi_idc.source import Problem

MOST_PROBLEMS = 20
"""Oddities that are printed one by one."""

console = Console(stderr=True, highlight=False, soft_wrap=True)


def warn(line: str) -> None:
    """Print a warning, with whatever could steer the terminal taken out."""
    console.print(f"[yellow]Warning:[/] {_shown(line)}")


def ready_model(model: Path | None, allowed: bool) -> Path | None:
    """A model's path: what ``hf://`` names is fetched, and what it means to run a program is said where allowed."""
    from wsi_idc.model.locating import TORCHSCRIPT, fetched, locate_model

    model = None if model is None else fetched(model)
    if allowed and model is not None and (weights := locate_model(model).weights).suffix == TORCHSCRIPT:
        warn(f"{weights} is a TorchScript program, not mere numbers: it runs with your rights, as --allow-code permits")
    return model


def say(line: str) -> None:
    """Print what is good to know."""
    console.print(printable(line), markup=False)


def say_waiting(holder: str) -> None:
    """Say at once, terminal or not, who has the folder that is waited for."""
    say(f"Waiting for {holder}")


def print_path(path: Path | str) -> None:
    """Print a path or address to stdout; a name that is no UTF-8 as the bytes that it has on the disk."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        click.echo(os.fsencode(path))
    else:
        click.echo(path)


def say_labels(labels: Mapping[str, object] | None) -> None:
    """Print in one line which outlines the labels come from, if they come from any."""
    if labels is not None:
        from wsi_idc.slides.annotations import labels_line

        say(labels_line(labels))


def list_problems(problems: Iterable[Problem], rest: str = "") -> None:
    """Print problems, one a line; past `MOST_PROBLEMS` they are counted, and `rest` says where to find them."""
    shown = list(problems)
    for problem in shown[:MOST_PROBLEMS]:
        warn(str(problem))
    if len(shown) > MOST_PROBLEMS:
        warn(f"and {len(shown) - MOST_PROBLEMS:,} more" + (f", {rest}" if rest else ""))


def _shown(text: str) -> str:
    """Text for the terminal, with whatever could steer it taken out."""
    return escape(printable(text))


class _Count(MofNCompleteColumn):
    """How many of how many, where that is known."""

    def render(self, task: Task) -> Text:
        return Text("") if task.total is None else super().render(task)


class _Speed(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None or task.total is None else f"{task.speed:,.0f} {self._unit}/s")


class Bar:
    """One line of progress: what, how far, how fast."""

    def __init__(self, progress: Progress, description: str, total: int | None) -> None:
        self._progress = progress
        self._description = description
        self._task = progress.add_task(_shown(description), total=total)

    def advance(self, patches: int) -> None:
        """Count patches as done."""
        self._progress.advance(self._task, patches)

    def grow(self, patches: int) -> None:
        """Say that there are so many more to do."""
        self._progress.update(self._task, total=(self._progress.tasks[self._task].total or 0) + patches)

    def describe(self, description: str) -> None:
        """Say what is under way."""
        self._progress.update(self._task, description=_shown(description))

    @contextmanager
    def away(self) -> Iterator[None]:
        """Take the bar off the terminal for as long as something else is printed there, through stdout or stderr."""
        shown = not self._progress.disable
        if shown:
            self._progress.stop()
        try:
            yield
        finally:
            if shown:
                self._progress.start()

    def move_to(self, done: int) -> None:
        """Say how many are done in all."""
        self._progress.update(self._task, completed=done)

    def show(self, description: str, done: int, total: int) -> None:
        """Say what is under way and how far it is; another description begins anew."""
        if description != self._description:
            self._description = description
            self._progress.reset(self._task, description=_shown(description), total=total)
        self.move_to(done)


@contextmanager
def progress_bar(
    description: str, total: int | None, quiet: bool, unit: str = "patches", to: Console = console
) -> Iterator[Bar]:
    """Show a bar with speed and time left, where stderr is a terminal and `quiet` is off.

    Without a `total` the bar only shows that something is under way, until one is known.
    """
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        _Count(),
        _Speed(unit),
        TimeRemainingColumn(),
        console=to,
        disable=quiet or not to.is_terminal,
        transient=True,
    ) as progress:
        yield Bar(progress, description, total)


def _memory_file() -> IO[bytes]:
    """A file that needs no disk, where the system has such a thing: the one of temporary files may be full."""
    return os.fdopen(os.memfd_create("stderr"), "w+b") if hasattr(os, "memfd_create") else TemporaryFile()


@contextmanager
def loading(quiet: bool) -> Iterator[None]:
    """Keep what TensorFlow's libraries write to stderr while they load from the user, unless loading fails.

    They do so before any setting of theirs is read. Set ``TF_CPP_MIN_LOG_LEVEL`` to 0 to see it all.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "w") as stderr, _memory_file() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            with progress_bar("Loading the model", None, quiet, to=Console(file=stderr)):
                yield
        except Exception as error:
            if not isinstance(error, WsiIdcError):
                kept.seek(0)
                stderr.write(kept.read().decode(errors="replace"))
            raise
        finally:
            sys.stderr.flush()
            stderr.flush()
            os.dup2(stderr.fileno(), 2)
