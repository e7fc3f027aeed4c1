"""``wsi-idc evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wsi_idc.cli import DONE, options
from wsi_idc.model.neighbourhood import Context
from wsi_idc.splits import PARTS, SPLIT_NAMES, SplitName

if TYPE_CHECKING:
    from wsi_idc.evaluation.evaluate import Evaluation

SHOWN = (
    ("balanced_accuracy", "balanced accuracy"),
    ("sensitivity", "sensitivity"),
    ("specificity", "specificity"),
    ("f1", "F1"),
    ("auc", "AUC"),
)
"""Metrics that are printed at the end, and what they are called."""

NAMES = {"train": "Training", "val": "Validation", "test": "Test"}


@click.command("evaluate")
@options.data
@options.model
@options.allow_code
@options.out
@click.option("--subset", type=click.Choice(PARTS), default="test", show_default=True, help="The part to score.")
@click.option("--split", type=click.Choice(SPLIT_NAMES), help="How cases are divided. [default: as in the .json]")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Of the split. [default: as in the .json]")
@click.option("--allow-trained", is_flag=True, help="Call cases a test that the model was trained or tuned on.")
@options.threshold
@options.context
@options.batch_size
@options.quiet
def command(
    data: str | None,
    model: Path | None,
    allow_code: bool,
    out: Path,
    subset: str,
    split: SplitName | None,
    seed: int | None,
    allow_trained: bool,
    threshold: float | None,
    context: Context,
    batch_size: int,
    quiet: bool,
) -> int:
    """Score a part of a split; make OUT/evaluate-SUBSET/ with figures, intervals over cases and curves."""
    from wsi_idc._util.files import make_folder
    from wsi_idc.cli.console import console, list_problems, loading, progress_bar, ready_model, warn
    from wsi_idc.datasets.opening import open_dataset

    model = ready_model(model, allow_code)
    with open_dataset(data) as dataset:
        with loading(quiet):
            from wsi_idc.datasets.labelled import load_patches
            from wsi_idc.evaluation.evaluate import (
                check_unseen,
                evaluate,
                left_out_by_patch,
                select,
                split_of,
                write_figures,
            )
            from wsi_idc.model.classifier import load_model
            from wsi_idc.plotting.evaluation_pictures import draw_evaluation

            classifier = load_model(model, allow_code=allow_code)
        parts = split_of(classifier.config, split, seed)
        cases = parts.needed(dataset.cases, [subset])
        with progress_bar("Reading cases", len(cases), quiet, "cases") as bar:
            patches = load_patches(dataset, cases, on_case=lambda done, _: bar.move_to(done))
    members = select(patches, parts, subset)
    tested = set(patches.case[members].tolist())
    if subset != "train" and left_out_by_patch(patches, classifier.config, parts):
        warn("other patches of the same slides trained the model, so metrics are optimistically biased (data leakage)")
    else:
        if subset != "train" and not allow_trained:
            check_unseen(sorted(tested, key=int), classifier.config, subset)
        if tested & classifier.config.has_seen:
            warn("the model was trained or tuned on cases of this part: metrics are optimistically biased")
    folder = make_folder(out / f"evaluate-{subset}")
    with progress_bar("Scoring", len(members), quiet) as bar:
        scored = evaluate(
            patches,
            classifier,
            members,
            threshold=threshold,
            context=context,
            batch_size=batch_size,
            on_patches=bar.advance,
        )
    about = {"subset": subset, "split": parts.name, "seed": parts.seed, "context": context}
    write_figures(scored, folder, about)
    named = f"{classifier.config.name} {classifier.config.sha256[:8]}"
    with progress_bar("Drawing", None, quiet):
        draw_evaluation(scored, patches, members, NAMES[subset], named, context, folder)
    click.echo(folder)
    list_problems(patches.problems)
    if not quiet:
        console.print(_summary(scored), markup=False)
        console.print(
            f"Curves and the worst errors are in {folder}; to see a case: wsi-idc heatmap patient {scored.cases[0]}",
            markup=False,
        )
    return DONE


def _summary(scored: Evaluation) -> str:
    """One line of metrics, with their intervals over cases where there are any."""
    known = scored.metrics.as_dict()
    parts = []
    for name, label in SHOWN:
        value, ends = known[name], scored.intervals.get(name)
        text = "undefined" if value is None else f"{value:.3f}"
        parts.append(f"{label} {text}" + (f" ({ends[0]:.3f}-{ends[1]:.3f})" if ends else ""))
    return f"{len(scored.label):,} patches of {len(scored.cases):,} cases: " + ", ".join(parts)
