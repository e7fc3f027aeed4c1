"""A picture's extent and scale, and random fields and points on it.

Lengths are in µm and every random draw is made on a grid in µm, so that the scale of the picture decides only how
finely the same tissue is sampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]
Points = NDArray[np.float64]
"""Shape (n, 2): x and y in µm."""

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Frame:
    """A picture's extent and scale."""

    width_px: int
    height_px: int
    um_per_px: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.height_px, self.width_px

    @cached_property
    def x_um(self) -> Field:
        """Position of each pixel's centre from the left edge, shape (1, width)."""
        return ((np.arange(self.width_px, dtype=np.float32) + 0.5) * self.um_per_px)[None, :]

    @cached_property
    def y_um(self) -> Field:
        """Position of each pixel's centre from the top edge, shape (height, 1)."""
        return ((np.arange(self.height_px, dtype=np.float32) + 0.5) * self.um_per_px)[:, None]

    @property
    def size_um(self) -> tuple[float, float]:
        return self.width_px * self.um_per_px, self.height_px * self.um_per_px

    def noise(self, rng: np.random.Generator, scale_um: float) -> Field:
        """Smooth random field of mean 0 and deviation 1 whose features measure about `scale_um`."""
        step = scale_um / 2
        width, height = (int(length / step) + 3 for length in self.size_um)
        margin = 8
        coarse = rng.standard_normal((height + 2 * margin, width + 2 * margin), dtype=np.float32)
        coarse = ndimage.gaussian_filter(coarse, 2.0)[margin:-margin, margin:-margin] * np.float32(4 * np.sqrt(np.pi))
        rows = between(coarse, self.y_um[:, 0] / step, axis=0)
        return between(rows, self.x_um[0] / step, axis=1)

    def at(self, field: NDArray[Scalar], points: Points) -> NDArray[Scalar]:
        """Values of a field at points that lie inside the frame."""
        column, row = (points / self.um_per_px).astype(np.intp).T
        values: NDArray[Scalar] = field[row.clip(0, self.height_px - 1), column.clip(0, self.width_px - 1)]
        return values

    def jittered(self, rng: np.random.Generator, spacing_um: float, jitter: float = 0.45) -> Points:
        """Points on a disturbed hexagonal grid that fills the frame."""
        width, height = self.size_um
        rows, columns = int(height / (0.87 * spacing_um)) + 1, int(width / spacing_um) + 1
        row, column = np.mgrid[:rows, :columns]
        points = np.stack([(column + 0.5 * (row % 2)) * spacing_um, row * 0.87 * spacing_um], axis=-1).reshape(-1, 2)
        points = points + rng.normal(0, jitter / 2 * spacing_um, points.shape)
        inside = (points >= 0).all(1) & (points < (width, height)).all(1)
        return points[inside]


def between(values: Field, positions: Field, axis: int) -> Field:
    """Linear interpolation along one axis."""
    low = positions.astype(np.intp)
    part = (positions - low).astype(np.float32)
    part = part[:, None] if axis == 0 else part[None, :]
    value: Field = np.take(values, low, axis) * (1 - part) + np.take(values, low + 1, axis) * part
    return value


def soft(field: NDArray[np.floating[Any]], width: float) -> Field:
    """0 below, 1 above the field's zero, with a ramp of this width between."""
    share: Field = np.clip(field / np.float32(width) + np.float32(0.5), 0, 1, dtype=np.float32, casting="same_kind")
    return share
