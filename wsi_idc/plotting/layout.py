"""Where things stand on the sheet: boxes in inches, no drawing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A place on the page, from its upper left corner, in inches."""

    x: float
    y: float
    width: float
    height: float


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

CLOSE_UP_TITLE = 0.36
STRIP = Box(MARGIN, PAGE_H - FOOTER + GAP / 2, WIDTH, 1.5 + CLOSE_UP_TITLE)
"""Close-ups, with two lines over each. A sheet with some is higher by `STRIP_H`; all else stands where it stood."""

STRIP_H = STRIP.height + GAP

_BETWEEN, _BETWEEN_GROWTH = 0.1, 0.4
_INFO_H, _INFO_H_UNLABELLED, _INFO_GROWTH = 2.35, 1.85, 0.55
_INFO_W = 3.8
_LEAST_ROW, _LEAST_ROW_UNLABELLED = 10.0, 7.0
"""Width that key, confusion matrix and figures, or key and figures, need side by side."""

_LEAST_SLOT = 2.2
"""A panel's title needs this much width, however narrow the panel."""

_CORNER_KEY_W, _CORNER_W, _CORNER_W_MOST = 2.35, 5.3, 6.0
_CORNER_H, _CORNER_H_MOST = 3.75, 4.3
_LEVEL = 0.05
_MATRIX_SHARE = 0.46
"""Of the height that confusion matrix and figures have above one another in the corner."""

_WORTH_CHANGING = 1.15
"""Panels side by side over a row of information is what readers know; another order must gain this much."""


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
    plans: list[_Plan | _Corner] = [_Plan(labelled, beside=False, stacked=False)]
    if labelled:
        plans.append(_Corner())
    plans += [_Plan(labelled, *order) for order in ((False, True), (True, False), (True, True))]
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
        spare = max(0.0, room_h - down * (panel_h + TITLE) - (down - 1) * _BETWEEN - SCALE)
        between, info_h, top = _BETWEEN, self.info_h, HEADER
        if self.beside:
            between += min(_BETWEEN_GROWTH, spare / down)
        else:
            growth = min(_INFO_GROWTH, spare)
            info_h, top = info_h + growth, top + (spare - growth) / 2
        group_h = down * (panel_h + TITLE) + (down - 1) * between + SCALE
        left = MARGIN + (room_w - group_w) / 2
        panels = tuple(
            Box(left + i * (slot_w + GAP), top + TITLE + j * (panel_h + TITLE + between), panel_w, panel_h)
            for j in range(down)
            for i in range(across)
        )
        scale_bar = Box(left, top + group_h - SCALE, group_w, SCALE)
        if self.beside:
            return Layout(panels, scale_bar, *_info_column(self.labelled))
        # Text that starts where the pictures start, as long as it fits under them.
        least = _LEAST_ROW if self.labelled else _LEAST_ROW_UNLABELLED
        row = Box(left, 0, group_w, 0) if group_w >= least else Box(MARGIN, 0, WIDTH, 0)
        return Layout(panels, scale_bar, *_info_row(self.labelled, row.x, row.width, info_h))


@dataclass(frozen=True)
class _Corner:
    """Three panels of a broad slide as three quarters of the page, with the information in the fourth."""

    def scale(self, extent: tuple[float, float]) -> float:
        """Inches of paper per unit of the slide's extent."""
        slot_w = min((WIDTH - GAP) / 2, WIDTH - 2 * GAP - _CORNER_W)
        slot_h = min((HEIGHT - SCALE - _BETWEEN) / 2, HEIGHT - _CORNER_H - _BETWEEN) - TITLE
        return min(slot_w / extent[0], slot_h / extent[1])

    def place(self, panel_w: float, panel_h: float) -> Layout:
        """Put panels of this size, and all else, on the page."""
        row_h = TITLE + panel_h + _BETWEEN
        corner_h = min(HEIGHT - row_h, max(_CORNER_H_MOST, panel_h + TITLE + SCALE))
        top = HEADER + (HEIGHT - row_h - corner_h) / 2
        corner_w = min(WIDTH - panel_w - 2 * GAP, _CORNER_W_MOST)
        # Its headings stand level with the third panel's title.
        corner = Box(PAGE_W - MARGIN - corner_w, top + row_h + _LEVEL, corner_w, corner_h - _LEVEL)
        panels = tuple(
            Box(x, y + TITLE, panel_w, panel_h) for x, y in ((MARGIN, top), (corner.x, top), (MARGIN, top + row_h))
        )
        scale_bar = Box(MARGIN, top + row_h + TITLE + panel_h, panel_w, SCALE)
        return Layout(panels, scale_bar, *_info_corner(corner))


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
    key_h, figures_h, gap = 2.12, 2.25, 0.2
    key = Box(left, HEADER, _INFO_W, key_h)
    if not labelled:
        return key, None, Box(left, HEADER + key_h + 2 * GAP, _INFO_W, figures_h)
    matrix = Box(left, HEADER + key_h + gap, _INFO_W, HEIGHT - key_h - figures_h - 2 * gap)
    return key, matrix, Box(left, HEADER + HEIGHT - figures_h, _INFO_W, figures_h)


def _info_corner(corner: Box) -> tuple[Box, Box, Box]:
    """Key at the left, confusion matrix above figures at the right of the page's last quarter."""
    key = Box(corner.x, corner.y, _CORNER_KEY_W, corner.height)
    left, width = corner.x + _CORNER_KEY_W + 2 * GAP, corner.width - _CORNER_KEY_W - 2 * GAP
    matrix_h = _MATRIX_SHARE * corner.height
    figures_y = corner.y + matrix_h + _BETWEEN
    return key, Box(left, corner.y, width, matrix_h), Box(left, figures_y, width, corner.height - matrix_h - _BETWEEN)
