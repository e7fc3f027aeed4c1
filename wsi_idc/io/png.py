"""PNG bytes to RGB pixels, with nothing taken on trust."""

from __future__ import annotations

import struct

import numpy as np
from imagecodecs import PngError as _CodecError
from imagecodecs import png_decode
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class PatchImageError(ValueError):
    """The bytes are no picture that can be decoded whole."""


class PngError(PatchImageError):
    """The bytes are no PNG that can be decoded whole."""


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels that the header declares."""
    if not data:
        raise PngError("the file is empty")
    if not data.startswith(_SIGNATURE):
        raise PngError("not a PNG")
    if len(data) < 24 or data[12:16] != b"IHDR":
        raise PngError("the PNG's header is cut off")
    width, height = struct.unpack(">II", data[16:24])
    if not width or not height:
        raise PngError("the PNG declares no pixels")
    return width, height


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """Decode to RGB, shape ``(height, width, 3)``; grey is repeated, 16 bits are cut to 8, alpha lies on white.

    Check `png_size` first: the size that the header declares is allocated.
    """
    try:
        pixels = png_decode(data)
    except (_CodecError, ValueError, RuntimeError) as error:
        # What libpng says of some damage cannot be decoded itself.
        told = "it cannot be decoded" if isinstance(error, UnicodeError) else error
        raise PngError(f"damaged PNG ({told})") from error
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise PngError(f"PNG of unexpected type {pixels.dtype}")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] in (2, 4):
        alpha = pixels[..., -1:].astype(np.uint16)
        pixels = ((pixels[..., :-1] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3)) if pixels.shape[2] == 1 else pixels
