"""Parts of a slide at any scale, read in strips and around damage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from wsi_idc.io.reader import SlideReader
from wsi_idc.source import Problem

STRIP_PX = 4_000_000
"""Pixels read from a slide at once, about."""

_WIDEST_PX = 4 * STRIP_PX
"""Rows of a picture that take more are read in pieces."""

_LEAST_PX = 8
"""Where reading fails, a picture is halved down to pieces of this many pixels."""


@dataclass(frozen=True)
class Picture:
    """Part of a slide at some scale, around what is damaged.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
    opaque : ndarray of bool, shape (h, w)
        Where the slide has any pixel.
    lost : ndarray of bool, shape (h, w)
        Where it cannot be read; the pixels have the background's colour.
    """

    pixels: NDArray[np.uint8]
    opaque: NDArray[np.bool_]
    lost: NDArray[np.bool_]

    def part(self, *where: slice) -> Picture:
        """Some rows, or rows and columns, to be written into."""
        return Picture(self.pixels[where], self.opaque[where], self.lost[where])


class PictureReader:
    """Reads parts of a slide. Threads may use it.

    Parameters
    ----------
    path : str
        Named where something cannot be read.
    reader : SlideReader
    to_srgb : ImageCmsTransform, optional
        What the colours go through.
    """

    def __init__(self, path: str, reader: SlideReader, to_srgb: Any = None) -> None:
        self._path, self._reader, self._to_srgb = path, reader, to_srgb
        self._lost: dict[tuple[float, float], Problem] = {}

    @property
    def lost(self) -> Sequence[Problem]:
        """Where `picture` met what cannot be read."""
        return list(self._lost.values())

    def read(
        self, across: NDArray[np.float64], down: NDArray[np.float64], finer: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels ``(h, w, 3)`` between edges in pixels of level 0, and where the slide has any; OSError where damaged.

        `finer` says how many times as fine the level is at least that they are averaged from, where there is one.
        """
        pixels, opaque = self._reader.read_scaled(across, down, finer)
        if self._to_srgb is not None:
            pixels = np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), self._to_srgb))
        return pixels, opaque

    def picture(self, across: NDArray[np.float64], down: NDArray[np.float64], finer: float = 1.0) -> Picture:
        """What lies between these edges, in strips and around damage: see `read`."""
        height, width = len(down) - 1, len(across) - 1
        picture = Picture(
            np.empty((height, width, 3), dtype=np.uint8),
            np.zeros((height, width), dtype=np.bool_),
            np.zeros((height, width), dtype=np.bool_),
        )
        row_px = self._reader.pixels_read(across, down, finer) / height
        rows, columns = max(1, int(STRIP_PX / row_px)), max(1, int(width * min(1, _WIDEST_PX / row_px)))
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                self._read_around_damage(
                    picture.part(slice(top, top + rows), slice(left, left + columns)),
                    across[left : left + columns + 1],
                    down[top : top + rows + 1],
                    finer,
                )
        return picture

    def _read_around_damage(
        self, picture: Picture, across: NDArray[np.float64], down: NDArray[np.float64], finer: float
    ) -> None:
        """Fill a picture; where reading fails, halve it until only what is damaged is left out."""
        try:
            picture.pixels[:], picture.opaque[:] = self.read(across, down, finer)
        except OSError:
            shape = picture.lost.shape
            axis = int(shape[1] > shape[0])
            half = shape[axis] // 2
            if half < _LEAST_PX:
                picture.pixels[:] = self._reader.background
                picture.lost[:] = True
                place = float(across[0]), float(down[0])
                self._lost[place] = Problem(self._path, f"nothing can be read at x {place[0]:.0f}, y {place[1]:.0f}")
                return
            for part in (slice(0, half), slice(half, shape[axis])):
                edges = slice(part.start, part.stop + 1)
                if axis:
                    self._read_around_damage(picture.part(slice(None), part), across[edges], down, finer)
                else:
                    self._read_around_damage(picture.part(part), across, down[edges], finer)
