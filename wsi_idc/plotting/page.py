"""A page measured in inches from its upper left corner, and drawn with Pillow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from wsi_idc.plotting.caption import PHANTOM
from wsi_idc.plotting.fonts import ASCENT, CAP_HEIGHT, DESCENT, load_font, plain_text
from wsi_idc.plotting.image_ops import save_png

Colour = str | tuple[int, int, int]
"""As ``"#rrggbb"``, or RGB 0-255."""

Align = Literal["left", "center", "right"]

INK = "#1a1a1a"
QUIET = "#595959"
FRAME = "#bdbdbd"
WARNING = "#b00020"

_POINTS = 72
"""Per inch."""

_FRAME_POINTS = 0.4
"""Width of the frame around a picture."""

_ANCHORS = {"left": "ls", "center": "ms", "right": "rs"}
"""Pillow's names of the points of a baseline."""

_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True)
class Line:
    """A line of text.

    Attributes
    ----------
    text : str
    x, y : float
        Of a point of its baseline in inches: its start, middle or end, as `align` says.
    size : float
        Of the font in points.
    bold : bool
    colour : Colour
    align : {"left", "center", "right"}
    angle : float
        By which it is turned about that point, counterclockwise, in degrees.
    halo : float
        Width of a white rim around the letters in points.
    """

    text: str
    x: float
    y: float
    size: float
    bold: bool
    colour: Colour
    align: Align
    angle: float
    halo: float


