"""Marks of a pen on a slide, each taken for one only on evidence of its own.

A hue alone is none: navy haematoxylin comes near blue ink, blood near red. A mark is wide and of a colour that no
stain has, or darker than stain and grey, or more vivid than the stain of this very slide reaches; red and what has
the hues of stain must lie on bare glass at least in part, as a pen's line does and a lake of blood inside tissue does
not. What remains in doubt is no ink.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsi_idc.slides.morphology import Mask, Pieces, Scale, areas_mm2, grow, keep_pieces, label_pieces, shrink
from wsi_idc.slides.optical_density import Density

STAIN_HUES = (60.0, 152.0)
"""Within lies most of every H&E stain: green light is lost most, and red before blue or blue before red by less."""

_REACH_PERCENTILE, _LEAST_STAIN_MM2 = 98.0, 0.05
"""How vivid the stain of a slide is: this percentile of its colour, where there is so much of it."""

_VIVID, _BEYOND = {"outside": 0.4, "red": 0.6, "inside": 0.6}, {"outside": 1.2, "red": 1.4, "inside": 1.6}
"""A colour is a pen's above the first and above the second times what stain reaches, by how its hue lies to the
stain's: outside on the side of blue, green and yellow; towards red and orange, where blood lies; or inside."""

_MOST_OUTSIDE = 0.65
"""Navy stain of twice the usual strength has less colour, so that it is a pen's above, whatever reach says."""

_FOREIGN_RED, _FOREIGN_COLOUR = 1.25, 0.12
"""Blue and green inks lose so many times more red light than green (haematoxylin 0.9, navy 1.1), at this colour."""

_BLACK, _GREY = 1.3, 0.2
"""Black ink has more density than the first, and less colour than the second times that (the densest nuclei 0.25)."""

_MARK_MM2, _WIDTH_UM, _WIDE_UM, _LONG_UM = 0.02, 60.0, 150.0, 1000.0
"""Area and width of any mark; width of one whose hue is a stain's; extent of a red one."""

_GLASS_SHARE, _RIM_UM = 0.15, (75.0, 150.0)
"""So much of what surrounds a mark, between these distances from it, is bare glass where it must be."""

_THIN_UM, _THIN_COLOUR, _SAME_COLOUR = 2500.0, 0.1, 0.2
"""Where a mark was found, ink of its hue has the second colour at least so near to it, the third anywhere else."""

_HUE_RANGES = {"cold": (-90.0, 60.0), "red": (152.0, 195.0), "yellow": (195.0, 270.0)}
"""Hues of inks that can be told from stain, in degrees."""

_NEAR_BEYOND = 1.5
"""So near to a mark, what has so many times the colour that stain reaches is ink over tissue."""

_POSSIBLE_HUES, _HUE_PERCENTILES, _AWAY_UM, _ROUNDS = (60.0, 190.0), (5.0, 95.0), 250.0, 2
"""The hues of a slide's stain: these percentiles of what lies within the first and so far from the ink found before."""

_ODD = 1.2
"""What has so many times the colour that stain reaches says nothing of the hues of stain."""

_EDGE_UM = 50.0
"""Width of a mark's soft edge."""


def find_ink(density: Density, bare: Mask, um: Scale) -> Mask:
    """Find the marks of pens, their thin ends and soft edges included.

    Parameters
    ----------
    density : Density, shape (h, w)
    bare : ndarray of bool, shape (h, w)
        Glass on which nothing is seen.
    um : pair of float
        µm/px along y and x.

    Returns
    -------
    ndarray of bool, shape (h, w)
    """
    colour, hue = density.colour, density.hue
    seen = colour > _THIN_COLOUR
    foreign = (colour > _FOREIGN_COLOUR) & (density.red > _FOREIGN_RED * density.green)
    black = (density.grey > _BLACK) & (colour < _GREY * density.grey)
    inside = _within(hue, STAIN_HUES)
    reach = _stain_reach(colour[inside & seen], um)
    limits = {where: max(_VIVID[where], _BEYOND[where] * reach) for where in _VIVID}
    limits["outside"] = min(limits["outside"], _MOST_OUTSIDE)
    vivid = {where: colour > limit for where, limit in limits.items()}
    reddish = _within(hue, _HUE_RANGES["red"])
    marks = (
        _marks(foreign | black | vivid["outside"] & ~inside & ~reddish, um)
        | _marks(vivid["red"] & reddish, um, on=bare, long_um=_LONG_UM)
        | _marks(vivid["inside"], um, on=bare, width_um=_WIDE_UM)
    )
    if not marks.any():
        return marks
    stain_like = seen & ~foreign & (colour <= (_ODD * reach or np.inf))
    ink = marks
    for _ in range(_ROUNDS):
        away = ~grow(ink, _AWAY_UM, um)
        hues = _stain_hues(hue[stain_like & away], um)
        most = max(reach, _stain_reach(colour[seen & ~foreign & away & _within(hue, _POSSIBLE_HUES)], um))
        ink = ink | _more_of_it(density, ink, hues, most, bare, um)
    return grow(ink, _EDGE_UM, um)


