"""``wsi-idc doctor``."""

from __future__ import annotations

from pathlib import Path

import click

from wsi_idc.cli import DONE, INCOMPLETE, options


@click.command("doctor")
@options.data
@options.model
@options.allow_code
@options.out
@options.scheduler
def command(data: str | None, model: Path | None, allow_code: bool, out: Path, scheduler: str | None) -> int:
    """Check whether installation, GPU, scheduler, data, cache and disk are fit for a run.

    Prints a line a check: ok, warn, or fail with what to do. Exit code 1 where something fails. Nothing is changed, and
    no other machine is asked, but for --scheduler and models at hf://.
    """
    from wsi_idc.cli.console import loading, ready_model
    from wsi_idc.doctor import examine
    from wsi_idc.errors import printable

    model = ready_model(model, allow_code)
    checks = examine(data, model, out, scheduler, allow_code=allow_code)
    failed = False
    while True:
        # What libraries say while they load is no line of a check.
        with loading(quiet=True):
            check = next(checks, None)
        if check is None:
            return INCOMPLETE if failed else DONE
        failed = failed or check.state == "fail"
        click.echo(printable(f"{check.state:<5} {check.name}: {check.text}"))
