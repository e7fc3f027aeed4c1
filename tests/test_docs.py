"""The documentation against the program: what is generated is fresh, and what is named is there."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from wsi_idc.cli import COMMANDS, cli

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "pipelines/README.md")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def test_the_reference_of_commands_is_fresh() -> None:
    written = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    made = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))["page"]()
    assert written == made, "run `python docs/make_commands.py`"


def test_every_command_and_option_has_its_place() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    context = click.Context(cli)
    for name in COMMANDS:
        section = text.split(f"\n## wsi-idc {name}\n")[1].split("\n## ")[0]
        command = cli.get_command(context, name)
        ways = list(command.commands.values()) if isinstance(command, click.Group) else [command]
        for option in (param for way in ways for param in way.params if isinstance(param, click.Option)):
            assert re.search(rf"^\| `{option.opts[0]}[ `]", section, re.MULTILINE), (name, option.opts[0])


def shell_lines(text: str) -> Iterator[list[str]]:
    """The words of each line of the blocks of shell."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield shlex.split(line, comments=True)


def commands_in(text: str) -> Iterator[list[str]]:
    """What stands behind ``wsi-idc`` in the blocks of shell."""
    for words in shell_lines(text):
        starts = [i for i, word in enumerate(words) if word.endswith("wsi-idc")]
        for start in starts:
            rest = words[start + 1 :]
            ends = [i for i, word in enumerate(rest) if word in ("&&", "||", "|", ";", ">", "&")]
            yield rest[: min(ends, default=len(rest))]


@each_page
def test_commands_that_are_shown_can_be_given(page: Path) -> None:
    for words in commands_in(page.read_text(encoding="utf-8")):
        parse(cli, list(words))


def parse(command: click.Command, words: list[str]) -> None:
    """Read a command line as click does, and run nothing."""
    if words in (["--version"], ["--help"]) or not words:
        return
    if isinstance(command, click.Group):
        context = click.Context(command)
        below = command.get_command(context, words[0])
        assert below is not None, words
        parse(below, words[1:])
        return
    command.make_context(command.name, words)


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), target


def anchors(text: str) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@each_page
def test_files_that_are_named_are_there(page: Path) -> None:
    """Python files with their folder, in the text: from the root of the project or, as in the map, of the package."""
    for named in re.findall(r"`((?:[\w.]+/)+\w+\.pyi?)`", page.read_text(encoding="utf-8")):
        assert (ROOT / named).is_file() or (ROOT / "wsi_idc" / named).is_file(), named


def test_every_decision_is_listed_dated_and_accepted_or_replaced() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(
        r"^- \[[^]]+\]\((\w[\w-]*\.md)\)", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(listed) == sorted(page.name for page in folder.glob("*.md") if page.name != "README.md")
    for name in listed:
        text = (folder / name).read_text(encoding="utf-8")
        assert re.match(r"# .+\n\nDate: \d{4}-\d\d-\d\d\n\nStatus: (accepted|replaced)", text), name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], name


@each_page
def test_programs_that_are_shown_are_there(page: Path) -> None:
    for words in shell_lines(page.read_text(encoding="utf-8")):
        for word in words:
            if re.fullmatch(r"(examples|pipelines|benchmarks|docs)/\S+\.(py|yaml)", word):
                assert (ROOT / word).is_file(), word
