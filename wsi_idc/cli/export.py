"""``wsi-idc export``."""

from __future__ import annotations

from pathlib import Path

import click

from wsi_idc.cli import DONE, INCOMPLETE, options
from wsi_idc.cli.console import list_problems, print_path, progress_bar, say_waiting
from wsi_idc.errors import OptionError


@click.command("export")
@click.argument("folder", metavar="DIR", type=options.FILE)
@click.option(
    "--to",
    type=click.Choice(["parquet", "anndata", "spatialdata"]),
    metavar="parquet|anndata",
    default="parquet",
    show_default=True,
    help="parquet: DIR/scores.parquet; anndata: DIR/scores.h5ad, for scanpy and squidpy.",
)
@options.quiet
def command(folder: Path, to: str, quiet: bool) -> int:
    """Write the patches of all slides of a results folder into one table for other programs.

    Needs pip install "wsi-idc[tables]". Slides that failed or are not finished are left out, and named.
    """
    if to == "spatialdata":
        raise OptionError(
            "No SpatialData is written, as its package asks for an older dask: give --to anndata, whose table it takes."
        )
    from wsi_idc.tables import FORMS, export_tables

    form = next(one for one in FORMS if one == to)
    with progress_bar("Looking for results", None, quiet, "slides") as bar:
        written = export_tables(folder, form, lambda *of: bar.show("Exporting", *of), say_waiting)
    list_problems(written.left_out)
    print_path(written.path)
    return INCOMPLETE if written.left_out else DONE
