"""Pixel arrays: where patches lie in a picture, outlines, resizing, and PNG files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_idc._util.files import replacing
from wsi_idc.scoring.scores import Scores

_PNG = {"level": 1, "strategy": imagecodecs.PNG.STRATEGY.RLE, "filter": imagecodecs.PNG.FILTER.PAETH}
"""Tissue hardly gets smaller otherwise (3 %; an overlay 20 %), and takes two to three times as long."""

_HEADER_END = 33
"""Bytes of a PNG's signature and first chunk."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """Where the patches lie in a picture, in its whole pixels.

    Attributes
    ----------
    left, top, right, bottom : ndarray of int64, shape (n,)
        Half-open: ``picture[top:bottom, left:right]``. Neighbouring patches share an edge, whatever the scale.
    """

    left: NDArray[np.int64]
    top: NDArray[np.int64]
    right: NDArray[np.int64]
    bottom: NDArray[np.int64]

    def slices(self, which: NDArray[np.bool_]) -> Iterator[tuple[int, tuple[slice, slice]]]:
        """Index and pixels of each patch that is chosen and at least a pixel wide and high."""
        visible = which & (self.right > self.left) & (self.bottom > self.top)
        for i in np.flatnonzero(visible).tolist():
            yield i, (slice(self.top[i], self.bottom[i]), slice(self.left[i], self.right[i]))

    def mask(self, which: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Pixels of the chosen patches, shape (height, width)."""
        mask = np.zeros(shape, dtype=np.bool_)
        for _, where in self.slices(which):
            mask[where] = True
        return mask

    @property
    def side_px(self) -> int:
        """Usual side of a patch in pixels; 0 where there is none."""
        return int(np.median(self.right - self.left)) if len(self.left) else 0


def place_boxes(scores: Scores, scale: tuple[float, float]) -> Boxes:
    """Boxes of all patches in a picture with `scale` pixels per level-0 pixel along x and y.

    Each edge is rounded from its own position, so that nothing drifts.
    """
    across, down = scale
    return Boxes(
        left=_rounded(scores.minx, across),
        top=_rounded(scores.miny, down),
        right=_rounded(scores.minx + scores.width, across),
        bottom=_rounded(scores.miny + scores.height, down),
    )


def _rounded(position_l0: NDArray[np.int64], scale: float) -> NDArray[np.int64]:
    rounded: NDArray[np.int64] = np.floor(position_l0 * scale + 0.5).astype(np.int64)
    return rounded


def shrink_mask(mask: NDArray[np.bool_], by_px: int) -> NDArray[np.bool_]:
    """Take `by_px` pixels off every edge of a mask, corners and the picture's border included."""
    for axis in (0, 1):
        eroded = mask.copy()
        for step in range(1, by_px + 1):
            for ahead in (True, False):
                _and_shifted(eroded, mask, step, axis, ahead)
        mask = eroded
    return mask


def grow_mask(mask: NDArray[np.bool_], by_px: int) -> NDArray[np.bool_]:
    """Add `by_px` pixels to every edge of a mask, within the picture."""
    padded = np.pad(~mask, by_px, constant_values=True)
    return ~shrink_mask(padded, by_px)[by_px:-by_px, by_px:-by_px] if by_px else mask


def _and_shifted(target: NDArray[np.bool_], mask: NDArray[np.bool_], step: int, axis: int, ahead: bool) -> None:
    """``target &= mask`` moved by `step` along `axis`; what comes in over the border is False."""
    out, source = target.swapaxes(0, axis), mask.swapaxes(0, axis)
    if ahead:
        out[:-step] &= source[step:]
        out[-step:] = False
    else:
        out[step:] &= source[:-step]
        out[:step] = False


def resize(pixels: NDArray[np.uint8], width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Bring a picture, shape (h, w, 3), to another size.

    Reduced, every source pixel counts (Hamming window as wide as the reduction: no moiré, no ringing at the edge
    of holes); enlarged, it is interpolated.
    """
    image = Image.fromarray(pixels).resize((width_px, height_px), Image.Resampling.HAMMING)
    return np.asarray(image)


def save_png(path: Path, pixels: NDArray[np.uint8], dpi: int | None = None) -> None:
    """Write a picture atomically; with a resolution only where it has a print size, which a slide's pixels have not."""
    data = imagecodecs.png_encode(np.ascontiguousarray(pixels), **_PNG)
    if dpi is not None:
        data = data[:_HEADER_END] + _resolution_chunk(dpi) + data[_HEADER_END:]
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _resolution_chunk(dpi: int) -> bytes:
    """The pHYs chunk of a PNG: pixels per metre along x and y (PNG specification, 11.3.4.3)."""
    per_metre = round(dpi / 0.0254)
    content = b"pHYs" + struct.pack(">IIB", per_metre, per_metre, 1)
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