@dataclass(frozen=True)
class Rectangle:
    """A rectangle in inches, filled or framed or both.

    The frame lies inside of it, `points` wide and at least a pixel; in a PDF on its edge, and at least 0.4 points wide.
    """

    x: float
    y: float
    width: float
    height: float
    fill: Colour | None
    frame: Colour | None
    points: float


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels, shape (h, w, 3), whose upper left corner is at a pixel of the page."""

    left_px: int
    top_px: int
    pixels: NDArray[np.uint8]


class Page:
    """What stands on a page; `x` and `y` of all methods are inches from the upper left corner.

    Parameters
    ----------
    width, height : float
        Size in inches, rounded to whole pixels, so that a picture drawn at its own size is not resampled.
    dpi : int

    Attributes
    ----------
    lines : list of Line
        Drawn over all else.
    shapes : list of Rectangle or Picture
        Each over those before.
    """

    def __init__(self, width: float, height: float, dpi: int) -> None:
        self.dpi = dpi
        self.width, self.height = round(width * dpi) / dpi, round(height * dpi) / dpi
        self.lines: list[Line] = []
        self.shapes: list[Rectangle | Picture] = []

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 8,
        *,
        bold: bool = False,
        colour: Colour = INK,
        align: Align = "left",
        room: float | None = None,
        angle: float = 0,
        halo: float = 0,
    ) -> float:
        """Write a line as `Line` says; where it is wider than `room` inches its middle is left out.

        Returns
        -------
        float
            Its width in inches.
        """
        text = plain_text(text) if room is None else self.fitted(text, room, size, bold)
        self.lines.append(Line(text, x, y, size, bold, colour, align, angle, halo))
        return self.width_of(text, size, bold)

    def fitted(self, text: str, room: float, size: float = 8, bold: bool = False) -> str:
        """A text as the font can show it, with as much of its middle left out as makes it fit `room` inches."""
        text = whole = plain_text(text)
        keep, width = len(whole), self.width_of(whole, size, bold)
        while width > room and keep > 4:
            keep = min(keep - 1, int(keep * room / width) + 1)
            text = f"{whole[: (keep + 1) // 2]}{_ELLIPSIS}{whole[-(keep // 2) :]}"
            width = self.width_of(text, size, bold)
        return text

    def width_of(self, text: str, size: float = 8, bold: bool = False) -> float:
        """Width of a text in inches."""
        return load_font(size * self.dpi / _POINTS, bold).getlength(text) / self.dpi

    def rectangle(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: Colour | None = None,
        frame: Colour | None = None,
        points: float = 0.6,
    ) -> None:
        """Draw a rectangle whose upper left corner is at `x`, `y`."""
        self.shapes.append(Rectangle(x, y, width, height, fill, frame, points))

    def rule(self, x: float, y: float, width: float, colour: Colour, points: float = 0.4) -> None:
        """Draw a level line that no resolution loses: whole pixels, at least one."""
        thick, top = max(1, round(points / _POINTS * self.dpi)), round(y * self.dpi)
        self.rectangle(x, top / self.dpi, width, thick / self.dpi, fill=colour)

    def picture(self, x: float, y: float, pixels: NDArray[np.uint8], framed: bool = True) -> None:
        """Show an array, shape (h, w, 3), one pixel to a pixel of the page, with a thin frame around it."""
        height, width = pixels.shape[:2]
        left, top = round(x * self.dpi), round(y * self.dpi)
        self.shapes.append(Picture(left, top, pixels))
        if framed:
            thick = max(1, round(_FRAME_POINTS / _POINTS * self.dpi))
            outer = left - thick, top - thick, width + 2 * thick, height + 2 * thick
            x, y, width_in, height_in = (side / self.dpi for side in outer)
            self.rectangle(x, y, width_in, height_in, frame=FRAME, points=_FRAME_POINTS)

    def badge(self, right: float, y: float, size: float) -> float:
        """Put the phantom's word, white on red, with its upper right corner at `right`, `y`; return its left edge."""
        height = (ASCENT + DESCENT) * size / _POINTS
        width = self.text(
            right - 0.12, y + 0.07 + ASCENT * size / _POINTS, PHANTOM, size, bold=True, colour="white", align="right"
        )
        left = right - width - 0.24
        self.rectangle(left, y, width + 0.24, height + 0.14, fill=WARNING)
        return left

    def pixels(self) -> NDArray[np.uint8]:
        """The page as drawn, shape (h, w, 3)."""
        page = self._background()
        for shape in self.shapes:
            if isinstance(shape, Picture):
                height, width = shape.pixels.shape[:2]
                page[shape.top_px : shape.top_px + height, shape.left_px : shape.left_px + width] = shape.pixels
            else:
                self._draw_rectangle(page, shape)
        for line in self.lines:
            self._write(page, line)
        return page

    def _background(self) -> NDArray[np.uint8]:
        """The empty page."""
        return np.full((round(self.height * self.dpi), round(self.width * self.dpi), 3), 255, dtype=np.uint8)

    def _draw_rectangle(self, page: NDArray[np.uint8], shape: Rectangle) -> None:
        left, top = round(shape.x * self.dpi), round(shape.y * self.dpi)
        right = max(left + 1, round((shape.x + shape.width) * self.dpi))
        bottom = max(top + 1, round((shape.y + shape.height) * self.dpi))
        inside = page[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        if shape.fill is not None:
            inside[:] = _rgb(shape.fill)
        if shape.frame is not None:
            thick = max(1, round(shape.points / _POINTS * self.dpi))
            for side in (inside[:thick], inside[-thick:], inside[:, :thick], inside[:, -thick:]):
                side[:] = _rgb(shape.frame)

    def _write(self, page: NDArray[np.uint8], line: Line) -> None:
        font, x, y = load_font(line.size * self.dpi / _POINTS, line.bold), line.x * self.dpi, line.y * self.dpi
        rim = round(line.halo * self.dpi / _POINTS)
        rims: list[tuple[int, Colour]] = [(rim, "white")] if rim else []
        for stroke, colour in [*rims, (0, line.colour)]:
            mask, left, top = _letters(line.text, font, _ANCHORS[line.align], line.angle, stroke)
            _paste_colour(page, mask, round(x) + left, round(y) + top, _rgb(colour))


@lru_cache(maxsize=512)
def _letters(
    text: str, font: ImageFont.FreeTypeFont, anchor: str, angle: float, stroke: int
) -> tuple[Image.Image, int, int]:
    """How far a text covers each pixel, 0-255; and where that picture lies from the text's own point."""
    left, top, right, bottom = font.getbbox(text, anchor=anchor, stroke_width=stroke)
    left, top, right, bottom = math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
    if angle:
        reach = math.ceil(math.hypot(max(-left, right), max(-top, bottom)))
        left, top, right, bottom = -reach, -reach, reach + 1, reach + 1
    mask = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(mask).text((-left, -top), text, 255, font, anchor, stroke_width=stroke)
    return mask.rotate(angle, Image.Resampling.BICUBIC) if angle else mask, left, top


def _paste_colour(page: NDArray[np.uint8], mask: Image.Image, left: int, top: int, colour: tuple[int, ...]) -> None:
    """Lay a colour over a page as far as a mask, 0-255, covers it; what lies outside is cut off."""
    above, before = max(0, top), max(0, left)
    under = page[above : max(0, top + mask.height), before : max(0, left + mask.width)]
    if under.size:
        image = Image.fromarray(under)
        image.paste(colour, (left - before, top - above), mask)
        under[:] = np.asarray(image)


def _rgb(colour: Colour) -> tuple[int, ...]:
    return ImageColor.getrgb(colour) if isinstance(colour, str) else colour


def below_middle(size: float) -> float:
    """How far below the middle of its capitals and digits the baseline of a text lies, in inches."""
    return CAP_HEIGHT * size / _POINTS / 2


def save_page(path: Path, page: Page) -> None:
    """Write the page as a PNG that prints at its size, atomically."""
    save_png(path, page.pixels(), page.dpi)
