"""The files over all slides of a results folder: ``summary.csv``, ``metrics.json`` and ``confusion.png``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_idc._util.files import remove_unfinished
from wsi_idc._util.lock import wait_lock
from wsi_idc.evaluation.cohort_metrics import (
    SUMMARY_FILE,
    SlideSummary,
    failed,
    merge_summary,
    pooled_class_metrics,
    pooled_metrics,
    write_cohort_metrics,
    write_summary,
)
from wsi_idc.naming import cell_text
from wsi_idc.report.gather import SlideResults, find_results, number, read_results, read_summary
from wsi_idc.report.totals import commonest_first
from wsi_idc.scoring.file_names import METRICS_FILE
from wsi_idc.scoring.scores import Scores

_CONFUSION_FILE = "confusion.png"
COHORT_FILES = SUMMARY_FILE, METRICS_FILE, _CONFUSION_FILE


@dataclass(frozen=True)
class SummedUp:
    """What stands in the files over all slides.

    Attributes
    ----------
    path : Path
        ``summary.csv``.
    rows : tuple of SlideSummary
    unfinished : tuple of str
        Slides of the folder that have no row, as their results are missing or not whole.
    thresholds : tuple of float
        At which slides were called, the commonest first: ``metrics.json`` is at that one.
    """

    path: Path
    rows: tuple[SlideSummary, ...]
    unfinished: tuple[str, ...]
    thresholds: tuple[float, ...]


def write_cohort_files(
    out: Path, rows: Sequence[SlideSummary], scores: Sequence[Scores], model: str, *, phantom: bool
) -> None:
    """Write all three, in a folder that is locked.

    Parameters
    ----------
    out : Path
    rows : sequence of SlideSummary
        One a slide, those that failed among them.
    scores : sequence of Scores
        Of the slides that have any, called at one threshold; only labelled patches count.
    model : str
        Its name, for the picture.
    phantom : bool
        Whether any of the slides is synthetic.
    """
    from wsi_idc.plotting.confusion import save_class_confusion, save_confusion

    remove_unfinished(out, *COHORT_FILES)
    write_summary(out / SUMMARY_FILE, rows)
    write_cohort_metrics(out / METRICS_FILE, scores)
    path, metrics, of_classes = out / _CONFUSION_FILE, pooled_metrics(scores), pooled_class_metrics(scores)
    if metrics is None:
        path.unlink(missing_ok=True)
        return
    if of_classes is not None:
        labelled = sum(one.class_metrics is not None for one in scores)
        save_class_confusion(of_classes, path, f"{labelled:,} slides", model, phantom=phantom)
        return
    labelled, classes = sum(one.metrics is not None for one in scores), scores[0].classes
    names = classes.negative_title, classes.title
    save_confusion(metrics, path, f"{labelled:,} slides", model, phantom=phantom, names=names)


def merge_shard(out: Path, rows: Sequence[SlideSummary], cohort: Sequence[str]) -> None:
    """Put the rows of one shard into ``summary.csv``, in a folder that is locked.

    The other two files need the tables of all slides: `sum_up_results` makes them in the end. Until then there are
    none, as those of an earlier state would contradict the summary.

    Parameters
    ----------
    out : Path
    rows : sequence of SlideSummary
        Of this shard.
    cohort : sequence of str
        Names of all slides, in the order of the rows: rows of others are dropped, as where the cohort is not split.
    """
    remove_unfinished(out, *COHORT_FILES)
    if merge_summary(out / SUMMARY_FILE, rows, cohort):
        for name in (METRICS_FILE, _CONFUSION_FILE):
            (out / name).unlink(missing_ok=True)


def sum_up_results(
    out: str | Path,
    on_slide: Callable[[int, int], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> SummedUp:
    """Write ``summary.csv``, ``metrics.json`` and ``confusion.png`` over whatever results a folder holds.

    They are the same bytes that one run over all slides writes, however the slides were scored: one by one, in shards,
    or by several runs. Rows keep the order of the ``summary.csv`` that is there; the rest follow by name. Why a slide
    failed is taken from there, too.

    Parameters
    ----------
    out : path
        Where ``score`` or ``heatmap`` wrote.
    on_slide : callable, optional
        Called after each slide with the number read and the total.
    on_wait : callable, optional
        Called with the holder of the folder's lock where it has to be waited for.

    Raises
    ------
    DataNotFoundError
        Where the folder holds no results.
    OutputError
        Where it cannot be written.
    """
    out = Path(out)
    find_results(out)  # A folder without results is refused before anything is made in it.
    with wait_lock(out, on_wait):
        found, table = find_results(out), read_summary(out)
        place = {name: i for i, name in enumerate(table)}
        names = sorted(found, key=lambda name: place.get(name, len(place)))
        rows: list[SlideSummary] = []
        scores: list[Scores] = []
        unfinished: list[str] = []
        models, phantom = set(), False
        for done, name in enumerate(names, 1):
            results = read_results(name, found[name], out, table.get(name))
            row = _row(results, table.get(name))
            if row is None:
                unfinished.append(name)
            else:
                rows.append(row)
            if row is not None and row.status != "failed" and results.scores is not None and results.run is not None:
                # Unlabelled patches are most, and count for none of the files.
                scores.append(results.scores.of_labelled())
                models.add(f"{results.run.model} {results.run.sha256[:8]}")
                phantom = phantom or results.run.kind == "phantom"
            if on_slide:
                on_slide(done, len(names))
        thresholds = commonest_first(one.threshold for one in scores)
        at_one = [one.with_threshold(thresholds[0]) for one in scores]
        model = models.pop() if len(models) == 1 else f"{len(models)} models"
        write_cohort_files(out, rows, at_one, model, phantom=phantom)
    return SummedUp(out / SUMMARY_FILE, tuple(rows), tuple(unfinished), tuple(thresholds))


def _row(results: SlideResults, was: Mapping[str, str] | None) -> SlideSummary | None:
    """The row of a slide; None where it is unfinished."""
    if was is not None and was.get("status") == "failed":
        return failed(results.name, cell_text(was.get("error") or ""), number(was, "seconds"))
    return None if results.scores is None else results.summary
