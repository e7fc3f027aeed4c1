"""``wsi-idc report``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import click

from wsi_idc.cli import DONE, options
from wsi_idc.cli.console import Bar, progress_bar, say_waiting


@click.command("report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--single-file",
    "slides",
    multiple=True,
    metavar="SLIDE",
    help="Embed this slide and write DIR/report-single.html, which can be mailed; say it again for another.",
)
@options.quiet
def command(folder: Path, slides: tuple[str, ...], quiet: bool) -> int:
    """Make one page over a results folder: DIR/report.html, to be opened from the disk.

    "score all" and "heatmap all" end with it. The page needs no network. It loads a slide's layers from the folders
    beside it when the slide is opened: keep it where it is, or move all of DIR.
    """
    from wsi_idc.report import write_report

    with report_bar(quiet) as bar:
        path = write_report(
            folder,
            slides,
            lambda done, total: bar.show("Making the report", done, total),
            say_waiting,
        )
    click.echo(path)
    return DONE


def report_bar(quiet: bool) -> AbstractContextManager[Bar]:
    """Progress of a report, in slides."""
    return progress_bar("Looking for results", None, quiet, "slides")
