"""No command but ``download`` asks anything of the network."""

from __future__ import annotations

import pytest

from tests.damage.exposure import COMMANDS, Exposure
from wsi_idc.cli import COMMANDS as ALL

pytestmark = pytest.mark.slow


def test_all_commands_are_watched() -> None:
    assert {command.split()[0] for command in COMMANDS} >= {*ALL} - {"download"}


def test_no_command_reaches_beyond_this_machine(exposure: Exposure) -> None:
    """Neither Python nor, where they can be watched, libraries in C; and what they would fetch is not missed."""
    assert exposure.network == []
    unexpected = {command: ran for command, ran in exposure.ran.items() if ran.code not in (0, 1)}
    assert list(unexpected) == [
        "tile slides/scale/a.dcm tiles",
        "score patient 1 --data idc",
        "score patient 8863",
        "no-such-command",
    ]
    assert all("Traceback" not in ran.err for ran in exposure.ran.values())


def test_libraries_keep_what_they_log_to_themselves(exposure: Exposure) -> None:
    """A damaged file is told of in a sentence of ours, whatever was loaded before in the same process."""
    assert "slides/broken.ome.tif does not say its scale" in _said(exposure)
    assert "tifffile" not in _said(exposure)


def _said(exposure: Exposure) -> str:
    return "".join(ran.err for ran in exposure.ran.values())
