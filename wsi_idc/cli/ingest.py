"""``wsi-idc ingest``."""

from __future__ import annotations

from pathlib import Path

import click

from wsi_idc.cli import DONE, INCOMPLETE, options


@click.command("ingest")
@click.argument("source", metavar="SRC", type=options.FILE)
@click.argument("store", metavar="STORE.zarr", type=options.FILE)
@options.quiet
def command(source: Path, store: Path, quiet: bool) -> int:
    """Pack a folder or zip of small PNGs into one patch store, which is read many times faster."""
    from wsi_idc._util.files import make_folder
    from wsi_idc.cli.console import list_problems, progress_bar
    from wsi_idc.datasets.ingest import check_store_free, ingest
    from wsi_idc.datasets.opening import open_dataset

    check_store_free(store)
    with open_dataset(source) as dataset:
        with progress_bar("Looking for the cases", None, quiet):
            total = sum(len(dataset.labels(case)) for case in dataset.cases)
        make_folder(store.parent)
        with progress_bar("Packing", total, quiet) as bar:
            unreadable = ingest(dataset, store, bar.advance)
        click.echo(store)
        list_problems(dataset.problems)
    list_problems(unreadable)
    return INCOMPLETE if unreadable else DONE
