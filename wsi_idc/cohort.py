"""Many slides into one results folder: what ``score all`` and ``heatmap all`` do.

What is heavy is imported when it is needed, so that a data set that is not there is known at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from wsi_idc._util.files import DEFAULT_OUT, DISK_FULL, make_folder
from wsi_idc._util.worker_pool import Helpers
from wsi_idc.errors import OptionError, WsiIdcError
from wsi_idc.geometry import step_of
from wsi_idc.io.staging import SlideCache
from wsi_idc.io.stores import Store, folder_url, is_url, without_secrets
from wsi_idc.model.config import DEFAULT_BATCH, ModelConfig
from wsi_idc.model.neighbourhood import Context
from wsi_idc.scoring.array_jobs import Shard, parse_shard
from wsi_idc.scoring.gpus import batch_by_memory, choose_gpus, find_gpus, gpus_hidden
from wsi_idc.scoring.handles import CaseRef, FileRef, RefusedRef, RemoteRef, SlideOptions, SlideRef
from wsi_idc.source import Problem

if TYPE_CHECKING:
    from wsi_idc.evaluation.cohort_metrics import SlideSummary
    from wsi_idc.export.outputs import Outputs
    from wsi_idc.scoring.engine import Outcome
    from wsi_idc.scoring.results import SlideResult

Layout = Literal["wsi-idc", "wsinfer"]
Step = Literal["find", "load", "score", "sum up", "report"]


class Watcher:
    """Receives the progress of a cohort and ignores it: derive from it to show progress."""

    def step(self, name: Step, slides: int = 0, patches: int = 0) -> AbstractContextManager[object]:
        """Entered for as long as a step takes, which is about so many slides and, as far as is known, patches."""
        return nullcontext()

    def left_out(self, folder: Path | str, files: int) -> None:
        """So many files under a folder are no slides."""

    def shard(self, shard: Shard, slides: int, of: int) -> None:
        """Only so many slides are scored, of all that were found."""

    def chosen(self, names: Sequence[str]) -> None:
        """These slides are to be scored: last moment to put what is finished of them into the results folder."""

    def more(self, patches: int) -> None:
        """There are so many more patches than was known."""

    def patches(self, count: int) -> None:
        """So many more patches are done."""

    def slide(self, outcome: Outcome) -> None:
        """A slide has ended."""

    def wait(self, holder: str) -> None:
        """Another run is at work on the slides that are left, and is waited for."""

    def reported(self, done: int, total: int) -> None:
        """So many slides of the results folder have been read for its report."""


@dataclass(frozen=True, eq=False)
class ScoredCohort:
    """How a cohort ended.

    Attributes
    ----------
    out : Path
        The results folder.
    outcomes : tuple of Outcome
        One a slide, in the order of the data set, the folder and the manifest: its `result` has the scores, and is None
        where the slide failed. Of a shard only its own.
    summary : tuple of SlideSummary
        The rows of ``summary.csv``, in the same order.
    model : ModelConfig
    report : Path or None
        ``report.html``; None where it could not be made, and of a shard.
    problems : tuple of Problem
        Each slide that failed or has patches that could not be scored, and the report if it could not be made.
    """

    out: Path
    outcomes: tuple[Outcome, ...]
    summary: tuple[SlideSummary, ...]
    model: ModelConfig
    report: Path | None
    problems: tuple[Problem, ...]

    def __repr__(self) -> str:
        return f"ScoredCohort({str(self.out)!r}, {len(self.outcomes):,} slides, {len(self.problems):,} problems)"

    def _repr_html_(self) -> str:
        """What a notebook shows: a row per slide, and where the report lies."""
        from wsi_idc.scoring.notebook import table_html

        rows = [
            {
                "slide": row.slide,
                "status": row.status,
                "patches": row.patches,
                "IDC, mm²": row.idc_mm2,
                "AUC": row.metrics and row.metrics.auc,
            }
            for row in self.summary
        ]
        return table_html(rows, f"{self!r}; report: {self.report}")


def score_cohort(
    data: str | Path | None = None,
    out: str | Path = DEFAULT_OUT,
    *,
    slides: str | Path | None = None,
    leave_out: str = "",
    manifest: str | Path | None = None,
    cache: SlideCache | None = None,
    reading: SlideOptions | None = None,
    model: str | Path | None = None,
    allow_code: bool = False,
    class_name: str | None = None,
    threshold: float | None = None,
    context: Context = None,
    batch_size: int | None = None,
    layout: Layout = "wsi-idc",
    restart: bool = False,
    shard: Shard | str | None = None,
    outputs: Outputs | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    gpus: str | None = None,
    command: Sequence[str] = (),
    watch: Watcher | None = None,
) -> ScoredCohort:
    """Score many slides into one results folder, sum them up, and make a page over them.

    What is finished there is kept, so that an interrupted call is given again. A slide that fails ends none of the
    others.

    Parameters
    ----------
    data : path or "demo", optional
        IDC patches in a folder, a zip or a patch store. By default, where neither `slides` nor `manifest` is given,
        what ``WSI_IDC_DATA`` names or was downloaded.
    out : path
        Each slide's files stand in ``out/<slide>/``, those of the cohort in `out` itself.
    slides : path, optional
        Score the raw slides under this folder, or under an address: ``s3://``, ``gs://`` or ``az://``.
    leave_out : str
        With `slides` under an address: another, below which there are results and no slides.
    manifest : path, optional
        Score the slides of this CSV: ``path``, and where wanted ``name``, ``mpp`` and ``labels``.
    cache : SlideCache, optional
        Where slides of stores are kept while they are read.
    reading : SlideOptions, optional
        How raw slides are read.
    model : path, optional
        As in `load_model`; by default the bundled one.
    allow_code : bool
        Run a model that is a TorchScript program, here and on workers.
    class_name : str, optional
        The class of the model that maps show and calls follow; by default what its ``.json`` says.
    threshold : float, optional
        A patch is called IDC from this probability (0-1) on; by default the model's own.
    context : float or "learned", optional
        What the calls follow beside each patch itself: sigma, in patches, of a blur over its scored neighbours, or what
        the model has learned of them.
    batch_size : int, optional
        Patches given to the network at once; by default 256, and with `gpus` what half of their memory holds.
    layout : str
        ``wsinfer``: lay the scores out as that does, too.
    restart : bool
        Score again whatever is there.
    shard : Shard or str, optional
        Score only a part of the slides, ``2/8`` or ``auto`` (`parse_shard`), as one task of an array job. Its rows are
        put into ``summary.csv``; what takes the scores of all slides is left to `sum_up_results` and `write_report`.
    outputs : Outputs, optional
        Draw each slide, too, as ``heatmap`` does; by default slides are only scored.
    workers : int, optional
        Threads that read; by default as many as processors.
    scheduler : str, optional
        Address of a running dask scheduler, ``tcp://host:8786``.
    gpus : str, optional
        Numbers of GPUs of this machine, ``0,1``, or ``all``: a process for each scores on it. This process loads the
        model on the processors then.
    command : sequence of str
        For ``run.json``.
    watch : Watcher, optional
        Receives progress.

    Raises
    ------
    DataNotFoundError, NotIdcDataError, SlideError
        Where there is nothing to score.
    OptionError
        Where a value cannot be used, two slides have one name, or no scheduler answers.
    ModelError
        Where the model cannot be run.
    OutputError
        Where `out` cannot be written.
    OSError
        Where the disk is full; finished slides are whole.
    """
    from wsi_idc.model.locating import fetched
    from wsi_idc.scoring.scores import check_steps

    if is_url(str(out)):
        raise OptionError(
            f"{without_secrets(str(out))} is no folder: the command line alone writes results to a store."
        )
    watch, out = watch or Watcher(), Path(out)
    model = None if model is None else fetched(model)
    part = parse_shard(shard) if isinstance(shard, str) else shard or Shard(1, 1)
    if gpus is not None and scheduler is not None:
        raise OptionError(
            "--gpus names GPUs of this machine: leave it out with --scheduler, whose workers have theirs."
        )
    devices = () if gpus is None else choose_gpus(gpus, find_gpus())
    with watch.step("find"):
        reading = (reading or SlideOptions()).for_model(model, class_name)
        check_steps(step_of(reading.patch, reading.overlap, reading.step) != reading.patch, context)
        everything, patches = find_refs(data, slides, manifest, reading, out, watch, cache, leave_out)
    if scheduler is not None and any(isinstance(ref, RemoteRef) for ref in everything):
        raise OptionError("Slides in stores are staged on this machine only: leave out --scheduler, or take --shard.")
    refs = part.select(everything)
    if shard is not None:
        watch.shard(part, len(refs), len(everything))
    make_folder(out)
    watch.chosen([ref.name for ref in refs])
    with watch.step("load"):
        from wsi_idc._util.lock import wait_lock
        from wsi_idc.model.classifier import bundled_model, load_model
        from wsi_idc.report.cohort_files import merge_shard
        from wsi_idc.scoring.cluster import connect
        from wsi_idc.scoring.engine import Cohort, Watch, check_devices
        from wsi_idc.scoring.scores import checked_context, checked_threshold

        with gpus_hidden() if devices else nullcontext():
            classifier = load_model(model, class_name, allow_code=allow_code)
        config = classifier.config
    checked_threshold(threshold, config.threshold)
    checked_context(context, config.context)
    if outputs is not None:
        outputs.check(config)
    if layout == "wsinfer":
        from wsi_idc.export.wsinfer import write_run_metadata

        write_run_metadata(out, config, model or bundled_model(), command)

    def found(name: str, count: int) -> None:
        if name not in patches:
            watch.more(count)

    with (
        connect(scheduler, workers, devices) as client,
        Helpers() as drawers,
        watch.step("score", len(refs), sum(patches.get(ref.name, 0) for ref in refs)),
    ):
        cohort = Cohort(
            client,
            refs,
            model,
            classifier,
            out,
            allow_code=allow_code,
            draw=_drawing(drawers, config, outputs),
            stop_drawing=drawers.kill,
            batch_size=batch_size or (batch_by_memory(devices, config.patch.size_px) if devices else DEFAULT_BATCH),
            watch=Watch(found, watch.patches, watch.slide, watch.wait),
            threshold=threshold,
            context=context,
            restart=restart,
            command=command,
        )
        if devices:
            check_devices(client, cohort.model)
        by_name = {outcome.name: outcome for outcome in cohort.run()}
    outcomes = tuple(by_name[ref.name] for ref in refs)
    with watch.step("sum up"), wait_lock(out, watch.wait):
        summary = tuple(map(_summarised, outcomes))
        if part.is_all:
            _write_cohort_files(summary, outcomes, config, out)
        else:
            merge_shard(out, summary, [ref.name for ref in everything])
        if layout == "wsinfer":
            _write_wsinfer(outcomes, out)
    report, unreported = _make_report(out, watch) if part.is_all else (None, [])
    problems = [problem for outcome in outcomes for problem in _problems(outcome)]
    return ScoredCohort(out, outcomes, summary, config, report, (*problems, *unreported))


def find_refs(
    data: str | Path | None,
    slides: str | Path | None,
    manifest: str | Path | None,
    reading: SlideOptions,
    out: Path,
    watch: Watcher,
    cache: SlideCache | None = None,
    leave_out: str = "",
) -> tuple[list[SlideRef], dict[str, int]]:
    """Everything that is to be scored, and how many patches the cases among it have."""
    from wsi_idc.datasets.opening import locate_data
    from wsi_idc.scoring.handles import dataset_of_run
    from wsi_idc.slides.discovery import SLIDE_ENDINGS, find_slides
    from wsi_idc.slides.manifest import read_manifest

    run = uuid4().hex
    refs: list[SlideRef] = []
    sizes: dict[str, int] = {}
    if data is not None or (slides is None and manifest is None):
        if reading.overlap or reading.step is not None:
            raise OptionError(
                "Cases of the IDC set come cut into patches side by side: leave out --overlap and --step, or name raw "
                "slides with --slides or --manifest."
            )
        path = str(locate_data(data).resolve())
        dataset = dataset_of_run(path, run)
        refs += [CaseRef(path, case, run) for case in dataset.cases]
        sizes = {case: len(dataset.labels(case)) for case in dataset.cases}
    if slides is not None and is_url(str(slides)):
        url = folder_url(str(slides))
        paths, others = Store(url).slides(SLIDE_ENDINGS, leave_out)
        if others:
            watch.left_out(without_secrets(url), others)
        cache = cache or SlideCache.of()
        refs += [RemoteRef(f"{url}/{path}", path, reading, run, cache) for path in paths]
    elif slides is not None:
        found = find_slides(Path(slides), leave_out=out)
        if found.others:
            watch.left_out(Path(slides), found.others)
        refs += [FileRef(slide.path.resolve(), slide.name, reading, run) for slide in found.slides]
    if manifest is not None:
        for row in read_manifest(Path(manifest)):
            own = reading if row.mpp is None else replace(reading, mpp=row.mpp)
            if row.wrong:
                refs.append(RefusedRef(row.name, row.wrong))
            elif row.url:
                cache = cache or SlideCache.of()
                refs.append(RemoteRef(row.url, row.name, own, run, cache))
            else:
                refs.append(FileRef(row.path.resolve(), row.name, own, run, row.labels and row.labels.resolve()))
    twice = [name for name, count in Counter(ref.name for ref in refs).items() if count > 1]
    if twice:
        raise OptionError(f"Two slides are called {twice[0]}: score them apart, each into an --out of its own.")
    return refs, sizes


def _drawing(
    drawers: Helpers, config: ModelConfig, outputs: Outputs | None
) -> Callable[[SlideRef, SlideResult], Future[Any]] | None:
    """How slides are drawn: in other processes, as most of drawing holds the GIL. None without `outputs`."""
    if outputs is None:
        return None
    from wsi_idc.export.outputs import write_outputs_apart

    return lambda ref, result: drawers.submit(write_outputs_apart, ref, result, config, outputs)


def _summarised(outcome: Outcome) -> SlideSummary:
    """The row of a slide."""
    from wsi_idc.evaluation.cohort_metrics import failed, summarise

    if outcome.result is None:
        return failed(outcome.name, outcome.error, outcome.seconds)
    codes = [caution.code for caution in outcome.result.cautions]
    return summarise(outcome.result.scores, outcome.mpp, outcome.seconds, outcome.result.unreadable, codes)


def _write_cohort_files(
    rows: Sequence[SlideSummary], outcomes: Sequence[Outcome], config: ModelConfig, out: Path
) -> None:
    """Write what is said of all slides together; the folder is locked."""
    from wsi_idc.report.cohort_files import write_cohort_files

    scores = [outcome.result.scores for outcome in outcomes if outcome.result is not None]
    phantom = any(outcome.kind == "phantom" for outcome in outcomes)
    write_cohort_files(out, rows, scores, f"{config.name} {config.sha256[:8]}", phantom=phantom)


def _write_wsinfer(outcomes: Sequence[Outcome], out: Path) -> None:
    from wsi_idc.export.wsinfer import write_wsinfer

    for outcome in outcomes:
        if outcome.result is not None:
            write_wsinfer(outcome.result.scores, out, outcome.origin_px)


def _make_report(out: Path, watch: Watcher) -> tuple[Path | None, list[Problem]]:
    """Make the page over all results in the folder. Where that fails, but for a full disk, the scores are whole."""
    from wsi_idc.report import REPORT_FILE, write_report

    try:
        with watch.step("report"):
            return write_report(out, on_slide=watch.reported, on_wait=watch.wait), []
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        said = str(error) if isinstance(error, WsiIdcError) else f"{type(error).__name__}: {error}"
        reason = f"the scores are whole, but no page could be made over them, run wsi-idc report to try again ({said})"
        return None, [Problem(REPORT_FILE, reason)]


def _problems(outcome: Outcome) -> Iterator[Problem]:
    """Why a slide is not scored whole, if it is not."""
    if outcome.result is None:
        yield Problem(outcome.name, outcome.error)
    elif outcome.result.unreadable:
        lost, scores = outcome.result.unreadable, outcome.result.scores
        yield Problem(
            outcome.name, f"{len(lost):,} of {len(scores):,} patches could not be scored, the first: {lost[0]}"
        )
