"""Measure a slide's light, stain and sharpness, and take light and stain out: numbers only, no files and no network.

A slide's light is divided by that of its glass, and the mean and the spread of its optical density are brought to one
value each. What a few patches, or patches of one tissue, say of the stain is drawn towards what slides have on average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc.model.sharpness import Sharpness, measure_sharpness

Rgb = tuple[float, float, float]

METHOD = "glass+od"
"""Name of this normalization in a model's ``.json``."""

ESTIMATE = 2
"""Counts up when a slide's stain is measured differently, so that results of before are not taken for the same."""

SAMPLE_RUNS, RUN_PATCHES = 32, 8
"""A slide's stain is measured on so many runs of so many patches: neighbours are read at once, and cost less."""

_STEP = 4
"""Every fourth pixel of every fourth row is measured: neighbours say the same."""

_BRIGHTEST = 99.5
"""Percentile of a channel's light that is glass, where there is any."""

_GLASS_REACH = 0.06
"""Optical density up to which a pixel may be darker than the brightest light and still be glass."""

_GLASS_RANGE = (200.0, 255.0)
_GLASS_TINT = 24.0
"""Light of glass, and how far its channels lie apart at most: pale tissue is darker, or pink."""

_GLASS_SHARE = 0.002
"""Share of glass among the pixels at which what is seen of it counts as much as the guess."""

_PRIOR_PATCHES = 0.7
"""So many patches full of stained pixels say as much of a slide's stain as other slides do."""

_ONE_TISSUE = 0.5
"""Doubt that patches all alike leave, however many they are."""

_USUAL_VARIETY = 0.1
"""Spread of the mean optical density from patch to patch on a slide of several tissues."""

_DOUBTFUL = 0.4
"""From this share of the prior on, the stain counts as not known."""

_LARGEST = 100.0
"""No optical density and no sharpness comes near."""

_FADE_STEPS = 64
"""Steps in which normalization fades out towards glass."""


@dataclass(frozen=True)
class Normalization:
    """What a model wants a slide's glass and stain brought to.

    Attributes
    ----------
    glass : float
        Light of glass, 0-255.
    means, spreads : tuple of float
        Mean and standard deviation of the optical density, ``-ln((I + 1) / 256)``, in R, G and B.
    usual_means, usual_spreads : tuple of float
        Of the slides that the model was trained on, before: the prior.
    density : float
        Pixels count as stained from this mean optical density on; below, the normalization fades out.
    """

    glass: float = 243.0
    means: Rgb = (0.49, 0.83, 0.52)
    spreads: Rgb = (0.30, 0.36, 0.25)
    usual_means: Rgb = (0.276, 0.648, 0.416)
    usual_spreads: Rgb = (0.183, 0.267, 0.173)
    density: float = 0.15

    def as_dict(self) -> dict[str, Any]:
        """As it stands in a model's ``.json``."""
        return {
            "method": METHOD,
            "glass": self.glass,
            "means": list(self.means),
            "spreads": list(self.spreads),
            "usual_means": list(self.usual_means),
            "usual_spreads": list(self.usual_spreads),
            "density": self.density,
        }


@dataclass(frozen=True)
class Stain:
    """Glass, stain and sharpness of a slide, rounded as they are written.

    Attributes
    ----------
    glass : tuple of float
        Its light in R, G and B, 0-255.
    glass_share : float
        Share of the measured pixels that are glass; 0 where the glass is guessed.
    means, spreads : tuple of float
        Of the optical density in R, G and B, with glass as the model wants it, drawn towards the prior.
    prior : float
        Share, 0-1, of the prior in them: 1 where nothing was seen of the stain.
    pixels : int
        How many stained pixels were measured.
    sharpness : tuple of float
        See `measure_sharpness`.
    sharpness_patches : int
        How many patches it was measured on.
    """

    glass: Rgb
    glass_share: float
    means: Rgb
    spreads: Rgb
    prior: float
    pixels: int
    sharpness: Sharpness = (0.0, 0.0, 0.0)
    sharpness_patches: int = 0

    def as_dict(self) -> dict[str, Any]:
        """``glass`` and ``stain`` as they stand in ``run.json``."""
        return {
            "glass": list(self.glass),
            "stain": {
                "means": list(self.means),
                "spreads": list(self.spreads),
                "prior": self.prior,
                "pixels": self.pixels,
                "glass_share": self.glass_share,
                "sharpness": list(self.sharpness),
                "sharpness_patches": self.sharpness_patches,
            },
        }

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> Stain:
        """Read ``glass`` and ``stain`` back; ValueError, TypeError or LookupError where they are not as written."""
        stain = written["stain"]
        parts = written["glass"], stain["means"], stain["spreads"], stain["sharpness"]
        glass, means, spreads, sharpness = (_rgb(np.asarray(part, dtype=np.float64)) for part in parts)
        share, prior = float(stain["glass_share"]), float(stain["prior"])
        counts = int(stain["pixels"]), int(stain["sharpness_patches"])
        found = cls(glass, share, means, spreads, prior, counts[0], sharpness, counts[1])
        if not np.isfinite([*glass, share, *means, *spreads, prior, *sharpness]).all():
            raise ValueError("a stain of numbers that are not finite")
        if min(spreads) <= 0 or min(counts) < 0 or max(map(abs, (*means, *spreads, *sharpness))) > _LARGEST:
            raise ValueError("a stain of numbers that cannot be")
        return found

    def cautions(self) -> list[tuple[str, str]]:
        """Code and sentence of each thing that a reader of the probabilities must know; empty where all is known."""
        found = []
        if not self.glass_share:
            found.append(
                (
                    "glass-unknown",
                    "Hardly any glass is seen between the tissue, so the colour of the light is guessed: "
                    "probabilities may be off where the slide is dark or tinted.",
                )
            )
        if self.prior > _DOUBTFUL:
            found.append(
                (
                    "stain-unknown",
                    "Too few patches, or too few kinds of tissue, are seen to know the stain, so an average one is "
                    f"assumed for {self.prior:.0%} of it: probabilities may be off where the stain is unusual.",
                )
            )
        return found


