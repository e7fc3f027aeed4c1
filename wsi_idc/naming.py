"""The IDC patch name, both ways: ``8863_idx5_x451_y1451_class0.png``."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_COORDINATE_PX = 1_000_000
"""Positions beyond this (4 m of glass) are not taken for real."""

PHANTOM_CASES = range(90_001, 100_000)
"""Case numbers of synthetic tissue, wherever its patches lie; real ones are below 17,000."""

PHANTOM_MARK = "wsi-idc phantom"
"""What the description of a synthetic slide begins with."""

_CASE = re.compile(r"\d{1,9}", re.ASCII)
_NAME = re.compile(r"(\d{1,9})_idx5_x([1-9]\d{0,6})_y([1-9]\d{0,6})(?:_class([01]))?\.(?i:png|jpg|jpeg)", re.ASCII)
_JPEG_ENDINGS = (".jpg", ".jpeg")
_ALMOST = re.compile(r"\d+_idx\d|_x-?\d+_y-?\d+", re.ASCII | re.IGNORECASE)

_BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Marks that turn the direction of what follows, so that a name can read as another (Unicode Annex 9)."""

_ESCAPED = {ord(mark): f"\\u{ord(mark):04x}" for mark in _BIDIRECTIONAL}

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""

_AS_TEXT = "'"
"""Before a cell, it makes a spreadsheet take the cell for text."""


@dataclass(frozen=True)
class PatchName:
    """What a patch's name says: case, 1-based position of its top-left pixel in the slide, and label.

    Attributes
    ----------
    case : str
        Case number, as written.
    x, y : int
        Column and row of the top-left pixel, counted from 1.
    label : int or None
        1 for IDC, 0 for none, None where the name does not say.
    """

    case: str
    x: int
    y: int
    label: int | None = None

    def __str__(self) -> str:
        label = "" if self.label is None else f"_class{self.label}"
        return f"{self.case}_idx5_x{self.x}_y{self.y}{label}.png"


def parse_patch_name(name: str) -> PatchName | None:
    """Read a file name (no folders); None where it is not exactly a patch's name.

    Its ending is ``.png``, or ``.jpg`` or ``.jpeg`` as some make of them, in small letters or capitals.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    case, x, y, label = match.groups()
    if max(int(x), int(y)) > MAX_COORDINATE_PX:
        return None
    return PatchName(case, int(x), int(y), None if label is None else int(label))


def is_jpeg_name(name: str) -> bool:
    """Whether a file name ends as JPEGs do."""
    return name.lower().endswith(_JPEG_ENDINGS)


def is_case_number(text: str) -> bool:
    """Whether a text is what a patch's name has for its case."""
    return _CASE.fullmatch(text) is not None


def almost_a_patch_name(name: str) -> bool:
    """Whether somebody seems to have meant a patch's name: worth a word when it cannot be read."""
    return parse_patch_name(name) is None and _ALMOST.search(name) is not None


def visible(name: str) -> str:
    """A name as text that can be written anywhere: bytes that are no UTF-8 and bidirectional marks are escaped."""
    return name.encode("utf-8", "backslashreplace").decode().translate(_ESCAPED)


def text_cell(text: str) -> str:
    """A text for a cell of a CSV that no spreadsheet runs: see `visible`, with an apostrophe before a formula."""
    shown = visible(text)
    return _AS_TEXT + shown if shown.startswith(_FORMULA) else shown


def cell_text(cell: str) -> str:
    """What `text_cell` was given, as `visible` has it."""
    return cell[1:] if cell.startswith(_AS_TEXT) and cell[1:].startswith(_FORMULA) else cell
