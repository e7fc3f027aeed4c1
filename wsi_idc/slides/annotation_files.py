"""Objects that somebody drew on a slide, from GeoJSON (also compressed) and the XML of ASAP and ImageScope.

Parsing only: which objects count is decided in `annotations`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from shapely.geometry.base import BaseGeometry

from wsi_idc.errors import DataNotFoundError, OptionError, printable
from wsi_idc.slides.outline_shapes import FlawError, Floats, checked_ring, ellipse_ring, make_area, unite

MAX_FILE_MB = 500
"""Larger files are refused, and so are those that unpack to more: a million corners take about 20 MB."""

_MAX_BYTES = MAX_FILE_MB * 1_000_000
_MAX_ZIP_INDEX = 1_000_000
"""Bytes of a zip's index: some ten thousand files, where QuPath packs one."""

ADVICE = "name GeoJSON as QuPath exports it (also .geojson.gz or its .zip), or XML of ASAP or ImageScope"

ObjectKind = Literal["annotation", "root object", "TMA core", "detection", "tile"]

_KIND_OF_TYPE: dict[str, ObjectKind] = {
    **dict.fromkeys(("annotation", "pathannotation", "pathannotationobject"), "annotation"),
    **dict.fromkeys(("root", "pathroot", "pathrootobject"), "root object"),
    **dict.fromkeys(("tma_core", "tmacore", "tma core", "tmacoreobject", "pathtmacoreobject"), "TMA core"),
    **dict.fromkeys(("detection", "cell", "pathdetectionobject", "pathcellobject"), "detection"),
    **dict.fromkeys(("tile", "pathtileobject"), "tile"),
}

_WITHOUT_AREA = {"Point": "point", "MultiPoint": "point", "LineString": "line", "MultiLineString": "line"}
_GEOMETRIES = _WITHOUT_AREA.keys() | {"Polygon", "MultiPolygon", "GeometryCollection"}


@dataclass(frozen=True)
class DrawnObject:
    """An object with an area.

    Attributes
    ----------
    area : Polygon or MultiPolygon
        In pixels of level 0 as the file counts them.
    classes : tuple of str
        Names that may be its class, the most telling first; empty where it has none.
    kind : str
    name : str
        What somebody called this one object.
    negative : bool
        Drawn to take an area out.
    """

    area: BaseGeometry
    classes: tuple[str, ...] = ()
    kind: ObjectKind = "annotation"
    name: str = ""
    negative: bool = False


@dataclass
class FileContents:
    """What a file of annotations holds.

    Attributes
    ----------
    sha256 : str
        Of the file as it is stored.
    objects : list of DrawnObject
        In the file's order.
    without_area : Counter of (str, str)
        Points and lines, by what they are and their class, which may be empty.
    skipped : list of str
        A sentence for each outline that is broken, with its place.
    """

    sha256: str = ""
    objects: list[DrawnObject] = field(default_factory=list)
    without_area: Counter[tuple[str, str]] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)

    def made(self, number: int, place: str, make: Callable[[], DrawnObject | None]) -> DrawnObject | None:
        """Make an object; None where it is broken, with a note of where it is and why it was skipped."""
        try:
            return make()
        except FlawError as flaw:
            self.skipped.append(f"outline {number}{place and f' at {place}'} {flaw}")
            return None

    def add_without_area(self, what: str, classes: tuple[str, ...]) -> None:
        """Count a point or a line."""
        self.without_area[what, short(classes[0]) if classes else ""] += 1


def read_contents(path: Path) -> FileContents:
    """Read a file of annotations.

    Raises
    ------
    DataNotFoundError
        Where there is no such file, or it cannot be read.
    OptionError
        Where it is none of the formats, damaged, or too large.
    """
    stored = _stored(path)
    text = _unpacked(path, stored)
    if _is_xml(text):
        from wsi_idc.slides.annotation_xml import read_xml

        contents = read_xml(path, text)
    else:
        contents = FileContents()
        for number, feature in enumerate(_features(path, text), 1):
            _add_feature(contents, number, feature)
    contents.sha256 = hashlib.sha256(stored).hexdigest()
    return contents


