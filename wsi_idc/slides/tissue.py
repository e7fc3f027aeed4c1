"""Where tissue lies on a slide, seen in a small picture of it.

Stained tissue is known by its hue. In optical density (the logarithm of the light that is lost: Ruifrok & Johnston,
Anal Quant Cytol Histol 2001;23:291) hue is the same however pale the stain (van der Laak et al., Cytometry
2000;39:275), and what is grey has none: dust, shadow, black ink. No threshold is taken from the histogram (Otsu,
IEEE Trans Syst Man Cybern 1979;9:62): it would split a slide that is all tissue, and one that is all glass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Field = NDArray[np.float32]
Floats = NDArray[np.float64]
Scale = tuple[float, float]
"""µm/px along y and x."""

GRID_UM = 24.0
"""Finer pictures are averaged to about this: noise is gone, and a net of fat is still seen."""

CLOSE_UM, HOLE_MM2, SPECK_MM2 = 120.0, 0.2, 0.03
"""Gaps up to twice the first and holes up to the second are filled; pieces smaller than the third are dropped."""

TISSUE_HUES = (55.0, 170.0)
"""Degrees, as in `_Stain`: haematoxylin lies near 75 to 100, eosin near 145; blue ink near 40, green near -5."""

_WEAK, _NOISE, _STRONG = 0.03, 4.0, 1.35
"""Colour of the palest tissue: the first, or the second times the glass's own colour. Each piece of tissue
holds some, a third of a speck at least, that is the third times stronger."""

_GREY, _BLACK = 0.17, 1.5
"""Tissue has more colour than this share of its density (0.2 in folds), and less density than the second."""

_EVEN = 0.004
"""Deviation of the logarithm of light on glass: 0.001 where clean; 0.006 in evenest tissue of a third of the stain."""

_NET, _NET_UM = (0.006, 0.005), 50.0
"""Mean colour, and deviation of the density, of a net of fat, and the sigma they are taken over; glass has a tenth."""

_INK_HUES, _INK_COLOUR = (60.0, 157.0), 0.45
"""Nothing but ink is of so much colour and of a hue outside; red ink lies at 157 to 175."""

_THIN_RED, _THIN_RED_UM = ((156.0, 0.10), (152.0, 0.30)), 2500.0
"""So near to red ink, what is above either pair of hue and colour is ink too: run thin, or over tissue."""

_PEN_MM2, _PEN_UM, _PEN_EDGE_UM = 0.02, 60.0, 50.0
"""Area and width that a mark of a pen has at least, and the width of its soft edge."""

_DARK, _SHINING = 80.0, 60.0
"""Dark is below the first in every channel; stain on a lit slide leaves more than the second in red and blue."""


_COLOURED = 0.1
"""Span of a pixel's three optical densities where it is stained at all."""

_BLUER = 1.15
"""Haematoxylin takes at most so much more red light than green; blue and green dyes take more."""


@dataclass(frozen=True)
class _Stain:
    """Optical density (natural logarithm) of a picture, split in grey and colour; each of shape (h, w).

    Attributes
    ----------
    density : ndarray of float32
        Mean over red, green and blue.
    colour : ndarray of float32
        How far the three lie from their mean: the radius at the angle `hue`.
    hue : ndarray of float32
        Degrees, -180 to 180: 0 where red alone is lost, 90 where green is and blue is not.
    """

    density: Field
    colour: Field
    hue: Field


def find_tissue(pixels: NDArray[np.uint8], mpp: tuple[float, float]) -> Mask:
    """Find the tissue on a slide stained with haematoxylin and eosin.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
        RGB picture of the slide at about 8-64 µm/px.
    mpp : pair of float
        µm/px along x and y.

    Returns
    -------
    ndarray of bool, shape (h, w)
        False on glass, dust, pen and black padding, and on all of a fluorescence slide.
    """
    height, width = pixels.shape[:2]
    if not height or not width:
        return np.zeros((height, width), dtype=np.bool_)
    down, across = max(1, round(GRID_UM / mpp[1])), max(1, round(GRID_UM / mpp[0]))
    um = (mpp[1] * down, mpp[0] * across)
    light = _average(pixels, down, across)
    if not _is_transmitted(light):
        return np.zeros((height, width), dtype=np.bool_)
    glass, noise = _find_glass(light, um)
    stain = _split(light, glass)
    tissue = _outline(stain, *_find_ink(stain, um), min(max(_WEAK, _NOISE * noise), 0.1), um)
    return tissue.repeat(down, axis=0).repeat(across, axis=1)[:height, :width]


