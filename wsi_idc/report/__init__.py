"""One page over a results folder: `write_report`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wsi_idc._util.files import remove_unfinished, replacing_text
from wsi_idc._util.lock import wait_lock
from wsi_idc.errors import OptionError
from wsi_idc.naming import visible
from wsi_idc.report.gather import SlideResults, find_results, read_results, read_summary
from wsi_idc.report.page import MOST_PROBLEMS, Shown, build_page, figures_of
from wsi_idc.report.slide_file import make_slide_data, write_slide_file
from wsi_idc.report.thumbnails import (
    UNREADABLE_MOSAIC,
    Thumbnails,
    TissueImage,
    embed_tissue,
    find_tissue,
    make_thumbnails,
)
from wsi_idc.report.totals import Pool
from wsi_idc.scoring.results import RUN_FILE, SCORES_FILE, VIEWS

REPORT_FILE = "report.html"
SINGLE_FILE = "report-single.html"

_FILES = (*VIEWS, SCORES_FILE, RUN_FILE)
"""What a slide's view links to, where it is there."""


def write_report(
    out: str | Path,
    single_file: Sequence[str] = (),
    on_slide: Callable[[int, int], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Path:
    """Write ``report.html`` over a results folder, and ``report.js`` into the folder of each slide.

    Slides are read one after the other; nine bytes of each labelled patch are kept, and no pixels but thumbnails. The
    same results give the same bytes.

    Parameters
    ----------
    out : Path
        Where ``score`` or ``heatmap`` wrote.
    single_file : sequence of str
        With names of slides: write ``report-single.html`` instead, which holds these slides whole and nothing of the
        others, so that it can be mailed.
    on_slide : callable, optional
        Told after each slide how many are done, and of how many.
    on_wait : callable, optional
        Told who is making a report of this folder, where that has to be waited for.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataNotFoundError
        Where the folder holds no results.
    OptionError
        Where a slide to embed is not among them.
    OutputError
        Where the folder cannot be written.
    """
    out = Path(out)
    found = find_results(out)
    chosen = _choose(found, single_file, out) if single_file else found
    with wait_lock(out, on_wait):
        return _write(out, chosen, bool(single_file), on_slide)


def _write(
    out: Path, chosen: dict[str, Path], embedded: bool, on_slide: Callable[[int, int], None] | None = None
) -> Path:
    """`write_report` of these slides, in a folder that is locked."""
    path = out / (SINGLE_FILE if embedded else REPORT_FILE)
    remove_unfinished(path)
    rows = read_summary(out)
    pool = Pool()
    slides: list[Shown] = []
    for name, folder in chosen.items():
        results = read_results(name, folder, out, rows.get(name))
        if results.scores is not None:
            pool.add(results.scores)
        shown = _show(results, embedded)
        slides.append(replace(shown, results=replace(results, scores=None)))
        if on_slide:
            on_slide(len(slides), len(chosen))
    title = visible(out.resolve().name)
    page = build_page(title, slides, pool.sum_up(out), pool.thresholds)
    with replacing_text(path) as file:
        file.write(page)
    return path


def _choose(found: dict[str, Path], names: Sequence[str], out: Path) -> dict[str, Path]:
    for name in names:
        if name not in found:
            near = get_close_matches(name, found, n=3, cutoff=0)
            raise OptionError(
                f"There is no slide {name!r} among the {len(found):,} of {out}: the nearest are {', '.join(near)}."
            )
    return {name: found[name] for name in dict.fromkeys(names)}


def _show(results: SlideResults, embedded: bool) -> Shown:
    """Make what the page shows of a slide, and the slide's own file unless it is to be embedded."""
    scores, run = results.scores, results.run
    if scores is None or run is None:
        return Shown(results, Thumbnails(), _tell(results))
    tissue, why_none = find_tissue(results.folder, run)
    thumbnails = make_thumbnails(tissue, scores, run.kind == "phantom")
    if tissue is not None and thumbnails.tissue is None:
        tissue, why_none = None, UNREADABLE_MOSAIC
    data = make_slide_data(scores)
    if not embedded:
        write_slide_file(results.folder, results.url, data)
    view = {
        "stamp": data.stamp,
        "tissue": None if tissue is None else _tell_tissue(tissue, results.url, embedded),
        "whyNoTissue": why_none,
        "grey": thumbnails.grey,
        "files": [] if embedded else [name for name in _FILES if (results.folder / name).is_file()],
    }
    return Shown(results, thumbnails, _tell(results) | {"view": view}, data.text if embedded else None)


def _tell_tissue(tissue: TissueImage, url: str, embedded: bool) -> dict[str, Any] | None:
    """Where the script finds the slide image, and its extent in level-0 pixels."""
    source = embed_tissue(tissue) if embedded else f"{url}/{quote(tissue.path.name)}"
    return {"src": source, "width": tissue.width * tissue.factor, "height": tissue.height * tissue.factor}


def _counts(results: SlideResults) -> list[int] | None:
    """True and false negatives and positives at the slide's own threshold, as tn, fp, fn, tp; None without labels."""
    metrics = results.summary.metrics
    return None if metrics is None else [metrics.tn, metrics.fp, metrics.fn, metrics.tp]


def _tell(results: SlideResults) -> dict[str, Any]:
    """What the script is told of any slide."""
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
        "context": scores.context,
        "problems": problems[:MOST_PROBLEMS],
        "moreProblems": max(0, len(problems) - MOST_PROBLEMS),
    }
