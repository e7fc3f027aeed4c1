"""A page measured in inches from its upper left corner, on which nothing leaves its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.image import FigureImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from wsi_idc._util.files import replacing
from wsi_idc._version import __version__
from wsi_idc.errors import printable
from wsi_idc.plotting.caption import PHANTOM, RESEARCH_USE
from wsi_idc.plotting.image_ops import save_png

INK = "#1a1a1a"
QUIET = "#595959"
FRAME = "#bdbdbd"
WARNING = "#b00020"
FONT = "DejaVu Sans"


@contextmanager
def house_style() -> Iterator[None]:
    """Draw by Matplotlib's own settings, whatever the user's matplotlibrc says; also a decorator.

    A setting counts when a line or a text is made, and some again when it is drawn.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


class Page:
    """A figure with its canvas; `x` and `y` of all methods are inches from the upper left corner.

    Parameters
    ----------
    width, height : float
        Size in inches, rounded to whole pixels, so that a picture drawn at its own size is not resampled.
    dpi : int
    """

    def __init__(self, width: float, height: float, dpi: int) -> None:
        self.dpi = dpi
        self.width, self.height = round(width * dpi) / dpi, round(height * dpi) / dpi
        self.figure = Figure(figsize=(self.width, self.height), dpi=dpi, facecolor="white")
        self.canvas = FigureCanvasAgg(self.figure)
        self._pictures: list[tuple[FigureImage, int, int, NDArray[np.uint8]]] = []

    def text(self, x: float, y: float, text: str, size: float = 8, room: float | None = None, **style: Any) -> Text:
        """Write one line with its baseline at `y`; where it is wider than `room` inches its middle is left out."""
        style = {"color": INK, "va": "baseline", "family": FONT, "parse_math": False, **style}
        written = self.figure.text(
            x, self.height - y, plain_text(text), size=size, transform=self.figure.dpi_scale_trans, **style
        )
        if room is not None:
            self._fit(written, room)
        return written

    def _fit(self, text: Text, room: float) -> None:
        whole = text.get_text()
        width = self.width_of(text)
        keep = len(whole)
        while width > room and keep > 4:
            keep = min(keep - 1, int(keep * room / width) + 1)
            text.set_text(f"{whole[: (keep + 1) // 2]}\N{HORIZONTAL ELLIPSIS}{whole[-(keep // 2) :]}")
            width = self.width_of(text)

    def width_of(self, text: Text) -> float:
        """Width of a text in inches."""
        return float(self._extent(text).width) / self.dpi

    def _extent(self, text: Text) -> Bbox:
        return text.get_window_extent(self.canvas.get_renderer())  # type: ignore[no-untyped-call]

    def rectangle(self, x: float, y: float, width: float, height: float, **style: Any) -> None:
        """Draw a rectangle whose upper left corner is at `x`, `y`."""
        corner = (x, self.height - y - height)
        self.figure.add_artist(
            Rectangle(corner, width, height, transform=self.figure.dpi_scale_trans, **{"lw": 0, **style})
        )

    def rule(self, x: float, y: float, width: float, colour: str, points: float = 0.4) -> None:
        """Draw a level line that no resolution loses: whole pixels, at least one."""
        thick = max(1, round(points / 72 * self.dpi))
        self.rectangle(x, round(y * self.dpi) / self.dpi, width, thick / self.dpi, facecolor=colour, antialiased=False)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes with the upper left corner of their frame at `x`, `y`."""
        bottom = self.height - y - height
        axes = self.figure.add_axes((x / self.width, bottom / self.height, width / self.width, height / self.height))
        # Otherwise the numbers follow the reader's own settings of Matplotlib.
        axes.tick_params(labelfontfamily=FONT)
        return axes

    def picture(self, x: float, y: float, pixels: NDArray[np.uint8]) -> None:
        """Show an array, shape (h, w, 3), one pixel to a pixel of the page, in a thin frame."""
        height, width = pixels.shape[:2]
        left, top = round(x * self.dpi), round(y * self.dpi)
        image = self.figure.figimage(pixels, left, round(self.height * self.dpi) - top - height, origin="upper")
        self._pictures.append((image, left, top, pixels))
        frame = (left / self.dpi, top / self.dpi, width / self.dpi, height / self.dpi)
        self.rectangle(*frame, facecolor="none", edgecolor=FRAME, lw=0.5)

    def badge(self, right: float, y: float, size: float) -> float:
        """Put the phantom's word, white on red, with its upper right corner at `right`, `y`; return its left edge."""
        text = self.text(right - 0.12, y, PHANTOM, size=size, weight="bold", color="white", ha="right", va="top")
        width = self.width_of(text)
        height = self._extent(text).height / self.dpi
        text.set_y(self.height - y - 0.07)
        text.set_zorder(5)
        left = right - width - 0.24
        self.rectangle(left, y, width + 0.24, height + 0.14, facecolor=WARNING)
        return left

    @house_style()
    def pixels(self) -> NDArray[np.uint8]:
        """The page as drawn, shape (h, w, 3).

        Pictures are copied onto it first, as Matplotlib would resample each, and all else is drawn over them.
        """
        renderer = self.canvas.get_renderer()  # type: ignore[no-untyped-call]
        canvas = np.asarray(renderer.buffer_rgba())
        canvas[:] = 255
        drawn = canvas[..., :3]
        self.figure.patch.set_visible(False)
        for image, left, top, pixels in self._pictures:
            image.set_visible(False)
            drawn[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        self.figure.draw(renderer)
        self.figure.patch.set_visible(True)
        for image, *_ in self._pictures:
            image.set_visible(True)
        return drawn


def save_page(path: Path, page: Page) -> None:
    """Write the page as a PNG that prints at its size, atomically."""
    save_png(path, page.pixels(), page.dpi)


def save_pdf(path: Path, pages: Sequence[Page], title: str) -> None:
    """Write pages as one PDF with text as text and pictures at their own pixels, atomically.

    The pages cannot be drawn as pixels afterwards.
    """
    # No date: the same results give the same bytes.
    told = {
        "Title": printable(title),
        "Subject": RESEARCH_USE,
        "Creator": f"wsi-idc {__version__}",
        "CreationDate": None,
    }
    fonts = matplotlib.rc_context({"pdf.fonttype": 42})
    with replacing(path) as temporary, house_style(), fonts, PdfPages(temporary, metadata=told) as pdf:
        for page in pages:
            _place_pictures(page)
            pdf.savefig(page.figure, dpi=page.dpi)


def _place_pictures(page: Page) -> None:
    """Lay pictures that stand at pixels of the page into axes: a PDF has points, not pixels."""
    for image in list(page.figure.images):
        assert isinstance(image, FigureImage)
        pixels = np.asarray(image.get_array())
        height, width = (side / page.dpi for side in pixels.shape[:2])
        axes = page.axes(image.ox / page.dpi, page.height - image.oy / page.dpi - height, width, height)
        axes.imshow(pixels, aspect="auto", interpolation="none", origin=image.origin)
        axes.set_axis_off()
        axes.set_zorder(-1)
        image.remove()


def plain_text(text: str) -> str:
    """What the font can show of a text: on one line, a box for each sign that it lacks."""
    font = get_font(findfont(FONT))
    return "".join(sign if font.get_char_index(ord(sign)) else "\N{WHITE SQUARE}" for sign in printable(text))
