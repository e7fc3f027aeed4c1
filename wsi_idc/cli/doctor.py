"""``wsi-idc doctor``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from wsi_idc.cli import DONE, INCOMPLETE, options


@click.command("doctor")
@options.data
@options.model
@options.allow_code
@options.out
@options.scheduler
@click.option(
    "--slides",
    type=options.PathOrAddress(),
    metavar="DIR",
    help="Slides that a run will read: a folder, or an address s3://, gs://, az:// or https://, which is asked.",
)
def command(
    data: str | None,
    model: Path | None,
    allow_code: bool,
    out: Path,
    scheduler: str | None,
    slides: Path | str | None,
) -> int:
    """Check whether installation, GPU, scheduler, data, cache and disk are fit for a run.

    Prints a line a check: ok, warn, or fail with what to do. Exit code 1 where something fails. No results or data are
    changed, and no other machine is asked, but for --scheduler, addresses in --slides and models at hf://.
    """
    from wsi_idc.cli.console import loading, ready_model
    from wsi_idc.doctor import examine
    from wsi_idc.errors import ModelError, printable

    if allow_code:
        # What is wrong with the model is a line of its own.
        with suppress(ModelError):
            model = ready_model(model, allow_code)
    checks = examine(data, model, out, scheduler, slides, allow_code=allow_code)
    failed = False
    while True:
        # What libraries say while they load is no line of a check.
        with loading(quiet=True):
            check = next(checks, None)
        if check is None:
            return INCOMPLETE if failed else DONE
        failed = failed or check.state == "fail"
        click.echo(printable(f"{check.state:<5} {check.name}: {check.text}"))