def tissue_share(mask: Mask, left: Floats, top: Floats, right: Floats, bottom: Floats) -> Floats:
    """Share of each box that is tissue, 0-1.

    Parameters
    ----------
    mask : ndarray of bool, shape (h, w)
    left, top, right, bottom : ndarray of float64, shape (n,)
        Boxes in pixels of the mask, half open; a pixel that lies partly inside counts in part. What lies beyond the
        mask is cut off first; a box of which nothing is left has a share of 0.
    """
    height, width = mask.shape
    summed = np.zeros((height + 1, width + 1))
    summed[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    left, right = np.clip(left, 0, width), np.clip(right, 0, width)
    top, bottom = np.clip(top, 0, height), np.clip(bottom, 0, height)
    inside = _at(summed, bottom, right) - _at(summed, top, right) - _at(summed, bottom, left) + _at(summed, top, left)
    area = (right - left).clip(0) * (bottom - top).clip(0)
    share: Floats = np.divide(inside, area, out=np.zeros_like(area), where=area > 0).clip(0, 1)
    return share


def _at(table: Floats, y: Floats, x: Floats) -> Floats:
    """Bilinear interpolation, which is exact in a table of summed areas: they grow linearly within a pixel."""
    values: Floats = ndimage.map_coordinates(table, [y, x], order=1, mode="nearest")
    return values


def _average(pixels: NDArray[np.uint8], down: int, across: int) -> Field:
    """Mean of each block of `down` x `across` pixels, slightly blurred; shape (3, h, w)."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % down), (0, -width % across), (0, 0)), mode="edge")
    total = np.zeros(padded[::down, ::across].shape, dtype=np.float32)
    for row in range(down):
        for column in range(across):
            total += padded[row::down, column::across]
    planes = np.ascontiguousarray(np.moveaxis(total / (down * across), 2, 0))
    blurred: Field = ndimage.gaussian_filter(planes, (0, 0.6, 0.6), mode="nearest")
    return blurred


def _is_transmitted(light: Field) -> bool:
    """Whether light shone through the slide: a fluorescence slide is mostly dark, and fades into what glows on it."""
    peak = light.max(axis=0)
    lets_through = np.minimum(light[0], light[2]) > _SHINING
    return bool(np.mean(peak < _DARK) < 0.5 or lets_through.sum() > 0.7 * np.sum(peak > _DARK / 4))


def _find_glass(light: Field, um: Scale) -> tuple[Field, float]:
    """Light through glass, shape (3, 1, 1), and the median of its colour, which is noise.

    Glass is bright, nearly grey and even. Where nothing is even, because of noise, it must be greyer than the palest
    tissue, which loses green before red and blue. Where there is no glass, it is taken for grey.
    """
    peak, purple = light.max(axis=0), (light[0] + light[2]) / 2 - light[1]
    pale = (peak > _DARK) & (light.min(axis=0) > 0.7 * peak)
    even = _spread(np.log((light.mean(axis=0) + 1) / 256), um) < _EVEN
    for limit, place, least in ((0.12, even, 0.05), (0.03, True, 0.01)):
        found = pale & place & (purple < limit * peak)
        if found.sum() > least * found.size:
            bright = light[:, found & (peak >= 0.85 * np.percentile(peak[found], 95))]
            glass = np.median(bright, axis=1)[:, None, None]
            return glass, float(np.median(_split(bright[:, None], glass).colour))
    return np.full((3, 1, 1), max(np.percentile(peak, 99), _DARK), dtype=np.float32), 0.0


def _split(light: Field, glass: Field) -> _Stain:
    lost = np.log(glass / np.maximum(light, 1))
    density = lost.mean(axis=0)
    x, y = lost[0] - density, (lost[1] - lost[2]) / np.float32(np.sqrt(3))
    return _Stain(density, np.hypot(x, y), np.degrees(np.arctan2(y, x)))


def _find_ink(stain: _Stain, um: Scale) -> tuple[Mask, Mask]:
    """What has the colour of ink, and where enough of it lies together to be a pen's."""
    density, colour, hue = stain.density, stain.colour, stain.hue
    # No haematoxylin lets all blue through, or is as strong as a violet pen.
    violet = (hue < 125) & (colour > np.maximum(0.4, np.minimum(0.85 * density, 0.7)))
    black = (colour < _GREY * density) & (density > 0.5) | (density > _BLACK)
    foreign = ~_within(hue, TISSUE_HUES) & (colour > 0.1)
    vivid = ~_within(hue, _INK_HUES) & (colour > _INK_COLOUR)
    ink = black | foreign | violet | vivid
    red = _strokes(vivid & (hue > 90), um)
    if red.any():
        near = _grow(red, _THIN_RED_UM, um)
        for above, strength in _THIN_RED:
            ink |= near & (hue > above) & (colour > strength)
        # What is left of ink, there and farther off, are pieces that are mostly red.
        rest = (colour > _WEAK) & ~ink
        pieces, areas, _ = _label(rest, um)
        reddish = _areas(pieces[hue > _THIN_RED[0][0]], len(areas), um)
        ink |= rest & (reddish > 0.5 * areas)[pieces]
    return ink, _grow(_strokes(ink, um), _PEN_EDGE_UM, um)


def _outline(stain: _Stain, ink: Mask, pen: Mask, weak: float, um: Scale) -> Mask:
    """Tissue and the fat beside it, gaps and holes filled, less pen and specks."""
    free = ~ink & ~pen
    tinted = free & _within(stain.hue, TISSUE_HUES) & (stain.colour >= _GREY * stain.density)
    pale = tinted & (stain.colour > weak) | free & _find_fat(stain, ink, um)
    speck = min(SPECK_MM2, 0.25 * pen.size * um[0] * um[1] / 1e6)
    pieces, areas, _ = _label(pale, um)
    strong = _areas(pieces[tinted & (stain.colour > _STRONG * weak)], len(areas), um)
    mask = pale & (strong >= speck / 3)[pieces]
    # Beyond the border nothing is known, so its pixels are repeated there.
    rim = [int(CLOSE_UM / scale) + 2 for scale in um]
    closed = _shrink(_grow(np.pad(mask, [(rim[0], rim[0]), (rim[1], rim[1])], mode="edge"), CLOSE_UM, um), CLOSE_UM, um)
    mask = closed[rim[0] : -rim[0], rim[1] : -rim[1]]
    gaps, areas, inner = _label(~mask, um)
    mask = (mask | (inner & (areas < HOLE_MM2))[gaps]) & ~pen
    pieces, areas, _ = _label(mask, um)
    return mask & (areas >= speck)[pieces]


def _find_fat(stain: _Stain, ink: Mask, um: Scale) -> Mask:
    """Nets too thin for any of their pixels to be coloured: slightly pink on the whole, and uneven."""
    pink = stain.colour * np.cos(np.radians(stain.hue - 115)) * ~_grow(ink, _PEN_EDGE_UM, um)
    tint = _blur(pink.clip(-_WEAK, _WEAK), um)
    net = (tint > _NET[0]) & (_spread(stain.density.clip(0, 0.1), um) > _NET[1])
    return _grow(_shrink(net, 2 * _NET_UM, um), 2 * _NET_UM, um)


def _spread(values: Field, um: Scale) -> Field:
    """Standard deviation around each pixel."""
    spread: Field = np.sqrt((_blur(values**2, um) - _blur(values, um) ** 2).clip(0))
    return spread


def _blur(values: Field, um: Scale) -> Field:
    blurred: Field = ndimage.gaussian_filter(values, [_NET_UM / scale for scale in um], mode="nearest")
    return blurred


def _strokes(mask: Mask, um: Scale) -> Mask:
    """Pieces as large as a mark of a pen and somewhere as wide."""
    pieces, areas, _ = _label(mask, um)
    wide = np.zeros(len(areas), dtype=np.bool_)
    wide[pieces[_shrink(mask, _PEN_UM / 2, um)]] = True
    return mask & (wide & (areas >= _PEN_MM2))[pieces]


def _label(mask: Mask, um: Scale) -> tuple[NDArray[np.int32], Floats, Mask]:
    """Each pixel's connected piece (0: none); by piece its area in mm², and whether it keeps off the border."""
    pieces, n = ndimage.label(mask)
    inner = np.arange(n + 1) > 0
    for edge in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        inner[edge] = False
    return pieces, _areas(pieces, n + 1, um), inner


def _areas(pieces: NDArray[np.int32], n: int, um: Scale) -> Floats:
    return np.bincount(pieces.ravel(), minlength=n).astype(np.float64) * (um[0] * um[1] / 1e6)


def _grow(mask: Mask, by_um: float, um: Scale) -> Mask:
    """Add `by_um` to every edge within the picture, by a square and then a diamond: an octagon."""
    radius = [by_um / scale for scale in um]
    diamond = round(0.586 * min(radius))
    square = [2 * round(r - diamond) + 1 for r in radius]
    grown: Mask = ndimage.maximum_filter(mask.view(np.uint8), square, mode="constant").view(np.bool_)
    return ndimage.binary_dilation(grown, iterations=diamond) if diamond else grown


def _shrink(mask: Mask, by_um: float, um: Scale) -> Mask:
    return ~_grow(~mask, by_um, um)


def _within(values: Field, limits: tuple[float, float]) -> Mask:
    return (values >= limits[0]) & (values <= limits[1])


def unlike_he(pixels: NDArray[np.uint8]) -> bool:
    """Whether most of what is stained on a slide has a colour that neither haematoxylin nor eosin has.

    Both take green light most (Ruifrok & Johnston 2001); DAB takes blue most, and blue and green dyes take red. True of
    a slide that is dark for the most part, too.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
        The slide at any low scale.
    """
    if (pixels.max(axis=2) < _DARK).mean() > 0.5:
        return True
    glass = np.percentile(pixels, 99, axis=(0, 1)).clip(1)
    density = -np.log(np.minimum((pixels.reshape(-1, 3) + 1.0) / (glass + 1.0), 1.0))
    red, green, blue = density[np.ptp(density, axis=1) > _COLOURED].T
    return bool(len(green) and ((blue > green) | (red > _BLUER * green)).mean() > 0.5)
