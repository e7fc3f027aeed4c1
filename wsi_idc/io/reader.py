"""What every reader of a slide file answers: pixels of any region at any scale."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.files import Closable
from wsi_idc.io.areas import average_areas, average_pixels, on_background, reduction
from wsi_idc.io.jpeg_tiles import NO_JPEG, JpegLevels
from wsi_idc.source import ImageInfo

WHITE = (255, 255, 255)

_FINER = 1 + 1e-3
"""A level whose scale is the one asked for but for rounding is fine enough."""


@dataclass(frozen=True)
class Level:
    """A resolution that a slide is stored in.

    Attributes
    ----------
    width_px, height_px : int
        In pixels of this level.
    downsample : tuple of float
        Pixels of level 0 to one of this level, along x and y.
    """

    width_px: int
    height_px: int
    downsample: tuple[float, float]


class SlideReader(Closable, ABC):
    """An open slide file.

    Attributes
    ----------
    path : Path
    levels : tuple of Level
        Finest first.
    mpp : tuple of float or None
        Scale of level 0 along x and y in µm/px, as the file says it, plausible or not; None where it says nothing.
    background : tuple of int
        RGB that transparent pixels lie on.
    icc_profile : bytes or None
        Empty where the file has one that cannot be read.
    identity : str
        What tells this slide from others, whichever of its files was named.
    description : str
        What the file says of itself in free text.
    bounds : tuple of int or None
        What was scanned, in pixels of level 0: x and y of its corner, width and height. None where the file does not
        say. QuPath counts pixels from this corner.
    image : str or None
        Which of a file's images this is, where it holds several that can be scored.
    images : tuple of ImageInfo
        What else the file holds.
    scale_note : str
        Why `mpp` is None although the file says something; empty otherwise.
    """

    path: Path
    levels: tuple[Level, ...]
    mpp: tuple[float, float] | None = None
    background: tuple[int, ...] = WHITE
    icc_profile: bytes | None = None
    identity: str = ""
    description: str = ""
    bounds: tuple[int, int, int, int] | None = None
    image: str | None = None
    images: tuple[ImageInfo, ...] = ()
    scale_note: str = ""
    _jpeg: JpegLevels = NO_JPEG

    @abstractmethod
    def read(self, level: int, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read a region inside a level, in its own pixels.

        Returns
        -------
        ndarray of uint8, shape (height, width, 4)
            RGB and opacity, not multiplied.

        Raises
        ------
        OSError
            Where the file cannot be read there. The next read may succeed.
        """

    @property
    def name(self) -> str:
        """Of the slide: the file's."""
        return self.path.name

    @property
    def jpeg_quality(self) -> int | None:
        """Quality, 1-100, of the finest level's JPEG; None where it is no JPEG, or not known."""
        return self._jpeg.quality

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the pixels come from, sorted by path."""
        return (self.path,)

    def fingerprint(self) -> str:
        """SHA-256 over all files of the slide, whichever of them was named."""
        digests = []
        for path in self.files:
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256"))
        digest = digests[0]
        if len(digests) > 1:
            digest = hashlib.sha256(b"".join(one.digest() for one in digests))
        digest.update(self.identity.encode())
        return digest.hexdigest()

    @abstractmethod
    def close(self) -> None: ...

    def level_for(self, downsample: tuple[float, float]) -> int:
        """The coarsest level with at least as many pixels as this reduction of level 0; else the finest."""
        fine = [
            index
            for index, level in enumerate(self.levels)
            if all(have <= wanted * _FINER for have, wanted in zip(level.downsample, downsample, strict=True))
        ]
        return max(fine, key=lambda index: self.levels[index].downsample, default=0)

    def _level_of(self, across: NDArray[np.float64], down: NDArray[np.float64], finer: float) -> int:
        """The level that a grid is read from."""
        step = (across[-1] - across[0]) / (len(across) - 1), (down[-1] - down[0]) / (len(down) - 1)
        return self.level_for((step[0] / finer, step[1] / finer))

    def pixels_read(self, across: NDArray[np.float64], down: NDArray[np.float64], finer: float = 1.0) -> int:
        """How many pixels of a file `read_scaled` takes for a grid, about; at least 1."""
        x, y = self.levels[self._level_of(across, down, finer)].downsample
        return max(1, round(float((across[-1] - across[0]) / x * (down[-1] - down[0]) / y)))

    def read_scaled(
        self, across: NDArray[np.float64], down: NDArray[np.float64], finer: float = 1.0
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read a grid of pixels of any size, each the mean over its area.

        Parameters
        ----------
        across, down : ndarray of float64, shape (w + 1,) and (h + 1,)
            Edges of the columns and rows in pixels of level 0, ascending. What lies outside the slide counts as
            transparent.
        finer : float
            The pixels come from a level at least so many times as fine as the grid, where the slide has one.

        Returns
        -------
        pixels : ndarray of uint8, shape (h, w, 3)
            RGB, transparent parts on the slide's background colour.
        opaque : ndarray of bool, shape (h, w)
            Where the slide has any pixel at all; not to be written to.
        """
        index = self._level_of(across, down, finer)
        level = self.levels[index]
        x = np.clip(across / level.downsample[0], 0, level.width_px)
        y = np.clip(down / level.downsample[1], 0, level.height_px)
        jpeg = self._jpeg.tiles.get(index)
        factor = (
            1 if jpeg is None else min(reduction(across / level.downsample[0]), reduction(down / level.downsample[1]))
        )
        x, y = x / factor, y / factor
        left, top = math.floor(x[0]), math.floor(y[0])
        width, height = math.ceil(x[-1]) - left, math.ceil(y[-1]) - top
        if width <= 0 or height <= 0:
            empty = np.empty((len(down) - 1, len(across) - 1, 3), dtype=np.uint8)
            empty[:] = self.background
            return empty, np.zeros(empty.shape[:2], dtype=np.bool_)
        where = left, top, width, height
        region = jpeg.read(factor, *where, partial(self.read, index)) if jpeg else self.read(index, *where)
        whole = region.shape[2] == 3 or bool((region[..., 3] == 255).all())
        seen = region if whole else on_background(region, self.background)
        pixels = average_pixels(seen[..., :3], x - left, y - top)
        rows, columns = np.diff(y) > 0, np.diff(x) > 0
        opaque: NDArray[np.bool_] = np.broadcast_to(np.True_, pixels.shape[:2])
        if not (rows.all() and columns.all()):
            opaque = rows[:, None] & columns
            pixels[~opaque] = self.background
        if not whole:
            opaque = opaque & (average_areas(region[..., 3:], x - left, y - top)[..., 0] > 0)
        return pixels, opaque
