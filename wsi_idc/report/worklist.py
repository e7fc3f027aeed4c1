"""``review.csv``: what is worth a look in a results folder, ranked."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from wsi_idc._util.files import remove_unfinished, replacing_text
from wsi_idc.errors import DataNotFoundError
from wsi_idc.evaluation.review import PER_SLIDE, TOP, Reviewed, rank_looks
from wsi_idc.naming import text_cell
from wsi_idc.report.gather import find_results, read_results
from wsi_idc.scoring.corrections import corrected_boxes, read_corrections
from wsi_idc.scoring.scores import DECIMALS

REVIEW_FILE = "review.csv"
COLUMNS = ("slide", "minx", "miny", "width", "height", "prob_idc", "reason", "rank")


def write_review(
    out: str | Path,
    top: int = TOP,
    per_slide: int = PER_SLIDE,
    on_slide: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``review.csv`` into a results folder: see `rank_looks`.

    Patches that somebody corrected already are left out.

    Parameters
    ----------
    out : path
        Where ``score`` or ``heatmap`` wrote.
    top, per_slide : int
        Patches in all, and of a slide, at most.
    on_slide : callable, optional
        Called after each slide with the number read and the total.

    Returns
    -------
    Path
        The table.

    Raises
    ------
    DataNotFoundError
        Where the folder holds no finished results.
    CorrectionsError
        Where the corrections of a slide are damaged.
    OutputError
        Where the folder cannot be written.
    """
    out = Path(out)
    found = find_results(out)
    slides = list(_slides(out, found, on_slide))
    if not slides:
        raise DataNotFoundError(f"No slide in {out} is finished: run wsi-idc score or heatmap again.")
    path = out / REVIEW_FILE
    remove_unfinished(out, REVIEW_FILE)
    with replacing_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for rank, look in enumerate(rank_looks(slides, top, per_slide), 1):
            reason = "; ".join(look.reasons)
            writer.writerow([text_cell(look.slide), *look.box, f"{look.prob_idc:.{DECIMALS}f}", reason, rank])
    return path


def _slides(out: Path, found: dict[str, Path], on_slide: Callable[[int, int], None] | None) -> Iterator[Reviewed]:
    for done, (name, folder) in enumerate(found.items(), 1):
        results = read_results(name, folder, out, None)
        if results.scores is not None and results.run is not None:
            codes = tuple(caution.code for caution in results.run.cautions)
            yield Reviewed(results.scores, codes, corrected_boxes(read_corrections(folder)).keys())
        if on_slide:
            on_slide(done, len(found))
