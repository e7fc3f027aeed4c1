"""``wsi-idc tile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wsi_idc.cli import DONE, INCOMPLETE, options

if TYPE_CHECKING:
    from wsi_idc.scoring.handles import SlideOptions


@click.command("tile")
@click.argument("file", metavar="FILE", type=options.FILE)
@click.argument("out", metavar="OUT", type=options.FILE)
@options.packing
@click.option(
    "--case",
    type=int,
    metavar="N",
    help="Number that the patches are named with. [default: from the file's hash]",
)
@options.one_slide
@options.quiet
def command(
    file: Path, out: Path, form: Any, case: int | None, reading: SlideOptions, labels: Path | None, quiet: bool
) -> int:
    """Cut a raw slide into named patches that --data takes: OUT/<case>/<case>_idx5_x1_y51.png."""
    from wsi_idc.cli.console import list_problems, print_path, progress_bar, say_labels, warn
    from wsi_idc.datasets.packing import check_free, write_patches
    from wsi_idc.slides.tiles import SlideTiles, case_number

    options.check_label_classes(labels, reading.label_classes)
    check_free(out)
    with reading.open(file, labels=labels) as slide:
        number = case_number(slide, case)
        with progress_bar("Looking for tissue", None, quiet):
            tiles = SlideTiles(slide, number)
        with progress_bar(f"Case {number}", len(tiles.patches), quiet, "tiles") as bar:
            unreadable = write_patches(out, [tiles], form, bar.advance)
        told = slide.labels_from
    print_path(out)
    if not quiet:
        say_labels(told)
    list_problems(tiles.problems)
    for problem in unreadable:
        warn(str(problem))
    if unreadable:
        warn(f"{len(unreadable):,} of the {len(tiles.patches):,} tiles of {file} could not be read")
    return INCOMPLETE if unreadable else DONE
