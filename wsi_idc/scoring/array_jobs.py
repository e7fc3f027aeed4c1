"""A cohort split over the tasks of an array job, without a scheduler of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from wsi_idc.errors import OptionError

AUTO = "auto"

_NUMBERS = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)
_AUTO_OF = re.compile(r"auto/(\d{1,9})", re.ASCII)


class Named(Protocol):
    """Anything with the name of a slide."""

    @property
    def name(self) -> str: ...


AnyNamed = TypeVar("AnyNamed", bound=Named)


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of a cohort.

    Attributes
    ----------
    number : int
        From 1 to `count`.
    count : int
    source : str
        The environment variable that the number comes from, with its value; empty where it was given.
    """

    number: int
    count: int
    source: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            given = f" ({self.source})" if self.source else ""
            raise OptionError(
                f"There is no shard {self.number} of {self.count}{given}: number shards from 1 to their count, "
                "as in --shard 1/8 to --shard 8/8."
            )

    def __str__(self) -> str:
        return f"shard {self.number} of {self.count}"

    @property
    def is_all(self) -> bool:
        """Whether it is the whole cohort."""
        return self.count == 1

    def select(self, slides: Sequence[AnyNamed]) -> list[AnyNamed]:
        """The slides of this shard, in their order: every `count`-th of all, sorted by name.

        The order in which a folder or manifest lists the slides changes nothing, and neighbours, which are often of
        one batch and size, go to different shards.
        """
        ranked = sorted(range(len(slides)), key=lambda place: slides[place].name)
        return [slides[place] for place in sorted(ranked[self.number - 1 :: self.count])]


@dataclass(frozen=True)
class _Scheduler:
    """The environment variables that a batch scheduler sets in each task of an array job.

    Attributes
    ----------
    name : str
    index : str
        The task's own number.
    first : int
        Number of the first task, where `first_in` is not set.
    size, last, first_in, step : str
        Number of tasks; number of the last one; of the first one; distance of two. Empty where it sets none.
    """

    name: str
    index: str
    first: int
    size: str = ""
    last: str = ""
    first_in: str = ""
    step: str = ""


_SCHEDULERS = (
    _Scheduler(
        "SLURM",
        "SLURM_ARRAY_TASK_ID",
        1,
        size="SLURM_ARRAY_TASK_COUNT",
        first_in="SLURM_ARRAY_TASK_MIN",
        step="SLURM_ARRAY_TASK_STEP",
    ),
    _Scheduler("PBS", "PBS_ARRAY_INDEX", 1),
    _Scheduler("LSF", "LSB_JOBINDEX", 1, last="LSB_JOBINDEX_END", step="LSB_JOBINDEX_STEP"),
    _Scheduler("AWS Batch", "AWS_BATCH_JOB_ARRAY_INDEX", 0, size="AWS_BATCH_JOB_ARRAY_SIZE"),
    _Scheduler("Google Batch", "BATCH_TASK_INDEX", 0, size="BATCH_TASK_COUNT"),
)
"""In the order in which they are looked for: SLURM runs on machines of clouds, too."""


def parse_shard(text: str, environ: Mapping[str, str] | None = None) -> Shard:
    """Read a shard.

    Parameters
    ----------
    text : str
        ``2/8``: the second of eight. ``auto``: the task of an array job that this process is, of as many as the batch
        scheduler tells. ``auto/8``: that task, of eight.
    environ : mapping, optional
        By default that of the process.

    Raises
    ------
    OptionError
        Where it is none of these, the process is no task of an array job, or the tasks are not numbered evenly.
    """
    environ = os.environ if environ is None else environ
    if numbers := _NUMBERS.fullmatch(text):
        return Shard(int(numbers[1]), int(numbers[2]))
    if text == AUTO:
        return _told(_scheduler(environ), environ)
    if count := _AUTO_OF.fullmatch(text):
        scheduler = _scheduler(environ)
        index = _number(environ, scheduler.index)
        return Shard(index - scheduler.first + 1, int(count[1]), f"{scheduler.index}={index}")
    raise OptionError(f"{text!r} is no shard: give --shard 2/8 for the second of eight, or --shard auto.")


def _scheduler(environ: Mapping[str, str]) -> _Scheduler:
    for scheduler in _SCHEDULERS:
        # LSF numbers a job that is no array 0.
        if environ.get(scheduler.index) and (scheduler.name, environ[scheduler.index]) != ("LSF", "0"):
            return scheduler
    names = ", ".join(scheduler.index for scheduler in _SCHEDULERS)
    raise OptionError(
        f"--shard auto finds no task of an array job ({names} are not set): submit an array, or give --shard 2/8."
    )


def _told(scheduler: _Scheduler, environ: Mapping[str, str]) -> Shard:
    """The shard, as far as the scheduler tells how many there are."""
    index = _number(environ, scheduler.index)
    first = _number(environ, scheduler.first_in, scheduler.first)
    step = _number(environ, scheduler.step, 1) or 1
    if scheduler.size and environ.get(scheduler.size):
        count = _number(environ, scheduler.size)
    elif scheduler.last and environ.get(scheduler.last):
        count = (_number(environ, scheduler.last) - first) // step + 1
    else:
        raise OptionError(
            f"{scheduler.name} does not tell how many tasks the array has: give --shard auto/N, N being their number."
        )
    place, uneven = divmod(index - first, step)
    if uneven or not 0 <= place < count:
        raise OptionError(
            f"The array's tasks are not numbered evenly ({scheduler.index}={index}): submit an array from "
            f"{scheduler.first} on without gaps, or give --shard auto/N with the number of tasks of the whole array."
        )
    return Shard(place + 1, count, f"{scheduler.index}={index}")


def _number(environ: Mapping[str, str], name: str, default: int = 0) -> int:
    text = environ.get(name) if name else None
    if not text:
        return default
    try:
        return int(text)
    except ValueError as error:
        raise OptionError(f"{name} is {text!r}, which is no number: give --shard 2/8.") from error
