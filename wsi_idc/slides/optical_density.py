"""A small picture of a slide as optical density: how much light is lost, against the slide's own glass.

Density (here the natural logarithm) grows with the amount of stain and keeps its colour (Ruifrok & Johnston, Anal
Quant Cytol Histol 2001;23:291). Split into grey and colour, the hue stays the same however pale a stain is (van der
Laak et al., Cytometry 2000;39:275), and what is grey has no colour: dust, shadow, black ink.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from skimage.filters import gaussian

from wsi_idc.slides.morphology import Scale

Field = NDArray[np.float32]

DARK = 80.0
"""Glass is brighter than this in its brightest channel, of 255."""

VOID = 20.0
"""No light at all: the padding that scanners add, of which every channel is below."""

TEXTURE_UM = 50.0
"""Sigma over which a deviation is taken: about the diameter of a fat cell."""

_SHINING = 60.0
"""Stain on a lit slide leaves more than this in red and blue."""

_EVEN = 0.004
"""Deviation of the logarithm of light on glass: 0.001 where clean; 0.006 in evenest tissue of a third of the stain."""

_WHITE = 254.0
"""Every channel reaches this in what was filled with white and never scanned."""


@dataclass(frozen=True)
class Density:
    """Optical density of a picture, split in grey and colour.

    Attributes
    ----------
    red, green, blue : ndarray of float32, shape (h, w)
        Natural logarithm of glass over light.
    """

    red: Field
    green: Field
    blue: Field

    @cached_property
    def grey(self) -> Field:
        """Mean of the three densities."""
        mean: Field = (self.red + self.green + self.blue) / np.float32(3)
        return mean

    @cached_property
    def xy(self) -> tuple[Field, Field]:
        """Colour as a vector: away from the grey towards red alone, and at right angles to it."""
        across: Field = (self.green - self.blue) / np.float32(np.sqrt(3))
        return self.red - self.grey, across

    @cached_property
    def colour(self) -> Field:
        """Length of that vector."""
        colour: Field = np.hypot(*self.xy)
        return colour

    @cached_property
    def hue(self) -> Field:
        """Its angle, degrees from -90 to 270.

        0 where red light alone is lost, 60 where as much of green is, 120 where green alone is, 180 where as much of
        blue is: haematoxylin lies near 70 to 100, eosin near 145, blood near 160.
        """
        x, y = self.xy
        hue: Field = (np.degrees(np.arctan2(y, x)) + 90) % 360 - 90
        return hue


def measure_density(light: Field, glass: Field) -> Density:
    """Density of each pixel against glass.

    Parameters
    ----------
    light : ndarray of float32, shape (3, ...)
        RGB, 0-255.
    glass : ndarray of float32, shape (3,)
    """
    return Density(*(np.log(glass[channel] / np.maximum(light[channel], 1)) for channel in range(3)))


def is_transmitted(light: Field) -> bool:
    """Whether light shone through the slide: a fluorescence slide is mostly dark, and fades into what glows on it.

    Parameters
    ----------
    light : ndarray of float32, shape (3, h, w)
    """
    peak = light.max(axis=0)
    lets_through = np.minimum(light[0], light[2]) > _SHINING
    return bool(np.mean(peak < DARK) < 0.5 or lets_through.sum() > 0.7 * np.sum(peak > DARK / 4))


def find_glass(light: Field, um: Scale) -> tuple[Field, float]:
    """Light through glass, shape (3,), and the median colour of its density, which is noise.

    Glass is bright, nearly grey and even; no threshold is taken from the histogram, which would split a slide that is
    all tissue. Where nothing is even, because of noise, glass must be greyer than the palest tissue, which loses green
    before red and blue. Where there is none, it is taken for grey. White that was never scanned counts only where
    there is nothing else, as real glass would look stained against it.
    """
    peak, purple = light.max(axis=0), (light[0] + light[2]) / 2 - light[1]
    pale = (peak > DARK) & (light.min(axis=0) > 0.7 * peak)
    even = spread(np.log((light.mean(axis=0) + 1) / 256), um) < _EVEN
    scanned = light.min(axis=0) < _WHITE
    for limit, place, least in ((0.12, even & scanned, 0.05), (0.12, even, 0.05), (0.03, np.True_, 0.01)):
        found = pale & place & (purple < limit * peak)
        if found.sum() > least * found.size:
            bright = light[:, found & (peak >= 0.85 * np.percentile(peak[found], 95))]
            glass = np.median(bright, axis=1).astype(np.float32)
            return glass, float(np.median(measure_density(bright, glass).colour))
    return np.full(3, max(np.percentile(peak, 99), DARK), dtype=np.float32), 0.0


def spread(values: Field, um: Scale) -> Field:
    """Standard deviation around each pixel, over `TEXTURE_UM`."""
    deviation: Field = np.sqrt((blur(values**2, um) - blur(values, um) ** 2).clip(0))
    return deviation


def blur(values: Field, um: Scale) -> Field:
    """Mean around each pixel, over `TEXTURE_UM`."""
    sigma = [TEXTURE_UM / scale for scale in um]
    blurred: Field = gaussian(values, sigma, mode="nearest", preserve_range=True)  # type: ignore[no-untyped-call]
    return blurred
