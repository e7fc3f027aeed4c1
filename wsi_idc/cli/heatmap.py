"""``wsi-idc heatmap``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wsi_idc.cli import options


@click.group("heatmap")
def command() -> None:
    """Score slides where that is still to do, and draw OUT/<slide>/heatmap.png."""


@command.command("patient")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@options.data
@options.scoring
@options.drawing
def patient(ids: tuple[str, ...], colormap: str, opacity: float, dpi: int, **given: Any) -> int:
    """Draw cases of the IDC set."""
    from wsi_idc.cli.runs import score_cases
    from wsi_idc.views.style import Style

    return score_cases(ids, style=Style(colormap, opacity, dpi), **given)


@command.command("slide")
@options.files
@options.slide
@options.labels
@options.scoring
@options.drawing
def slide(files: tuple[Path, ...], colormap: str, opacity: float, dpi: int, **given: Any) -> int:
    """Draw raw slides: whatever OpenSlide reads, and OME-TIFF."""
    from wsi_idc.cli.runs import score_slides
    from wsi_idc.views.style import Style

    return score_slides(files, style=Style(colormap, opacity, dpi), **given)


@command.command("all")
@options.data
@options.everything
@options.slide
@options.scoring
@options.drawing
def everything(colormap: str, opacity: float, dpi: int, **given: Any) -> int:
    """Draw every case of --data, every slide under --slides, or the rows of --manifest, and sum up."""
    from wsi_idc.cli.cohort import score_all
    from wsi_idc.views.style import Style

    return score_all(style=Style(colormap, opacity, dpi), **given)
