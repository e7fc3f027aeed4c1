"""Pages as a PDF, with text as text and pictures at their own pixels, by Matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle as RectanglePatch
from matplotlib.patheffects import withStroke

from wsi_idc._util.files import replacing
from wsi_idc._version import __version__
from wsi_idc.errors import printable
from wsi_idc.plotting.caption import RESEARCH_USE
from wsi_idc.plotting.chart_page import ChartPage, house_style
from wsi_idc.plotting.fonts import FONT
from wsi_idc.plotting.page import Colour, Line, Page, Picture, Rectangle


def save_pdf(path: Path, pages: Sequence[Page], title: str) -> None:
    """Write pages as one PDF, atomically.

    Parameters
    ----------
    path : Path
    pages : sequence of Page
        Without charts.
    title : str
        Of the document.
    """
    # No date: the same results give the same bytes.
    metadata = {
        "Title": printable(title),
        "Subject": RESEARCH_USE,
        "Creator": f"wsi-idc {__version__}",
        "CreationDate": None,
    }
    fonts = matplotlib.rc_context({"pdf.fonttype": 42})
    with replacing(path) as temporary, house_style(), fonts, PdfPages(temporary, metadata=metadata) as pdf:
        for page in pages:
            pdf.savefig(page_figure(page), dpi=page.dpi)


@house_style()
def page_figure(page: Page) -> Figure:
    """The page as a figure; TypeError where it has charts."""
    if isinstance(page, ChartPage):
        raise TypeError("a page with charts cannot be drawn as a PDF")
    figure = Figure(figsize=(page.width, page.height), dpi=page.dpi, facecolor="white")
    for order, mark in enumerate([*page.shapes, *page.lines], start=1):
        if isinstance(mark, Picture):
            _add_picture(figure, page, mark, order)
        elif isinstance(mark, Rectangle):
            _add_rectangle(figure, page, mark, order)
        else:
            _add_line(figure, page, mark, order)
    return figure


def _add_picture(figure: Figure, page: Page, mark: Picture, order: int) -> None:
    height, width = (side / page.dpi for side in mark.pixels.shape[:2])
    left, bottom = mark.left_px / page.dpi, page.height - mark.top_px / page.dpi - height
    axes = figure.add_axes((left / page.width, bottom / page.height, width / page.width, height / page.height))
    axes.imshow(mark.pixels, aspect="auto", interpolation="none")
    axes.set_axis_off()
    axes.set_zorder(order)


def _add_rectangle(figure: Figure, page: Page, mark: Rectangle, order: int) -> None:
    figure.add_artist(
        RectanglePatch(
            (mark.x, page.height - mark.y - mark.height),
            mark.width,
            mark.height,
            facecolor=_colour(mark.fill),
            edgecolor=_colour(mark.frame),
            linewidth=max(mark.points, 0.4) if mark.frame else 0,
            transform=figure.dpi_scale_trans,
            zorder=order,
        )
    )


def _add_line(figure: Figure, page: Page, mark: Line, order: int) -> None:
    style: dict[str, Any] = {}
    if mark.halo:
        style["path_effects"] = [withStroke(linewidth=2 * mark.halo, foreground="white")]
    figure.text(
        mark.x,
        page.height - mark.y,
        mark.text,
        size=mark.size,
        weight="bold" if mark.bold else "normal",
        color=_colour(mark.colour),
        ha=mark.align,
        va="baseline",
        rotation=mark.angle,
        rotation_mode="anchor",
        family=FONT,
        parse_math=False,
        transform=figure.dpi_scale_trans,
        zorder=order,
        **style,
    )


def _colour(colour: Colour | None) -> Any:
    """A colour as Matplotlib takes it."""
    if colour is None or isinstance(colour, str):
        return colour or "none"
    return tuple(channel / 255 for channel in colour)
