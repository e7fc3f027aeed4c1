from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from wsi_idc.io.png import PngError, decode_png, png_size


def encoded(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "png")
    return data.getvalue()


RED = np.full((7, 5, 3), (200, 10, 30), np.uint8)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(RED), (200, 10, 30)),
        (Image.fromarray(RED).convert("P", palette=Image.Palette.ADAPTIVE), (200, 10, 30)),
        (Image.fromarray(RED[..., 0]), (200, 200, 200)),
        (Image.fromarray(RED[..., 0].astype(np.uint16) * 257), (200, 200, 200)),
        (Image.fromarray(np.dstack([RED, np.zeros((7, 5), np.uint8)])), (255, 255, 255)),
        (Image.fromarray(np.dstack([RED, np.full((7, 5), 255, np.uint8)])), (200, 10, 30)),
    ],
)
def test_every_kind_of_png_becomes_rgb(image: Image.Image, expected: tuple[int, int, int]) -> None:
    data = encoded(image)
    assert png_size(data) == (5, 7)
    pixels = decode_png(data)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.broadcast_to(np.array(expected, np.uint8), (7, 5, 3)))


def test_png_without_pixels() -> None:
    data = encoded(Image.fromarray(RED))
    with pytest.raises(PngError, match="no pixels"):
        png_size(data[:16] + bytes(4) + data[20:])
