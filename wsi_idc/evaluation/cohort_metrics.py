"""A cohort in two files: ``summary.csv``, a row per slide, and ``metrics.json`` over all labelled patches."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wsi_idc._util.files import replacing_text, write_json
from wsi_idc.errors import printable
from wsi_idc.evaluation.bootstrap import class_intervals
from wsi_idc.evaluation.evaluate import Evaluation, pooled_figures
from wsi_idc.metrics import ClassMetrics, Metrics, add_class_counts
from wsi_idc.naming import cell_text, text_cell, visible
from wsi_idc.scoring.scores import Scores
from wsi_idc.source import Problem

SUMMARY_FILE = "summary.csv"

_FIRST_COLUMNS = ("slide", "status", "patches", "unreadable", "positives", "cautions", "tissue_mm2", "idc_mm2")
_LAST_COLUMNS = ("seconds", "error")
_METRIC_COLUMNS = tuple(field.name for field in fields(Metrics) if field.name not in (*_FIRST_COLUMNS, *_LAST_COLUMNS))
SUMMARY_COLUMNS = (*_FIRST_COLUMNS, *_METRIC_COLUMNS, *_LAST_COLUMNS)

AREA_DECIMALS = 6
"""Of mm² in ``summary.csv``: to the µm²."""

SECONDS_DECIMALS = 3

Status = Literal["ok", "partial", "no tissue", "failed"]


@dataclass(frozen=True)
class SlideSummary:
    """What became of one slide of a cohort. Of a failed one no figure is known.

    Attributes
    ----------
    slide : str
    status : str
        "ok", "partial" where some patch is unreadable, "no tissue" where there is no patch, or "failed".
    patches, unreadable : int or None
        All patches, and those without a probability.
    positives : int or None
        Patches called IDC.
    tissue_mm2, idc_mm2 : float or None
        Area of the patches with a probability, and of those called IDC, in mm².
    metrics : Metrics or None
        Over the labelled patches, where there are any.
    seconds : float or None
        What the slide took.
    error : str
        The reason for any other status than "ok", else empty.
    cautions : tuple of str
        Codes of why the results must be taken with caution.
    """

    slide: str
    status: Status
    patches: int | None
    unreadable: int | None
    positives: int | None
    tissue_mm2: float | None
    idc_mm2: float | None
    metrics: Metrics | None
    seconds: float | None
    error: str
    cautions: tuple[str, ...] = ()


def summarise(
    scores: Scores,
    mpp: tuple[float, float],
    seconds: float | None,
    unreadable: Sequence[Problem] = (),
    cautions: Sequence[str] = (),
) -> SlideSummary:
    """Sum up a slide that was scored.

    Parameters
    ----------
    scores : Scores
    mpp : tuple of float
        Scale of level 0 along x and y in µm/px.
    seconds : float or None
        What the slide took.
    unreadable : sequence of Problem
        Why patches have no probability; the first is told.
    cautions : sequence of str
        Codes.
    """
    lost = int((~scores.readable).sum())
    status, error = _outcome(len(scores), lost, unreadable)
    tissue, idc = scores.areas_mm2(mpp)
    return SlideSummary(
        scores.slide,
        status,
        patches=len(scores),
        unreadable=lost,
        positives=int(scores.pred.sum()),
        tissue_mm2=tissue,
        idc_mm2=idc,
        metrics=scores.metrics,
        seconds=seconds,
        error=error,
        cautions=tuple(cautions),
    )


def _outcome(patches: int, lost: int, reasons: Sequence[Problem]) -> tuple[Status, str]:
    """Status of a scored slide, and the reason for it."""
    if not patches:
        return "no tissue", "no tissue was found"
    if not lost:
        return "ok", ""
    told = f", the first: {reasons[0].reason}" if reasons else ""
    return "partial", f"{lost:,} of {patches:,} patches cannot be read{told}"


def failed(slide: str, reason: str, seconds: float | None = None) -> SlideSummary:
    """Sum up a slide that could not be scored, by the name it has in the cohort."""
    return SlideSummary(slide, "failed", None, None, None, None, None, None, seconds, reason)


def write_summary(path: Path, rows: Iterable[SlideSummary]) -> None:
    """Write ``summary.csv``, atomically: rows in the order given, empty cells where nothing is defined."""
    with replacing_text(path) as file:
        writer = csv.DictWriter(file, SUMMARY_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(_cells, rows))


def merge_summary(path: Path, rows: Iterable[SlideSummary], slides: Sequence[str]) -> bool:
    """Put rows into a ``summary.csv``, atomically, and keep those of the other slides.

    Parameters
    ----------
    path : Path
        A table that is missing, or no such table, holds no row.
    rows : iterable of SlideSummary
        They replace rows of the same slides.
    slides : sequence of str
        Names of all slides whose rows are kept, in the order of the rows.

    Returns
    -------
    bool
        Whether the table says anything else than before, but for ``seconds``.
    """
    before = read_summary(path)
    now = before | {visible(row.slide): _written(row) for row in rows}
    order = [name for name in map(visible, slides) if name in now]
    with replacing_text(path) as file:
        writer = csv.DictWriter(file, SUMMARY_COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(now[name] for name in order)
    return order != list(before) or any(_but_seconds(now[name]) != _but_seconds(before[name]) for name in order)


def read_summary(path: Path) -> dict[str, Mapping[str, str]]:
    """Rows of a ``summary.csv`` by slide; none where it is missing or no such table."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {cell_text(row["slide"]): row for row in csv.DictReader(file) if row.get("slide")}
    except (OSError, ValueError, KeyError, csv.Error):
        return {}


