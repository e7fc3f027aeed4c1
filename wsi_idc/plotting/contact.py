"""The patches on which a model is most wrong, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_idc.plotting.caption import RESEARCH_USE
from wsi_idc.plotting.error_map import OUTCOMES
from wsi_idc.plotting.page import QUIET, Page, save_page

MOST = 24
"""Tiles shown of each kind."""

_SIDE_PX = 50
_ENLARGED = 4
_DPI = 240
_WIDTH = 8.27
_COLUMNS = 8
_MARGIN = 0.3
_TILE = _SIDE_PX * _ENLARGED / _DPI
_PITCH_X = (_WIDTH - 2 * _MARGIN + 0.12) / _COLUMNS
_PITCH_Y = _TILE + 0.5
_HEAD, _SECTION, _FOOT = 0.75, 0.5, 0.35


@dataclass(frozen=True)
class Tile:
    """One patch and what was said of it.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (50, 50, 3)
        RGB.
    case : str
    x, y : int
        As in the patch's file name, from 1.
    prob : float
        Probability of IDC, 0-1.
    """

    pixels: NDArray[np.uint8]
    case: str
    x: int
    y: int
    prob: float

    def __post_init__(self) -> None:
        if self.pixels.shape != (_SIDE_PX, _SIDE_PX, 3) or self.pixels.dtype != np.uint8:
            raise ValueError(f"a tile is uint8 of shape (50, 50, 3), not {self.pixels.dtype} {self.pixels.shape}")


def build_contact_sheet(
    false_positives: Sequence[Tile],
    false_negatives: Sequence[Tile],
    heading: str,
    subheading: str,
    *,
    phantom: bool = False,
) -> Page:
    """The worst false positives above the worst false negatives, at most 24 of each, on at most one A4 page.

    Parameters
    ----------
    false_positives, false_negatives : sequence of Tile
        Worst first.
    heading, subheading : str
        Which patches, and which model.
    phantom : bool
        Whether the tissue is synthetic, which the page then says in large letters.
    """
    sections = [
        ("FP", "False positives", "labelled no IDC, called IDC; highest probability first", false_positives[:MOST]),
        ("FN", "False negatives", "labelled IDC, called no IDC; lowest probability first", false_negatives[:MOST]),
    ]
    height = _HEAD + sum(_section_height(len(tiles)) for *_, tiles in sections) + _FOOT
    page = Page(_WIDTH, height, _DPI)
    right = page.badge(_WIDTH - _MARGIN, 0.15, size=11) - 0.1 if phantom else _WIDTH - _MARGIN
    page.text(_MARGIN, 0.38, f"Worst errors \N{MIDDLE DOT} {heading}", size=12, bold=True, room=right - _MARGIN)
    page.text(_MARGIN, 0.62, subheading, size=9, colour=QUIET, room=_WIDTH - 2 * _MARGIN)
    top = _HEAD
    for outcome, name, meaning, tiles in sections:
        _draw_section(page, top, outcome, name, meaning, tiles)
        top += _section_height(len(tiles))
    page.text(_MARGIN, page.height - 0.18, RESEARCH_USE, size=8.5, bold=True)
    page.text(
        _WIDTH - _MARGIN, page.height - 0.18, "patches 0.2 mm wide (nominal scale)", size=8, colour=QUIET, align="right"
    )
    return page


def _section_height(count: int) -> float:
    rows = -(-count // _COLUMNS)
    return _SECTION + (rows * _PITCH_Y if rows else 0.35)


def _draw_section(page: Page, top: float, outcome: str, name: str, meaning: str, tiles: Sequence[Tile]) -> None:
    page.rectangle(_MARGIN, top + 0.19, 0.13, 0.13, fill=OUTCOMES[outcome][1])
    title = page.text(_MARGIN + 0.22, top + 0.31, name, size=10.5, bold=True)
    page.text(_MARGIN + 0.22 + title + 0.12, top + 0.31, meaning, size=9, colour=QUIET)
    if not tiles:
        page.text(_MARGIN + 0.22, top + _SECTION + 0.05, "none", size=10)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, _COLUMNS)
        _draw_tile(page, _MARGIN + column * _PITCH_X, top + _SECTION + row * _PITCH_Y, tile)


def _draw_tile(page: Page, x: float, y: float, tile: Tile) -> None:
    """Draw the patch with each of its pixels as a square of whole pixels."""
    page.picture(x, y, tile.pixels.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1))
    room = _PITCH_X - 0.06
    for i, told in enumerate((f"case {tile.case}", f"x{tile.x} y{tile.y}", f"prob. {tile.prob:.3f}")):
        page.text(x, y + _TILE + 0.13 + i * 0.125, told, size=7.5, room=room)


def save_contact_sheet(
    false_positives: Sequence[Tile],
    false_negatives: Sequence[Tile],
    heading: str,
    subheading: str,
    path: Path,
    *,
    phantom: bool = False,
) -> None:
    """Write the contact sheet as a PNG."""
    save_page(path, build_contact_sheet(false_positives, false_negatives, heading, subheading, phantom=phantom))
