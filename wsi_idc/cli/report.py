"""``wsi-idc report``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wsi_idc.cli import DONE, options
from wsi_idc.cli.console import Bar, list_problems, print_path, progress_bar, say_waiting, warn
from wsi_idc.source import Problem

if TYPE_CHECKING:
    from wsi_idc.report.cohort_files import SummedUp


@click.command("report")
@click.argument("folder", metavar="DIR", type=options.FILE)
@click.option(
    "--single-file",
    "slides",
    multiple=True,
    metavar="SLIDE",
    help="Embed this slide and write DIR/report-single.html, which can be mailed; say it again for another.",
)
@options.quiet
def command(folder: Path, slides: tuple[str, ...], quiet: bool) -> int:
    """Sum up a results folder, and make one page over it: DIR/report.html, to be opened from the disk.

    It writes summary.csv, metrics.json and confusion.png over all slides in DIR, however they were scored. "score all"
    and "heatmap all" end with the same, unless they score a shard. The page needs no network. It loads a slide's layers
    from the folders beside it when the slide is opened: keep it where it is, or move all of DIR.
    """
    from wsi_idc.report import write_report
    from wsi_idc.report.cohort_files import sum_up_results

    with report_bar(quiet) as bar:
        # A page to be mailed is of few slides, and changes nothing in the folder.
        summed_up = None if slides else sum_up_results(folder, lambda *of: bar.show("Summing up", *of), say_waiting)
        path = write_report(
            folder,
            slides,
            lambda done, total: bar.show("Making the report", done, total),
            say_waiting,
        )
    if summed_up is not None:
        _tell(summed_up)
    print_path(path)
    return DONE


def _tell(summed_up: SummedUp) -> None:
    """Say what the summary leaves out."""
    left_out = [Problem(name, "has no row in summary.csv, as it is not finished") for name in summed_up.unfinished]
    list_problems(left_out, "each without run.json")
    if len(summed_up.thresholds) > 1:
        warn(
            f"slides were called at {len(summed_up.thresholds)} thresholds: metrics.json and confusion.png call all at "
            f"{summed_up.thresholds[0]:g}; give --threshold to score or heatmap to call the slides so"
        )


def report_bar(quiet: bool) -> AbstractContextManager[Bar]:
    """Progress of a report, in slides."""
    return progress_bar("Looking for results", None, quiet, "slides")