def _written(row: SlideSummary) -> dict[str, str]:
    """The cells of a row as they are read back."""
    return {name: "" if cell is None else str(cell) for name, cell in _cells(row).items()}


def _but_seconds(row: Mapping[str, str]) -> dict[str, str]:
    return {name: row.get(name) or "" for name in SUMMARY_COLUMNS if name != "seconds"}


def _cells(row: SlideSummary) -> dict[str, object]:
    figures = {} if row.metrics is None else row.metrics.as_dict()
    return {
        "slide": text_cell(row.slide),
        "status": row.status,
        "patches": row.patches,
        "unreadable": row.unreadable,
        "positives": row.positives,
        "cautions": " ".join(row.cautions),
        "tissue_mm2": _rounded(row.tissue_mm2, AREA_DECIMALS),
        "idc_mm2": _rounded(row.idc_mm2, AREA_DECIMALS),
        **{name: figures.get(name) for name in _METRIC_COLUMNS},
        "seconds": _rounded(row.seconds, SECONDS_DECIMALS),
        "error": text_cell(printable(row.error)),
    }


def _rounded(value: float | None, decimals: int) -> float | None:
    return None if value is None else round(value, decimals)


def write_cohort_metrics(path: Path, scores: Sequence[Scores]) -> dict[str, Any] | None:
    """Write ``metrics.json`` over all labelled patches of a cohort, atomically.

    Parameters
    ----------
    path : Path
        A file there is removed where nothing is labelled.
    scores : sequence of Scores
        Slides of different names, called at one threshold; their order changes nothing but the order of ``per_case``.

    Returns
    -------
    dict or None
        What was written: the figures of `Metrics`, ``cases``, ``ece``, ``ci`` (over slides) and ``per_case``, and of
        several classes those of `ClassMetrics`; None where nothing is labelled.

    Raises
    ------
    ValueError
        Where the slides were called at different thresholds.
    """
    evaluation = _pool(scores)
    if evaluation is None:
        path.unlink(missing_ok=True)
        return None
    per_case = {of.slide: of.metrics_json for of in scores if of.metrics_json is not None}
    written = pooled_figures(evaluation, per_case)
    of_classes = _class_metrics(scores)
    if of_classes:
        counts = np.array([one.counts for one in of_classes], dtype=np.int64)
        written |= add_class_counts(of_classes).as_dict()
        written["ci"] = evaluation.intervals | class_intervals(counts)
    write_json(path, written)
    return written


def pooled_metrics(scores: Sequence[Scores]) -> Metrics | None:
    """Figures over all labelled patches of a cohort, None where there is none; see `write_cohort_metrics`."""
    evaluation = _pool(scores)
    return None if evaluation is None else evaluation.metrics


def pooled_class_metrics(scores: Sequence[Scores]) -> ClassMetrics | None:
    """Figures of several classes over all patches whose class is labelled, None where there is none.

    None, too, where such slides were scored by models of different classes.
    """
    of_classes = _class_metrics(scores)
    return add_class_counts(of_classes) if of_classes else None


def _class_metrics(scores: Sequence[Scores]) -> list[ClassMetrics]:
    """Of each slide that has them, by name; none where their classes differ."""
    ordered = sorted(scores, key=lambda of: of.slide)
    found = [of.class_metrics for of in ordered if of.class_metrics is not None]
    return found if len({one.names for one in found}) == 1 else []


def _pool(scores: Sequence[Scores]) -> Evaluation | None:
    """The labelled patches of these slides, if any; the case of each is its slide's rank among the sorted names.

    A rank takes a few bytes a patch where a path takes hundreds, and leaves the intervals what they are by name.
    """
    ordered = sorted((of for of in scores if of.labelled.any()), key=lambda of: of.slide)
    if not ordered:
        return None
    thresholds = sorted({of.threshold for of in ordered})
    if len(thresholds) > 1:
        raise ValueError(f"slides called at different thresholds, {thresholds}, have no figures in common")
    digits = len(str(len(ordered)))
    ranks = np.array([f"{rank:0{digits}}" for rank in range(len(ordered))])
    return Evaluation(
        case=np.repeat(ranks, [int(of.labelled.sum()) for of in ordered]),
        label=np.concatenate([of.label[of.labelled] for of in ordered]),
        prob=np.concatenate([of.prob[of.labelled] for of in ordered]),
        threshold=thresholds[0],
    )
