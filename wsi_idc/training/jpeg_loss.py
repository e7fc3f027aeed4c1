"""The loss of JPEG, in Keras operations: what a scanner's compression does to patches, for training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc.model.backend import keras

ops = keras.ops

_BLOCK = 8

# Tables K.1 and K.2 of ITU-T T.81, which libjpeg scales by the quality.
_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.float32,
)
_CHROMA = np.full((_BLOCK, _BLOCK), 99, dtype=np.float32)
_CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

_YCC_FROM_RGB = np.array(
    [[0.299, -0.168736, 0.5], [0.587, -0.331264, -0.418688], [0.114, 0.5, -0.081312]], dtype=np.float32
)
"""JFIF, for row vectors; chroma around 0."""

_RGB_FROM_YCC = np.linalg.inv(_YCC_FROM_RGB).astype(np.float32)


def jpeg_loss(pixels: Any, quality: Any) -> Any:
    """Compress and decompress patches as libjpeg does, with chroma at half width (4:2:2).

    Parameters
    ----------
    pixels : tensor of float32, shape (n, height, width, 3)
        RGB in 0-1; height is a multiple of 8, width of 16.
    quality : tensor of float32, shape (n,)
        1 to 100, of each patch.

    Returns
    -------
    tensor of float32, shape (n, height, width, 3)
        RGB in 0-1, up to rounding the pixels that libjpeg gives back.
    """
    height, width = pixels.shape[1:3]
    colour = ops.matmul(ops.round(pixels * 255.0), ops.convert_to_tensor(_YCC_FROM_RGB))
    percent = ops.where(quality < 50.0, 5000.0 / quality, 200.0 - 2.0 * quality)[:, None, None]
    luma = _lossy(ops.round(colour[..., 0]) - 128.0, _steps(_LUMA, percent, height, width)) + 128.0
    table = _steps(_CHROMA, percent, height, width // 2)
    planes = [luma]
    for channel in (1, 2):
        pairs = ops.reshape(ops.round(colour[..., channel]), (-1, height, width // 2, 2))
        planes.append(_widen(_lossy(ops.mean(pairs, axis=-1), table)))
    restored = ops.matmul(ops.stack(planes, axis=-1), ops.convert_to_tensor(_RGB_FROM_YCC))
    return ops.clip(ops.round(restored) / 255.0, 0.0, 1.0)


def _steps(table: NDArray[np.float32], percent: Any, height: int, width: int) -> Any:
    """Quantisation step of each coefficient of a plane of blocks, shape (n, height, width)."""
    tiled = np.tile(table, (height // _BLOCK, width // _BLOCK))
    return ops.clip(ops.floor((ops.convert_to_tensor(tiled) * percent + 50.0) / 100.0), 1.0, 255.0)


def _lossy(plane: Any, steps: Any) -> Any:
    """Round the cosine transform of each 8x8 block of a plane ``(n, height, width)`` to whole steps."""
    down, across = _blocks(plane.shape[1]), _blocks(plane.shape[2])
    coefficients = ops.matmul(ops.matmul(ops.convert_to_tensor(down), plane), ops.convert_to_tensor(across.T))
    kept = ops.round(coefficients / steps) * steps
    return ops.round(ops.matmul(ops.matmul(ops.convert_to_tensor(down.T), kept), ops.convert_to_tensor(across)))


def _blocks(length: int) -> NDArray[np.float32]:
    """The cosine transform of all blocks along one side, as one matrix of that side."""
    k, x = np.mgrid[:_BLOCK, :_BLOCK]
    cosine = np.cos((2 * x + 1) * k * np.pi / (2 * _BLOCK)) * np.where(k == 0, np.sqrt(0.5), 1) / 2
    return np.kron(np.eye(length // _BLOCK), cosine).astype(np.float32)


def _widen(half: Any) -> Any:
    """Twice as wide, each pixel three parts its own and one part its neighbour's: libjpeg's smooth upsampling."""
    left = ops.concatenate([half[:, :, :1], half[:, :, :-1]], axis=2)
    right = ops.concatenate([half[:, :, 1:], half[:, :, -1:]], axis=2)
    pairs = ops.stack([3.0 * half + left, 3.0 * half + right], axis=-1) / 4.0
    return ops.reshape(pairs, (-1, half.shape[1], 2 * half.shape[2]))
