"""Patches of many slides as AnnData: an observation each, for scanpy and squidpy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import anndata
import pandas as pd

from wsi_idc._util.files import replacing
from wsi_idc.export.slide_table import SlideTable
from wsi_idc.plotting.caption import RESEARCH_USE


def make_anndata(slides: Iterable[SlideTable]) -> anndata.AnnData:
    """Join the patches of slides, in the order given.

    Returns
    -------
    AnnData
        ``X``, float64, shape (n, classes): probabilities of no IDC and of IDC, or of another model's classes, the same
        for all slides; NaN where a patch is unreadable. ``obs``: slide, box in pixels of level 0, label and pred
        (nullable), status, and the probability with context where it is on for any slide. ``obsm["spatial"]``, float64,
        shape (n, 2): x and y of the patch's centre in pixels of level 0. ``uns["slides"]``: a table of what was run on
        each slide.
    """
    about: dict[str, dict[str, str | int | float | bool]] = {}
    frames = []
    variables: list[str] = []
    for slide in slides:
        about[slide.scores.slide] = slide.about()
        variables = list(slide.scores.classes.columns)
        frame = slide.scores.to_dataframe()
        frame.insert(0, "slide", slide.scores.slide)
        frame.index = [f"{slide.scores.slide}:{x},{y}" for x, y in zip(frame["minx"], frame["miny"], strict=True)]
        frames.append(frame)
    table = pd.concat(frames)
    table.index = table.index.astype(str)
    for column, known in (("slide", list(about)), ("status", ["ok", "unreadable"])):
        table[column] = pd.Categorical(table[column], categories=known)
    centres = table[["minx", "miny"]].to_numpy(float) + table[["width", "height"]].to_numpy(float) / 2
    runs = pd.DataFrame.from_dict(about, orient="index")
    return anndata.AnnData(
        X=table[variables].to_numpy(float),
        obs=table.drop(columns=variables),
        var=pd.DataFrame(index=variables),
        obsm={"spatial": centres},
        uns={"slides": runs, "note": RESEARCH_USE},
    )


def write_anndata(path: Path, slides: Iterable[SlideTable]) -> None:
    """Write what `make_anndata` makes, atomically; OutputError where the folder cannot be written."""
    table = make_anndata(slides)
    with replacing(path) as temporary:
        # A file that is there is opened for reading first, and this one is empty.
        temporary.unlink()
        table.write_h5ad(temporary, compression="gzip")
