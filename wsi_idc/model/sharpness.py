"""How sharp a slide's patches are: numbers only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Sharpness = tuple[float, float, float]

_MOST_PATCHES = 32
"""Sharpness is measured on so many patches, evenly chosen: more say hardly more of a slide."""

_LEAST_VARIANCE = 1e-3
"""Of a patch's optical density: a patch that shows less shows nothing that could be sharp."""

_FLOOR = 1e-4

_LEAST_PX = 8
"""Side of a patch that has neighbours at all three scales."""


def measure_sharpness(patches: NDArray[np.uint8], tables: NDArray[np.float64]) -> tuple[Sharpness, int]:
    """Measure how much of the density's variation lies between neighbouring pixels, at three scales.

    Parameters
    ----------
    patches : ndarray of uint8, shape (n, height, width, 3)
        Of one slide.
    tables : ndarray of float64, shape (3, 256)
        Optical density of each value of R, G and B.

    Returns
    -------
    sharpness : tuple of float
        Mean over the patches of the logarithm of: the mean squared difference of optical density between neighbours,
        over the variance of the optical density; between pixels, means of 2x2 pixels, and means of 4x4. It falls with
        blur and with magnification; stain hardly changes it.
    count : int
        How many patches it was measured on; with none, the sharpness is 0.
    """
    chosen = (
        patches
        if len(patches) <= _MOST_PATCHES
        else patches[np.linspace(0, len(patches) - 1, _MOST_PATCHES, dtype=int)]
    )
    density: NDArray[Any] = sum(tables[c].astype(np.float32)[chosen[..., c]] for c in range(3)) / np.float32(3)
    variance = density.var(axis=(1, 2))
    shown = variance > _LEAST_VARIANCE
    if not shown.any() or min(patches.shape[1:3]) < _LEAST_PX:
        return (0.0, 0.0, 0.0), 0
    density, scales = density[shown], []
    for halvings in range(3):
        if halvings:
            rows, columns = (side // 2 * 2 for side in density.shape[1:])
            density = density[:, :rows, :columns]
            density = (
                density[:, ::2, ::2] + density[:, 1::2, ::2] + density[:, ::2, 1::2] + density[:, 1::2, 1::2]
            ) / 4
        between = sum(np.square(np.diff(density, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2))
        scales.append(float(np.log((between + _FLOOR) / (variance[shown] + _FLOOR)).mean()))
    fine, middle, coarse = (round(value, 4) for value in scales)
    return (fine, middle, coarse), int(np.count_nonzero(shown))
