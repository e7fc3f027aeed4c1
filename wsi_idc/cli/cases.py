"""What ``score patient`` and ``heatmap patient`` share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wsi_idc import __version__
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
    batch_size: int,
    restart: bool,
    quiet: bool,
    style: Style | None = None,
) -> int:
    """Score cases one after the other, and draw them where a `style` is given; print a path for each."""
    make_folder(out)
    command = ["wsi-idc", *sys.argv[1:]]
    unscored = 0
    with progress_bar("Looking for the data (the demo is painted on first use)", None, quiet):
        dataset = open_dataset(data)
        dataset.check(ids)
    with dataset:
        with loading(quiet):
            from wsi_idc.model.classifier import load_model
            from wsi_idc.scoring.results import score_into, write_run

            classifier = load_model(model)
        for number in dict.fromkeys(ids):
            started = datetime.now(UTC)
            case = dataset.case(number)
            with progress_bar(f"Case {number}", len(case.patches), quiet) as bar:
                result = score_into(
                    case,
                    classifier,
                    out,
                    threshold=threshold,
                    batch_size=batch_size,
                    restart=restart,
                    command=command,
                    on_patches=bar.advance,
                )
            if style is None:
                click.echo(result.scores_path)
            else:
                with progress_bar(f"Drawing case {number}", None, quiet):
                    sheet = _draw(case, result, classifier.config, style, started)
                write_run(result, started, command)
                click.echo(sheet)
            _report(result, classifier.config)
            unscored += result.unreadable
    return INCOMPLETE if unscored else DONE


def _draw(case: IdcCase, result: SlideResult, model: ModelConfig, style: Style, started: datetime) -> Path:
    from wsi_idc.views.pictures import draw_all
    from wsi_idc.views.sheet import Caption

    caption = Caption(
        slide=case.slide,
        kind=case.kind,
        model_name=model.name,
        model_sha256=model.sha256,
        mpp_source=case.mpp_source,
        version=__version__,
        date=started.date().isoformat(),
        trained_on=case.slide in model.trained_on,
    )
    return draw_all(case, result.scores, caption, style, result.folder)


def _report(result: SlideResult, model: ModelConfig) -> None:
    slide, scores = result.scores.slide, result.scores
    if slide in model.trained_on:
        warn(f"the model was trained on case {slide}: its figures flatter")
    list_problems(result.problems)
    if result.unreadable:
        warn(f"{result.unreadable:,} of the {len(scores):,} patches of case {slide} could not be scored")
