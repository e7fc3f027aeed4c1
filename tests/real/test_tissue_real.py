"""Tissue on real slides: at most a fifth of a pen's pixels is taken for it, and what lies beside the pen stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from wsi_idc import open_slide
from wsi_idc.slides.tissue import find_tissue, unlike_he

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


def test_a_purple_carcinoma_is_all_tissue_and_like_he(slides: Path) -> None:
    with open_slide(slides / "OS-1-detail.ome.tif") as slide:
        assert slide.tissue is not None and slide.tissue.all()
        assert len(slide.patches) >= 1
        assert not slide.problems
        # The file says RGB of JPEG that is YCbCr; its purple is not green.
        assert slide.thumbnail[..., 1].mean() < slide.thumbnail[..., 0].mean() < slide.thumbnail[..., 2].mean()


def test_a_slide_that_is_all_tissue(slides: Path) -> None:
    pixels = tifffile.imread(slides / "OS-1-detail.ome.tif")
    for factor in (35, 70):
        side = len(pixels) // factor * factor
        blocks = pixels[:side, :side].reshape(side // factor, factor, side // factor, factor, 3)
        coarse = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
        assert find_tissue(coarse, (0.227 * factor, 0.227 * factor)).all()
        assert not unlike_he(coarse)


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs"])
def test_what_is_plainly_stained_is_tissue(slides: Path, name: str) -> None:
    with open_slide(slides / name, mpp=0.5) as slide:
        pixels, mask = slide.thumbnail, slide.tissue
        assert mask is not None and not slide.problems
    assert mask[np.ptp(pixels, axis=2) > 40].mean() >= 0.99
    assert mask.mean() <= 0.85
