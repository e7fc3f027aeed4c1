"""Words burnt into pictures: what is synthetic, and what must be taken with caution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from wsi_idc.plotting.caption import PHANTOM
from wsi_idc.plotting.fonts import load_font
from wsi_idc.source import Caution

CAUTION_COLOUR = (255, 213, 77)
"""Dark letters on it are read in grey print, too."""

_RED, _WHITE, _BLACK = (176, 0, 32), (255, 255, 255), (0, 0, 0)
_SMALLEST_PT = 6


def stamp_phantom(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write the phantom's word into the lower left corner of a copy: see `phantom_label`.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
    """
    label = phantom_label(*pixels.shape[:2])
    stamped = pixels.copy()
    stamped[len(stamped) - len(label) :, : label.shape[1]] = label
    return stamped


def stamp_cautions(pixels: NDArray[np.uint8], cautions: Sequence[Caution]) -> NDArray[np.uint8]:
    """Write cautions into the upper left corner of a copy, in one line, in several, or as the word alone.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
    cautions : sequence of Caution
        Without any, the picture stays as it is.
    """
    if not cautions:
        return pixels
    texts = [caution.short for caution in cautions]
    wordings = (f"CAUTION: {'; '.join(texts)}", "\n".join(["CAUTION:", *texts]), "CAUTION")
    label = _label(wordings, *pixels.shape[:2], ink=_BLACK, paper=CAUTION_COLOUR)
    stamped = pixels.copy()
    stamped[: len(label), : label.shape[1]] = label
    return stamped


def phantom_label(height: int, width: int) -> NDArray[np.uint8]:
    """The phantom's word for the lower left corner of a picture of this size, shape (h, w, 3), neither larger.

    Red on white, about a seventieth of the picture high but legible; where it is too narrow, "PHANTOM" alone.
    """
    return _label((PHANTOM, PHANTOM.split()[0]), height, width, ink=_RED, paper=_WHITE)


def _label(
    wordings: Sequence[str], height: int, width: int, *, ink: tuple[int, int, int], paper: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """The first of these wordings that fits a picture, framed in the ink's colour, shape (h, w, 3)."""
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    wanted = int(np.clip(max(height, width) / 70, 12, 80))
    text, font = _fitting(draw, wordings, width, height, wanted)
    pad = max(1, int(font.size) // 3)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    box_w, box_h = int(right - left) + 2 * pad, int(bottom - top) + 2 * pad
    label = Image.new("RGB", (min(box_w + 1, width), min(box_h, height)))
    draw = ImageDraw.Draw(label)
    # Its lower edge is the picture's own, and so is not drawn.
    above = label.height - box_h
    draw.rectangle((0, above, box_w, above + box_h), fill=paper, outline=ink, width=max(1, pad // 4))
    draw.text((pad - left, above + pad - top), text, fill=ink, font=font)
    return np.asarray(label)


def _fitting(
    draw: ImageDraw.ImageDraw, wordings: Sequence[str], width: int, height: int, wanted: int
) -> tuple[str, ImageFont.FreeTypeFont]:
    """The first wording, in the largest size up to the one wanted, that fits the picture."""
    for text in wordings:
        for size in range(wanted, (_SMALLEST_PT if text == wordings[-1] else 10) - 1, -1):
            font = load_font(size, bold=True)
            left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
            pad = 2 * max(1, size // 3)
            if right - left + pad <= width and bottom - top + pad <= height:
                return text, font
    return text, font
