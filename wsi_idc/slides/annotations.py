"""A pathologist's outlines of invasive carcinoma on a raw slide, and how much of each tile lies inside.

Outlines are read from GeoJSON as QuPath exports it, in pixels of level 0 from its top-left corner, y down.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc.errors import DataNotFoundError, OptionError, printable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ring = Floats
Polygon = tuple[Ring, ...]

OUTLINE_SHARE = 0.8
"""Share of a tile that must lie inside the outlines for it to be positive."""

MAX_FILE_MB = 500
"""Larger files are refused: a million corners take about 20 MB."""

_FARTHEST_PX = 1e9
"""No corner lies farther out than this; arithmetic on what does would overflow."""

_LINES = 200
"""Lines on which a box is looked at, evenly down its height: 2 µm apart in a tile of 400 µm."""

_CROSSINGS = 100_000
"""Crossings of lines and outlines looked at at once, about: some 15 MB."""

_NO_AREA = frozenset({"Point", "MultiPoint", "LineString", "MultiLineString"})
_GEOMETRIES = _NO_AREA | {"Polygon", "MultiPolygon", "GeometryCollection"}

# Not "no" anywhere before such a word: IDC is "invasive carcinoma of no special type".
_WORD = "(?:tumou?r|idc|invasive|carcinoma|positive|cancer)"
_IDC = re.compile(_WORD, re.IGNORECASE)
_NOT_IDC = re.compile(
    rf"in[\W_]*situ|dcis|lcis|negative|stroma|necro|lymph|associated|adjacent|bed(?![^\W_])|(?<![^\W_])(?:no|non|not|pre|peri)[\W_]*{_WORD}|{_WORD}[\W_]*free(?![^\W_])",
    re.IGNORECASE,
)

_ADVICE = "name a GeoJSON file, as QuPath exports it"
_NAME_CHARACTERS, _NAMES_TOLD = 40, 5


@dataclass(frozen=True)
class Outlines:
    """Where invasive carcinoma was outlined.

    Attributes
    ----------
    polygons : tuple of tuple of ndarray of float64, shape (n, 2)
        By polygon its rings: the exterior, then holes. Each holds x, y of its corners in pixels of level 0, and is
        closed whether or not the first corner stands again at the end.
    left_out : tuple of (str, int)
        What else the file holds, the most frequent first: classes that are not invasive carcinoma, and kinds of
        geometry that have no area, such as ``Point``; each with its number.
    """

    polygons: tuple[Polygon, ...]
    left_out: tuple[tuple[str, int], ...] = ()


class _FlawError(Exception):
    """What is wrong with one outline; the message goes on after its name."""


@dataclass(frozen=True)
class _Edges:
    """Edges of all rings, those of a polygon next to each other.

    Attributes
    ----------
    ends : ndarray of float64, shape (m, 4)
        x, y of the start and x, y of the end.
    ring : ndarray of int64, shape (m,)
    polygon_of_ring : ndarray of int64, shape (r,)
    sign_of_ring : ndarray of int64, shape (r,)
        1 for an exterior, -1 for a hole.
    first : ndarray of int64, shape (p + 1,)
        Where each polygon's edges start.
    bounds : ndarray of float64, shape (p, 4)
        Least x and y, and greatest x and y of each polygon.
    """

    ends: Floats
    ring: Ints
    polygon_of_ring: Ints
    sign_of_ring: Ints
    first: Ints
    bounds: Floats


def read_outlines(path: str | Path) -> Outlines:
    """Read the outlines of invasive carcinoma from a GeoJSON file.

    Outlines count that have no classification, or one that says so: tumor, IDC, invasive, carcinoma, cancer or
    positive, but not in situ, negative or the like.

    Parameters
    ----------
    path : path
        A FeatureCollection, a Feature, a list of Features, or a geometry.

    Raises
    ------
    DataNotFoundError
        Where there is no such file, or it cannot be read.
    OptionError
        Where it is no GeoJSON, an outline in it is broken, or none of its outlines counts.
    """
    polygons: list[Polygon] = []
    classes: Counter[str] = Counter()
    without_area: Counter[str] = Counter()
    for number, feature in enumerate(_features(Path(path)), 1):
        try:
            geometry, name = _split(feature)
            found = _areas(geometry)
            if not found:
                without_area[_kind(geometry)] += 1
            elif name is None or _is_idc(name):
                polygons += map(_polygon, found)
            else:
                classes[_told(name)] += 1
        except _FlawError as flaw:
            raise OptionError(f"Outline {number} of {path} {flaw}: correct or delete it in QuPath.") from flaw
    if classes and not polygons:
        named = ", ".join(name for name, _ in classes.most_common(_NAMES_TOLD))
        more = ", ..." if len(classes) > _NAMES_TOLD else ""
        raise OptionError(
            f"{path} has no outline of invasive carcinoma, only of {named}{more}: classify the outlines as Tumor."
        )
    return Outlines(tuple(polygons), tuple((classes + without_area).most_common()))


def inside_share(outlines: Outlines, left: Ints, top: Ints, right: Ints, bottom: Ints) -> Floats:
    """Share of each box that lies inside the outlines, 0-1.

    A point is inside where it is in the exterior of any polygon and in none of that polygon's holes; where a ring
    crosses itself, by the even-odd rule. A box is looked at on 200 lines, on which lengths are exact, so that the
    share is wrong by 1/400 at most for each edge that runs level through the box, and by much less elsewhere.

    Parameters
    ----------
    outlines : Outlines
    left, top, right, bottom : ndarray of int, shape (n,)
        Edges of the boxes in pixels of level 0, half open, in any order; fastest where many share top and bottom.
        They may overlap and reach out of the slide; an empty one has a share of 0.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    boxes = np.column_stack([left, top, right, bottom]).astype(np.float64)
    share = np.zeros(len(boxes))
    if outlines.polygons:
        edges = _edges(outlines.polygons)
        for strip in _strips(boxes):
            share[strip] = _strip_share(edges, boxes[strip])
    # What is exactly 80 % must not miss it by the noise of its sum.
    return share.clip(0, 1).round(9)