def even_sample(count: int) -> list[tuple[int, int]]:
    """First patch, and the one behind the last, of each run that a slide of `count` patches is measured on.

    The runs are evenly spaced, and the same each time; a slide of few patches is one run.
    """
    if count <= SAMPLE_RUNS * RUN_PATCHES:
        return [(0, count)] if count else []
    starts = [i * (count - RUN_PATCHES) // (SAMPLE_RUNS - 1) for i in range(SAMPLE_RUNS)]
    return [(start, start + RUN_PATCHES) for start in starts]


def estimate_stain(patches: NDArray[np.uint8], target: Normalization) -> Stain:
    """Measure glass, stain and sharpness of a slide on a sample of its patches.

    Parameters
    ----------
    patches : ndarray of uint8, shape (n, height, width, 3)
        RGB of one slide, all or those of an `even_sample`. Patches with a white last row or column are cut by the
        slide's edge and padded, and left out if enough others are there. May be none.
    target : Normalization

    Returns
    -------
    Stain
    """
    whole = _whole(patches)
    planes = np.ascontiguousarray(whole[:, _STEP // 2 :: _STEP, _STEP // 2 :: _STEP].reshape(-1, 3).T)
    glass, share = _find_glass(planes, target.glass)
    if not planes.size:
        return Stain(glass, share, target.usual_means, target.usual_spreads, 1.0, 0)
    tables = np.stack([_density_table(light, target.glass) for light in glass])
    density = np.stack([table[plane] for table, plane in zip(tables, planes, strict=True)])
    mean_density = (density[0] + density[1] + density[2]) / 3
    stained = mean_density > target.density
    count = int(np.count_nonzero(stained))
    means, spreads = np.array(target.usual_means), np.array(target.usual_spreads)
    if not count:
        return Stain(glass, share, target.usual_means, target.usual_spreads, 1.0, 0)
    seen = np.compress(stained, density, axis=1)
    per_patch = planes.shape[1] // len(whole)
    prior = _prior_share(mean_density.reshape(-1, per_patch), stained.reshape(-1, per_patch))
    means = prior * means + (1 - prior) * seen.mean(axis=1)
    # Standard deviations are ratios: half way between two of them is their geometric mean.
    spreads = np.exp(prior * np.log(spreads) + (1 - prior) * np.log(np.maximum(seen.std(axis=1), 0.02)))
    sharpness = measure_sharpness(whole, tables)
    return Stain(glass, share, _rgb(means), _rgb(spreads), round(prior, 4), count, *sharpness)


def normalize(patches: NDArray[np.uint8], stain: Stain, target: Normalization) -> NDArray[np.uint8]:
    """Bring glass and stain of a slide's patches to those that the model wants.

    The optical density of each channel is brought from the slide's mean and spread to the target's. Towards glass,
    which has no stain, that fades out: a pixel of mean density d changes by ``min(1, d / target.density)`` of it.

    Parameters
    ----------
    patches : ndarray of uint8, shape (n, height, width, 3)
    stain : Stain
        What `estimate_stain` found on the same slide for the same target.
    target : Normalization

    Returns
    -------
    ndarray of uint8, shape (n, height, width, 3)
        Each pixel depends on nothing but itself and the two other arguments.
    """
    tables = [_tables(stain, target, channel) for channel in range(3)]
    out = np.empty_like(patches)
    for start in range(0, len(patches), 16):  # few enough to stay in the processor's cache
        part = patches[start : start + 16]
        # Tables of bytes are Python's fastest, and sums of whole numbers come out the same everywhere.
        planes = [np.ascontiguousarray(part[..., channel]).tobytes() for channel in range(3)]
        steps = [_looked_up(plane, table.fade) for plane, table in zip(planes, tables, strict=True)]
        fade = np.minimum(steps[0] + steps[1] + steps[2], _FADE_STEPS).astype(np.int16)
        for channel, (plane, table) in enumerate(zip(planes, tables, strict=True)):
            light = _looked_up(plane, table.light).astype(np.int16)
            change = _looked_up(plane, table.normal).astype(np.int16)
            change -= light
            change *= fade
            change += _FADE_STEPS // 2
            change //= _FADE_STEPS
            change += light
            out[start : start + 16, ..., channel] = change.reshape(part.shape[:3])
    return out


@dataclass(frozen=True)
class _Tables:
    """What becomes of each of the 256 values of a channel.

    Attributes
    ----------
    fade : bytes
        The channel's part in the mean optical density, in steps; of three, the sum fits into a byte.
    light, normal : bytes
        The value with its glass as the model wants it, and its stain, too.
    """

    fade: bytes
    light: bytes
    normal: bytes


def _tables(stain: Stain, target: Normalization, channel: int) -> _Tables:
    density = _density_table(stain.glass[channel], target.glass)
    scale = target.spreads[channel] / stain.spreads[channel]
    normal = (density - stain.means[channel]) * scale + target.means[channel]
    steps = np.rint(density * (_FADE_STEPS / (3 * target.density))).clip(0, 85)
    return _Tables(steps.astype(np.uint8).tobytes(), _as_light(density), _as_light(normal))


def _as_light(density: NDArray[np.float64]) -> bytes:
    return bytes(np.clip(np.rint(256 * np.exp(-density) - 1), 0, 255).astype(np.uint8).tobytes())


def _looked_up(plane: bytes, table: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(plane.translate(table), dtype=np.uint8)


def _whole(patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The patches that are not padded with white; all, their padding filled, where those are fewer than half."""
    padded = (patches[:, -1] == 255).all(axis=(1, 2)) | (patches[:, :, -1] == 255).all(axis=(1, 2))
    if 2 * np.count_nonzero(padded) <= len(patches):
        return np.asarray(patches[~padded])
    return np.stack([_filled(patch) if cut else patch for patch, cut in zip(patches, padded, strict=True)])


def _filled(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A patch with what it shows repeated over the white rows and columns at its end: padding is no glass."""
    content = (patch != 255).any(axis=2)
    if not content.any():
        return patch
    sides = (int(np.flatnonzero(content.any(axis=axis))[-1]) + 1 for axis in (1, 0))
    rows, columns = (np.arange(length) % side for length, side in zip(patch.shape[:2], sides, strict=True))
    return np.asarray(patch[rows][:, columns])


def _find_glass(planes: NDArray[np.uint8], usual: float) -> tuple[Rgb, float]:
    """Light of the glass in R, G and B, and the share of the pixels, shape (3, n), that show it.

    Glass is as bright as anything on the slide in all channels, and hardly tinted. Where what is brightest is not
    that, the glass is a guess between the usual one and the brightest light, and the share is 0.
    """
    if not planes.size:
        return (usual, usual, usual), 0.0
    top = np.array([_percentile(plane, _BRIGHTEST) for plane in planes])
    least = (top + 1) * math.exp(-_GLASS_REACH) - 1
    is_glass = (planes[0] >= least[0]) & (planes[1] >= least[1]) & (planes[2] >= least[2])
    share = float(np.count_nonzero(is_glass)) / planes.shape[1]
    seen = np.compress(is_glass, planes, axis=1).mean(axis=1, dtype=np.float64) if share else top
    low, high = _GLASS_RANGE
    plausible = low <= seen.min() and seen.max() <= high and np.ptp(seen) <= _GLASS_TINT
    # No tissue is brighter than its glass, and glass hardly darker than usual.
    guess = np.clip(top.max(), usual - 20, 255.0) * np.ones(3)
    if not plausible:
        return _rgb(guess), 0.0
    trust = share / (share + _GLASS_SHARE)
    return _rgb(trust * seen + (1 - trust) * guess), max(round(share, 4), 0.0001)


def _percentile(values: NDArray[np.uint8], percent: float) -> float:
    """The smallest value that so many percent of the values do not exceed."""
    counts = np.cumsum(np.bincount(values, minlength=256))
    return float(np.searchsorted(counts, counts[-1] * percent / 100))


def _prior_share(density: NDArray[np.float64], stained: NDArray[np.bool_]) -> float:
    """Share of the prior in a slide's stain, from the mean density of the pixels of each patch, shape (n, k).

    Many patches say more than few, and patches of different tissues more than those of one.
    """
    full = stained.mean(axis=1)
    some = full > 0.05
    of_patch = np.where(stained, density, 0).sum(axis=1)[some] / stained.sum(axis=1)[some]
    variety = min(1.0, float(of_patch.std()) / _USUAL_VARIETY) if len(of_patch) else 0.0
    doubt = _PRIOR_PATCHES / float(full.sum()) + _ONE_TISSUE * (1 - variety)
    return doubt / (1 + doubt)


def _density_table(glass: float, usual: float) -> NDArray[np.float64]:
    """Optical density of each of the 256 values of a channel, once its glass is brought to the usual light."""
    light = np.minimum(np.arange(256) * (usual / glass), 255.0)
    return np.asarray(-np.log((light + 1) / 256))


def _rgb(values: NDArray[np.float64]) -> Rgb:
    red, green, blue = (round(float(value), 4) for value in values)
    return red, green, blue
