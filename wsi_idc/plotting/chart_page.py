"""A page with charts, which Matplotlib draws."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wsi_idc.plotting.fonts import FONT
from wsi_idc.plotting.page import Page


@contextmanager
def house_style() -> Iterator[None]:
    """Draw by Matplotlib's own settings, whatever the user's matplotlibrc says; also a decorator.

    A setting counts when a line or a text is made, and some again when it is drawn.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


class ChartPage(Page):
    """As `Page`; its charts lie under all else.

    Attributes
    ----------
    figure : Figure
        Of the size of the page, with the charts.
    """

    def __init__(self, width: float, height: float, dpi: int) -> None:
        super().__init__(width, height, dpi)
        self.figure = Figure(figsize=(self.width, self.height), dpi=dpi, facecolor="white")
        self.canvas = FigureCanvasAgg(self.figure)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes with the upper left corner of their frame at `x`, `y`."""
        bottom = self.height - y - height
        axes = self.figure.add_axes((x / self.width, bottom / self.height, width / self.width, height / self.height))
        # Otherwise the numbers follow the reader's own settings of Matplotlib.
        axes.tick_params(labelfontfamily=FONT)
        return axes

    @house_style()
    def _background(self) -> NDArray[np.uint8]:
        self.canvas.draw()  # type: ignore[no-untyped-call]
        rgba = np.asarray(self.canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        return rgba[..., :3].copy()
