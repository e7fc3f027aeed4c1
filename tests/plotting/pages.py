"""What is written on a page, and where."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

from matplotlib.text import Text

from wsi_idc.plotting.chart_page import ChartPage
from wsi_idc.plotting.fonts import ASCENT, DESCENT
from wsi_idc.plotting.page import Line, Page

RESEARCH = "For research use only. Not for use in diagnostic procedures."

_LEFT_OF = {"left": 0.0, "center": 0.5, "right": 1.0}


@dataclass(frozen=True)
class Written:
    """A line of text, and its box in inches from the page's upper left corner."""

    text: str
    size: float
    bold: bool
    left: float
    top: float
    right: float
    bottom: float


def written(page: Page) -> list[Written]:
    """All texts, of charts, too; ticks beyond an axis' limits are not drawn."""
    lines = [_of_line(page, line) for line in page.lines if line.text.strip()]
    return lines + (_of_charts(page) if isinstance(page, ChartPage) else [])


def words(page: Page) -> str:
    return "\n".join(one.text for one in written(page))


def assert_tidy(page: Page) -> None:
    """No two texts touch, and none leaves the page."""
    texts = written(page)
    for one in texts:
        assert one.left >= 0 and one.top >= 0 and one.right <= page.width and one.bottom <= page.height, one.text
    for a, b in combinations(texts, 2):
        apart = a.right <= b.left or b.right <= a.left or a.bottom <= b.top or b.bottom <= a.top
        assert apart, f"{a.text!r} lies on {b.text!r}"


def _of_line(page: Page, line: Line) -> Written:
    width = page.width_of(line.text, line.size, line.bold)
    start = -_LEFT_OF[line.align] * width
    turn = math.radians(-line.angle)
    corners = [
        (line.x + x * math.cos(turn) - y * math.sin(turn), line.y + x * math.sin(turn) + y * math.cos(turn))
        for x in (start, start + width)
        for y in (-ASCENT * line.size / 72, DESCENT * line.size / 72)
    ]
    across, down = zip(*corners, strict=True)
    return Written(line.text, line.size, line.bold, min(across), min(down), max(across), max(down))


def _of_charts(page: ChartPage) -> list[Written]:
    page.canvas.draw()
    renderer, beyond = page.canvas.get_renderer(), set()
    for axis in (axis for axes in page.figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        beyond |= {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    texts = []
    for text in page.figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in beyond:
            box = text.get_window_extent(renderer)
            top, bottom = page.height - box.y1 / page.dpi, page.height - box.y0 / page.dpi
            said, bold = text.get_text(), text.get_fontweight() == "bold"
            texts.append(Written(said, text.get_fontsize(), bold, box.x0 / page.dpi, top, box.x1 / page.dpi, bottom))
    return texts
