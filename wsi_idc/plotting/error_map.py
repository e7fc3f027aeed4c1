"""Where the calls agree with the labels: true and false positives and negatives as a map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsi_idc.plotting.image_ops import Boxes
from wsi_idc.plotting.overlay import as_grey, draw_outline, mark_unreadable, over_grey
from wsi_idc.scoring.scores import Scores
from wsi_idc.source import UNKNOWN

OUTCOMES = {
    "TP": ("true positive", (86, 180, 233)),
    "FP": ("false positive", (230, 159, 0)),
    "FN": ("false negative", (0, 0, 0)),
    "TN": ("true negative", (214, 214, 214)),
}
"""Name and colour of each outcome: sky blue, orange and black of Okabe and Ito, which the colour-blind tell apart
and of which none is a colour of the probabilities, and a grey that stays in the background. Missed IDC is black: the
error that must not be overlooked."""

HATCHED, HATCH_RGB = "FP", (150, 90, 0)
"""In grey print, true and false positives have one brightness: the errors among them are hatched."""

_OPACITY = 0.8


def outcomes(scores: Scores) -> dict[str, NDArray[np.bool_]]:
    """Patches of each outcome, bool arrays of shape (n,); those without label or probability are in none."""
    truth, called, known = scores.label == 1, scores.pred, scores.labelled
    return {
        "TP": known & truth & called,
        "FP": known & ~truth & called,
        "FN": known & truth & ~called,
        "TN": known & ~truth & ~called,
    }


def paint_agreement(pixels: NDArray[np.uint8], boxes: Boxes, scores: Scores, line_px: int = 1) -> NDArray[np.uint8]:
    """Colour labelled patches by outcome over their grey tissue and outline those labelled IDC with dashes.

    Scored patches without a label stay as tissue; unreadable ones are marked.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
    boxes : Boxes
        Where the patches lie in it.
    line_px : int
        Width of the outline.
    """
    painted, grey = pixels.copy(), as_grey(pixels)
    for name, which in outcomes(scores).items():
        plain, line = _outcome_tables(name)
        for _, where in boxes.slices(which):
            tile = plain.take(grey[where], axis=0)
            if name == HATCHED:
                lines = hatch(where, boxes.side_px)
                tile[lines] = line[grey[where][lines]]
            painted[where] = tile
    mark_unreadable(painted, boxes, scores)
    known = scores.label != UNKNOWN
    draw_outline(painted, boxes, scores.label == 1, known, line_px, dash_px=max(3, 4 * line_px))
    return painted


def hatch(where: tuple[slice, slice], side_px: int) -> NDArray[np.bool_]:
    """Diagonal lines that go on from patch to patch, as a mask of the shape of a patch that lies at `where`."""
    period = max(3, side_px // 2)
    y, x = np.ogrid[where]
    return np.asarray((y + x) % period < max(1, period // 5))


def outcome_colour(name: str, tissue_grey: float) -> tuple[int, int, int]:
    """Colour (RGB 0-255) that an outcome takes over tissue of this grey (0-255)."""
    red, green, blue = _outcome_tables(name)[0][round(tissue_grey)].tolist()
    return red, green, blue


def outcome_swatch(name: str, tissue_grey: float, height_px: int, width_px: int) -> NDArray[np.uint8]:
    """What an outcome looks like over even tissue of this grey (0-255), shape (height, width, 3)."""
    plain, line = (table[round(tissue_grey)] for table in _outcome_tables(name))
    swatch = np.full((height_px, width_px, 3), plain)
    if name == HATCHED:
        swatch[hatch((slice(height_px), slice(width_px)), height_px)] = line
    return swatch


def _outcome_tables(name: str) -> NDArray[np.uint8]:
    """Colours of an outcome and of lines that hatch it over each grey, shape (2, 256, 3)."""
    return over_grey(np.array([OUTCOMES[name][1], HATCH_RGB], dtype=np.float32), _OPACITY)
