"""How pictures are coloured, checked before anything is drawn."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from wsi_idc.errors import OptionError

MIN_DPI, MAX_DPI = 72, 600

_LEVELS = 256
_LEAST_EVENNESS = 0.35
"""Lightness gained in a map's slowest stretch, over its mean: viridis 0.95, inferno 0.5, hot 0.03, jet below 0."""


@dataclass(frozen=True)
class Style:
    """Colours and resolution of the pictures.

    Attributes
    ----------
    colormap : str
        Name of a Matplotlib colormap. One that is not perceptually uniform is drawn, with a UserWarning.
    opacity : float
        Weight of the colour over the grey tissue, above 0 and at most 1.
    dpi : int
        Pixels per inch of the sheet and the charts.

    Raises
    ------
    OptionError
        Where a value cannot be used.
    """

    colormap: str = "cividis"
    opacity: float = 0.55
    dpi: int = 200

    def __post_init__(self) -> None:
        if self.colormap not in colormaps:
            raise OptionError(_unknown_colormap(self.colormap))
        if not 0 < self.opacity <= 1:
            raise OptionError(f"An opacity of {self.opacity} cannot be drawn: choose one above 0 and at most 1.")
        if not MIN_DPI <= self.dpi <= MAX_DPI:
            raise OptionError(f"{self.dpi} dpi cannot be drawn: choose {MIN_DPI} to {MAX_DPI}.")
        if not is_uniform(self.colormap):
            warnings.warn(
                f"The colormap {self.colormap} is not perceptually uniform: it shows steps that are not in the data "
                "and hides some that are; cividis or viridis do not.",
                UserWarning,
                stacklevel=3,
            )


@cache
def colour_table(colormap: str) -> NDArray[np.float32]:
    """Colours of the probabilities 0 to 1 in even steps: RGB 0-255, shape (256, 3), not to be written to."""
    rgb = colormaps[colormap](np.linspace(0, 1, _LEVELS))[:, :3]
    table = np.asarray(rgb * 255, dtype=np.float32)
    table.flags.writeable = False
    return table


def table_index(prob: NDArray[np.float64]) -> NDArray[np.intp]:
    """Row of the colour table that shows each probability (0-1)."""
    return np.rint(np.clip(prob, 0, 1) * (_LEVELS - 1)).astype(np.intp)


@cache
def is_uniform(colormap: str) -> bool:
    """Whether equal steps in probability look about equal: the map's lightness runs one way, without stalling."""
    step = 16
    lightness = _lightness(colour_table(colormap).astype(np.float64) / 255)
    rise = lightness[-1] - lightness[0]
    if abs(rise) < 1:
        return False
    slopes = (lightness[step:] - lightness[:-step]) / rise * (_LEVELS - 1) / step
    return bool(slopes.min() >= _LEAST_EVENNESS)


def _lightness(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE 1976 L* (0-100) of sRGB colours 0-1, shape (n, 3): IEC 61966-2-1 and CIE 15."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance: NDArray[np.float64] = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > (6 / 29) ** 3, 116 * np.cbrt(luminance) - 16, luminance * (29 / 3) ** 3)


def _unknown_colormap(name: str) -> str:
    by_lower = {known.lower(): known for known in colormaps}
    near = [by_lower[match] for match in get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0)]
    return f"There is no colormap {name!r}: the nearest name is {near[0]}; cividis is the default."
