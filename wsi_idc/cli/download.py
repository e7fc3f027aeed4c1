"""``wsi-idc download``."""

from __future__ import annotations

import click

from wsi_idc.cli import DONE


@click.command("download")
def command() -> int:
    """Fetch the IDC set from Kaggle (about 5 GB of disk) to where the other commands find it."""
    from wsi_idc.datasets.download import download

    click.echo(download())
    return DONE
