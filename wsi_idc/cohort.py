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

from wsi_idc._util.files import DEFAULT_OUT, DISK_FULL, make_folder, remove_unfinished
from wsi_idc._util.worker_pool import Helpers
from wsi_idc.errors import OptionError, WsiIdcError
from wsi_idc.model.config import DEFAULT_BATCH, ModelConfig
from wsi_idc.scoring.handles import CaseRef, FileRef, RefusedRef, SlideOptions, SlideRef
from wsi_idc.source import Problem

if TYPE_CHECKING:
    from wsi_idc.evaluation.cohort_metrics import SlideSummary
    from wsi_idc.export.outputs import Outputs
    from wsi_idc.scoring.engine import Outcome
    from wsi_idc.scoring.results import SlideResult
    from wsi_idc.scoring.scores import Scores

_CONFUSION_FILE = "confusion.png"

Layout = Literal["wsi-idc", "wsinfer"]
Step = Literal["find", "load", "score", "sum up", "report"]


class Watcher:
    """Is told how far a cohort is, and keeps it to itself: derive from it to show it."""

    def step(self, name: Step, slides: int = 0, patches: int = 0) -> AbstractContextManager[object]:
        """Entered for as long as a step takes, which is about so many slides and, as far as is known, patches."""
        return nullcontext()

    def left_out(self, folder: Path, files: int) -> None:
        """So many files under a folder are no slides."""

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
        where the slide failed.
    summary : tuple of SlideSummary
        The rows of ``summary.csv``, in the same order.
    model : ModelConfig
    report : Path or None
        ``report.html``; None where it could not be made.
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
    manifest: str | Path | None = None,
    reading: SlideOptions | None = None,
    model: str | Path | None = None,
    class_name: str | None = None,
    threshold: float | None = None,
    context: float | None = None,
    batch_size: int = DEFAULT_BATCH,
    layout: Layout = "wsi-idc",
    restart: bool = False,
    outputs: Outputs | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
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
        Score the raw slides under this folder.
    manifest : path, optional
        Score the slides of this CSV: ``path``, and where wanted ``name``, ``mpp`` and ``labels``.
    reading : SlideOptions, optional
        How raw slides are read.
    model : path, optional
        A ``.keras`` or ``.onnx`` file with its ``.json``; by default the bundled one.
    class_name : str, optional
        The class of the model that maps show and calls follow; by default what its ``.json`` says.
    threshold : float, optional
        A patch is called IDC from this probability (0-1) on; by default the model's own.
    context : float, optional
        Sigma, in patches, of the blur over scored neighbours that the calls follow.
    batch_size : int
        Patches given to the network at once.
    layout : str
        ``wsinfer``: lay the scores out as that does, too.
    restart : bool
        Score again whatever is there.
    outputs : Outputs, optional
        Draw each slide, too, as ``heatmap`` does; by default slides are only scored.
    workers : int, optional
        Threads that read; by default as many as processors.
    scheduler : str, optional
        Address of a running dask scheduler, ``tcp://host:8786``.
    command : sequence of str
        For ``run.json``.
    watch : Watcher, optional
        Told of progress.

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
    from wsi_idc.model.classifier import model_patch

    watch, out = watch or Watcher(), Path(out)
    model = None if model is None else Path(model)
    with watch.step("find"):
        reading = replace(reading or SlideOptions(), patch=model_patch(model))
        refs, patches = find_refs(data, slides, manifest, reading, out, watch)
    make_folder(out)
    with watch.step("load"):
        from wsi_idc._util.lock import wait_lock
        from wsi_idc.export.wsinfer import write_run_metadata
        from wsi_idc.model.classifier import bundled_model, load_model
        from wsi_idc.scoring.cluster import connect
        from wsi_idc.scoring.engine import Cohort, Watch
        from wsi_idc.scoring.scores import checked_context, checked_threshold

        classifier = load_model(model, class_name)
        config = classifier.config
    checked_threshold(threshold, config.threshold)
    checked_context(context)
    if layout == "wsinfer":
        write_run_metadata(out, config, model or bundled_model(), command)

    def found(name: str, count: int) -> None:
        if name not in patches:
            watch.more(count)

    with (
        connect(scheduler, workers) as client,
        Helpers() as drawers,
        watch.step("score", len(refs), sum(patches.values())),
    ):
        cohort = Cohort(
            client,
            refs,
            model,
            classifier,
            out,
            draw=_drawing(drawers, config, outputs),
            stop_drawing=drawers.kill,
            batch_size=batch_size,
            watch=Watch(found, watch.patches, watch.slide, watch.wait),
            threshold=threshold,
            context=context,
            restart=restart,
            command=command,
        )
        by_name = {outcome.name: outcome for outcome in cohort.run()}
    outcomes = tuple(by_name[ref.name] for ref in refs)
    with watch.step("sum up"), wait_lock(out, watch.wait):
        summary = _sum_up(outcomes, config, out, layout)
    report, unreported = _make_report(out, watch)
    problems = [problem for outcome in outcomes for problem in _problems(outcome)]
    return ScoredCohort(out, outcomes, summary, config, report, (*problems, *unreported))


