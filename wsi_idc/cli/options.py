"""Options that mean the same wherever they stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from wsi_idc.model.config import DEFAULT_BATCH

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

DEFAULT_OUT = Path("wsi-idc-results")
_FILE = click.Path(path_type=Path)


def _together(*decorators: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    def decorate(function: Decorated) -> Decorated:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


data = click.option(
    "--data",
    metavar="PATH",
    help="Folder or zip of IDC patches, or the word demo for synthetic ones. "
    "[default: WSI_IDC_DATA, else what download fetched]",
)
model = click.option(
    "--model",
    type=_FILE,
    metavar="FILE",
    envvar="WSI_IDC_MODEL",
    help="A .keras file with its .json beside it. [default: WSI_IDC_MODEL, else the bundled model]",
)
out = click.option(
    "--out",
    type=_FILE,
    metavar="DIR",
    default=DEFAULT_OUT,
    show_default=True,
    help="Folder that the results go to.",
)
batch_size = click.option(
    "--batch-size",
    type=click.IntRange(1, 2_048),
    default=DEFAULT_BATCH,
    show_default=True,
    metavar="N",
    help="Patches given to the network at once.",
)
restart = click.option("--restart", is_flag=True, help="Ignore finished work.")
quiet = click.option("--quiet", is_flag=True, help="No progress; warnings and errors only.")
threshold = click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Call a patch IDC from this probability on. [default: the model's own]",
)

context = click.option(
    "--context",
    type=float,
    metavar="SIGMA",
    help="Blur over scored neighbours, in patches (0.6 to 1 is usual); calls and pictures follow it. [default: off]",
)

scoring = _together(data, model, out, threshold, context, batch_size, restart, quiet)
