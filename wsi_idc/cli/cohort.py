"""What ``score all`` and ``heatmap all`` share."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from wsi_idc.cli import DONE, INCOMPLETE
from wsi_idc.cli.console import Bar, console, list_problems, loading, progress_bar, warn
from wsi_idc.cli.options import Scoring
from wsi_idc.errors import OptionError, printable
from wsi_idc.files import make_folder
from wsi_idc.sources.base import Problem
from wsi_idc.sources.refs import CaseRef, FileRef, SlideOptions, SlideRef

if TYPE_CHECKING:
    from wsi_idc.export.outputs import Outputs
    from wsi_idc.model.config import ModelConfig
    from wsi_idc.scoring.cohort import Outcome
    from wsi_idc.scoring.results import SlideResult


def score_all(
    *,
    data: str | None,
    slides: Path | None,
    manifest: Path | None,
    reading: SlideOptions,
    scoring: Scoring,
    workers: int | None,
    scheduler: str | None,
    outputs: Outputs | None = None,
) -> int:
    """Score every slide that is named, on dask, and draw it where `outputs` are given; print a path for each."""
    out, quiet = scoring.out, scoring.quiet
    with progress_bar("Looking for the slides", None, quiet):
        refs, sizes = find_refs(data, slides, manifest, reading, out, quiet)
    make_folder(out)
    with loading(quiet):
        from wsi_idc.export.wsinfer import write_run_metadata
        from wsi_idc.model.classifier import bundled_model, load_model
        from wsi_idc.scoring.cluster import connect
        from wsi_idc.scoring.cohort import Cohort, Watch

        classifier = load_model(scoring.model)
        config = classifier.config
    command = ["wsi-idc", *sys.argv[1:]]
    if scoring.layout == "wsinfer":
        write_run_metadata(out, config, scoring.model or bundled_model(), command)
    started = monotonic()
    with (
        connect(scheduler, workers) as client,
        _drawers(config, outputs) as draw,
        progress_bar(f"0 of {len(refs)} slides", sum(sizes.values()), quiet) as bar,
    ):
        teller = _Teller(bar, len(refs), set(sizes), started, quiet, outputs is not None)
        cohort = Cohort(
            client,
            refs,
            scoring.model,
            classifier,
            out,
            draw=draw,
            batch_size=scoring.batch_size,
            watch=Watch(teller.found, teller.patches, teller.slide, teller.wait),
            threshold=scoring.threshold,
            context=scoring.context,
            restart=scoring.restart,
            command=command,
        )
        outcomes = {outcome.name: outcome for outcome in cohort.run()}
    ended = [outcomes[ref.name] for ref in refs]
    with progress_bar("Summing up", None, quiet):
        _sum_up(ended, config, scoring)
    return _report(ended, config)


def _sum_up(ended: Sequence[Outcome], config: ModelConfig, scoring: Scoring) -> None:
    """Write what is said of all slides together."""
    from wsi_idc.evaluation.cohort import SUMMARY_FILE, failed, summarise, write_cohort_metrics, write_summary
    from wsi_idc.export.wsinfer import write_wsinfer
    from wsi_idc.scoring.results import METRICS_FILE

    rows = [
        failed(outcome.name, outcome.error, outcome.seconds)
        if outcome.result is None
        else summarise(outcome.result.scores, outcome.mpp, outcome.seconds, outcome.result.unreadable)
        for outcome in ended
    ]
    write_summary(scoring.out / SUMMARY_FILE, rows)
    scores = [outcome.result.scores for outcome in ended if outcome.result is not None]
    write_cohort_metrics(scoring.out / METRICS_FILE, scores)
    _draw_confusion(scores, config, ended, scoring.out)
    if scoring.layout == "wsinfer":
        for of_slide in scores:
            write_wsinfer(of_slide, scoring.out)


def find_refs(
    data: str | None, slides: Path | None, manifest: Path | None, reading: SlideOptions, out: Path, quiet: bool
) -> tuple[list[SlideRef], dict[str, int]]:
    """Everything that is to be scored, and how many patches the cases among it have."""
    from wsi_idc.sources.find import find_slides, read_manifest
    from wsi_idc.sources.locate import locate_data
    from wsi_idc.sources.refs import dataset_of_run

    run = uuid4().hex
    refs: list[SlideRef] = []
    sizes: dict[str, int] = {}
    if data is not None or (slides is None and manifest is None):
        path = str(locate_data(data).resolve())
        dataset = dataset_of_run(path, run)
        refs += [CaseRef(path, case, run) for case in dataset.cases]
        sizes = {case: len(dataset.labels(case)) for case in dataset.cases}
    if slides is not None:
        found = find_slides(slides, leave_out=out)
        if found.others and not quiet:
            console.print(printable(f"left out under {slides}: other files, {found.others:,}"), markup=False)
        refs += [FileRef(slide.path.resolve(), slide.name, reading, run) for slide in found.slides]
    if manifest is not None:
        refs += [
            FileRef(
                row.path.resolve(),
                row.name,
                reading if row.mpp is None else replace(reading, mpp=row.mpp),
                run,
                row.labels and row.labels.resolve(),
            )
            for row in read_manifest(manifest)
        ]
    twice = [name for name, count in Counter(ref.name for ref in refs).items() if count > 1]
    if twice:
        raise OptionError(f"Two slides are called {twice[0]}: score them apart, each into an --out of its own.")
    return refs, sizes


@contextmanager
def _drawers(
    config: ModelConfig, outputs: Outputs | None
) -> Iterator[Callable[[SlideRef, SlideResult], Future[Any]] | None]:
    """Processes of this machine that draw, as Matplotlib does one thing at a time; None without `outputs`."""
    if outputs is None:
        yield None
        return
    from wsi_idc.export.outputs import write_outputs_apart

    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        try:
            yield lambda ref, result: pool.submit(
                write_outputs_apart, ref, result.scores, config, outputs, result.folder
            )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Teller:
    """Tells the user how far a cohort is."""

    def __init__(self, bar: Bar, slides: int, known: set[str], started: float, quiet: bool, drawn: bool) -> None:
        self._bar, self._slides, self._known, self._started = bar, slides, known, started
        self._plain = not quiet and not console.is_terminal
        self._drawn = drawn
        self._ended = self._patches = 0

    def found(self, name: str, count: int) -> None:
        if name not in self._known:
            self._bar.grow(count)

    def patches(self, count: int) -> None:
        self._patches += count
        self._bar.advance(count)

    def slide(self, outcome: Outcome) -> None:
        self._ended += 1
        text = f"{self._ended:,} of {self._slides:,} slides, {outcome.name}"
        self._bar.describe(text)
        if self._plain:
            speed = self._patches / max(monotonic() - self._started, 1e-3)
            console.print(
                printable(f"{text}: {outcome.error or 'done'} ({self._patches:,} patches so far, {speed:,.0f}/s)"),
                markup=False,
            )
        if outcome.result is not None:
            click.echo(outcome.result.folder / "heatmap.png" if self._drawn else outcome.result.scores_path)

    def wait(self, holder: str) -> None:
        self._bar.describe(f"Waiting for {holder}")


def _draw_confusion(scores: Sequence[Any], config: ModelConfig, ended: Sequence[Outcome], out: Path) -> None:
    """The confusion matrix over all labelled patches, or none where there is none."""
    from wsi_idc.evaluation.cohort import pooled_metrics
    from wsi_idc.views.confusion import save_confusion

    path = out / "confusion.png"
    metrics = pooled_metrics(scores)
    if metrics is None:
        path.unlink(missing_ok=True)
        return
    phantom = any(outcome.kind == "phantom" for outcome in ended)
    labelled = sum(one.metrics is not None for one in scores)
    named = f"{config.name} {config.sha256[:8]}"
    save_confusion(metrics, path, f"{labelled:,} slides", named, phantom=phantom)


def _report(ended: Sequence[Outcome], config: ModelConfig) -> int:
    """Say what was odd, and in the last lines each slide that failed or has patches that could not be scored."""
    seen = [outcome.name for outcome in ended if outcome.name in config.has_seen]
    if seen:
        warn(f"the model was trained or tuned on {len(seen):,} of these cases: their figures flatter")
    list_problems((problem for one in ended if one.result for problem in one.result.oddities), "all in run.json")
    bad = []
    for one in ended:
        if one.result is None:
            bad.append(Problem(one.name, one.error))
        elif one.result.unreadable:
            reason = f"{len(one.result.unreadable):,} of {len(one.result.scores):,} patches could not be scored"
            bad.append(Problem(one.name, f"{reason}, the first: {one.result.unreadable[0]}"))
    for problem in bad:
        warn(str(problem))
    return INCOMPLETE if bad else DONE
