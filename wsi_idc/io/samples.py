"""How the values that a TIFF stores become RGB of 8 bits and opacity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsi_idc.io.tiff_tiles import first_page

_STACKS = {"Z": "focus planes", "T": "points in time"}
_GREY, _RGB, _RGBA = 1, 3, 4
_MOST_BITS = 16

_WHITE_SHARE = 0.5
"""The brightest of a slide reaches at least this share of white: less, and its range is not the declared one."""

_CONVERT = "convert it to 8-bit RGB, for instance with `vips colourspace IN OUT.tif srgb`"


class UnfitPixelsError(Exception):
    """The pixels are of a kind that is not scored; the message goes on after the file's name, up to the full stop."""


@dataclass(frozen=True)
class Samples:
    """How one pixel is stored.

    Attributes
    ----------
    channels_first : bool
        Shape (channels, height, width), else (height, width, channels).
    opacity : str
        What a fourth channel is: ``none``: to be left out; ``straight``; or ``multiplied`` into the colours.
    bits : int
        Bits of a value that are used.
    """

    channels_first: bool
    opacity: str
    bits: int

    def rgba(self, stored: NDArray[Any]) -> NDArray[np.uint8]:
        """Stored values of a region to RGB and opacity, not multiplied, shape (height, width, 4)."""
        pixels = np.moveaxis(stored, 0, -1) if self.channels_first else stored
        if self.bits > 8:
            pixels = np.rint(pixels.clip(0, 2**self.bits - 1) * (255 / (2**self.bits - 1))).astype(np.uint8)
        region = np.full((*pixels.shape[:2], 4), 255, dtype=np.uint8)
        region[..., :3] = pixels[..., :3]
        if self.opacity != "none":
            region[..., 3] = pixels[..., 3]
        if self.opacity == "multiplied":
            alpha = np.maximum(region[..., 3:], 1).astype(np.float32)
            region[..., :3] = np.rint(np.minimum(region[..., :3] * (255 / alpha), 255)).astype(np.uint8)
        return region


def samples_of(series: tifffile.TiffPageSeries, bits: int | None = None) -> Samples:
    """How the pixels of a series are stored.

    Parameters
    ----------
    series : TiffPageSeries
    bits : int, optional
        How many bits of each value are used, where the file says so.

    Raises
    ------
    UnfitPixelsError
        Where they are no picture in colours: a stack, fluorescence, grey values, or of another type.
    """
    axes, shape, page = series.axes, series.shape, first_page(series)
    for axis, length in zip(axes, shape, strict=True):
        if axis not in "YXSC":
            what = _STACKS.get(axis, "pictures of one size")
            raise UnfitPixelsError(f"is a stack of {length:,} {what}, where one is scored: save the one by itself")
    channels = [axis for axis in axes if axis in "SC"]
    kind = _type_name(series.dtype)
    if not channels:
        raise UnfitPixelsError(f"holds {kind} grey values, where colours are needed: {_CONVERT}")
    if len(channels) > 1:
        raise UnfitPixelsError(f"holds {shape[axes.index('C')]} channels of colours: save the one by itself")
    count = shape[axes.index(channels[0])]
    is_rgb = page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
    if axes not in ("YXS", "SYX", "CYX") or not (count == _RGB or (count == _RGBA and is_rgb)):
        raise UnfitPixelsError(
            f"holds {count} channels of {kind} values, as fluorescence does, where the three of RGB are needed: "
            "name a brightfield image"
        )
    if series.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
        raise UnfitPixelsError(f"holds pixels of type {kind}, where 8-bit RGB is needed: {_CONVERT}")
    if series.dtype == np.uint16 and not is_rgb:
        raise UnfitPixelsError(
            f"holds {count} channels of 16-bit values that are not marked as RGB, as fluorescence does: {_CONVERT}"
        )
    used = bits or _MOST_BITS
    return Samples(
        axes != "YXS", _opacity(page, count), 8 if series.dtype == np.uint8 else min(max(used, 8), _MOST_BITS)
    )


def _opacity(page: Any, count: int) -> str:
    if count != _RGBA:
        return "none"
    told = page.extrasamples[0] if page.extrasamples else tifffile.EXTRASAMPLE.UNSPECIFIED
    kinds = {tifffile.EXTRASAMPLE.UNASSALPHA: "straight", tifffile.EXTRASAMPLE.ASSOCALPHA: "multiplied"}
    return kinds.get(told, "none")


def _type_name(dtype: np.dtype[Any]) -> str:
    return f"{8 * dtype.itemsize}-bit" if dtype.kind == "u" else dtype.name


def check_depth(samples: Samples, seen: NDArray[Any]) -> None:
    """UnfitPixelsError where values of 16 bits cannot be scaled to 8 safely.

    Cameras store 10, 12 or 14 bits in 16 and do not always say so. Brightfield has bright parts; where the brightest of
    a slide stays below half of white, white is elsewhere.

    Parameters
    ----------
    samples : Samples
    seen : ndarray
        Values from all over the slide.
    """
    if samples.bits <= 8 or not seen.size:
        return
    white = 2**samples.bits - 1
    brightest, most = float(np.percentile(seen, 99.9)), int(seen.max())
    if most > white or brightest < _WHITE_SHARE * white:
        raise UnfitPixelsError(
            f"holds 16-bit pixels of {most:,} at most, where its white should be {white:,}, so that their brightness "
            "is not known: convert it to 8-bit RGB in the program that wrote it"
        )
