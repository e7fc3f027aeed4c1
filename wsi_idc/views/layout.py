"""Where things stand on the sheet: boxes in inches, no drawing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

PAGE_W, PAGE_H = 11.69, 8.27
"""A4 landscape."""

MARGIN = 0.4
HEADER = 0.85
"""From the top edge to the panels' titles."""

FOOTER = 0.7
GAP = 0.25
TITLE = 0.24
"""Line over each panel."""

SCALE = 0.34
"""Strip under the panels for the scale bar."""

WIDTH, HEIGHT = PAGE_W - 2 * MARGIN, PAGE_H - HEADER - FOOTER
"""What lies between header, footer and margins."""

_BETWEEN = 0.1
_INFO_H, _INFO_H_UNLABELLED, _INFO_GROWTH = 2.2, 1.85, 0.55
_INFO_W = 3.5
_LEAST_ROW = 10.0
"""Width that key, confusion matrix and figures need side by side."""

_LEAST_SLOT = 2.1
"""A panel's title needs this much width, however narrow the panel."""

_WORTH_CHANGING = 1.25
"""Panels side by side over a row of information is what readers know; another order must gain this much."""


@dataclass(frozen=True)
class Box:
    """A place on the page, from its upper left corner, in inches."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Layout:
    """Where everything stands.

    Attributes
    ----------
    panels : tuple of Box
        All of one size and scale.
    scale_bar : Box
        Strip for the scale bar.
    key, confusion, figures : Box or None
        Colour bar and legend; confusion matrix (None without labels); table of figures.
    """

    panels: tuple[Box, ...]
    scale_bar: Box
    key: Box
    confusion: Box | None
    figures: Box


def plan_sheet(extent: tuple[float, float], largest: float, labelled: bool) -> Layout:
    """Arrange the sheet so that its panels are as large as the slide's shape allows.

    Parameters
    ----------
    extent : tuple of float
        Width and height of the slide, in any one unit of length.
    largest : float
        Inches of paper per unit that are not exceeded.
    labelled : bool
        Three panels and a confusion matrix rather than two panels.
    """
    plans = [_Plan(labelled, beside, stacked) for beside, stacked in product((False, True), repeat=2)]
    chosen = plans[0]
    for plan in plans[1:]:
        if min(plan.scale(extent), largest) > min(chosen.scale(extent), largest) * _WORTH_CHANGING:
            chosen = plan
    scale = min(chosen.scale(extent), largest)
    return chosen.place(extent[0] * scale, extent[1] * scale)


@dataclass(frozen=True)
class _Plan:
    """One way to share out the page.

    Attributes
    ----------
    labelled : bool
    beside : bool
        Information in a column at the right rather than in a row at the bottom.
    stacked : bool
        Panels above one another rather than side by side.
    """

    labelled: bool
    beside: bool
    stacked: bool

    @property
    def grid(self) -> tuple[int, int]:
        """Panels across and down."""
        count = 3 if self.labelled else 2
        return (1, count) if self.stacked else (count, 1)

    @property
    def info_h(self) -> float:
        """Least height of the row of information."""
        return _INFO_H if self.labelled else _INFO_H_UNLABELLED

    @property
    def room(self) -> tuple[float, float]:
        """Width and height that are left for panels, with their titles and scale bar."""
        if self.beside:
            return WIDTH - _INFO_W - GAP, HEIGHT
        return WIDTH, HEIGHT - self.info_h - GAP

    def scale(self, extent: tuple[float, float]) -> float:
        """Inches of paper per unit of the slide's extent."""
        (across, down), (room_w, room_h) = self.grid, self.room
        slot_w = (room_w - (across - 1) * GAP) / across
        slot_h = (room_h - SCALE - (down - 1) * _BETWEEN) / down - TITLE
        return min(slot_w / extent[0], slot_h / extent[1])

    def place(self, panel_w: float, panel_h: float) -> Layout:
        """Put panels of this size, and all else, on the page."""
        (across, down), (room_w, room_h) = self.grid, self.room
        slot_w = min(max(panel_w, _LEAST_SLOT), (room_w - (across - 1) * GAP) / across)
        group_w = across * slot_w + (across - 1) * GAP
        group_h = down * (panel_h + TITLE) + (down - 1) * _BETWEEN + SCALE
        spare = max(0.0, room_h - group_h)
        info_h = self.info_h if self.beside else self.info_h + min(_INFO_GROWTH, spare)
        spare -= 0 if self.beside else info_h - self.info_h
        left, top = MARGIN + (room_w - group_w) / 2, HEADER + spare / 2
        panels = tuple(
            Box(left + i * (slot_w + GAP), top + TITLE + j * (panel_h + TITLE + _BETWEEN), panel_w, panel_h)
            for j in range(down)
            for i in range(across)
        )
        scale_bar = Box(left, top + group_h - SCALE, group_w, SCALE)
        if self.beside:
            return Layout(panels, scale_bar, *_info_column(self.labelled))
        # Text that starts where the pictures start, as long as it fits under them.
        row = Box(left, 0, group_w, 0) if group_w >= _LEAST_ROW else Box(MARGIN, 0, WIDTH, 0)
        return Layout(panels, scale_bar, *_info_row(self.labelled, row.x, row.width, info_h))


def _info_row(labelled: bool, left: float, width: float, height: float) -> tuple[Box, Box | None, Box]:
    """Key, confusion matrix and figures side by side at the bottom."""
    top = PAGE_H - FOOTER - height
    if not labelled:
        half = (width - 2 * GAP) / 2
        return Box(left, top, half, height), None, Box(left + half + 2 * GAP, top, half, height)
    key_w, figures_w = 4.0, 3.1
    matrix = Box(left + key_w + 2 * GAP, top, width - key_w - figures_w - 4 * GAP, height)
    return Box(left, top, key_w, height), matrix, Box(left + width - figures_w, top, figures_w, height)


def _info_column(labelled: bool) -> tuple[Box, Box | None, Box]:
    """Key, confusion matrix and figures above one another at the right."""
    left = PAGE_W - MARGIN - _INFO_W
    key_h, figures_h = 2.05, 2.15
    key = Box(left, HEADER, _INFO_W, key_h)
    if not labelled:
        return key, None, Box(left, HEADER + key_h + 2 * GAP, _INFO_W, figures_h)
    matrix = Box(left, HEADER + key_h + GAP, _INFO_W, HEIGHT - key_h - figures_h - 2 * GAP)
    return key, matrix, Box(left, HEADER + HEIGHT - figures_h, _INFO_W, figures_h)
