"""What ``score all`` and ``heatmap all`` share."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
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
from wsi_idc.errors import OptionError, OutputError
from wsi_idc.io.remote_results import RemoteResults
from wsi_idc.io.staging import SlideCache
from wsi_idc.io.stores import without_secrets
from wsi_idc.scoring.array_jobs import Shard, parse_shard
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
    quiet, store = given.pop("quiet"), given.pop("store")
    cache = None if cache_dir is None and cache_gb is None else SlideCache.of(cache_dir, cache_gb)
    part = None if shard is None else parse_shard(shard)
    if store is not None and scoring.layout != "wsi-idc":
        raise OptionError("--layout wsinfer is written into a folder of this machine only: give --out a folder.")
    with nullcontext() if store is None else _results_of(store, cache or SlideCache.of(), part) as remote:
        if remote is not None:
            given["out"] = remote.folder
        shown = _Shown(given["out"], quiet, outputs is not None and outputs.pictures, remote)
        cohort = score_cohort(
            data,
            slides=slides,
            leave_out=store or "",
            manifest=manifest,
            cache=cache,
            reading=reading,
            workers=workers,
            scheduler=scheduler,
            gpus=gpus,
            shard=part,
            outputs=outputs,
            command=["wsi-idc", *map(without_secrets, sys.argv[1:])],
            watch=shown,
            **given,
        )
        kept = shown.finish()
    if cohort.report and not quiet and not kept:
        say(f"all slides on one page: {shown.told(cohort.report)}")
    code = _tell(cohort)
    if kept:
        warn(kept)
    return INCOMPLETE if kept else code


@contextmanager
def _results_of(store: str, cache: SlideCache, part: Shard | None) -> Iterator[RemoteResults]:
    """The results folder in a store; where the run ends early, what the local folder holds is named."""
    from wsi_idc.report.cohort_files import COHORT_FILES
    from wsi_idc.scoring.file_names import RUN_FILE, SLIDE_FILES

    own = "" if part is None or part.is_all else str(part)
    with RemoteResults(store, cache.folder, RUN_FILE, SLIDE_FILES, COHORT_FILES, own) as remote:
        try:
            yield remote
        except BaseException:
            if any(remote.folder.glob(f"**/{RUN_FILE}")):
                say(f"Finished slides that {remote.told} may lack are kept in {remote.folder}.")
            raise


class _Shown(Watcher):
    """Shows the user how far a cohort is."""

    def __init__(self, out: Path, quiet: bool, drawn: bool, remote: RemoteResults | None = None) -> None:
        self._out, self._quiet, self._drawn, self._remote = out, quiet, drawn, remote
        self._uploads: list[tuple[Path, Future[None]]] = []
        self._whole = True
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
        self._whole = shard.is_all
        if self._quiet:
            return
        told = f" ({shard.source})" if shard.source else ""
        how = f"wsi-idc report {self._out}" if self._remote is None else "the same command without --shard"
        then = "" if shard.is_all else f"; when all shards have ended, {how} sums up"
        say(f"{shard}{told}: {slides:,} of {of:,} slides{then}")

    def chosen(self, names: Sequence[str]) -> None:
        if self._remote is not None:
            self._remote.fetch(None if self._whole else names)

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
            if self._remote is None:
                self._print(made)
            else:
                self._uploads.append((made, self._remote.upload(outcome.name)))
            if not self._quiet:
                say_labels(outcome.result.labels)
        self._print_uploaded()

    def _print(self, made: Path) -> None:
        # The bar ends without a newline, and both may go to one terminal.
        with self._bar.away() if self._bar and sys.stdout.isatty() else nullcontext():
            print_path(self.told(made))

    def _print_uploaded(self) -> None:
        """Print what has been uploaded meanwhile."""
        ready = [one for one in self._uploads if one[1].done() and not one[1].exception()]
        for one in ready:
            self._uploads.remove(one)
            self._print(one[0])

    def told(self, made: Path) -> Path | str:
        """Where a file of the results is in the end."""
        return made if self._remote is None else self._remote.url_of(made)

    def finish(self) -> str:
        """Upload what is not yet in the store; why something is not, and where it is kept, if that is so."""
        if self._remote is None:
            return ""
        wait([uploading for _, uploading in self._uploads])
        self._print_uploaded()
        try:
            self._remote.finish(whole=self._whole)
        except OutputError as error:
            return f"results are kept in {self._remote.folder}, as {error}"
        for made, _ in self._uploads:
            self._print(made)
        return ""

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
