"""Write ``docs/commands.md`` from the commands themselves: ``python docs/make_commands.py``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import fill

import click

from wsi_idc.cli import COMMANDS, cli

PAGE = Path(__file__).with_name("commands.md")

PIPE = r"\|"

HEAD = """# Commands and options

*Written by `python docs/make_commands.py` from the commands; a test fails when it is stale.*

stdout holds the file or folder made, one line a slide; progress, warnings and errors go to stderr. Exit codes: 0 done;
1 done, but some slides or patches could not be scored; 2 something you can mend; 130 interrupted. `wsi-idc COMMAND
--help` shows the same in the terminal.
"""


def page() -> str:
    """The whole page."""
    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in COMMANDS}
    index = "\n".join(f"- [`wsi-idc {name}`](#wsi-idc-{name}): {about}" for name, about in COMMANDS.items())
    sections = [_section(name, command) for name, command in commands.items() if command is not None]
    return "\n".join([HEAD, index, "", *sections])


def _section(name: str, command: click.Command) -> str:
    """A command, its subcommands, and one table of the options of all of them."""
    ways = dict(command.commands) if isinstance(command, click.Group) else {"": command}
    lines = [f"## wsi-idc {name}", "", fill(_text(command.help), 120, break_on_hyphens=False), ""]
    for way, one in ways.items():
        usage = " ".join(part for part in ("wsi-idc", name, way, *_arguments(one)) if part)
        lines += [f"- `{usage}`: {_text(one.help)}" if way else f"`{usage}`"]
    lines += [""]
    rows = list(_rows(ways))
    if rows:
        several = len(ways) > 1
        head = ["option", "what", "default", *(["of"] if several else [])]
        lines += [_row(head), _row(["---"] * len(head)), *(_row(row[: len(head)]) for row in rows), ""]
    return "\n".join(lines)


def _rows(ways: Mapping[str, click.Command]) -> Iterator[list[str]]:
    """Option, what it does, its default, and which of the subcommands have it where not all do."""
    had: dict[tuple[str, str, str], list[str]] = {}
    for way, command in ways.items():
        for option in command.params:
            if isinstance(option, click.Option):
                had.setdefault(_cells(option), []).append(way)
    for cells, having in had.items():
        yield [*cells, "" if len(having) == len(ways) else ", ".join(f"`{way}`" for way in having)]


def _cells(option: click.Option) -> tuple[str, str, str]:
    kind = option.type
    choices = list(kind.choices) if isinstance(kind, click.Choice) else []
    value = "" if option.is_flag else option.metavar or "|".join(choices) or kind.name.upper()
    shown, what = f"`{' '.join([*option.opts, value]).strip()}`", _text(option.help)
    default = "" if option.is_flag or not option.show_default else f"`{option.default}`"
    told = re.search(r"\s*\[default: (.*)\]$", what)
    if told:
        what, default = what[: told.start()], f"`{told[1]}`" if told[1] in choices else told[1]
    if isinstance(kind, click.IntRange | click.FloatRange):
        low = f"above {kind.min:,}" if kind.min_open else f"{kind.min:,}"
        high = "or more" if kind.max is None else f"to below {kind.max:,}" if kind.max_open else f"to {kind.max:,}"
        ends = low if kind.min_open and kind.max is None else f"{low} {high}"
        what = f"{what} ({ends})".strip()
    return shown, what, default


def _arguments(command: click.Command) -> list[str]:
    return [param.metavar or param.name.upper() for param in command.params if isinstance(param, click.Argument)]


def _text(text: str | None) -> str:
    """A help text in one line; Markdown would take <slide> for HTML."""
    return " ".join((text or "").split()).replace("<", "\\<")


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', PIPE) for cell in cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
