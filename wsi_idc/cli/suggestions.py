"""What to say to a command that is none: what was probably meant."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import click

from wsi_idc.errors import printable
from wsi_idc.naming import is_case_number

PATIENT, SLIDE = "patient", "slide"
_OF_SLIDES = (PATIENT, SLIDE, "all")

_LONGEST = 60
"""Characters of a word that are repeated to the user."""


class SuggestingGroup(click.Group):
    """A group that answers a word that is no command with what was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if not ctx.resilient_parsing and not word.startswith("-") and self.get_command(ctx, word) is None:
            ctx.fail(suggestion(word, ctx.command_path, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


def suggestion(word: str, group: str, commands: Sequence[str]) -> str:
    """One sentence for a word that is none of a group's commands.

    Parameters
    ----------
    word : str
        What was typed.
    group : str
        What stands before it, ``wsi-idc heatmap``.
    commands : sequence of str
        What could stand there.
    """
    shown = printable(word)[:_LONGEST]
    of_slides = group if PATIENT in commands else f"{group} heatmap"
    if is_case_number(word):
        return f"{shown} is no command: for a case say `{of_slides} {PATIENT} {shown}`."
    near = get_close_matches(word.lower(), commands, n=1)
    if near:
        return f"{shown} is no command: did you mean `{group} {near[0]}`?"
    if _is_a_file(word):
        return f"{shown} is no command: for a slide say `{of_slides} {SLIDE} {shown}`."
    if word in _OF_SLIDES:
        return f"{shown} is no command by itself: say `{of_slides} {shown}`."
    return f"{shown} is no command: `{group} --help` lists them."


def _is_a_file(word: str) -> bool:
    """Whether a word seems to be a file's path."""
    try:
        return Path(word).suffix != "" or Path(word).is_file()
    except (OSError, ValueError):  # Too long, or with a zero byte.
        return False
