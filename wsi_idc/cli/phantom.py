"""``wsi-idc phantom``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wsi_idc.cli import DONE, options


@click.command("phantom")
@click.argument("out", metavar="OUT", type=options.FILE)
@click.option("--cases", type=click.IntRange(1), default=3, show_default=True, metavar="N", help="Cases to paint.")
@click.option(
    "--slides",
    is_flag=True,
    help="Also the same tissue as pyramidal slides of 1 µm/px, with the tumour's outlines, in OUT/slides (beside a "
    "zip or store: <OUT without its ending>-slides).",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Other tissue.")
@options.packing
@options.quiet
def command(out: Path, cases: int, slides: bool, seed: int, form: Any, quiet: bool) -> int:
    """Paint synthetic H&E tissue as named patches. Its figures say nothing of how well a model works."""
    from contextlib import ExitStack

    from wsi_idc._util.files import make_folder, temporary_folder
    from wsi_idc.cli.console import progress_bar
    from wsi_idc.datasets.packing import check_free, form_of
    from wsi_idc.phantom import write_phantom

    inside = (form or form_of(out)) == "folder"
    beside = out / "slides" if inside else out.with_name(f"{out.stem}-slides")
    check_free(out)
    with ExitStack() as stack:
        if slides:
            from wsi_idc.export.phantom_slides import write_phantom_slides

            check_free(beside)
            make_folder(out.parent)
            # Named last: interrupted, nothing is left that would be in the way of the same command.
            waiting = stack.enter_context(temporary_folder(beside if not inside else out)) / "slides"
            with progress_bar("Painting slides", 0, quiet, "blocks") as bar:
                write_phantom_slides(waiting, cases, seed, on_block=bar.show)
        with progress_bar("Painting cases", cases, quiet, "cases") as bar:
            write_phantom(out, cases, seed, form, on_case=lambda done, _: bar.move_to(done))
        if slides:
            waiting.rename(beside)
    click.echo(out)
    return DONE
