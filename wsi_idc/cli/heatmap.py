"""``wsi-idc heatmap``."""

from __future__ import annotations

from typing import Any

import click

from wsi_idc.cli import options


@click.group("heatmap")
def command() -> None:
    """Score slides where that is still to do, and draw OUT/<slide>/heatmap.png."""


@command.command("patient")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@options.scoring
@click.option("--colormap", default="cividis", show_default=True, metavar="NAME", help="A colormap of matplotlib.")
@click.option("--opacity", type=click.FloatRange(0, 1), metavar="A", help="Of the colour over the tissue.")
@click.option("--dpi", type=click.IntRange(50, 1200), default=200, show_default=True, metavar="N", help="Of the sheet.")
def patient(ids: tuple[str, ...], colormap: str, opacity: float | None, dpi: int, **given: Any) -> int:
    """Draw cases of the IDC set."""
    from wsi_idc.cli.cases import score_cases
    from wsi_idc.views.style import Style

    chosen = {} if opacity is None else {"opacity": opacity}
    return score_cases(ids, style=Style(colormap=colormap, dpi=dpi, **chosen), **given)
