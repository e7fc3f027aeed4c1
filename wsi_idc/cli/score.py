"""``wsi-idc score``."""

from __future__ import annotations

from typing import Any

import click

from wsi_idc.cli import options


@click.group("score")
def command() -> None:
    """Score slides: a row per patch in OUT/<slide>/scores.csv."""


@command.command("patient")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@options.scoring
def patient(ids: tuple[str, ...], **given: Any) -> int:
    """Score cases of the IDC set."""
    from wsi_idc.cli.cases import score_cases

    return score_cases(ids, **given)
