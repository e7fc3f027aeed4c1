"""``wsi-idc view``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from wsi_idc._util.files import DEFAULT_OUT
from wsi_idc.cli import DONE, options
from wsi_idc.cli.report import report_bar


@click.command("view")
@click.argument("folder", metavar="[DIR]", required=False, default=DEFAULT_OUT, type=options.FILE)
@click.option(
    "--beside",
    type=options.FILE,
    metavar="DIR",
    help="Another results folder of the same slides, as of another model: its maps in a second pane (key b).",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=0,
    metavar="N",
    help="Port on 127.0.0.1, to be named for a tunnel (ssh -L). [default: a free one]",
)
@click.option("--no-browser", is_flag=True, help="Open no browser: only print the address.")
@options.quiet
def command(folder: Path, beside: Path | None, port: int, no_browser: bool, quiet: bool) -> int:
    """Look through a results folder (default: wsi-idc-results) in the browser, and correct calls.

    The report as a local page, with each raw slide at full resolution beneath the map. What you correct is saved at
    once to DIR/<slide>/corrections.geojson, which QuPath opens. The page is for whoever has the address, which holds a
    key, on this machine or through "ssh -L N:127.0.0.1:N". Ctrl-C ends it.
    """
    from wsi_idc.report.live import LiveResults
    from wsi_idc.report.server import make_app, new_token, serving

    with report_bar(quiet) as bar:
        results = LiveResults(folder, lambda done, total: bar.show("Reading results", done, total), beside)
    # Other users of this machine can see how a browser was called: what they see there is good for one visit.
    token, once = new_token(), "" if no_browser else new_token()
    with serving(make_app(results, token, once), port) as (address, thread):
        click.echo(f"{address}?token={token}")
        if once:
            click.launch(f"{address}?token={once}")
        try:
            while thread.is_alive():
                # Ctrl-C within `thread.join` would mark the thread as ended before it is.
                time.sleep(0.2)
        except KeyboardInterrupt:
            # The ordinary end of it.
            pass
    return DONE
