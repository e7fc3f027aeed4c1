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
