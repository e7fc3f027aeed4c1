"""``wsi-idc train``."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wsi_idc.cli import DONE, options
from wsi_idc.errors import OutputError
from wsi_idc.splits import SPLIT_NAMES, SplitName

if TYPE_CHECKING:
    from wsi_idc.model.case_stains import StainedPatches
    from wsi_idc.model.stain import Normalization
    from wsi_idc.training.history import Epoch


@click.command("train")
@options.data
@options.out
@click.option(
    "--split",
    type=click.Choice(SPLIT_NAMES),
    default="patient",
    show_default=True,
    help="official: the published lists of cases; patient: 80/10/10 by case; patch: 80/10/10 by patch, which leaks.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Of split and weights.")
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=30,
    show_default=True,
    metavar="N",
    help="At most: training ends when the validation AUC has not risen for 15 epochs, unless the last epoch is kept "
    "(with --folds, or --corrections without --data).",
)
@click.option("--exclude", default="", metavar="IDS", help="Cases to leave out, separated by commas.")
@click.option("--extra-train", is_flag=True, help="With --split official: train on cases in no list, too.")
@click.option(
    "--batch-size", type=click.IntRange(1, 2_048), default=64, show_default=True, metavar="N", help="Patches of a step."
)
@click.option(
    "--patches-per-case",
    type=click.IntRange(1),
    metavar="N",
    help="At most this many patches of a case in an epoch, drawn anew each time. [default: all]",
)
@click.option(
    "--folds",
    type=click.IntRange(2),
    metavar="K",
    help="Train on the validation part too, after K trainings that each leave out a fold of cases: their predictions "
    "give threshold and calibration. The last epoch is kept.",
)
@click.option(
    "--from",
    "start",
    type=options.FILE,
    metavar="MODEL",
    help="Go on from the weights of a .keras file, with its normalization.",
)
@click.option(
    "--corrections",
    type=options.FILE,
    metavar="DIR",
    help="With --from: learn from the corrected patches of the slides of a results folder. With --data they are a "
    "quarter of each batch; without, training is on them alone, and threshold and calibration stay the old model's.",
)
@click.option("--new-head", is_flag=True, help="With --from: make the last layer afresh.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="RATE",
    help="Of Adam at the start; it falls along a cosine. [default: 0.003, with --from 0.001, with --corrections "
    "0.0001]",
)
@click.option(
    "--dropout",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="SHARE",
    help="Of the dense layer, left out while training; half of that of each block of convolutions. [default: 0.5, "
    "with --from that of the model]",
)
@click.option("--resume", is_flag=True, help="Go on after an interruption, to the same outcome.")
@options.quiet
def command(
    data: str | None,
    out: Path,
    split: SplitName,
    seed: int,
    epochs: int,
    exclude: str,
    extra_train: bool,
    batch_size: int,
    patches_per_case: int | None,
    folds: int | None,
    start: Path | None,
    corrections: Path | None,
    new_head: bool,
    learning_rate: float | None,
    dropout: float | None,
    resume: bool,
    quiet: bool,
) -> int:
    """Train CancerNet; make OUT/cancernet.keras with its .json, history.csv and history.png.

    The epoch of the best validation AUC is kept, and threshold and calibration are chosen on the validation part.
    """
    from wsi_idc._util.files import make_folder
    from wsi_idc.cli.console import console, list_problems, loading, progress_bar, warn
    from wsi_idc.datasets.opening import open_dataset

    if (new_head or corrections is not None) and start is None:
        raise click.UsageError(f"{'--new-head' if new_head else '--corrections'} is for --from.")
    if corrections is not None and folds:
        raise click.UsageError("--corrections cannot be used with --folds: train without folds.")
    if start is not None and corrections is not None and data is None:
        if new_head or patches_per_case or exclude or extra_train or dropout is not None:
            raise click.UsageError(
                "--new-head, --patches-per-case, --exclude, --extra-train and --dropout need --data."
            )
        return _train_on_corrections(start, corrections, out, seed, epochs, batch_size, learning_rate, resume, quiet)
    excluded = tuple(sorted({case.strip() for case in exclude.split(",") if case.strip()}))
    with open_dataset(data) as dataset:
        dataset.check(excluded)
        make_folder(out)
        if split == "patch":
            warn("--split patch puts patches of one slide on both sides: metrics are biased (data leakage)")
        with loading(quiet):
            from wsi_idc.training.fitting import train
            from wsi_idc.training.folds import cross_fit
            from wsi_idc.training.history import read_history
            from wsi_idc.training.recipe import CORRECTING_RATE, LEARNING_RATE, TUNING_RATE, Recipe, StartingModel
        from wsi_idc.datasets.labelled import load_patches
        from wsi_idc.plotting.training_curve import save_history

        usual = LEARNING_RATE if start is None else TUNING_RATE if corrections is None else CORRECTING_RATE
        rate = learning_rate or usual
        recipe = Recipe(split, extra_train, excluded, seed, epochs, batch_size, rate, patches_per_case=patches_per_case)
        if start is not None:
            model = StartingModel.read(start)
            recipe = replace(recipe, normalization=model.normalization, dropout=model.dropout)
            recipe = replace(recipe, start=model, new_head=new_head)
        if dropout is not None:
            recipe = replace(recipe, dropout=dropout)
        cases = recipe.parts.needed(dataset.cases, ["train", "val"])
        with progress_bar("Reading cases", len(cases), quiet, "cases") as bar:
            patches = load_patches(dataset, cases, on_case=lambda done, _: bar.move_to(done))
    corrected = None if corrections is None else _load_corrected(corrections, recipe.normalization, data, quiet)
    list_problems(patches.problems)

    begun: list[str] = []

    def begin(name: str) -> None:
        begun.append(name)
        if not quiet:
            console.print(f"{name}:")

    def show(row: Epoch) -> None:
        _show(row, quiet)

    with _alone_in(out), progress_bar("Starting", None, quiet) as bar:

        def move(epoch: int, done: int, total: int) -> None:
            # The bar counts the whole run, folds and all, so that it says when that ends.
            finished = max(len(begun) - 1, 0) * epochs + epoch - 1
            bar.show("Training", finished * total + done, ((folds or 0) + 1) * epochs * total)
            bar.describe(", ".join([*begun[-1:], f"epoch {epoch}/{epochs}"]).capitalize())

        if folds:
            trained = cross_fit(
                patches, recipe, folds, out, resume=resume, on_training=begin, on_batch=move, on_epoch=show
            )
        else:
            trained = train(patches, recipe, out, resume=resume, corrected=corrected, on_batch=move, on_epoch=show)
        save_history(trained.history, out / "history.png")
        for fold in sorted(out.glob("fold-*/history.csv")) if folds else ():
            save_history(read_history(fold), fold.with_suffix(".png"))
    for doubt in trained.doubts:
        warn(doubt)
    click.echo(trained.model)
    if not quiet:
        best = max(
            (row for row in trained.history if not math.isnan(row.val_auc)), key=lambda row: row.val_auc, default=None
        )
        if best is not None:
            console.print(
                f"Best epoch {best.epoch}: validation AUC {best.val_auc:.4f}, "
                f"balanced accuracy {best.val_balanced_accuracy:.4f}"
            )
        named = "" if data is None else f" --data {data}"
        console.print(f"To test it: wsi-idc evaluate --model {trained.model}{named}", markup=False)
    return DONE


def _show(row: Epoch, quiet: bool) -> None:
    """Print an epoch in a line."""
    from wsi_idc.cli.console import console

    if not quiet:
        judged = "" if math.isnan(row.val_auc) else f"validation loss {row.val_loss:.4f}, AUC {row.val_auc:.4f}, "
        console.print(f"Epoch {row.epoch}: loss {row.loss:.4f}, {judged}{row.seconds:.0f} s")


def _load_corrected(folder: Path, normalization: Normalization | None, data: str | None, quiet: bool) -> StainedPatches:
    """Read the corrected patches of a results folder, and print what was odd about them."""
    from wsi_idc.cli.console import list_problems, progress_bar, say
    from wsi_idc.datasets.opening import locate_data
    from wsi_idc.scoring.corrected import load_corrected

    with progress_bar("Reading corrected patches", None, quiet, "slides") as bar:
        place = None if data is None else locate_data(data)
        corrected = load_corrected(
            folder, normalization, data=place, on_slide=lambda done, total: bar.show("Reading slides", done, total)
        )
    list_problems(corrected.patches.problems)
    if not quiet:
        slides = len(corrected.slides)
        say(f"{len(corrected):,} corrected patches of {slides:,} {'slide' if slides == 1 else 'slides'}")
    return corrected


def _train_on_corrections(
    start: Path,
    corrections: Path,
    out: Path,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float | None,
    resume: bool,
    quiet: bool,
) -> int:
    """`command` where there are no training data."""
    from wsi_idc._util.files import make_folder
    from wsi_idc.cli.console import loading, progress_bar, say

    with loading(quiet):
        from wsi_idc.training.recipe import CORRECTING_RATE, Recipe, StartingModel
        from wsi_idc.training.tuning import train_on_corrections
    from wsi_idc.plotting.training_curve import save_history

    model = StartingModel.read(start)
    corrected = _load_corrected(corrections, model.normalization, None, quiet)
    recipe = Recipe(
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate or CORRECTING_RATE,
        normalization=model.normalization,
        dropout=model.dropout,
        start=model,
    )
    make_folder(out)
    with _alone_in(out), progress_bar("Training", None, quiet) as bar:
        trained = train_on_corrections(
            *(corrected, recipe, out),
            resume=resume,
            on_batch=lambda epoch, done, total: bar.show("Training", (epoch - 1) * total + done, epochs * total),
            on_epoch=lambda row: _show(row, quiet),
        )
        save_history(trained.history, out / "history.png")
    click.echo(trained.model)
    if not quiet:
        say(f"To see what changed: score with --model {trained.model}, then wsi-idc compare {corrections} NEW")
    return DONE


def _alone_in(out: Path) -> AbstractContextManager[object]:
    """Lock the folder and tidy it up; OutputError where another training is at work in it."""
    from wsi_idc._util.files import remove_unfinished
    from wsi_idc._util.lock import try_lock
    from wsi_idc.training.history import HISTORY_FILE
    from wsi_idc.training.run import CHECKPOINT_FILE, MODEL_FILE, PLAN_FILE

    lock = try_lock(out)
    if lock is None:
        raise OutputError(f"Another training is at work in {out}: wait for its end, or give another --out.")
    for folder in (out, *out.glob("fold-*")):
        remove_unfinished(folder, MODEL_FILE, HISTORY_FILE, PLAN_FILE, CHECKPOINT_FILE)
    return lock
