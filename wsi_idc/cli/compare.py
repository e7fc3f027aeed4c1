"""``wsi-idc compare``."""

from __future__ import annotations

from pathlib import Path

import click

from wsi_idc.cli import DONE, options
from wsi_idc.cli.console import print_path, progress_bar

_FOLDER = options.FILE


@click.command("compare")
@click.argument("a", metavar="A", type=_FOLDER)
@click.argument("b", metavar="B", type=_FOLDER)
@click.option(
    "--out",
    type=_FOLDER,
    default=Path("wsi-idc-compare"),
    show_default=True,
    metavar="DIR",
    help="Folder for the table, the figures and a picture of each slide.",
)
@options.quiet
def command(a: Path, b: Path, out: Path, quiet: bool) -> int:
    """Compare two results folders of the same slides: two models, or before and after corrections.

    Makes OUT/compare.csv, a row a slide; OUT/compare.json, over all slides, with intervals of the differences; and a
    picture of each slide with both maps and their difference. Where slides have corrections, it counts with how many of
    them each agrees, and gives the metrics of the patches that were not corrected.
    """
    with progress_bar("Comparing", None, quiet, "slides") as bar:
        from wsi_idc.report.comparison import compare

        path = compare(a, b, out, lambda done, total: bar.show("Drawing", done, total))
    print_path(path)
    return DONE
