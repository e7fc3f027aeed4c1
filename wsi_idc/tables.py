"""`export_tables`: the patches of all slides of a results folder as one table for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from wsi_idc._util.files import remove_unfinished
from wsi_idc._util.lock import wait_lock
from wsi_idc.errors import DataNotFoundError, OptionError
from wsi_idc.export.slide_table import SlideTable
from wsi_idc.model.classes import Classes
from wsi_idc.report.gather import find_results, read_results, read_summary
from wsi_idc.source import Problem

TableForm = Literal["parquet", "anndata"]
FORMS: tuple[TableForm, ...] = get_args(TableForm)

PARQUET_FILE, ANNDATA_FILE = "scores.parquet", "scores.h5ad"

_NEEDED: dict[TableForm, str] = {"parquet": "pyarrow", "anndata": "anndata"}


@dataclass(frozen=True)
class ExportedTable:
    """A table that was written.

    Attributes
    ----------
    path : Path
    slides, patches : int
    left_out : tuple of Problem
        Slides without a row, as they failed or are not finished, and why.
    """

    path: Path
    slides: int
    patches: int
    left_out: tuple[Problem, ...]


def export_tables(
    out: str | Path,
    to: TableForm = "parquet",
    on_slide: Callable[[int, int], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> ExportedTable:
    """Write the patches of all finished slides of a results folder into one file in it.

    Parameters
    ----------
    out : path
        Where ``score`` or ``heatmap`` wrote.
    to : str
        ``parquet``: ``scores.parquet``, written slide by slide. ``anndata``: ``scores.h5ad``, for which all patches
        are in memory at once, about 200 bytes each.
    on_slide : callable, optional
        Called after each slide with the number read and the total.
    on_wait : callable, optional
        Called with the holder of the folder's lock where it has to be waited for.

    Raises
    ------
    DataNotFoundError
        Where the folder holds no finished slide.
    OptionError
        Where there is no such form, or the package for it is not installed.
    OutputError
        Where the folder cannot be written.
    """
    out = Path(out)
    if to not in FORMS:
        raise OptionError(f"There is no table of the form {to!r}: choose {' or '.join(FORMS)}.")
    if find_spec(_NEEDED[to]) is None:
        raise OptionError(f'--to {to} needs {_NEEDED[to]}, which is not installed: pip install "wsi-idc[tables]".')
    find_results(out)  # A folder without results is refused before anything is made in it.
    path = out / (PARQUET_FILE if to == "parquet" else ANNDATA_FILE)
    left_out: list[Problem] = []
    sizes: list[int] = []
    classes: list[Classes] = []

    def finished() -> Iterator[SlideTable]:
        found, rows = find_results(out), read_summary(out)
        for done, (name, folder) in enumerate(found.items(), 1):
            results = read_results(name, folder, out, rows.get(name))
            if results.run is None or results.scores is None or results.state == "failed":
                left_out.append(Problem(name, results.error))
            elif classes and results.scores.classes != classes[0]:
                reason = "its classes, or the one that is called, are not the first slide's: score all alike"
                left_out.append(Problem(name, reason))
            else:
                run = results.run
                classes.append(results.scores.classes)
                sizes.append(len(results.scores))
                yield SlideTable(
                    results.scores,
                    kind=run.kind,
                    mpp=run.mpp,
                    nominal_mpp=run.nominal,
                    size_px=run.size_px,
                    patch=run.patch,
                    model=run.model,
                    model_sha256=run.sha256,
                    cautions=tuple(caution.code for caution in run.cautions),
                    version=run.version,
                )
            if on_slide:
                on_slide(done, len(found))
        if not sizes:
            raise DataNotFoundError(f"{out} holds no finished slide: run the command that scores again.")

    with wait_lock(out, on_wait):
        remove_unfinished(path.parent, path.name)
        if to == "parquet":
            from wsi_idc.export.parquet_table import write_parquet

            write_parquet(path, finished())
        else:
            from wsi_idc.export.anndata_table import write_anndata

            write_anndata(path, finished())
    return ExportedTable(path, len(sizes), sum(sizes), tuple(left_out))
