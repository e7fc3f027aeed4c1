"""A results folder, read slide by slide for the report."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from wsi_idc._util.lock import LOCK_FILE
from wsi_idc.errors import DataNotFoundError, printable
from wsi_idc.evaluation import cohort_metrics
from wsi_idc.evaluation.cohort_metrics import SUMMARY_FILE, SlideSummary, failed, summarise
from wsi_idc.geometry import PatchSpec, plausible_mpp
from wsi_idc.naming import cell_text, visible
from wsi_idc.scoring.file_names import RUN_FILE, SCORES_FILE
from wsi_idc.scoring.run_json import UNSOUND, classes_of_run, context_in, read_run
from wsi_idc.scoring.scores import Scores, checked_threshold, read_scores
from wsi_idc.source import UNKNOWN, Caution, Problem

State = Literal["ok", "caution", "partial", "no tissue", "failed", "unfinished"]

WIDEST_PX = 2**25
"""No slide is as wide or high in level-0 pixels; the page's script counts on it."""


@dataclass(frozen=True)
class Run:
    """What ``run.json`` says of a slide, as far as the report tells it.

    Attributes
    ----------
    kind : str
        ``idc``, ``slide`` or ``phantom``.
    path : str
        The file or folder that was scored, as it was named.
    image : str or None
        Which of several images in that file.
    converted_to_srgb : bool
        Whether its colours were converted by its ICC profile.
    origin_px : tuple of int
        Where QuPath counts pixels from, x and y in pixels of level 0.
    mpp : tuple of float
        Scale of level 0 along x and y in µm/px.
    nominal : bool
        Whether that scale is the set's, not the file's.
    size_px : tuple of int
        Width and height of level 0.
    patch : PatchSpec
        Size and scale of its patches.
    model, sha256 : str
    trained_on_it : bool
        Whether this very slide trained the model.
    finished, version : str
    seconds : float or None
        What the slide took.
    oddities, unreadable : tuple of Problem
        What was odd in the source, and each patch without a probability.
    cautions : tuple of Caution
        Why the results must be taken with caution.
    """

    kind: str
    path: str
    image: str | None
    converted_to_srgb: bool
    origin_px: tuple[int, int]
    mpp: tuple[float, float]
    nominal: bool
    size_px: tuple[int, int]
    patch: PatchSpec
    model: str
    sha256: str
    trained_on_it: bool
    finished: str
    version: str
    seconds: float | None
    oddities: tuple[Problem, ...]
    unreadable: tuple[Problem, ...]
    cautions: tuple[Caution, ...]


@dataclass(frozen=True)
class SlideResults:
    """One slide of a results folder.

    Attributes
    ----------
    name : str
        Path of its folder below the results folder, in POSIX form; bytes that are no UTF-8 and bidirectional marks are
        escaped.
    folder : Path
    url : str
        The same path as a relative URL.
    state : str
    error : str
        The reason for any other state than "ok".
    summary : SlideSummary
        The figures; none are known where `scores` is None.
    run : Run or None
    scores : Scores or None
        None where the slide failed or is unfinished.
    """

    name: str
    folder: Path
    url: str
    state: State
    error: str
    summary: SlideSummary
    run: Run | None = None
    scores: Scores | None = None


def find_results(out: Path) -> dict[str, Path]:
    """Folders of slides below a results folder, finished or begun, and slides that only ``summary.csv`` names.

    Raises
    ------
    DataNotFoundError
        Where there is no folder, or none of a slide in it.
    """
    if not out.is_dir():
        raise DataNotFoundError(f"{out} is no folder: name the one that wsi-idc heatmap or score wrote into (--out).")
    found = {visible(folder.relative_to(out).as_posix()): folder for folder in _slide_folders(out)}
    # A slide that failed has no folder, or an empty one, but its row.
    found |= {name: out / name for name in read_summary(out) if name not in found and _stays_below(name)}
    if not found:
        raise DataNotFoundError(
            f"{out} holds no results: name the folder that wsi-idc heatmap or score wrote into (--out)."
        )
    return dict(sorted(found.items(), key=lambda item: _natural(item[0])))


