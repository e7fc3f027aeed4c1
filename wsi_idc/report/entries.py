"""What a page shows and tells of one slide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wsi_idc.errors import CorrectionsError, printable
from wsi_idc.model.classes import Classes
from wsi_idc.naming import visible
from wsi_idc.plotting.class_map import class_colours
from wsi_idc.report.gather import Run, SlideResults
from wsi_idc.report.page import MOST_PROBLEMS, Shown, figures_of
from wsi_idc.report.slide_file import SlideData, make_slide_data
from wsi_idc.report.thumbnails import (
    UNREADABLE_MOSAIC,
    Thumbnails,
    TissueImage,
    embed_tissue,
    find_tissue,
    make_thumbnails,
)
from wsi_idc.report.tiles import slide_path
from wsi_idc.scoring.corrections import CORRECTIONS_FILE, Correction, read_corrections
from wsi_idc.scoring.file_names import RUN_FILE, SCORES_FILE, VIEWS

FILES = (*VIEWS, SCORES_FILE, RUN_FILE, CORRECTIONS_FILE)
"""What a slide's view links to, where it is there."""

SLIDE_INFO = "slide.json"
"""Where a served page asks for a slide's size and tiles, below the slide's address."""


def show(results: SlideResults, *, embedded: bool = False, live: bool = False) -> tuple[Shown, SlideData | None]:
    """Make what a page shows of a slide, and its patches; without them where it has no scores.

    Parameters
    ----------
    results : SlideResults
    embedded : bool
        Everything goes into the page.
    live : bool
        The page is served, with the slide's own pixels where its file is there.
    """
    scores, run = results.scores, results.run
    if scores is None or run is None:
        return Shown(results, Thumbnails(), _tell(results)), None
    tissue, why_none = find_tissue(results.folder, run)
    thumbnails = make_thumbnails(tissue, scores, run.kind == "phantom")
    if tissue is not None and thumbnails.tissue is None:
        tissue, why_none = None, UNREADABLE_MOSAIC
    has_tiles = live and slide_path(run) is not None
    if live and not has_tiles and run.kind != "idc":
        why_none = _why_no_tiles(run, tissue)
    data = make_slide_data(scores, *corrections_in(results.folder))
    view = {
        "stamp": data.stamp,
        "tissue": None if tissue is None else _tell_tissue(tissue, results.url, embedded),
        "whyNoTissue": "" if has_tiles else why_none,
        "info": f"{results.url}/{SLIDE_INFO}" if has_tiles else None,
        "grey": thumbnails.grey,
        "files": [] if embedded else [name for name in FILES if (results.folder / name).is_file()],
    }
    told = _tell(results) | {"view": view}
    return Shown(results, thumbnails, told, data.text if embedded else None), data


def corrections_in(folder: Path) -> tuple[Sequence[Correction], str]:
    """A slide's corrections, and what is wrong with their file: a damaged one ends no report."""
    try:
        return read_corrections(folder), ""
    except CorrectionsError as error:
        return (), visible(str(error))


def _why_no_tiles(run: Run, tissue: TissueImage | None) -> str:
    rest = "" if tissue is None else ", so a reduced picture is shown"
    return f"The slide's file {visible(run.path)} is not there{rest}: start wsi-idc view where that path leads to it."


def _tell_tissue(tissue: TissueImage, url: str, embedded: bool) -> dict[str, Any] | None:
    """Where the script finds the slide image, and its extent in level-0 pixels."""
    source = embed_tissue(tissue) if embedded else f"{url}/{quote(tissue.path.name)}"
    return {"src": source, "width": tissue.width * tissue.factor, "height": tissue.height * tissue.factor}


def _counts(results: SlideResults) -> list[int] | None:
    """True and false negatives and positives at the slide's own threshold, as tn, fp, fn, tp; None without labels."""
    metrics = results.summary.metrics
    return None if metrics is None else [metrics.tn, metrics.fp, metrics.fn, metrics.tp]


def tell_classes(classes: Classes) -> dict[str, Any]:
    """Name and colours of each class as the page takes them, where a model tells more than two apart."""
    if not classes.told_apart:
        return {}
    shown = [printable(visible(name)).replace("_", " ") for name in classes.names]
    colours = map(class_colours, range(len(shown)))
    return {
        "classes": [{"name": name, "rgb": rgb, "line": line} for name, (rgb, line) in zip(shown, colours, strict=True)]
    }


def _tell(results: SlideResults) -> dict[str, Any]:
    """What the page's script gets of any slide."""
    run, scores = results.run, results.scores
    told: dict[str, Any] = {
        "name": results.name,
        "url": results.url,
        "state": results.state,
        "error": results.error,
        "figures": figures_of(results.summary),
        "counts": _counts(results),
        "view": None,
    }
    if run is None or scores is None:
        return told
    problems = [str(problem) for problem in (*run.oddities, *run.unreadable)]
    return told | {
        "kind": run.kind,
        "mpp": run.mpp,
        "patchUm": run.patch.um,
        "unitUm": run.patch.mpp,
        "nominal": run.nominal,
        "trainedOnIt": run.trained_on_it,
        "model": f"{run.model} {run.sha256[:8]}",
        "version": run.version,
        "finished": run.finished,
        "threshold": scores.threshold,
        "positive": scores.classes.title,
        **tell_classes(scores.classes),
        "context": scores.called_in_context,
        "problems": problems[:MOST_PROBLEMS],
        "moreProblems": max(0, len(problems) - MOST_PROBLEMS),
    }
