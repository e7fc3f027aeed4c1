"""Annotations as QuPath saves them, parsed: which patches they are of is decided in `corrections`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsi_idc.errors import CorrectionsError
from wsi_idc.scoring.qupath import NO_IDC
from wsi_idc.slides.class_names import IdcClasses, normalised

MAX_FILE_MB = 100
"""Larger files are refused: a painted patch takes about 500 bytes."""

_NEGATIVE = frozenset(
    map(normalised, (NO_IDC, "not IDC", "non IDC", "no tumor", "no tumour", "negative", "normal", "benign"))
)
"""Classes that say of a patch that it is no IDC, normalised."""

_DESCRIPTION = "ANNOTATION_DESCRIPTION"
"""Where QuPath keeps the description of an annotation."""

_DEFAULT_NAME = re.compile(r"(Annotation|PathAnnotationObject)( \d+)?")
_NUMBERS = re.compile(r"-?\d{1,12}( -?\d{1,12})*")


class Drawn(NamedTuple):
    """An annotation as the file has it; `polygons` and `points` in pixels as QuPath counts them."""

    polygons: list[list[NDArray[np.float64]]]
    points: NDArray[np.float64]
    is_idc: bool | None
    note: str
    metadata: Mapping[str, str]

    @property
    def origin(self) -> tuple[int, int] | None:
        numbers = numbers_in(self.metadata.get("origin_px", ""), 2)
        return None if numbers is None else (numbers[0], numbers[1])

    @property
    def is_box(self) -> bool:
        """Whether it is one rectangle along x and y."""
        if len(self.polygons) != 1 or len(self.polygons[0]) != 1 or len(self.points):
            return False
        ring = self.polygons[0][0]
        at_edge = (ring == ring.min(axis=0)) | (ring == ring.max(axis=0))
        return bool(at_edge.all()) and len(np.unique(ring, axis=0)) == 4


def read_drawn(path: Path) -> list[Drawn]:
    """Read the annotations of a file; FileNotFoundError where there is none, CorrectionsError where it is damaged."""
    try:
        if path.stat().st_size > MAX_FILE_MB * 1_000_000:
            raise CorrectionsError(f"{path} has more than {MAX_FILE_MB} MB: save the annotations alone, without cells.")
        text = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CorrectionsError(f"{path} cannot be read ({error.strerror}): make it readable, or remove it.") from error
    return [one for number, part in enumerate(_features(path, text), 1) if (one := _drawn(path, number, part))]


def _features(path: Path, text: bytes) -> list[Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorrectionsError(f"{path} is damaged: save it again from QuPath, or remove it.") from error
    match document:
        case list():
            return document
        case {"type": "FeatureCollection", "features": list() as features}:
            return features
        case {"type": "Feature"}:
            return [document]
    raise CorrectionsError(f"{path} is no GeoJSON: save it again from QuPath, or remove it.")


def _drawn(path: Path, number: int, part: Any) -> Drawn | None:
    """An annotation; None for any other object."""
    from wsi_idc.slides.outline_shapes import FlawError

    match part:
        case {"type": "Feature", "geometry": dict() as geometry}:
            pass
        case {"type": "Feature", "geometry": None}:
            return None
        case _:
            raise CorrectionsError(f"Object {number} in {path} is no GeoJSON: save it again from QuPath, or remove it.")
    properties = part.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    kind = properties.get("objectType", properties.get("object_type", "annotation"))
    if not isinstance(kind, str) or kind.strip().casefold() != "annotation":
        return None
    metadata = properties.get("metadata")
    told = metadata.items() if isinstance(metadata, dict) else ()
    texts = {str(name): _clean(value) for name, value in told if isinstance(value, str)}
    name = properties.get("name")
    name = _clean(name) if isinstance(name, str) and not _DEFAULT_NAME.fullmatch(name) else ""
    named = _class_name(properties.get("classification"))
    is_idc = True if named in IdcClasses() else False if normalised(named) in _NEGATIVE else None
    said = [name, texts.get(_DESCRIPTION, ""), named if is_idc is None else ""]
    try:
        polygons, points = _shapes(geometry, properties.get("isEllipse") is True)
    except FlawError as flaw:
        raise CorrectionsError(
            f"Object {number} in {path} {flaw}: remove it in QuPath and save the annotations again."
        ) from flaw
    return Drawn(polygons, points, is_idc, ": ".join(filter(None, said)), texts)


def _class_name(found: Any) -> str:
    if isinstance(found, dict):
        names = found.get("names")
        found = found.get("name") or (": ".join(map(str, names)) if isinstance(names, list) else "")
    return _clean(found).strip() if isinstance(found, str) else ""


def _clean(text: str) -> str:
    """A text that can be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _shapes(geometry: dict[str, Any], ellipse: bool) -> tuple[list[list[NDArray[np.float64]]], NDArray[np.float64]]:
    """Polygons as their rings, and points, shape (n, 2); the corners of lines are points. FlawError where broken."""
    from wsi_idc.slides.outline_shapes import FlawError, checked_ring, ellipse_ring

    def ring(points: Any) -> NDArray[np.float64]:
        if not isinstance(points, list) or not all(isinstance(of, list) and len(of) >= 2 for of in points):
            raise FlawError("has coordinates that are no GeoJSON")
        return checked_ring(points)

    def rings(parts: Any) -> list[NDArray[np.float64]]:
        if not isinstance(parts, list):
            raise FlawError("has coordinates that are no GeoJSON")
        made = [ring(part) for part in parts]
        round_one = len(made) == 1 and len(made[0]) and (ellipse or geometry.get("isEllipse") is True)
        return [ellipse_ring(made[0])] if round_one else made

    polygons: list[list[NDArray[np.float64]]] = []
    points = [np.empty((0, 2))]
    rest: list[Any] = [geometry]
    while rest:
        match rest.pop():
            case {"type": "GeometryCollection", "geometries": list() as inner}:
                rest += reversed(inner)
            case {"type": "Polygon", "coordinates": parts}:
                polygons.append(rings(parts))
            case {"type": "MultiPolygon", "coordinates": list() as many}:
                polygons += [rings(parts) for parts in many]
            case {"type": "Point", "coordinates": point}:
                points.append(ring([point]))
            case {"type": "MultiPoint" | "LineString", "coordinates": line}:
                points.append(ring(line))
            case {"type": "MultiLineString", "coordinates": list() as lines}:
                points += map(ring, lines)
            case _:
                raise FlawError("has a geometry that is no GeoJSON")
    return [polygon for polygon in polygons if polygon and len(polygon[0])], np.concatenate(points)


def numbers_in(text: str, count: int) -> tuple[int, ...] | None:
    """Whole numbers in a text, parted by blanks; None where they are not so many."""
    numbers = tuple(map(int, text.split(" "))) if _NUMBERS.fullmatch(text) else ()
    return numbers if len(numbers) == count else None
