"""Patches of many slides as Apache Parquet, a row each, written slide by slide."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from wsi_idc._util.files import replacing
from wsi_idc.export.slide_table import SlideTable
from wsi_idc.model.classes import Classes
from wsi_idc.plotting.caption import RESEARCH_USE
from wsi_idc.scoring.scores import CLASS_COLUMN, Scores
from wsi_idc.source import UNKNOWN

ABOUT_KEY = "wsi-idc"
"""Key of the file's metadata that holds, as JSON, what was run on each slide."""


def schema(classes: Classes) -> pa.Schema:
    """The columns of ``scores.csv`` behind the slide's name, null where that has none for a slide."""
    return pa.schema(
        [
            pa.field("slide", pa.dictionary(pa.int32(), pa.string()), nullable=False),
            *(pa.field(name, pa.int32(), nullable=False) for name in ("minx", "miny", "width", "height")),
            *(pa.field(name, pa.float64()) for name in classes.columns),
            *(pa.field(name, pa.int8()) for name in ("label", "pred")),
            pa.field("status", pa.dictionary(pa.int8(), pa.string()), nullable=False),
            pa.field(classes.context_column, pa.float64()),
            *([pa.field(CLASS_COLUMN, pa.string())] if classes.told_apart else []),
        ]
    )


def write_parquet(path: Path, slides: Iterable[SlideTable]) -> None:
    """Write the patches of slides into one file, atomically; a row group a slide, in the order given.

    The same scores give the same bytes. What is empty in ``scores.csv`` is null.

    Parameters
    ----------
    path : Path
    slides : iterable of SlideTable
        Of one model's classes; at least one, taken one after the other.

    Raises
    ------
    OutputError
        Where the folder cannot be written.
    """
    about = {}
    rest = iter(slides)
    first = next(rest)
    columns = schema(first.scores.classes)
    with replacing(path) as temporary, parquet.ParquetWriter(temporary, columns, compression="zstd") as writer:
        for slide in chain([first], rest):
            writer.write_table(as_table(slide.scores))
            about[slide.scores.slide] = slide.about()
        told = {"note": RESEARCH_USE, "slides": about}
        writer.add_key_value_metadata({ABOUT_KEY: json.dumps(told, allow_nan=False)})


def as_table(scores: Scores) -> pa.Table:
    """The patches of one slide."""
    unread, unknown = ~scores.readable, scores.label == UNKNOWN
    context = np.full(len(scores), np.nan) if scores.prob_idc_context is None else scores.prob_idc_context
    columns = [
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(scores), np.int32)), pa.array([scores.slide])),
        *(pa.array(side.astype(np.int32)) for side in (scores.minx, scores.miny, scores.width, scores.height)),
        *(pa.array(prob, mask=unread) for prob in scores.columns.values()),
        pa.array(scores.label, mask=unknown),
        pa.array(scores.pred.astype(np.int8), mask=unread),
        pa.DictionaryArray.from_arrays(pa.array(unread.astype(np.int8)), pa.array(["ok", "unreadable"])),
        pa.array(context, mask=np.isnan(context)),
        *(
            [pa.array([name or None for name in scores.labelled_classes], pa.string())]
            if scores.classes.told_apart
            else []
        ),
    ]
    return pa.Table.from_arrays(columns, schema=schema(scores.classes))