def _more_of_it(density: Density, ink: Mask, stain: tuple[float, float], reach: float, bare: Mask, um: Scale) -> Mask:
    """What has the hue of ink that was found, and lies near it, is a mark itself, or is too strong for stain."""
    colour, hue = density.colour, density.hue
    more = np.zeros_like(ink)
    for name, hues in _HUE_RANGES.items():
        found = ink & _within(hue, hues) & (colour > _THIN_COLOUR)
        if not found.any():
            continue
        limits = _ink_hues(float(np.median(hue[found])), stain)
        same = _within(hue, limits) & (colour > _THIN_COLOUR)
        marks = _marks(same & (colour > _SAME_COLOUR), um, on=None if name == "cold" else bare)
        middle = (stain[0] + stain[1]) / 2
        towards = hue < middle if name == "cold" else hue > middle
        mixed = towards & (colour > max(_SAME_COLOUR, _NEAR_BEYOND * reach))
        mixed = keep_pieces(mixed, mixed, _MARK_MM2, um)
        more |= marks | (same | mixed) & grow(found | marks, _THIN_UM, um)
    return more


def _stain_reach(colours: NDArray[np.float32], um: Scale) -> float:
    """How vivid stain gets on this slide; 0 where there is too little to say."""
    if len(colours) * um[0] * um[1] / 1e6 < _LEAST_STAIN_MM2:
        return 0.0
    return float(np.percentile(colours, _REACH_PERCENTILE))


def _stain_hues(hues: NDArray[np.float32], um: Scale) -> tuple[float, float]:
    """Between which hues the stain of this slide lies, in degrees."""
    hues = hues[_within(hues, _POSSIBLE_HUES)]
    if len(hues) * um[0] * um[1] / 1e6 < _LEAST_STAIN_MM2:
        return STAIN_HUES
    low, high = np.percentile(hues, _HUE_PERCENTILES)
    return float(low), float(high)


def _ink_hues(ink: float, stain: tuple[float, float]) -> tuple[float, float]:
    """Which hues are nearer to an ink's than to those of stain; none where the ink's is a stain's."""
    if ink < stain[0]:
        return -90.0, (ink + stain[0]) / 2
    if ink > stain[1]:
        return (ink + stain[1]) / 2, 270.0
    return np.inf, -np.inf


def _within(hues: NDArray[np.float32], limits: tuple[float, float]) -> Mask:
    return (hues >= limits[0]) & (hues <= limits[1])


def _marks(mask: Mask, um: Scale, *, on: Mask | None = None, width_um: float = _WIDTH_UM, long_um: float = 0.0) -> Mask:
    """Pieces as large, as wide somewhere and as long as a pen's mark, and partly on what they must be on."""
    if not mask.any():
        return mask
    pieces, count = label_pieces(mask)
    kept = areas_mm2(pieces, count, um) >= _MARK_MM2
    kept[0] = False
    wide = np.zeros(count, dtype=np.bool_)
    wide[pieces[shrink(mask, width_um / 2, um)]] = True
    kept &= wide
    if long_um:
        kept &= _extents_um(pieces, um) >= long_um
    found: Mask = kept[pieces]
    return found if on is None else _lying_on(on, pieces, kept, um)


def _extents_um(pieces: Pieces, um: Scale) -> NDArray[np.float64]:
    """Diagonal of the box around each piece, by its number."""
    boxes = ndimage.find_objects(pieces)
    sides = [[(part.stop - part.start) * scale for part, scale in zip(box, um, strict=True)] for box in boxes]
    diagonals: NDArray[np.float64] = np.hypot(*np.array([[0.0, 0.0], *sides]).T)
    return diagonals


def _lying_on(on: Mask, pieces: Pieces, kept: Mask, um: Scale) -> Mask:
    """Those of the pieces of which enough of what surrounds them lies on something."""
    found = np.zeros(pieces.shape, dtype=np.bool_)
    boxes = ndimage.find_objects(pieces)
    for number in np.flatnonzero(kept):
        reach = [int(_RIM_UM[1] / scale) + 1 for scale in um]
        box = tuple(
            slice(max(part.start - by, 0), part.stop + by) for part, by in zip(boxes[number - 1], reach, strict=True)
        )
        piece = pieces[box] == number
        near, far = (grow(piece, by, um) for by in _RIM_UM)
        rim = far & ~near
        if (rim & on[box]).sum() >= max(_GLASS_SHARE * rim.sum(), 1):
            found[box] |= piece
    return found