def _slide_folders(out: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(out):
        folders[:] = [name for name in folders if not name.startswith(".") and not name.endswith(".zarr")]
        if Path(root) != out and {RUN_FILE, SCORES_FILE, LOCK_FILE} & set(files):
            yield Path(root)


def _stays_below(name: str) -> bool:
    """Whether a name from a table stays in the folder that it is joined to."""
    path = Path(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Key that puts case 9022 before 10253."""
    return tuple((not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in name.split("/"))


def read_summary(out: Path) -> dict[str, Mapping[str, str]]:
    """Rows of ``summary.csv`` of a results folder by slide; none where it is missing or no such table."""
    return cohort_metrics.read_summary(out / SUMMARY_FILE)


def read_results(name: str, folder: Path, out: Path, row: Mapping[str, str] | None) -> SlideResults:
    """Read one slide; whatever is wrong with it becomes its state.

    What stands in the folder counts; the row of ``summary.csv`` adds what no folder tells: why a slide failed.

    Parameters
    ----------
    name, folder
        As `find_results` gives them.
    out : Path
        The results folder.
    row : mapping or None
        The slide's row of ``summary.csv``.
    """
    url = quote(os.fsencode(folder.relative_to(out).as_posix()))
    reason = printable(cell_text((row or {}).get("error") or ""))
    has_failed = row is not None and row.get("status") == "failed"
    try:
        run, scores = _read_folder(name, folder)
    except FileNotFoundError:
        said = reason or "no reason was written"
        if not has_failed:
            said = "the run was interrupted or is still at work: run the same command again"
    except UNSOUND:
        said = "its files are not whole: run the same command again"
    else:
        codes = [caution.code for caution in run.cautions]
        seconds = run.seconds if row is None else number(row, "seconds")
        summary = summarise(scores, run.mpp, seconds, run.unreadable, codes)
        if has_failed:
            return SlideResults(
                name, folder, url, "failed", f"{reason} (what is shown is of an earlier run)", summary, run, scores
            )
        if summary.status == "ok" and run.cautions:
            said = " ".join(caution.sentence for caution in run.cautions)
            return SlideResults(name, folder, url, "caution", said, summary, run, scores)
        return SlideResults(name, folder, url, summary.status, summary.error, summary, run, scores)
    state: State = "failed" if has_failed else "unfinished"
    return SlideResults(name, folder, url, state, said, failed(name, said))


def number(row: Mapping[str, Any], column: str) -> float | None:
    """A finite number in a row; None where there is none."""
    try:
        value = float(row[column])
    except (KeyError, ValueError, TypeError):
        return None
    return value if math.isfinite(value) else None


def _read_folder(name: str, folder: Path) -> tuple[Run, Scores]:
    """What ``run.json`` and ``scores.csv`` say; an error of many kinds where they are missing or not whole."""
    written = read_run(folder)
    threshold = checked_threshold(float(written["model"]["threshold"]), 0)
    classes = classes_of_run(written)
    scores = read_scores(folder / SCORES_FILE, name, threshold, *context_in(written, classes), classes)
    if len(scores) != written["patches"]["total"]:
        raise ValueError(f"{RUN_FILE} counts other patches than {SCORES_FILE}")
    _check(scores)
    return _as_run(written, name), scores


def _check(scores: Scores) -> None:
    """ValueError where a table that is whole holds what no run writes, and no page can show."""
    prob = scores.prob[scores.readable]
    ends = np.concatenate([scores.minx + scores.width, scores.miny + scores.height])
    if not (
        ((prob >= 0) & (prob <= 1)).all()
        and np.isin(scores.label, (UNKNOWN, 0, 1)).all()
        and min(scores.minx.min(initial=0), scores.miny.min(initial=0)) >= 0
        and min(scores.width.min(initial=1), scores.height.min(initial=1)) > 0
        and ends.max(initial=0) < WIDEST_PX
    ):
        raise ValueError("a probability, label or box that cannot be")


def _as_run(written: dict[str, Any], name: str) -> Run:
    source, model = written["source"], written["model"]
    mpp_x, mpp_y = (float(value) for value in source["mpp"])
    if not (plausible_mpp(mpp_x) and plausible_mpp(mpp_y)):
        raise ValueError("a scale that is no microscope's")
    return Run(
        kind=str(source["kind"]),
        path=str(source["path"]),
        image=None if source.get("image") is None else str(source["image"]),
        converted_to_srgb=bool(source.get("converted_to_srgb")),
        origin_px=_as_origin(source),
        mpp=(mpp_x, mpp_y),
        nominal=source["mpp_source"] == "nominal",
        size_px=(int(source["size_px"][0]), int(source["size_px"][1])),
        patch=_as_patch(model, written["source"]),
        model=visible(str(model["name"])),
        sha256=visible(str(model["sha256"])),
        trained_on_it=name in model["trained_on"],
        finished=visible(str(written["finished"])),
        version=visible(str(written["wsi_idc_version"])),
        seconds=number(written, "seconds"),
        oddities=_problems(written, "source"),
        unreadable=_problems(written, "unreadable"),
        cautions=_cautions(written),
    )


def _as_origin(source: dict[str, Any]) -> tuple[int, int]:
    """Cases, and results of older versions, have none: pixels are counted from the corner then."""
    x, y = source.get("origin_px") or (0, 0)
    return int(x), int(y)


def _as_patch(model: dict[str, Any], source: dict[str, Any]) -> PatchSpec:
    """Of tiles that overlap, the cell of the grid on which they follow each other."""
    size = source.get("step_px", model["patch_size_pixels"])
    patch = PatchSpec(int(size), float(model["spacing_um_px"]))
    if not (patch.size_px > 0 and plausible_mpp(patch.mpp)):
        raise ValueError("patches of a size or scale that cannot be")
    return patch


def _cautions(written: dict[str, Any]) -> tuple[Caution, ...]:
    told = ((visible(str(one["code"])), visible(str(one["sentence"]))) for one in written["cautions"])
    return tuple(Caution(code, code, sentence) for code, sentence in told)


def _problems(written: dict[str, Any], which: str) -> tuple[Problem, ...]:
    told = ((problem["path"], problem["reason"]) for problem in written["problems"][which])
    return tuple(Problem(visible(str(path)), visible(str(reason))) for path, reason in told)
