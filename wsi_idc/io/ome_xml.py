"""What OME-XML says of the images in a file: their names, sizes and scale."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

_UM = {"µm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6, "Å": 1e-4, "in": 25_400.0}
"""Symbols of units as OME writes them, in µm; upper case is another unit (Mm are megametres)."""

_WORDS = {"micron": 1.0, "micrometer": 1.0, "micrometre": 1.0, "nanometer": 1e-3, "nanometre": 1e-3}
_WORDS |= {"millimeter": 1e3, "millimetre": 1e3, "centimeter": 1e4, "centimetre": 1e4, "inch": 25_400.0}
"""Words for them, in any case and number."""

_TYPES = {"float": "float32", "double": "float64", "bit": "bool"}
"""OME's types that NumPy calls otherwise."""

_LOOKALIKES = str.maketrans({"\N{GREEK SMALL LETTER MU}": "µ", "\N{ANGSTROM SIGN}": "Å"})

_DEFAULT_UNIT = "µm"
"""Where OME-XML names none."""


@dataclass(frozen=True)
class OmeImage:
    """An image of OME-XML.

    Attributes
    ----------
    name : str
        Empty where it has none.
    size_px : tuple of int
        Width and height; -1 where it does not say.
    mpp : tuple of float or None
        Scale along x and y in µm/px, plausible or not; None where it says none.
    scale_note : str
        Why `mpp` is None although there is a size of a pixel.
    bits : int or None
        How many bits of each value are used.
    dtype : str
        Type of the values by NumPy's name; empty where it does not say.
    channels : int
        -1 where it does not say.
    """

    name: str
    size_px: tuple[int, int]
    mpp: tuple[float, float] | None
    scale_note: str
    bits: int | None
    dtype: str
    channels: int


def ome_images(metadata: str) -> tuple[OmeImage, ...]:
    """The images of OME-XML in the file's order; none where it is no XML."""
    try:
        root = ET.fromstring(metadata)
    except ET.ParseError:
        return ()
    return tuple(_images(root))


def _images(root: ET.Element) -> Iterator[OmeImage]:
    for image in root.iter():
        if _tag(image) != "Image":
            continue
        pixels = next((child for child in image if _tag(child) == "Pixels"), None)
        if pixels is None:
            continue
        size = _whole(pixels.get("SizeX")), _whole(pixels.get("SizeY"))
        mpp, note = _scale(pixels)
        bits = _whole(pixels.get("SignificantBits"))
        kind = pixels.get("Type", "")
        yield OmeImage(
            image.get("Name", ""),
            size,
            mpp,
            note,
            bits if bits > 0 else None,
            _TYPES.get(kind, kind),
            _whole(pixels.get("SizeC")),
        )


def _scale(pixels: ET.Element) -> tuple[tuple[float, float] | None, str]:
    scale = []
    for axis in "XY":
        size = pixels.get(f"PhysicalSize{axis}")
        if size is None:
            return None, ""
        unit = pixels.get(f"PhysicalSize{axis}Unit", _DEFAULT_UNIT)
        factor = unit_um(unit)
        if factor is None:
            return None, f"the size of its pixels is given in {unit!r}, which is no known length"
        scale.append(number(size) * factor)
    return (scale[0], scale[1]), ""


def unit_um(unit: str) -> float | None:
    """A unit of length in µm, by its symbol or its English name; None where it is not known.

    >>> unit_um("micron"), unit_um("nm"), unit_um("pixel")
    (1.0, 0.001, None)
    """
    symbol = unit.strip().translate(_LOOKALIKES)
    return _UM.get(symbol, _WORDS.get(symbol.casefold().removesuffix("s")))


def number(text: str | None) -> float:
    """A number as a file writes it; NaN where it is none."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) <= 10 else -1


def _tag(element: ET.Element) -> str:
    """Without its namespace, which changes with OME's version."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