def _contents(path: Path) -> bytes:
    try:
        size_mb = path.stat().st_size / 1e6
        contents = path.read_bytes() if size_mb <= MAX_FILE_MB else None
    except FileNotFoundError as error:
        raise DataNotFoundError(f"There are no outlines at {path}: {_ADVICE}.") from error
    except OSError as error:
        raise DataNotFoundError(f"{path} cannot be read ({error.strerror or error}): {_ADVICE}.") from error
    if contents is None:
        raise OptionError(f"{path} has {size_mb:,.0f} MB, more than {MAX_FILE_MB}: export annotations without cells.")
    return contents


def _features(path: Path) -> list[Any]:
    """What stands in a file for Features, unchecked."""
    contents = _contents(path)
    try:
        document = json.loads(contents)
    except RecursionError as error:
        raise OptionError(f"{path} is nested too deeply for GeoJSON: {_ADVICE}.") from error
    except ValueError as error:
        # Syntax, encoding, or a whole number of thousands of digits.
        raise OptionError(f"{path} is no JSON that can be read: {_ADVICE}.") from error
    match document:
        case list():
            return document
        case {"type": "FeatureCollection", "features": list() as features}:
            return features
        case {"type": str() as kind} if kind == "Feature" or kind in _GEOMETRIES:
            return [document]
    raise OptionError(f"{path} is JSON, but no GeoJSON: {_ADVICE}.")


def _split(feature: Any) -> tuple[Any, str | None]:
    """Geometry and class of a Feature, or of a geometry that stands for one."""
    match feature:
        case {"type": "Feature", "geometry": geometry}:
            return geometry, _class_name(feature.get("properties"))
        case {"type": str() as kind} if kind in _GEOMETRIES:
            return feature, None
    raise _FlawError("is no GeoJSON feature")