def short(name: str, most: int = 40) -> str:
    """A name as it is shown: any text may stand in a file."""
    name = printable(name).strip()
    return name if len(name) <= most else f"{name[:most]}..."


def _stored(path: Path) -> bytes:
    try:
        size_mb = path.stat().st_size / 1e6
        stored = path.read_bytes() if size_mb <= MAX_FILE_MB else None
    except FileNotFoundError as error:
        raise DataNotFoundError(f"There are no outlines at {path}: {ADVICE}.") from error
    except OSError as error:
        raise DataNotFoundError(f"{path} cannot be read ({error.strerror or error}): {ADVICE}.") from error
    if stored is None:
        raise OptionError(f"{path} has {size_mb:,.0f} MB, more than {MAX_FILE_MB}: export annotations without cells.")
    return stored


def _unpacked(path: Path, stored: bytes) -> bytes:
    """The text in a file, by what it holds, whatever it is called."""
    if stored[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(stored)) as packed:
                text = packed.read(_MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise OptionError(f"{path} is a damaged .gz file: export it again.") from error
    elif stored[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        text = _unzipped(path, stored)
    else:
        return stored
    if len(text) > _MAX_BYTES:
        raise OptionError(f"{path} unpacks to more than {MAX_FILE_MB} MB: export annotations without cells.")
    return text


def _unzipped(path: Path, stored: bytes) -> bytes:
    end = stored.rfind(b"PK\x05\x06")
    index_bytes = struct.unpack_from("<I", stored, end + 12)[0] if 0 <= end <= len(stored) - 22 else 0
    if index_bytes > _MAX_ZIP_INDEX:
        raise OptionError(f"{path} is a zip of very many files: name one with the outlines alone.")
    try:
        with zipfile.ZipFile(io.BytesIO(stored)) as archive:
            files = [info for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)]
            named = [info for info in files if info.filename.lower().endswith((".geojson", ".json"))] or files
            if len(named) != 1:
                raise OptionError(
                    f"{path} holds {len(named)} files, where QuPath packs one NAME.geojson: unpack it, and name the "
                    "one that is of this slide."
                )
            with archive.open(named[0]) as file:
                return file.read(_MAX_BYTES + 1)
    except OptionError:
        raise
    except RuntimeError as error:
        # Also what asks for a password; NotImplementedError where the method of compression is unknown.
        raise OptionError(f"{path} is a zip that cannot be unpacked ({error}): unpack it by hand.") from error
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, ValueError, LookupError, OverflowError) as error:
        raise OptionError(f"{path} is a damaged zip file: export it again.") from error


def _is_hidden(name: str) -> bool:
    """Whether a file in a zip is one that macOS adds, or hidden."""
    return any(part == "__MACOSX" or part.startswith(".") for part in name.replace("\\", "/").split("/"))


