"""One page over a results folder: `write_report`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from wsi_idc._util.files import remove_unfinished, replacing_text
from wsi_idc._util.lock import wait_lock
from wsi_idc.errors import OptionError
from wsi_idc.naming import visible
from wsi_idc.report.entries import show
from wsi_idc.report.gather import find_results, read_results, read_summary
from wsi_idc.report.page import Shown, build_page
from wsi_idc.report.slide_file import write_slide_file
from wsi_idc.report.totals import Pool

REPORT_FILE = "report.html"
SINGLE_FILE = "report-single.html"


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
        Called after each slide with the number done and the total.
    on_wait : callable, optional
        Called with the holder of the folder's lock where it has to be waited for.

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
    remove_unfinished(out, path.name)
    rows = read_summary(out)
    pool = Pool()
    slides: list[Shown] = []
    for name, folder in chosen.items():
        results = read_results(name, folder, out, rows.get(name))
        if results.scores is not None:
            pool.add(results.scores)
        shown, data = show(results, embedded=embedded)
        if data is not None and not embedded:
            write_slide_file(folder, results.url, data)
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