def _class_name(properties: Any) -> str | None:
    match properties:
        case None:
            return None
        case {"classification": classification}:
            pass
        case dict():
            return None
        case _:
            raise _FlawError("has properties that are no GeoJSON")
    if isinstance(classification, dict):
        name = classification.get("name")
        classification = classification.get("names") if name is None else name
    match classification:
        case None:
            return None
        case str():
            return classification.strip() or None
        case list() if all(isinstance(part, str) for part in classification):
            return ": ".join(classification).strip() or None
    raise _FlawError("has a classification that is no text")


def _is_idc(name: str) -> bool:
    return bool(_IDC.search(name)) and not _NOT_IDC.search(name)


def _told(name: str) -> str:
    """A class as it is shown: any text may stand in a file."""
    name = printable(name)
    return name if len(name) <= _NAME_CHARACTERS else f"{name[:_NAME_CHARACTERS]}..."


def _kind(geometry: Any) -> str:
    return "no geometry" if geometry is None else str(geometry["type"])


def _areas(geometry: Any) -> list[Any]:
    """Rings of each polygon in a geometry, unchecked. Without recursion: collections may be nested at will."""
    found, rest = [], [geometry]
    while rest:
        match rest.pop():
            case {"type": "Polygon", "coordinates": list() as rings}:
                found.append(rings)
            case {"type": "MultiPolygon", "coordinates": list() as polygons}:
                found.extend(polygons)
            case {"type": "GeometryCollection", "geometries": list() as geometries}:
                rest.extend(reversed(geometries))
            case {"type": str() as kind} if kind in _NO_AREA:
                pass
            case None:
                pass
            case _:
                raise _FlawError("has a geometry that is no GeoJSON")
    return [rings for rings in found if rings != []]


def _polygon(rings: Any) -> Polygon:
    if not isinstance(rings, list):
        raise _FlawError("has a geometry that is no GeoJSON")
    return tuple(map(_ring, rings))


def _ring(points: Any) -> Ring:
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) >= 2 for point in points):
        raise _FlawError("has a geometry that is no GeoJSON")
    pairs = [(point[0], point[1]) for point in points]
    # By type, as bool is an int, too; NaN is not less than anything.
    if not all(type(value) in (int, float) and abs(value) <= _FARTHEST_PX for pair in pairs for value in pair):
        raise _FlawError(f"has a coordinate that is no number up to {_FARTHEST_PX:,.0f} px")
    if len(set(pairs)) < 3:
        raise _FlawError("has a ring of fewer than 3 distinct points")
    return np.array(pairs, dtype=np.float64)


def _edges(polygons: tuple[Polygon, ...]) -> _Edges:
    rings = [ring for polygon in polygons for ring in polygon]
    edges_of_ring = np.array([len(ring) for ring in rings])
    rings_of_polygon = np.array([len(polygon) for polygon in polygons])
    exterior = np.cumsum(rings_of_polygon) - rings_of_polygon
    sign = np.full(len(rings), -1)
    sign[exterior] = 1
    edges_of_polygon = np.add.reduceat(edges_of_ring, exterior)
    corners = [np.concatenate(polygon) for polygon in polygons]
    return _Edges(
        ends=np.concatenate([np.column_stack([ring, np.roll(ring, -1, axis=0)]) for ring in rings]),
        ring=np.repeat(np.arange(len(rings)), edges_of_ring),
        polygon_of_ring=np.repeat(np.arange(len(polygons)), rings_of_polygon),
        sign_of_ring=sign,
        first=np.append(0, np.cumsum(edges_of_polygon)),
        bounds=np.array([[*corner.min(axis=0), *corner.max(axis=0)] for corner in corners]),
    )


def _strips(boxes: Floats) -> Iterator[Ints]:
    """Which boxes share top and bottom; those that are empty are left out."""
    kept = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    kept = kept[np.lexsort((boxes[kept, 3], boxes[kept, 1]))]
    if len(kept):
        rows = boxes[kept][:, [1, 3]]
        yield from np.split(kept, np.flatnonzero((np.diff(rows, axis=0) != 0).any(axis=1)) + 1)


