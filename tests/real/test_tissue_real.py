"""Tissue on real slides: at most a fifth of a pen's pixels is taken for it, and what lies beside the pen stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from wsi_idc.slides.tissue import find_tissue

PEN_MPP = (25.0, 25.0)
"""By the look: the files do not say."""


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize(
    ("ink", "left", "top", "right", "bottom"), [("green", 400, 180, 640, 380), ("red", 200, 180, 700, 650)]
)
def test_pen(slides: Path, ink: str, left: int, top: int, right: int, bottom: int) -> None:
    pixels = read(slides / "histoqc-pen" / f"pen_{ink}.png")
    pen = np.asarray(Image.open(slides / "histoqc-pen" / f"pen_{ink}_mask.png")) > 0
    mask = find_tissue(pixels, PEN_MPP)
    assert mask[pen].mean() <= 0.05
    assert mask[top:bottom, left:right].mean() >= 0.97
    assert mask.mean() <= 0.5


def test_a_slide_that_is_all_tissue(slides: Path) -> None:
    pixels = tifffile.imread(slides / "OS-1-detail.ome.tif")
    coarse = pixels[:1085, :1085].reshape(31, 35, 31, 35, 3).mean(axis=(1, 3))
    assert find_tissue(np.rint(coarse).astype(np.uint8), (7.95, 7.95)).mean() >= 0.99
