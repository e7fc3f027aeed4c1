"""One line of what `examine` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """How one thing is.

    Attributes
    ----------
    name : str
        Of what was looked at.
    state : str
        ``ok``; ``warn`` where a run works, but perhaps not as it should; ``fail`` where it cannot work.
    text : str
        What was found and, unless all is well, what to do.
    """

    name: str
    state: State
    text: str


def ok(name: str, text: str) -> Check:
    return Check(name, "ok", text)


def warn(name: str, text: str) -> Check:
    return Check(name, "warn", text)


def fail(name: str, text: str) -> Check:
    return Check(name, "fail", text)
