"""``wsi-idc heatmap``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wsi_idc.cli import options
from wsi_idc.cli.suggestions import SuggestingGroup


@click.group("heatmap", cls=SuggestingGroup)
def command() -> None:
    """Score slides where that is still to do, and draw OUT/<slide>/heatmap.png."""


@command.command("patient")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@options.data
@options.case_labels
@options.scoring
@options.drawing
def patient(ids: tuple[str, ...], **given: Any) -> int:
    """Draw cases of the IDC set."""
    from wsi_idc.cli.runs import score_cases

    return score_cases(ids, **given)


@command.command("slide")
@options.files
@options.one_slide
@options.steps
@options.scoring
@options.drawing
def slide(files: tuple[Path | str, ...], **given: Any) -> int:
    """Draw raw slides: whatever OpenSlide reads, and OME-TIFF."""
    from wsi_idc.cli.runs import score_slides

    return score_slides(files, **given)


@command.command("all")
@options.data
@options.everything
@options.slide
@options.steps
@options.scoring_into_store
@options.drawing
def everything(**given: Any) -> int:
    """Draw every case of --data, every slide under --slides, or the rows of --manifest, and sum up."""
    from wsi_idc.cli.all_slides import score_all

    return score_all(**given)
