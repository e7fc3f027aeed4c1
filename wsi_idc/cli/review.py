"""``wsi-idc review``."""

from __future__ import annotations

from pathlib import Path

import click

from wsi_idc.cli import DONE, options
from wsi_idc.cli.console import print_path, progress_bar


@click.command("review")
@click.argument("folder", metavar="DIR", type=options.FILE)
@click.option(
    "--top", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="Patches in all, at most."
)
@click.option(
    "--per-slide", type=click.IntRange(1), default=10, show_default=True, metavar="N", help="Patches of a slide."
)
@options.quiet
def command(folder: Path, top: int, per_slide: int, quiet: bool) -> int:
    """List what is worth a look in a results folder, the most urgent first: DIR/review.csv.

    Patches near the threshold, calls unlike all their neighbours, calls against labels, and the most doubtful patch of
    each slide with cautions take turns. What has been corrected is left out.
    """
    with progress_bar("Looking through the slides", None, quiet, "slides") as bar:
        from wsi_idc.report.worklist import write_review

        path = write_review(folder, top, per_slide, lambda done, total: bar.show("Reading", done, total))
    print_path(path)
    return DONE
