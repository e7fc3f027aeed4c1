"""The command line: parsing, printing and exit codes. Commands are loaded when they are called."""

from __future__ import annotations

import errno
import logging
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from wsi_idc._util.files import DISK_FULL
from wsi_idc._version import __version__
from wsi_idc.cli.interrupts import Interrupts
from wsi_idc.cli.streams import lost_output, settle
from wsi_idc.cli.suggestions import SuggestingGroup
from wsi_idc.errors import WsiIdcError, printable

COMMANDS = {
    "heatmap": "Score a slide and draw its sheet: probability of IDC over the tissue.",
    "score": "Score a slide: a row per patch in scores.csv.",
    "mosaic": "Rebuild the image of a slide at 8 µm/px.",
    "tile": "Cut a raw slide into named patches.",
    "ingest": "Pack a folder or zip of patches into one patch store.",
    "train": "Train CancerNet on labelled patches.",
    "evaluate": "Score a part of a split: figures with intervals over cases, curves, the worst errors.",
    "model": "Check a model of your own, or export CancerNet for other programs.",
    "report": "Sum up a results folder, and make one page over it, to look through and zoom into.",
    "view": "Look through a results folder with each slide at full resolution, and correct calls.",
    "review": "List what is worth a look, over all slides of a results folder.",
    "compare": "Compare two results folders of the same slides.",
    "doctor": "Check whether installation, GPU, scheduler, data and disk are fit for a run.",
    "export": "Write all patches into one table for other programs.",
    "phantom": "Paint a synthetic data set.",
    "download": "Fetch the IDC set from Kaggle.",
    "info": "Show versions, devices, model and data.",
}
"""Each command's module in this package, and what ``--help`` says of it without loading it."""

NO_THREADS = "no further process or thread can be started: allow more of them (ulimit -u)."

DONE, INCOMPLETE, UNUSABLE, INTERRUPTED = 0, 1, 2, 130


class LateGroup(SuggestingGroup):
    """A group whose commands are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"wsi_idc.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LateGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wsi-idc")
def cli() -> None:
    """Find invasive ductal carcinoma (IDC) in whole-slide images of breast tissue.

    For research use only. Not for use in diagnostic procedures.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code: 0 done, 1 incomplete, 2 unusable input, 130 interrupted."""
    if args is None:
        settle()
    warnings.showwarning = _show_warning
    # Notices of caches and fonts.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # Zarr's reads that an error cuts off are none of the user's business.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    interrupts = Interrupts("Interrupted: finished slides are kept; run the same command again (train: with --resume).")
    if args is None:
        interrupts.take()
    try:
        status = cli.main(args, prog_name="wsi-idc", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return UNUSABLE
    except WsiIdcError as error:
        _say(f"Error: {error}")
        return UNUSABLE
    except (click.Abort, KeyboardInterrupt):
        interrupts.say()
        return INTERRUPTED
    except (MemoryError, ImportError) as error:
        # What a library says for which there is no room.
        if isinstance(error, ImportError) and "failed to map segment" not in str(error):
            raise
        _say("Error: the memory is not enough: allow more (ulimit -v, or the job's limit), or ask for less at once.")
        return UNUSABLE
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        _say(f"Error: {NO_THREADS}")
        return UNUSABLE
    except OSError as error:
        if error.errno == errno.EAGAIN:
            _say(f"Error: {NO_THREADS}")
        elif error.errno in DISK_FULL:
            _say("Error: the disk is full; finished slides are whole, so make room and run the same command again.")
        else:
            _say(f"Error: {error.filename or 'a file'} cannot be used: {error.strerror or error}.")
        return UNUSABLE
    lost = lost_output()
    if lost is not None:
        _say(f"Warning: what is printed could not be written ({lost.strerror}); the files are whole.")
    ended = status if isinstance(status, int) else DONE
    return ended if lost is None or ended != DONE else INCOMPLETE


def _say(line: str) -> None:
    click.echo(printable(line), err=True)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    if isinstance(message, UserWarning):
        _say(f"Warning: {message}")
