"""Compare two results folders of the same slides: `compare`."""

from __future__ import annotations

import csv
import hashlib
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_idc._util.files import make_folder, replacing_text, write_json
from wsi_idc.errors import OptionError
from wsi_idc.evaluation.paired import Pair, overall, pair_scores, table_row
from wsi_idc.naming import text_cell, visible
from wsi_idc.plotting.caption import Caption
from wsi_idc.plotting.difference_map import Compared, save_difference
from wsi_idc.report.gather import Run, SlideResults, find_results, read_results
from wsi_idc.report.thumbnails import find_tissue
from wsi_idc.scoring.corrections import corrected_boxes, read_corrections
from wsi_idc.source import MppSource, SourceKind

TABLE_FILE, FIGURES_FILE = "compare.csv", "compare.json"
DEFAULT_OUT = Path("wsi-idc-compare")

_LONGEST_NAME = 120
"""Bytes of a picture's name before its ending: file systems take 255, and temporary names need some of them."""


def compare(
    a: str | Path,
    b: str | Path,
    out: str | Path = DEFAULT_OUT,
    on_slide: Callable[[int, int], None] | None = None,
) -> Path:
    """Compare two results folders of the same slides, as of two models or before and after corrections.

    Parameters
    ----------
    a, b : path
        Where ``score`` or ``heatmap`` wrote.
    out : path
        Folder for ``compare.csv``, a row a slide; ``compare.json``, over all, with intervals over slides for the
        differences; and a picture of each slide, with both maps and their difference.
    on_slide : callable, optional
        Called after each slide with the number done and the total.

    Returns
    -------
    Path
        ``compare.csv``.

    Raises
    ------
    DataNotFoundError
        Where a folder holds no results.
    OptionError
        Where there is no slide that both have scored, a slide was cut into other patches, or the slides of a folder
        were called at different thresholds.
    CorrectionsError
        Where the corrections of a slide are damaged.
    """
    folders = Path(a), Path(b)
    found = [find_results(folder) for folder in folders]
    names = [name for name in found[0] if name in found[1]]
    pairs, drawn = [], []
    for name in names:
        results = [read_results(name, of[name], folder, None) for of, folder in zip(found, folders, strict=True)]
        if all(one.scores is not None for one in results):
            pairs.append(_pair(results))
            drawn.append(name)
        else:
            missing = folders[0] if results[0].scores is None else folders[1]
            warnings.warn(f"Slide {name} is not finished in {missing}, so it is left out.", stacklevel=2)
    if not pairs:
        raise OptionError(
            f"{a} and {b} have no slide in common that is scored in both: name two results folders of the same slides."
        )
    figures = {"a": str(a), "b": str(b), **overall(pairs)}
    out = make_folder(Path(out))
    for done, (name, pair) in enumerate(zip(drawn, pairs, strict=True), 1):
        results = [read_results(name, of[name], folder, None) for of, folder in zip(found, folders, strict=True)]
        _draw(out / picture_name(name), results, pair, (str(a), str(b)))
        if on_slide:
            on_slide(done, len(pairs))
    write_json(out / FIGURES_FILE, figures)
    return _write_table(out / TABLE_FILE, pairs)


def picture_name(slide: str) -> str:
    """Name of a slide's picture, which leads into no other folder; another one for each slide."""
    slide = visible(slide)
    plain = "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in slide).lstrip(".")
    if plain != slide or len(slide.encode()) > _LONGEST_NAME:
        short = plain.encode()[:_LONGEST_NAME].decode(errors="ignore")
        plain = f"{short}-{hashlib.sha256(slide.encode()).hexdigest()[:8]}"
    return f"{plain}.png"


def _pair(results: list[SlideResults]) -> Pair:
    first, second = results
    assert first.scores is not None and second.scores is not None
    assert first.run is not None and second.run is not None
    if (first.run.size_px, first.run.mpp) != (second.run.size_px, second.run.mpp):
        raise OptionError(
            f"Slide {first.name!r} has another size or scale in the two folders: compare results of the same slides."
        )
    said = [one for results in (first, second) for one in read_corrections(results.folder)]
    return pair_scores(first.scores, second.scores, corrected_boxes(sorted(said, key=lambda one: one.when)))


def _write_table(path: Path, pairs: list[Pair]) -> Path:
    rows = [table_row(pair) for pair in pairs]
    with replacing_text(path) as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"slide": text_cell(str(row["slide"]))} for row in rows)
    return path


def _draw(path: Path, results: list[SlideResults], pair: Pair, names: tuple[str, str]) -> None:
    first, second = results
    assert first.scores is not None and second.scores is not None
    assert first.run is not None and second.run is not None
    scores = first.scores, second.scores
    tissue, factor = _tissue(results)
    place = {tuple(box): i for i, box in enumerate(pair.boxes.tolist())}
    boxes = np.column_stack([scores[0].minx, scores[0].miny, scores[0].width, scores[0].height])
    rows = np.array([place.get(tuple(box), -1) for box in boxes.tolist()], dtype=np.intp)
    change = np.append(pair.second - pair.first, np.nan)[rows]
    calls = np.append(pair.calls[1], False)[rows]
    save_difference(path, tissue, factor, scores, change, calls, _about(first.run, second.run, pair, names))


def _about(first: Run, second: Run, pair: Pair, names: tuple[str, str]) -> Compared:
    models = [_caption(run, pair.slide) for run in (first, second)]
    told = f"{len(pair):,} patches in both, {int(pair.gained.sum()):,} calls gained and {int(pair.lost.sum()):,} lost"
    if len(pair):
        told += f", mean |difference| {np.abs(pair.second - pair.first).mean():.3f}"
    return Compared(
        models[0].title,
        models[0].case,
        (f"A ({names[0]})", f"B ({names[1]})"),
        (models[0].model, models[1].model),
        first.mpp,
        first.nominal,
        first.kind == "phantom",
        told,
        pair,
        models[0].date,
    )


def _caption(run: Run, slide: str) -> Caption:
    kind: SourceKind = "phantom" if run.kind == "phantom" else "idc" if run.kind == "idc" else "slide"
    mpp_source: MppSource = "nominal" if run.nominal else "file"
    return Caption(slide, kind, run.model, run.sha256, mpp_source, run.version, date.today().isoformat())


def _tissue(results: list[SlideResults]) -> tuple[NDArray[np.uint8] | None, int]:
    """The slide, where one of both folders has its picture, and how far that is reduced."""
    for one in results:
        image = None if one.run is None else find_tissue(one.folder, one.run)[0]
        if image is not None:
            with suppress(OSError, ValueError, SyntaxError), Image.open(image.path) as opened:
                return np.asarray(opened.convert("RGB")), image.factor
    return None, 1