def _strip_share(edges: _Edges, boxes: Floats) -> Floats:
    """Share of boxes with the same top and bottom."""
    left, right, (top, bottom) = boxes[:, 0], boxes[:, 2], boxes[0, [1, 3]]
    least, most = left.min(), right.max()
    area = np.zeros(len(boxes))
    near = (edges.bounds[:, :2] < (most, bottom)).all(axis=1) & (edges.bounds[:, 2:] > (least, top)).all(axis=1)
    if not near.any():
        return area
    mine = np.concatenate([np.arange(edges.first[i], edges.first[i + 1]) for i in np.flatnonzero(near)])
    ends, ring = edges.ends[mine], edges.ring[mine]
    # In units of lines, from the first: an edge crosses those from its upper end to before its lower end, so that
    # a line through a corner meets one of its two edges, and each ring an even number of times.
    down = (ends[:, [1, 3]] - top) * (_LINES / (bottom - top)) - 0.5
    start, stop = np.ceil(np.sort(down, axis=1).clip(0, _LINES)).astype(np.int64).T
    crossing = stop > start
    ends, down, ring, start, stop = (array[crossing] for array in (ends, down, ring, start, stop))
    for first, last in _pieces(start, stop):
        which, line = _spans(start.clip(first, last), stop.clip(first, last))
        along = (line - down[which, 0]) / (down[which, 1] - down[which, 0])
        x = (ends[which, 0] + along * (ends[which, 2] - ends[which, 0])).clip(least, most)
        x, step = _union(edges, ring[which], line, x)
        area += _summed(x, step, left, right)
    return area / (_LINES * (right - left))


def _pieces(start: Ints, stop: Ints) -> Iterator[tuple[int, int]]:
    """Runs of lines with about so many crossings that they can be looked at at once."""
    change = np.bincount(start, minlength=_LINES + 1) - np.bincount(stop, minlength=_LINES + 1)
    piece = np.cumsum(np.cumsum(change[:_LINES])) // _CROSSINGS
    yield from pairwise([0, *(np.flatnonzero(np.diff(piece)) + 1).tolist(), _LINES])


def _spans(start: Ints, stop: Ints) -> tuple[Ints, Ints]:
    """Every whole number from each `start` to before its `stop`: whose it is, and the number."""
    count = stop - start
    which = np.repeat(np.arange(len(count)), count)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(count) - count - start, count)


def _union(edges: _Edges, ring: Ints, line: Ints, x: Floats) -> tuple[Floats, Ints]:
    """Where lines enter (1) and leave (-1) the union of the polygons, from where they cross its rings."""
    order = np.lexsort((x, ring * _LINES + line))
    ring, line, x = ring[order], line[order], x[order]
    # Rings meet a line an even number of times, so entering and leaving take turns through all of them.
    step = edges.sign_of_ring[ring] * (1 - 2 * (np.arange(len(x)) % 2))
    # In the exterior and in no hole the sum is 1, elsewhere it is less.
    kept, step = _changes(edges.polygon_of_ring[ring] * _LINES + line, x, step)
    line, x = line[kept], x[kept]
    kept, step = _changes(line, x, step)
    return x[kept], step


def _changes(group: Ints, x: Floats, step: Ints) -> tuple[Ints, Ints]:
    """Where the sum of the steps up to there, along x in each group, comes above 0 (1) and falls back (-1)."""
    order = np.lexsort((x, group))
    change = np.diff((np.cumsum(step[order]) > 0).astype(np.int64), prepend=0)
    changed = change != 0
    return order[changed], change[changed]


def _summed(x: Floats, step: Ints, left: Floats, right: Floats) -> Floats:
    """Length inside between each left and right, summed over all lines."""
    if not len(x):
        return np.zeros(len(left))
    order = np.argsort(x)
    x, inside = x[order], np.cumsum(step[order])
    total = np.append(0, np.cumsum(inside[:-1] * np.diff(x)))

    def up_to(where: Floats) -> Floats:
        """Before the first x nothing is inside, which the clipped distance says."""
        i = np.searchsorted(x, where, side="right") - 1
        length: Floats = total[i.clip(0)] + inside[i.clip(0)] * (where - x[i.clip(0)]).clip(0)
        return length

    return up_to(right) - up_to(left)
