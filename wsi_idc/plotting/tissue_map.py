"""Where tissue was looked for and found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_idc.plotting.image_ops import shrink_mask

LINE_RGB = (0, 110, 110)
"""A dark teal: no stain has it, and no colour-blind reader loses it on pink."""

_FADED = 0.65
"""How far what is no tissue fades to white."""


def outline_tissue(pixels: NDArray[np.uint8], tissue: NDArray[np.bool_], line_px: int = 1) -> NDArray[np.uint8]:
    """Draw the edge of the tissue into a copy of a picture of the whole slide.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
    tissue : ndarray of bool, shape of any size
        Over the same slide.
    line_px : int
        Width of the line, on the tissue's own outermost pixels.
    """
    inside = _fitted(tissue, pixels)
    drawn = pixels.copy()
    drawn[inside & ~shrink_mask(inside, line_px)] = LINE_RGB
    return drawn


def show_tissue(pixels: NDArray[np.uint8], tissue: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """`outline_tissue`, and all else fades."""
    faded = np.rint(pixels * (1 - _FADED) + 255 * _FADED).astype(np.uint8)
    shown = np.where(_fitted(tissue, pixels)[..., None], pixels, faded)
    return outline_tissue(shown, tissue, line_px=max(1, max(pixels.shape) // 400))


def _fitted(mask: NDArray[np.bool_], pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    size = (pixels.shape[1], pixels.shape[0])
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST), dtype=np.bool_)
