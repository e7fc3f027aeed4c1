"""JPEG bytes of one small picture to RGB pixels, with nothing taken on trust."""

from __future__ import annotations

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from wsi_idc.io.png import PatchImageError

_SIGNATURE = b"\xff\xd8\xff"


class JpegError(PatchImageError):
    """The bytes are no JPEG that can be decoded whole."""


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels that the header declares."""
    if not data:
        raise JpegError("the file is empty")
    if not data.startswith(_SIGNATURE):
        raise JpegError("not a JPEG")
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise JpegError(f"damaged JPEG ({error})") from error
    return width, height


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Decode to RGB, shape ``(height, width, 3)``; grey is repeated. What is cut off is refused, not filled in.

    Check `jpeg_size` first: the size that the header declares is allocated.
    """
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB", strict=True))
    except ValueError as error:
        raise JpegError(f"damaged JPEG ({error})") from error