def find_refs(
    data: str | Path | None,
    slides: str | Path | None,
    manifest: str | Path | None,
    reading: SlideOptions,
    out: Path,
    watch: Watcher,
) -> tuple[list[SlideRef], dict[str, int]]:
    """Everything that is to be scored, and how many patches the cases among it have."""
    from wsi_idc.datasets.opening import locate_data
    from wsi_idc.scoring.handles import dataset_of_run
    from wsi_idc.slides.discovery import find_slides
    from wsi_idc.slides.manifest import read_manifest

    run = uuid4().hex
    refs: list[SlideRef] = []
    sizes: dict[str, int] = {}
    if data is not None or (slides is None and manifest is None):
        path = str(locate_data(data).resolve())
        dataset = dataset_of_run(path, run)
        refs += [CaseRef(path, case, run) for case in dataset.cases]
        sizes = {case: len(dataset.labels(case)) for case in dataset.cases}
    if slides is not None:
        found = find_slides(Path(slides), leave_out=out)
        if found.others:
            watch.left_out(Path(slides), found.others)
        refs += [FileRef(slide.path.resolve(), slide.name, reading, run) for slide in found.slides]
    if manifest is not None:
        refs += [
            RefusedRef(row.name, row.wrong)
            if row.wrong
            else FileRef(
                row.path.resolve(),
                row.name,
                reading if row.mpp is None else replace(reading, mpp=row.mpp),
                run,
                row.labels and row.labels.resolve(),
            )
            for row in read_manifest(Path(manifest))
        ]
    twice = [name for name, count in Counter(ref.name for ref in refs).items() if count > 1]
    if twice:
        raise OptionError(f"Two slides are called {twice[0]}: score them apart, each into an --out of its own.")
    return refs, sizes


def _drawing(
    drawers: Helpers, config: ModelConfig, outputs: Outputs | None
) -> Callable[[SlideRef, SlideResult], Future[Any]] | None:
    """How slides are drawn: in other processes, as Matplotlib does one thing at a time. None without `outputs`."""
    if outputs is None:
        return None
    from wsi_idc.export.outputs import write_outputs_apart

    return lambda ref, result: drawers.submit(write_outputs_apart, ref, result, config, outputs)


def _sum_up(outcomes: Sequence[Outcome], config: ModelConfig, out: Path, layout: Layout) -> tuple[SlideSummary, ...]:
    """Write what is said of all slides together; the folder is locked."""
    from wsi_idc.evaluation.cohort_metrics import SUMMARY_FILE, failed, summarise, write_cohort_metrics, write_summary
    from wsi_idc.export.wsinfer import write_wsinfer
    from wsi_idc.scoring.results import METRICS_FILE

    for name in (SUMMARY_FILE, METRICS_FILE, _CONFUSION_FILE):
        remove_unfinished(out / name)
    rows = tuple(
        failed(outcome.name, outcome.error, outcome.seconds)
        if outcome.result is None
        else summarise(
            outcome.result.scores,
            outcome.mpp,
            outcome.seconds,
            outcome.result.unreadable,
            [caution.code for caution in outcome.result.cautions],
        )
        for outcome in outcomes
    )
    write_summary(out / SUMMARY_FILE, rows)
    scores = [outcome.result.scores for outcome in outcomes if outcome.result is not None]
    write_cohort_metrics(out / METRICS_FILE, scores)
    _draw_confusion(scores, config, outcomes, out)
    if layout == "wsinfer":
        for outcome in outcomes:
            if outcome.result is not None:
                write_wsinfer(outcome.result.scores, out, outcome.origin_px)
    return rows


def _draw_confusion(scores: Sequence[Scores], config: ModelConfig, outcomes: Sequence[Outcome], out: Path) -> None:
    """The confusion matrix over all labelled patches, or none where there is none."""
    from wsi_idc.evaluation.cohort_metrics import pooled_metrics
    from wsi_idc.plotting.confusion import save_confusion

    path = out / _CONFUSION_FILE
    metrics = pooled_metrics(scores)
    if metrics is None:
        path.unlink(missing_ok=True)
        return
    phantom = any(outcome.kind == "phantom" for outcome in outcomes)
    labelled = sum(one.metrics is not None for one in scores)
    named = f"{config.name} {config.sha256[:8]}"
    classes = config.classes.negative_title, config.classes.title
    save_confusion(metrics, path, f"{labelled:,} slides", named, phantom=phantom, names=classes)


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
