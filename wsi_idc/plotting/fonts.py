"""The font of all pictures: DejaVu Sans as Matplotlib brings it, whatever is installed on the machine."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

from wsi_idc.errors import printable

FONT = "DejaVu Sans"

CAP_HEIGHT, ASCENT, DESCENT = 0.729, 0.76, 0.236
"""Of capitals and digits, and of letters above and below the baseline, relative to the size of the font."""

_REPLACEMENT = "\N{WHITE SQUARE}"


def font_file(bold: bool = False) -> Path:
    """Path of the font."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf"


@lru_cache(maxsize=64)
def load_font(size_px: float, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font at a size in pixels per em. Kerning by the font's own table, with or without libraqm."""
    return ImageFont.truetype(font_file(bold), size_px, layout_engine=ImageFont.Layout.BASIC)


def plain_text(text: str) -> str:
    """What the font can show of a text: on one line, a box for each sign that it lacks."""
    known = _characters()
    return "".join(sign if ord(sign) in known else _REPLACEMENT for sign in printable(text))


@cache
def _characters() -> frozenset[int]:
    return frozenset(FT2Font(str(font_file())).get_charmap())
