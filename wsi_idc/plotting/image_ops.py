"""Pixel arrays: where patches lie in a picture, outlines, resizing, and PNG files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

from wsi_idc._util.files import replacing
from wsi_idc.scoring.scores import Scores

THUMBNAIL_CHUNK = b"thMB"
"""Ancillary, private, and not to be copied into another picture, as its letters' cases say."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB_8_BITS = struct.pack(">5B", 8, 2, 0, 0, 0)
_FILTER_SUB = 1
_LEVEL = 1
"""Of compression: tissue hardly gets smaller by more."""


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
        visible = np.flatnonzero(which & (self.right > self.left) & (self.bottom > self.top))
        edges = (of[visible].tolist() for of in (self.top, self.bottom, self.left, self.right))
        for i, top, bottom, left, right in zip(visible.tolist(), *edges, strict=True):
            yield i, (slice(top, bottom), slice(left, right))

    def mask(self, which: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Pixels of the chosen patches, shape (height, width)."""
        # On the coarsest grid with these edges first: each box adds one between its corners.
        down, top, bottom = _edges(self.top[which], self.bottom[which], shape[0])
        across, left, right = _edges(self.left[which], self.right[which], shape[1])
        steps = np.zeros((len(down), len(across)), dtype=np.int32)
        for row, column, step in ((top, left, 1), (bottom, right, 1), (top, right, -1), (bottom, left, -1)):
            np.add.at(steps, (row, column), step)
        covered = steps.cumsum(axis=0, out=steps).cumsum(axis=1, out=steps)[:-1, :-1] > 0
        return covered.repeat(np.diff(across), axis=1).repeat(np.diff(down), axis=0)

    @property
    def side_px(self) -> int:
        """Usual side of a patch in pixels; 0 where there is none."""
        return int(np.median(self.right - self.left)) if len(self.left) else 0


def _edges(
    first: NDArray[np.int64], last: NDArray[np.int64], length: int
) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.intp]]:
    """Edges of a picture and of boxes along one side, each once, and which of them are the boxes' first and last."""
    first, last = first.clip(0, length), last.clip(0, length)
    edges = np.unique(np.concatenate([[0, length], first, last]))
    return edges, np.searchsorted(edges, first), np.searchsorted(edges, last)


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
        # All of a row of pixels must be set; rows of two make those of four, and so on.
        left, have, wanted = mask.swapaxes(0, axis), 1, 2 * by_px + 1
        while have < wanted:
            step = min(have, wanted - have)
            left = left[:-step] & left[step:]
            have += step
        mask = np.zeros_like(mask)
        mask.swapaxes(0, axis)[by_px : by_px + len(left)] = left
    return mask


def grow_mask(mask: NDArray[np.bool_], by_px: int) -> NDArray[np.bool_]:
    """Add `by_px` pixels to every edge of a mask, within the picture."""
    padded = np.pad(~mask, by_px, constant_values=True)
    return ~shrink_mask(padded, by_px)[by_px:-by_px, by_px:-by_px] if by_px else mask


def resize(pixels: NDArray[np.uint8], width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Bring a picture, shape (h, w, 3), to another size.

    Reduced, every source pixel counts (Hamming window as wide as the reduction: no moiré, no ringing at the edge
    of holes); enlarged, it is interpolated.
    """
    image = Image.fromarray(pixels).resize((width_px, height_px), Image.Resampling.HAMMING)
    return np.asarray(image)


def fit_size(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """Width and height in proportion that fill a room, and are never larger than the picture itself."""
    scale = min(1.0, room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def reduce_image(image: Image.Image, room: tuple[int, int]) -> NDArray[np.uint8]:
    """An image as RGB, shape (h, w, 3), reduced to `fit_size`."""
    # Converting copies all of it, even where nothing is to be converted.
    whole = image if image.mode == "RGB" else image.convert("RGB")
    return np.array(whole.resize(fit_size(image.size, room), Image.Resampling.HAMMING, reducing_gap=3.0))


def save_png(path: Path, pixels: NDArray[np.uint8], dpi: int | None = None, thumbnail: bytes = b"") -> None:
    """Write a picture atomically: see `encode_png`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.writelines(_png_parts(pixels, dpi, thumbnail))


def encode_png(pixels: NDArray[np.uint8], dpi: int | None = None, thumbnail: bytes = b"") -> bytes:
    """A picture, shape (h, w, 3), as PNG (PNG specification, 5 and 11).

    With a resolution only where it has a print size, which a slide's pixels have not. A thumbnail is a PNG of its own
    in a private chunk, which programs that change the picture leave out.

    Compressed by ISA-L: Pillow and imagecodecs, by zlib, take three times as long.
    """
    return b"".join(_png_parts(pixels, dpi, thumbnail))


def _png_parts(pixels: NDArray[np.uint8], dpi: int | None, thumbnail: bytes) -> list[bytes]:
    """What the file of `encode_png` consists of, in order."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, 3 * width)
    filtered = np.empty((height, 1 + 3 * width), dtype=np.uint8)
    filtered[:, 0] = _FILTER_SUB
    filtered[:, 1:4] = rows[:, :3]
    np.subtract(rows[:, 3:], rows[:, :-3], out=filtered[:, 4:])
    per_metre = 0 if dpi is None else round(dpi / 0.0254)
    chunks = (
        (b"IHDR", struct.pack(">II", width, height) + _RGB_8_BITS),
        (b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1) if dpi else b""),
        (THUMBNAIL_CHUNK, thumbnail),
        (b"IDAT", isal_zlib.compress(filtered, _LEVEL)),
        (b"IEND", b""),
    )
    parts = [_PNG_SIGNATURE]
    for kind, content in chunks:
        if content or kind == b"IEND":
            checksum = isal_zlib.crc32(content, isal_zlib.crc32(kind))
            parts += [struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)]
    return parts
