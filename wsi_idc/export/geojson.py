"""Scores as GeoJSON that QuPath opens: the tiles, or the outlines of what is called IDC.

What QuPath wants stands in its PathObjectTypeAdapters: type of object, lock, class and measurements inside
``properties``, an id that is a UUID beside them, and positions in pixels of level 0 from its top-left corner, y down.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc.scoring.contours import Region, trace_regions
from wsi_idc.scoring.qupath import (
    CORNER,
    IDC_RGB,
    NO_IDC_RGB,
    RGB,
    classification,
    feature,
    uuid5,
    uuid_of,
    write_features,
)
from wsi_idc.scoring.scores import DECIMALS, Scores
from wsi_idc.source import UNKNOWN

_AREA_DECIMALS = 6
"""A square µm, in mm²."""


def write_geojson(
    scores: Scores,
    path: Path,
    *,
    origin_px: tuple[int, int] = CORNER,
    idc_rgb: RGB = IDC_RGB,
    no_idc_rgb: RGB = NO_IDC_RGB,
) -> None:
    """Write the scored tiles, atomically.

    A tile is called ``IDC`` or ``no IDC`` as in ``pred``, and measures ``prob_idc``, with context
    ``prob_idc_context``, and ``label`` (1 or 0) where that is known. Its id depends on slide and position only, so a
    newer file replaces the tiles of an older one.

    Unreadable tiles are left out, like what was not scored: a tile without a probability would take part in QuPath's
    counts, and fall into a class as soon as somebody sets another threshold there. ``scores.csv`` names them.

    Parameters
    ----------
    scores : Scores
    path : Path
        Should end in ``.geojson``; compressed where it ends in ``.gz``. An older file is replaced. The same scores
        make the same bytes.
    origin_px : tuple of int
        Where QuPath counts pixels from, x and y in pixels of level 0: see `SlideFacts.origin_px`.
    idc_rgb, no_idc_rgb : tuple of int
        Colours of the two classes, 0-255.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    OSError
        If the disk is full.
    """
    named = scores.classes
    classes = classification(named.negative_title, no_idc_rgb), classification(named.title, idc_rgb)
    write_features(path, _tiles(scores, classes, origin_px))


def write_contours(
    scores: Scores,
    path: Path,
    mpp: tuple[float, float],
    *,
    origin_px: tuple[int, int] = CORNER,
    idc_rgb: RGB = IDC_RGB,
) -> None:
    """Write the outlines of the patches called IDC as annotations, atomically.

    Patches that share a side form a region, a polygon with its holes that follows the patches' own edges; those that
    touch at a corner alone are regions of their own. They are not locked, so that they can be corrected. They are named
    by their order, and measure ``prob_idc_mean``, with context ``prob_idc_context_mean``, ``area_mm2`` and ``patches``,
    their number. ``--labels`` takes the file.

    Parameters
    ----------
    scores, path, origin_px, idc_rgb
        As in `write_geojson`.
    mpp : tuple of float
        Scale of level 0 along x and y, in µm/px.

    Raises
    ------
    OutputError, OSError
        As in `write_geojson`.
    """
    called = np.flatnonzero(scores.pred)
    boxes = (side[called] for side in (scores.minx, scores.miny, scores.width, scores.height))
    regions = (Region(called[region.boxes], region.rings, region.area) for region in trace_regions(*boxes))
    of_class = classification(scores.classes.title, idc_rgb)
    write_features(path, (_contour(scores, region, k, mpp, of_class, origin_px) for k, region in enumerate(regions, 1)))


def object_id(scores: Scores, kind: str, i: int) -> str:
    """UUIDv5 of the slide and the position of its patch `i`, another one for each kind of object."""
    return uuid5(_slide_id(scores.slide), f"{kind} {scores.minx[i]} {scores.miny[i]}")


@lru_cache(maxsize=1)
def _slide_id(slide: str) -> uuid.UUID:
    return uuid_of(f"wsi-idc {slide}")


def box_ring(scores: Scores, i: int, origin_px: tuple[int, int] = CORNER) -> list[list[int]]:
    """Corners of a patch, from the upper right one round to it again, as wsinfer writes them."""
    left, top = int(scores.minx[i]) - origin_px[0], int(scores.miny[i]) - origin_px[1]
    right, bottom = left + int(scores.width[i]), top + int(scores.height[i])
    return [[right, top], [right, bottom], [left, bottom], [left, top], [right, top]]


def _tiles(
    scores: Scores, classes: tuple[dict[str, Any], dict[str, Any]], origin_px: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    columns = dict(scores.measured)
    if scores.prob_idc_context is not None:
        columns[scores.classes.context_column] = scores.prob_idc_context
    calls = scores.pred
    for i in np.flatnonzero(scores.readable).tolist():
        measured: dict[str, float] = {name: float(prob[i]) for name, prob in columns.items()}
        if scores.label[i] != UNKNOWN:
            measured["label"] = int(scores.label[i])
        ring = box_ring(scores, i, origin_px)
        yield feature(object_id(scores, "tile", i), "tile", [ring], measured, classification=classes[int(calls[i])])


def _contour(
    scores: Scores,
    region: Region,
    number: int,
    mpp: tuple[float, float],
    of_class: dict[str, Any],
    origin_px: tuple[int, int],
) -> dict[str, Any]:
    measured: dict[str, float] = {f"{name}_mean": _mean(prob, region) for name, prob in scores.measured.items()}
    if scores.prob_idc_context is not None:
        measured[f"{scores.classes.context_column}_mean"] = _mean(scores.prob_idc_context, region)
    measured["area_mm2"] = round(region.area * mpp[0] * mpp[1] / 1e6, _AREA_DECIMALS)
    measured["patches"] = len(region.boxes)
    return feature(
        object_id(scores, "region", int(region.boxes[0])),
        "annotation",
        ((ring - np.array(origin_px)).tolist() for ring in region.rings),
        measured,
        isLocked=False,
        name=f"{scores.classes.title} {number}",
        classification=of_class,
    )


def _mean(prob: NDArray[np.float64], region: Region) -> float:
    return round(float(prob[region.boxes].mean()), DECIMALS)
