"""The fine picture behind a coarse one: tissue painted at 8 µm/px as a scanner would have seen it at 1 µm/px.

Painting at the fine scale outright would need the memory of the whole slide, so the fine picture is made cell by cell,
wherever it is looked at. Reduced by area averaging it is the coarse picture again: see `Spline`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import dask.array as da
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsi_idc.phantom.frame import Field

FACTORS = (2, 4, 8, 16, 32)

_CELL_PX = 512
"""Side of what is computed at once, in fine pixels. A cell is the same whichever part of it is asked for."""

_CHUNK = (_CELL_PX, 8 * _CELL_PX, 3)
"""As the writer of TIFF reads."""

_RING_PX = 3
"""Coarse pixels around a cell for which the fine picture is made too, so that its last correction has no seam."""

_MARGIN_PX = 20
"""Coarse pixels read around a cell: what lies farther away changes nothing that is seen."""

_NEAR_PX = 1.5
"""Deviation of the Gaussian, in coarse pixels, over which a pixel is compared with what lies around it."""

_FIBRE_PX = 2.5
"""Deviation of the Gaussian, in coarse pixels, over which the direction of fibres is found."""

_BRIGHTEST = 246.0
"""Next to dark tissue an interpolated glass would glow."""

_STAINED = (238.0, 60.0)
"""Mean grey level that is bare glass, and how far below it the texture has its full strength."""

_CAMERA = 2.5
"""Deviation in grey levels that is noise of the camera, and no contrast to be sharpened."""

_STEEPNESS = 1.3
"""How sharply dark parts from bright; beyond 2, edges follow the lattice of the coarse pixels."""

_WRINKLES, _CLUMPS = 0.7, 0.3
"""How far the texture moves edges, and how far it shows between them, in units of the local contrast."""

_TEXELS = (521, 547, 577, 613)
"""Periods of the textures in fine pixels. Primes, so that together they never repeat on a slide."""

_ANGLES = tuple(k * math.pi / 4 for k in range(4))
"""Directions in which the textures are drawn out; x is right and y is down."""


def magnify(pixels: NDArray[np.uint8], factor: int, seed: int) -> da.Array:
    """Magnify painted tissue, with sharper edges and the fine texture that the coarse picture cannot hold.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
        RGB. It must not be changed as long as the result is in use.
    factor : int
        A power of two from 2 to 32. The texture is drawn for fine pixels of about 0.5 µm.
    seed : int
        Not negative; it decides the texture.

    Returns
    -------
    dask array of uint8, shape (h * factor, w * factor, 3)
        The mean of each square of `factor` x `factor` pixels is the coarse pixel to within half a grey level. Chunks
        measure 512 x 4096 pixels; of a smaller window, only the cells of 512 x 512 that it touches are computed.

    Raises
    ------
    ValueError
        Where `factor` is another number.
    """
    if factor not in FACTORS:
        raise ValueError(f"A factor of {factor} is no power of two from 2 to 32.")
    # Without a name dask would read all pixels to make one.
    fine: da.Array = da.from_array(  # type: ignore[no-untyped-call]
        Magnified(pixels, factor, seed), chunks=_CHUNK, name=False, asarray=False, meta=np.empty((0, 0, 0), np.uint8)
    )
    return fine


@dataclass(frozen=True, eq=False)
class Magnified:
    """The fine picture as an array whose parts are computed where they are read."""

    coarse: NDArray[np.uint8]
    factor: int
    seed: int
    dtype = np.dtype(np.uint8)
    ndim = 3

    @property
    def shape(self) -> tuple[int, int, int]:
        height, width, channels = self.coarse.shape
        return height * self.factor, width * self.factor, channels

    def __getitem__(self, index: tuple[slice, slice, slice]) -> NDArray[np.uint8]:
        """Read a window; steps are 1."""
        (top, bottom, _), (left, right, _) = (
            part.indices(length) for part, length in zip(index[:2], self.shape[:2], strict=True)
        )
        window = np.empty((bottom - top, right - left, 3), dtype=np.uint8)
        scratch = self._lens.scratch()
        for y in range(top - top % _CELL_PX, bottom, _CELL_PX):
            for x in range(left - left % _CELL_PX, right, _CELL_PX):
                rows, columns = slice(max(y, top), y + _CELL_PX), slice(max(x, left), x + _CELL_PX)
                target = window[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
                cell = self._cell(y // _CELL_PX, x // _CELL_PX, scratch)[rows.start - y :, columns.start - x :]
                target[:] = cell[: target.shape[0], : target.shape[1]]
        return window[..., index[2]]

    def _cell(self, row: int, column: int, scratch: Field) -> NDArray[np.uint8]:
        """One cell, shape (512, 512, 3), which at the right and lower edge reaches beyond the picture."""
        side = _CELL_PX // self.factor
        reach = np.arange(-_MARGIN_PX, side + _MARGIN_PX)
        rows, columns = (
            np.clip(at * side + reach, 0, length - 1)
            for at, length in zip((row, column), self.coarse.shape[:2], strict=True)
        )
        around = np.moveaxis(self.coarse[rows[:, None], columns], -1, 0).astype(np.float32, order="C")
        return self._lens.look(around, [self._texture(tile, row, column) for tile in self._tiles], scratch)

    def _texture(self, tile: Field, row: int, column: int) -> Field:
        """What a texture shows in one cell and the ring around it; the tile is longer by that much than its period."""
        reach = self._reach
        period = len(tile) - reach
        top, left = row * _CELL_PX % period, column * _CELL_PX % period
        return tile[top : top + reach, left : left + reach]

    @property
    def _reach(self) -> int:
        """Side of a cell and its ring in fine pixels."""
        return _CELL_PX + 2 * _RING_PX * self.factor

    @cached_property
    def _lens(self) -> Lens:
        return Lens(self.factor)

    @cached_property
    def _tiles(self) -> list[Field]:
        rng = np.random.default_rng(self.seed)
        streaks = [draw_streaks(rng, period, angle) for period, angle in zip(_TEXELS, _ANGLES, strict=True)]
        return [np.pad(tile, (0, self._reach), mode="wrap") for tile in streaks]


def draw_streaks(rng: np.random.Generator, period: int, angle: float) -> Field:
    """Draw fine streaks of mean 0 and deviation 1 in one direction, shape (period, period); they repeat without a seam.

    Parameters
    ----------
    rng : Generator
    period : int
        In fine pixels.
    angle : float
        From right to down, in radians.
    """
    noise = np.fft.rfft2(rng.standard_normal((period, period)))
    y, x = 2 * np.pi * np.fft.fftfreq(period)[:, None], 2 * np.pi * np.fft.rfftfreq(period)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    # Fibrils and clumps of chromatin, 0.5 to 4 µm.
    passed = np.zeros(along.shape)
    for long, wide in ((1.2, 0.6), (4, 1.2), (3, 2.2)):
        passed += np.exp(-((long * along) ** 2 + (wide * across) ** 2) / 2) * wide
    passed[0, 0] = 0
    streaks = np.fft.irfft2(noise * passed, s=(period, period))
    drawn: Field = (streaks / streaks.std()).astype(np.float32)
    return drawn


class Spline:
    """Smooth interpolation that keeps the mean of each square, so that a reduced picture is the same again.

    A curve whose integral is the cubic spline through the running sum of the pixels: in terms of B-splines, quadratic
    ones weighted by what the prefilter of cubic interpolation makes of the pixels (Unser, Splines: a perfect fit for
    signal and image processing, IEEE Signal Processing Magazine 1999). A fine pixel is the mean of it over its area.

    Parameters
    ----------
    size_px : int
        Side of the square that is interpolated, in coarse pixels.
    margin_px : int
        Coarse pixels given around it, 1 at least; beyond, zero is assumed.
    factor : int
    """

    def __init__(self, size_px: int, margin_px: int, factor: int) -> None:
        pole = np.sqrt(3) - 2
        row, column = np.ogrid[: size_px + 2, : size_px + 2 * margin_px]
        self._filter = (np.sqrt(3) * pole ** np.abs(column - row - margin_px + 1)).astype(np.float32)
        edges = np.linspace(-0.5, 0.5, factor + 1)
        before, after = -np.diff((0.5 - edges) ** 3) * factor / 6, np.diff((0.5 + edges) ** 3) * factor / 6
        self._weights = np.stack([before, 1 - before - after, after], axis=1).astype(np.float32)
        across = np.zeros((size_px, factor, size_px + 2), dtype=np.float32)
        for tap in range(3):
            across[np.arange(size_px), :, np.arange(size_px) + tap] = self._weights[:, tap]
        self._across = across.reshape(size_px * factor, -1).T.copy()

    def __call__(self, coarse: Field, out: Field) -> Field:
        """Interpolate one channel, shape (size + 2 * margin,) * 2, into another, shape (size * factor,) * 2."""
        rows = (self._filter @ coarse @ self._filter.T) @ self._across
        # Each fine row is made of three coarse ones: far fewer sums than with a matrix of the full height.
        threes = np.lib.stride_tricks.sliding_window_view(rows, 3, axis=0).swapaxes(1, 2)
        np.matmul(self._weights, threes, out=out.reshape(len(threes), -1, rows.shape[1]))
        return out


class Lens:
    """Makes cells of the fine picture.

    Parameters
    ----------
    factor : int
    """

    def __init__(self, factor: int) -> None:
        size = _CELL_PX // factor
        self._factor = factor
        self._wide = Spline(size + 2 * _RING_PX, _MARGIN_PX - _RING_PX, factor)
        self._narrow = Spline(size, _RING_PX, factor)

    def scratch(self) -> Field:
        """Memory for `look`, to be used again: fresh memory for each cell takes half as much time again."""
        side = _CELL_PX + 2 * _RING_PX * self._factor
        return np.empty((5, side, side), dtype=np.float32)

    def look(self, around: Field, textures: list[Field], scratch: Field) -> NDArray[np.uint8]:
        """Make one cell.

        Parameters
        ----------
        around : ndarray of float32, shape (3, n, n)
            Coarse pixels of the cell and `_MARGIN_PX` around it.
        textures : list of ndarray of float32, shape (m, m)
            One for each of `_ANGLES`, over the cell and `_RING_PX` around it.
        scratch : ndarray of float32
            From `scratch`; its content does not matter.

        Returns
        -------
        ndarray of uint8, shape (512, 512, 3)
        """
        wrinkles, clumps, wide, spare, last = scratch
        grain = self._grain(around, textures, out=wrinkles, spare=spare)
        np.multiply(grain, np.float32(_CLUMPS), out=clumps)
        wrinkles *= np.float32(_WRINKLES)
        core = last.reshape(-1)[: _CELL_PX * _CELL_PX].reshape(_CELL_PX, _CELL_PX)
        cell = np.empty((_CELL_PX, _CELL_PX, 3), dtype=np.uint8)
        read = _within(_MARGIN_PX - _RING_PX)
        for channel, coarse in enumerate(around):
            self._sharpened(coarse, wrinkles, clumps, out=wide, spare=spare)
            self._narrow(coarse[read] - square_means(wide, self._factor), out=core)
            core += wide[_within(_RING_PX * self._factor)]
            if core.min() < 0 or core.max() > 255:
                into_range(core, coarse[_within(_MARGIN_PX)], self._factor)
            core += np.float32(0.5)
            np.copyto(cell[..., channel], core, casting="unsafe")
        return cell

    def _grain(self, around: Field, textures: list[Field], out: Field, spare: Field) -> Field:
        """Texture of deviation 1 on stained tissue and 0 on glass, drawn out along fibres."""
        grey = around.mean(axis=0)
        down, across = (ndimage.sobel(grey, axis) for axis in (0, 1))
        # The structure tensor: fibres run across the steepest slope. Where there is red light, there are few nuclei.
        xx, yy, xy, red = (
            ndimage.gaussian_filter(values, _FIBRE_PX, truncate=3)
            for values in (across * across, down * down, across * down, around[0])
        )
        fibrous = ((red - 110) / 60).clip(0, 1) / (xx + yy + 400)
        cosine, sine = (yy - xx) * fibrous, -2 * xy * fibrous
        shares = [
            np.maximum(0.15, 0.5 + math.cos(2 * angle) * cosine + math.sin(2 * angle) * sine) for angle in _ANGLES
        ]
        glass, depth = _STAINED
        strength = np.clip((glass - grey) / depth, 0, 1) / np.sqrt(sum(share * share for share in shares))
        out[:] = 0
        for share, texture in zip(shares, textures, strict=True):
            part = self._wide(share * strength, out=spare)
            part *= texture
            out += part
        return out

    def _sharpened(self, coarse: Field, wrinkles: Field, clumps: Field, out: Field, spare: Field) -> Field:
        """Interpolate one channel: pixels darker and brighter than their neighbourhood part along a wrinkled line."""
        near = ndimage.gaussian_filter(coarse, _NEAR_PX, truncate=3)
        spread = ndimage.gaussian_filter((coarse - near) ** 2, _NEAR_PX, truncate=3)
        contrast = np.sqrt(np.maximum(spread - np.float32(_CAMERA**2), 0))
        self._wide((coarse - near) * (_STEEPNESS / (contrast + 2)), out=out)
        out += wrinkles
        root = np.multiply(out, out, out=spare)
        root += 1
        out /= np.sqrt(root, out=root)
        out += clumps
        out *= self._wide(contrast * np.float32(1.5), out=spare)
        out += self._wide(near, out=spare)
        return np.minimum(out, np.float32(_BRIGHTEST), out=out)


def _within(border: int) -> tuple[slice, slice]:
    """All of a square but a border."""
    return slice(border, -border), slice(border, -border)


def square_means(fine: Field, factor: int) -> Field:
    """Mean of each square of `factor` x `factor` pixels of one channel."""
    height, width = fine.shape
    rows = fine.reshape(height // factor, factor, width).sum(axis=1)
    means: Field = rows.reshape(height // factor, width // factor, factor).mean(axis=2) / np.float32(factor)
    return means


def into_range(fine: Field, coarse: Field, factor: int) -> None:
    """Bring the squares of one channel that leave 0 to 255 back, with less contrast, so that they keep their means.

    Parameters
    ----------
    fine : ndarray of float32, shape (h * factor, w * factor)
        Changed in place.
    coarse : ndarray of float32, shape (h, w)
        Means that the squares shall have.
    factor : int
    """
    height, width = coarse.shape
    squares = fine.reshape(height, factor, width, factor)
    least, most = squares.min(axis=1).min(axis=2), squares.max(axis=1).max(axis=2)
    rows, columns = np.nonzero((least < 0) | (most > 255))
    clipped = squares[rows, :, columns].clip(0, 255).reshape(len(rows), -1)
    wanted = coarse[rows, columns, None]
    clipped -= clipped.mean(axis=1, keepdims=True)
    tiny = np.float32(1e-3)
    down = wanted / np.maximum(-clipped.min(axis=1, keepdims=True), tiny)
    up = (255 - wanted) / np.maximum(clipped.max(axis=1, keepdims=True), tiny)
    clipped *= np.minimum(down, up).clip(0, 1)
    squares[rows, :, columns] = (clipped + wanted).reshape(-1, factor, factor)
