"""What ``score patient`` and ``heatmap patient`` share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wsi_idc.cli import DONE, INCOMPLETE
from wsi_idc.cli.console import list_problems, loading, progress_bar, warn
from wsi_idc.files import make_folder
from wsi_idc.model.config import ModelConfig
from wsi_idc.sources.idc import IdcCase
from wsi_idc.sources.locate import open_dataset

if TYPE_CHECKING:
    from wsi_idc.scoring.results import SlideResult
    from wsi_idc.views.style import Style


def score_cases(
    ids: Sequence[str],
    *,
    data: str | None,
    model: Path | None,
    out: Path,
    threshold: float | None,
    context: float | None,
    batch_size: int,
    restart: bool,
    quiet: bool,
    style: Style | None = None,
) -> int:
    """Score cases one after the other, and draw them where a `style` is given; print a path for each."""
    command = ["wsi-idc", *sys.argv[1:]]
    results: list[SlideResult] = []
    with progress_bar("Looking for the data (the demo is painted on first use)", None, quiet):
        dataset = open_dataset(data)
        dataset.check(ids)
    make_folder(out)
    with dataset:
        with loading(quiet):
            from wsi_idc.model.classifier import load_model
            from wsi_idc.scoring.results import score_into

            classifier = load_model(model)
        try:
            for number in dict.fromkeys(ids):
                case = dataset.case(number)
                with progress_bar(f"Case {number}", len(case.patches), quiet) as bar:
                    result = score_into(
                        case,
                        classifier,
                        out,
                        threshold=threshold,
                        context=context,
                        batch_size=batch_size,
                        restart=restart,
                        command=command,
                        on_patches=bar.advance,
                        draw=None if style is None else _drawing(case, classifier.config, style),
                    )
                click.echo(result.scores_path if style is None else result.folder / "heatmap.png")
                results.append(result)
        finally:
            _report(results, classifier.config)
    return INCOMPLETE if any(result.unreadable for result in results) else DONE


def _drawing(case: IdcCase, model: ModelConfig, style: Style) -> Callable[[SlideResult], Path]:
    from wsi_idc.views.caption import make_caption
    from wsi_idc.views.pictures import draw_all

    return lambda result: draw_all(case, result.scores, make_caption(case, model, result.scores), style, result.folder)


def _report(results: Sequence[SlideResult], model: ModelConfig) -> None:
    """Say what a reader of the figures must know, what was odd, and at last each patch that was not scored."""
    for result in results:
        if result.scores.slide in model.has_seen:
            warn(f"the model was trained or tuned on case {result.scores.slide}: its figures flatter")
        list_problems(result.oddities, "all in run.json")
    for result in results:
        for problem in result.unreadable:
            warn(str(problem))
        if result.unreadable:
            warn(
                f"{len(result.unreadable):,} of the {len(result.scores):,} patches of case {result.scores.slide} "
                "could not be scored"
            )