def _is_xml(text: bytes) -> bool:
    start = text[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    return start[:1] == b"<" or text[:4] in (b"\xff\xfe<\x00", b"\xfe\xff\x00<")


def _features(path: Path, text: bytes) -> list[Any]:
    """What stands in a file for Features, unchecked."""
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise OptionError(f"{path} is nested too deeply for GeoJSON: {ADVICE}.") from error
    except ValueError as error:
        # Syntax, encoding, or a whole number of thousands of digits.
        raise OptionError(f"{path} holds no outlines that can be read: {ADVICE}.") from error
    match document:
        case list():
            return document
        case {"type": "FeatureCollection", "features": list() as features}:
            return features
        case {"type": str() as kind} if kind == "Feature" or kind in _GEOMETRIES:
            return [document]
    raise OptionError(f"{path} is JSON, but no GeoJSON: {ADVICE}.")


def _add_feature(contents: FileContents, number: int, feature: Any) -> None:
    geometry = feature.get("geometry") if isinstance(feature, dict) else None

    def make() -> DrawnObject | None:
        geometry, properties, kind = _split(feature)
        classes = _class_names(properties)
        shapes = list(_shapes(geometry))
        for shape in shapes:
            if shape["type"] in _WITHOUT_AREA:
                contents.add_without_area(_WITHOUT_AREA[shape["type"]], classes)
        parts = [part for shape in shapes for part in _polygons(shape, properties)]
        areas: list[BaseGeometry] = []
        for rings in parts:
            try:
                areas.append(make_area(rings))
            except FlawError as flaw:
                if len(parts) == 1:
                    raise
                x, y = rings[0][0] if len(rings[0]) else (0, 0)
                contents.skipped.append(f"a part of outline {number} at x {x:.0f}, y {y:.0f} {flaw}")
        if not areas:
            return None
        name = properties.get("name")
        area = areas[0] if len(areas) == 1 else unite(areas)
        return DrawnObject(area, classes, kind, name if isinstance(name, str) else "")

    made = contents.made(number, _place(geometry if geometry is not None else feature), make)
    if made is not None:
        contents.objects.append(made)


def _split(feature: Any) -> tuple[Any, dict[str, Any], ObjectKind]:
    """Geometry, properties and kind of a Feature, or of a geometry that stands for one."""
    match feature:
        case {"type": "Feature", "geometry": geometry}:
            properties = feature.get("properties")
            if properties is None:
                properties = {}
            if not isinstance(properties, dict):
                raise FlawError("has properties that are no GeoJSON")
            return geometry, properties, _kind(feature, properties)
        case {"type": str() as kind} if kind in _GEOMETRIES:
            return feature, {}, "annotation"
    raise FlawError("is no GeoJSON feature")


def _kind(feature: dict[str, Any], properties: dict[str, Any]) -> ObjectKind:
    """What an object is; up to version 0.2 QuPath wrote it as the id, and later under two names."""
    for told in (properties.get("objectType"), properties.get("object_type"), feature.get("id")):
        if isinstance(told, str) and (kind := _KIND_OF_TYPE.get(told.strip().casefold())):
            return kind
    return "annotation"


def _class_names(properties: dict[str, Any]) -> tuple[str, ...]:
    classification = properties.get("classification")
    if isinstance(classification, dict):
        name = classification.get("name")
        classification = classification.get("names") if name is None else name
    match classification:
        case None:
            return ()
        case str():
            name = classification
        case list() if all(isinstance(part, str) for part in classification):
            name = ": ".join(classification)
        case _:
            raise FlawError("has a classification that is no text")
    return (name.strip(),) if name.strip() else ()


def _shapes(geometry: Any) -> Iterator[dict[str, Any]]:
    """The simple geometries in one. Without recursion: collections may be nested at will."""
    rest = [geometry]
    while rest:
        match rest.pop():
            case {"type": "GeometryCollection", "geometries": list() as geometries}:
                rest.extend(reversed(geometries))
            case {"type": "Polygon" | "MultiPolygon", "coordinates": list()} as shape:
                yield shape
            case {"type": str() as kind} as shape if kind in _WITHOUT_AREA:
                yield shape
            case None:
                pass
            case _:
                raise FlawError("has a geometry that is no GeoJSON")


def _polygons(shape: dict[str, Any], properties: dict[str, Any]) -> Iterator[list[Floats]]:
    """Rings of each polygon of a simple geometry."""
    if shape["type"] in _WITHOUT_AREA:
        return
    for rings in [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]:
        if not isinstance(rings, list):
            raise FlawError("has a geometry that is no GeoJSON")
        if not rings:
            continue
        arrays = [_ring(ring) for ring in rings]
        if len(arrays) == 1 and (shape.get("isEllipse") is True or properties.get("isEllipse") is True):
            # QuPath takes the box around the corners, however many there are.
            arrays = [ellipse_ring(arrays[0])]
        yield arrays


def _ring(points: Any) -> Floats:
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) >= 2 for point in points):
        raise FlawError("has a geometry that is no GeoJSON")
    return checked_ring(points)


def _place(geometry: Any) -> str:
    """Where an object begins, as a viewer counts, to find it by; empty where that cannot be told."""
    rest = [geometry]
    for _ in range(100):
        if not rest:
            break
        match rest.pop():
            case [int() | float() as x, int() | float() as y, *_] if abs(x) <= 1e300 and abs(y) <= 1e300:
                return f"x {x:.0f}, y {y:.0f}"
            case list() as inner:
                rest.extend(reversed(inner[:50]))
            case {"type": "GeometryCollection", "geometries": inner} | {"coordinates": inner}:
                rest.append(inner)
    return ""
