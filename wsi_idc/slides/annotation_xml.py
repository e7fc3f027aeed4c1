"""Annotations in the XML of ASAP and of Aperio ImageScope (HALO writes the same tree).

The parser takes no document type: without one there are no entities, which could expand without bounds or name files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from wsi_idc.errors import OptionError
from wsi_idc.slides.annotation_files import ADVICE, DrawnObject, FileContents
from wsi_idc.slides.outline_shapes import (
    FlawError,
    checked_ring,
    cut,
    ellipse_ring,
    make_area,
    rectangle_ring,
    unite,
)

_WITHOUT_AREA = {
    **{"dot": "point", "pointset": "point", "measurement": "line", "ruler": "line", "pin": "point"},
    **{"3": "arrow", "4": "line", "5": "point", "arrow": "arrow", "line": "line"},
}
_RECTANGLES, _ELLIPSES = ("1", "rectangle"), ("2", "ellipse", "circle")

_BOX_CORNERS = 4
"""An ellipse with more corners is drawn corner by corner already."""

_NO_NAME = re.compile(r"(layer|annotation)?[\W_\d]*", re.IGNORECASE)
"""What programs call layers and regions by themselves, and names without a letter."""


@dataclass
class _Outline:
    """One outline as it stands in the file."""

    shape: str
    classes: tuple[str, ...]
    name: str = ""
    negative: bool = False
    corners: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass
class _Layer:
    """An annotation of ImageScope: its regions have one class."""

    names: list[str] = field(default_factory=list)
    regions: list[_Outline] = field(default_factory=list)


class _DocumentTypeError(Exception):
    pass


def read_xml(path: Path, text: bytes) -> FileContents:
    """Read annotations from XML; OptionError where it is neither ASAP's nor ImageScope's, or damaged."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(text, True)
    except _DocumentTypeError as error:
        raise OptionError(f"{path} is XML with a document type, which no annotations have: {ADVICE}.") from error
    except (expat.ExpatError, ValueError, LookupError) as error:
        if reader.root in ("", *_ROOTS):
            raise OptionError(f"{path} is XML that is damaged ({error}): export it again.") from error
    if reader.root not in _ROOTS:
        raise OptionError(f"{path} is XML, but not of ASAP or ImageScope: {ADVICE}.")
    contents = FileContents()
    number = 0
    for layer in reader.layers:
        positive: list[DrawnObject] = []
        negative: list[DrawnObject] = []
        for outline in layer.regions:
            number += 1
            made = _made(contents, number, outline, _class_names(layer, outline))
            if made is not None:
                (negative if made.negative else positive).append(made)
        if positive and negative:
            away = unite([one.area for one in negative])
            for one in positive:
                left = cut(one.area, away)
                if not left.is_empty:
                    contents.objects.append(DrawnObject(left, one.classes, name=one.name))
        else:
            contents.objects += positive or negative
    return contents


_ROOTS = ("ASAP_Annotations", "Annotations")


def _refuse(*_: object) -> NoReturn:
    raise _DocumentTypeError


class _Reader:
    """Collects outlines while the file is parsed; of other XML it keeps the root's name only."""

    def __init__(self) -> None:
        self.root = ""
        self.layers: list[_Layer] = []
        self._outline: _Outline | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition(":")[2]
        self.root = self.root or tag
        if self.root == "ASAP_Annotations":
            self._start_asap(tag, attributes)
        elif self.root == "Annotations":
            self._start_imagescope(tag, attributes)

    def end(self, tag: str) -> None:
        if tag.rpartition(":")[2] == ("Annotation" if self.root == "ASAP_Annotations" else "Region"):
            self._outline = None

    def _start_asap(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "Annotation":
            group = attributes.get("PartOfGroup", "").strip()
            classes = (group,) if group and group != "None" else ()
            self._begin(_Layer(), _Outline(attributes.get("Type", ""), classes, attributes.get("Name", "")))
        elif tag == "Coordinate":
            self._corner(attributes)

    def _start_imagescope(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "Annotation":
            self.layers.append(_Layer([attributes.get("Name", "")]))
        elif tag == "Attribute" and self.layers and self._outline is None:
            # Elsewhere ImageScope lists what it measured.
            if attributes.get("Name", "").strip().casefold() == "description":
                self.layers[-1].names.append(attributes.get("Value", ""))
        elif tag == "Region":
            negative = attributes.get("NegativeROA", "").strip().casefold() in ("1", "true")
            outline = _Outline(attributes.get("Type", ""), (), attributes.get("Text", ""), negative)
            self._begin(self.layers.pop() if self.layers else _Layer(), outline)
        elif tag in ("Vertex", "V"):
            self._corner(attributes)

    def _begin(self, layer: _Layer, outline: _Outline) -> None:
        layer.regions.append(outline)
        self.layers.append(layer)
        self._outline = outline

    def _corner(self, attributes: dict[str, str]) -> None:
        if self._outline is not None:
            given = attributes.get("X", ""), attributes.get("Y", ""), attributes.get("Order", "")
            self._outline.corners.append(given)


def _class_names(layer: _Layer, outline: _Outline) -> tuple[str, ...]:
    """What may be the class: ASAP's group; ImageScope's layer, its description, or the text of the region."""
    if outline.classes:
        return outline.classes
    told = [*layer.names, outline.name] if layer.names else []
    return tuple(name.strip() for name in told if not _NO_NAME.fullmatch(name.strip()))


def _made(contents: FileContents, number: int, outline: _Outline, classes: tuple[str, ...]) -> DrawnObject | None:
    """The object that an outline is; None, and noted, where it has no area or is broken."""
    shape = outline.shape.strip().casefold()
    if shape in _WITHOUT_AREA:
        contents.add_without_area(_WITHOUT_AREA[shape], classes)
        return None

    def make() -> DrawnObject:
        corners = checked_ring(_numbers(outline.corners))
        if shape in _RECTANGLES:
            corners = rectangle_ring(corners)
        elif shape in _ELLIPSES and len(corners) <= _BOX_CORNERS:
            corners = ellipse_ring(corners)
        return DrawnObject(make_area([corners]), classes, name=outline.name, negative=outline.negative)

    return contents.made(number, _place(outline), make)


def _numbers(corners: Sequence[tuple[str, str, str]]) -> list[tuple[float, float]]:
    """Corners in the order that they say, or where they do not all say one, in which they stand."""
    orders = [order.strip() for _, _, order in corners]
    if all(order.isdecimal() and len(order) < 10 for order in orders) and max(Counter(orders).values(), default=0) == 1:
        corners = [corner for _, corner in sorted(zip(map(int, orders), corners, strict=True))]
    return [(_number(x), _number(y)) for x, y, _ in corners]


def _number(text: str) -> float:
    try:
        # ASAP writes a comma where the computer's language has one.
        return float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    except ValueError as error:
        raise FlawError("has a corner whose X or Y is no number") from error


def _place(outline: _Outline) -> str:
    for x, y, _ in outline.corners[:1]:
        try:
            return f"x {_number(x):.0f}, y {_number(y):.0f}"
        except FlawError:
            pass
    return ""
