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
@click.option("--opacity", type=float, default=0.55, show_default=True, metavar="A", help="Of colour over tissue.")
@click.option("--dpi", type=int, default=200, show_default=True, metavar="N", help="Of the sheet and the matrix.")
def patient(ids: tuple[str, ...], colormap: str, opacity: float, dpi: int, **given: Any) -> int:
    """Draw cases of the IDC set."""
    from wsi_idc.cli.cases import score_cases
    from wsi_idc.views.style import Style

    return score_cases(ids, style=Style(colormap, opacity, dpi), **given)
