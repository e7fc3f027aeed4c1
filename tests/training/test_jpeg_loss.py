from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from wsi_idc.training.jpeg_loss import jpeg_loss


def blots(seed: int) -> np.ndarray:
    """Soft coloured blots, as smooth as tissue is, shape (48, 48, 3)."""
    noise = np.random.default_rng(seed).normal(size=(48, 48, 3))
    smooth = np.stack([gaussian_filter(noise[..., c], 2) for c in range(3)], axis=-1)
    return (np.array([190, 130, 180]) + 250 * smooth).clip(0, 255).astype(np.uint8)


def by_pillow(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:2")
    return np.asarray(Image.open(file)).astype(float)


@pytest.mark.parametrize("quality", [30, 50, 75, 98])
def test_it_loses_what_libjpeg_loses(quality: int) -> None:
    pixels = np.stack([blots(seed) for seed in range(4)])
    ours = np.asarray(jpeg_loss(pixels.astype(np.float32) / 255, np.full(4, quality, np.float32))) * 255
    theirs = np.stack([by_pillow(one, quality) for one in pixels])
    assert np.abs(ours - theirs).mean() < 1
    assert np.abs(ours - theirs).mean() < 0.5 * np.abs(theirs - pixels).mean()


def test_each_patch_has_its_own_quality() -> None:
    pixels = np.stack([blots(0)] * 2).astype(np.float32) / 255
    low, high = np.abs(np.asarray(jpeg_loss(pixels, np.array([30, 95], np.float32))) - pixels).mean(axis=(1, 2, 3))
    assert low > 1.5 * high
