"""What ``score all`` and ``heatmap all`` share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from wsi_idc.cli import DONE, INCOMPLETE
from wsi_idc.cli.console import (
    Bar,
    console,
    list_problems,
    loading,
    print_path,
    progress_bar,
    say,
    say_labels,
    say_waiting,
    warn,
)
from wsi_idc.cli.options import Scoring
from wsi_idc.cli.report import report_bar
from wsi_idc.cohort import ScoredCohort, Step, Watcher, score_cohort
from wsi_idc.errors import OptionError
from wsi_idc.io.staging import SlideCache
from wsi_idc.io.stores import without_secrets
from wsi_idc.scoring.array_jobs import Shard
from wsi_idc.scoring.handles import SlideOptions

if TYPE_CHECKING:
    from wsi_idc.export.outputs import Outputs
    from wsi_idc.scoring.engine import Outcome


def score_all(
    *,
    data: str | None,
    slides: Path | str | None,
    manifest: Path | None,
    cache_dir: Path | None = None,
    cache_gb: float | None = None,
    reading: SlideOptions,
    scoring: Scoring,
    workers: int | None,
    scheduler: str | None,
    gpus: str | None = None,
    shard: str | None = None,
    outputs: Outputs | None = None,
) -> int:
    """Score every slide that is named, on dask, and draw it where `outputs` are given; print a path for each."""
    if reading.label_classes and manifest is None:
        raise OptionError("--label-class goes with --manifest, whose column labels names the files with the outlines.")
    given = asdict(scoring)
    quiet = given.pop("quiet")
    cohort = score_cohort(
        data,
        slides=slides,
        manifest=manifest,
        cache=None if cache_dir is None and cache_gb is None else SlideCache.of(cache_dir, cache_gb),
        reading=reading,
        workers=workers,
        scheduler=scheduler,
        gpus=gpus,
        shard=shard,
        outputs=outputs,
        command=["wsi-idc", *map(without_secrets, sys.argv[1:])],
        watch=_Shown(scoring.out, quiet, outputs is not None and outputs.pictures),
        **given,
    )
    if cohort.report and not quiet:
        say(f"all slides on one page: {cohort.report}")
    return _tell(cohort)


class _Shown(Watcher):
    """Shows the user how far a cohort is."""

    def __init__(self, out: Path, quiet: bool, drawn: bool) -> None:
        self._out, self._quiet, self._drawn = out, quiet, drawn
        self._slides = self._ended = self._patches = 0
        self._started = monotonic()
        self._bar: Bar | None = None

    def step(self, name: Step, slides: int = 0, patches: int = 0) -> AbstractContextManager[object]:
        if name == "load":
            return loading(self._quiet)
        if name == "find":
            return self._barred(progress_bar("Looking for the slides", None, self._quiet))
        if name == "sum up":
            return self._barred(progress_bar("Summing up", None, self._quiet))
        if name == "report":
            return self._barred(report_bar(self._quiet))
        self._slides, self._started = slides, monotonic()
        return self._barred(progress_bar(f"0 of {slides} slides", patches, self._quiet))

    @contextmanager
    def _barred(self, bar: AbstractContextManager[Bar]) -> Iterator[None]:
        with bar as self._bar:
            yield

    def left_out(self, folder: Path | str, files: int) -> None:
        if not self._quiet:
            say(f"left out under {folder}: other files, {files:,}")

    def shard(self, shard: Shard, slides: int, of: int) -> None:
        if self._quiet:
            return
        told = f" ({shard.source})" if shard.source else ""
        then = "" if shard.is_all else f"; when all shards have ended, wsi-idc report {self._out} sums up"
        say(f"{shard}{told}: {slides:,} of {of:,} slides{then}")

    def more(self, patches: int) -> None:
        if self._bar:
            self._bar.grow(patches)

    def patches(self, count: int) -> None:
        self._patches += count
        if self._bar:
            self._bar.advance(count)

    def slide(self, outcome: Outcome) -> None:
        self._ended += 1
        text = f"{self._ended:,} of {self._slides:,} slides, {outcome.name}"
        if self._bar:
            self._bar.describe(text)
        if not self._quiet and not console.is_terminal:
            speed = self._patches / max(monotonic() - self._started, 1e-3)
            say(f"{text}: {outcome.error or 'done'} ({self._patches:,} patches so far, {speed:,.0f}/s)")
        if outcome.result is not None:
            made = outcome.result.sheet_path if self._drawn else outcome.result.scores_path
            # The bar ends without a newline, and both may go to one terminal.
            with self._bar.away() if self._bar and sys.stdout.isatty() else nullcontext():
                print_path(made)
            if not self._quiet:
                say_labels(outcome.result.labels)

    def wait(self, holder: str) -> None:
        say_waiting(holder)

    def reported(self, done: int, total: int) -> None:
        if self._bar:
            self._bar.show("Making the report", done, total)


def _tell(cohort: ScoredCohort) -> int:
    """Say what was odd, and in the last lines each slide that failed or has patches that could not be scored."""
    seen = [outcome.name for outcome in cohort.outcomes if outcome.name in cohort.model.has_seen]
    if seen:
        warn(f"the model was trained or tuned on {len(seen):,} of these cases: their metrics are optimistically biased")
    cautious = [outcome.name for outcome in cohort.outcomes if outcome.result and outcome.result.cautions]
    if cautious:
        warn(f"take {len(cautious):,} of {len(cohort.outcomes):,} slides with caution: see cautions in summary.csv")
    list_problems(
        (problem for one in cohort.outcomes if one.result for problem in one.result.oddities), "all in run.json"
    )
    for problem in cohort.problems:
        warn(str(problem))
    return INCOMPLETE if cohort.problems else DONE
