"""Where each tissue lies: fibres, tumour and fat, glands and vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from wsi_idc.phantom.frame import Field, Frame, Points


@dataclass(frozen=True)
class Fibres:
    """Wavy coordinates in which collagen runs straight: `along` and `across`, in µm."""

    along: Field
    across: Field

    @classmethod
    def draw(cls, rng: np.random.Generator, frame: Frame) -> Fibres:
        sways = [380 * frame.noise(rng, 900) + 55 * frame.noise(rng, 170) + 20 * frame.noise(rng, 50) for _ in range(2)]
        # Neighbouring bundles cross each other, so the direction jumps between two slowly turning ones.
        first = rng.uniform(0, np.pi)
        angle = np.where(frame.noise(rng, 210) > 0, first, first + rng.uniform(0.6, 1.6)).astype(np.float32)
        cosine, sine = np.cos(angle), np.sin(angle)
        x, y = frame.x_um + sways[0], frame.y_um + sways[1]
        return cls(x * cosine + y * sine, y * cosine - x * sine)

    def texture(self, rng: np.random.Generator, length_um: float, width_um: float) -> Field:
        """Streaks of mean 0 and deviation 1 along the fibres."""
        texels = 384
        tile = rng.standard_normal((texels, texels), dtype=np.float32)
        tile = ndimage.gaussian_filter(tile, 1.5, mode="wrap")
        tile /= tile.std()
        places = np.stack([self.across * np.float32(3 / width_um), self.along * np.float32(3 / length_um)])
        streaks: Field = ndimage.map_coordinates(tile, places, order=1, mode="grid-wrap", output=np.float32)
        return streaks


@dataclass(frozen=True)
class Anatomy:
    """Where each tissue lies: fields that are positive inside.

    Attributes
    ----------
    tissue : depth into the piece of tissue, 1 at its centre.
    outline : tumour as a pathologist outlines it.
    invasion : tumour as the cells grow, with ragged edges.
    fat : fat.
    """

    tissue: Field
    outline: Field
    invasion: Field
    fat: Field


def draw_anatomy(rng: np.random.Generator, frame: Frame) -> Anatomy:
    """Draw an irregular piece of tissue with one to three tumour areas and fat around them."""
    width, height = frame.size_um
    size = min(width, height)
    cx, cy = width * rng.uniform(0.52, 0.56), height * rng.uniform(0.52, 0.56)
    # Between an ellipse and a rectangle: a surgeon's specimen fills its slide.
    right, down = np.abs(frame.x_um - cx) / (0.53 * width), np.abs(frame.y_um - cy) / (0.53 * height)
    radius = np.cbrt(right * right * right + down * down * down)
    tissue = 1 - radius + 0.11 * frame.noise(rng, 0.15 * size) + 0.03 * frame.noise(rng, 120)
    tissue += 0.010 * frame.noise(rng, 30)
    inside = tissue > 0

    areas = np.full(frame.shape, -9, dtype=np.float32)
    for _ in range(rng.integers(1, 4)):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.55)
        x, y = cx + far * np.cos(angle) * 0.56 * width, cy + far * np.sin(angle) * 0.56 * height
        squeeze = rng.uniform(0.75, 1.33)
        reach = np.hypot((frame.x_um - x) * squeeze, (frame.y_um - y) / squeeze) / (size * rng.uniform(0.18, 0.30))
        areas = np.maximum(areas, 1 - reach)
    areas += 0.18 * frame.noise(rng, 0.06 * size) + 0.05 * frame.noise(rng, 150)
    areas -= np.quantile(areas[inside][::7], 1 - rng.uniform(0.20, 0.34))

    ragged = 0.10 * frame.noise(rng, 150) + 0.08 * frame.noise(rng, 50)
    fat = 0.9 * frame.noise(rng, 0.09 * size) + 0.25 * frame.noise(rng, 120)
    fat += 2.0 * (0.22 - tissue).clip(-0.3, 0.3) - 3.0 * (areas + 0.05).clip(0, 0.5) - 0.55
    return Anatomy(tissue, areas, areas + ragged, fat)


@dataclass(frozen=True)
class Ellipse:
    """An outline that is roughly an ellipse, in µm; `waves` are amplitudes (share of the radius) of 3, 4, 5 lobes."""

    x: float
    y: float
    long: float
    short: float
    angle: float
    waves: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def depth(self, frame: Frame, margin_um: float) -> tuple[tuple[slice, slice], Field]:
        """Window that holds the ellipse with a margin, and each pixel's depth under the outline in µm."""
        reach = 1.2 * self.long + margin_um
        window = (
            _window(self.y - reach, self.y + reach, frame.um_per_px, frame.height_px),
            _window(self.x - reach, self.x + reach, frame.um_per_px, frame.width_px),
        )
        dx, dy = frame.x_um[:, window[1]] - self.x, frame.y_um[window[0]] - self.y
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        u, v = (dx * cosine + dy * sine) / self.long, (dy * cosine - dx * sine) / self.short
        turn = np.arctan2(v, u)
        edge = 1 + sum(a * np.cos(n * turn + 7 * a * self.x) for n, a in enumerate(self.waves, start=3))
        radius = np.hypot(u, v)
        metric = np.hypot(u * self.long, v * self.short) / np.maximum(radius, 1e-3)
        depth = (edge - radius) * np.clip(metric, self.short, self.long)
        return window, depth.astype(np.float32)


def _window(low_um: float, high_um: float, um_per_px: float, length_px: int) -> slice:
    low, high = (int(np.clip(edge / um_per_px, 0, length_px)) for edge in (low_um, high_um))
    return slice(low, high)


@dataclass(frozen=True)
class Gland:
    """A duct, an acinus or a vessel: rings from the outline inwards, thicknesses in µm.

    Attributes
    ----------
    outline : Ellipse
    wall : thickness of the cells; what lies deeper is lumen.
    collar : thickness of the sheath around it.
    sheath : how fibrous the sheath is; near 0 it is a gap, where the tissue has shrunk away.
    filling : eosin in the lumen.
    blood : haemoglobin in the lumen.
    cells : share of the wall's places that hold a nucleus.
    tint : haematoxylin in the wall, nuclei aside.
    blur : width over which the outline fades.
    """

    outline: Ellipse
    wall: float
    collar: float = 6.0
    sheath: float = 0.5
    filling: float = 0.0
    blood: float = 0.0
    cells: float = 1.0
    tint: float = 0.5
    blur: float = 4.0


def _outline(rng: np.random.Generator, x: float, y: float, size: float, stretch: float = 1.6) -> Ellipse:
    ratio = np.sqrt(rng.uniform(1, stretch))
    waves = rng.normal(0, (0.07, 0.06, 0.05))
    return Ellipse(x, y, size * ratio, size / ratio, rng.uniform(0, np.pi), (waves[0], waves[1], waves[2]))


def draw_glands(rng: np.random.Generator, frame: Frame, anatomy: Anatomy) -> list[Gland]:
    """Lobules, ducts (some filled with cells: in situ) and vessels, in healthy stroma and around the tumour."""

    def places(spacing_um: float, share: float, deepest: float = -0.04) -> Points:
        points = frame.jittered(rng, spacing_um, jitter=0.8)
        sound = (frame.at(anatomy.tissue, points) > 0.04) & (frame.at(anatomy.fat, points) < 0.1)
        sound &= frame.at(anatomy.invasion, points) < deepest
        kept: Points = points[sound & (rng.random(len(points)) < share)]
        return kept

    glands = []
    for x, y in places(500, 0.7):  # lobules: a crowd of acini in a loose, bluish stroma of their own
        acini, spread = int(rng.integers(10, 50)), rng.uniform(0.85, 1.25)
        ratio, angle = rng.uniform(0.5, 1.0), rng.uniform(0, np.pi)
        reach = 23 * spread * np.sqrt(acini) + 10
        glands.append(
            Gland(Ellipse(x, y, reach, ratio * reach, angle), wall=2 * reach, collar=0, cells=0, tint=0.10, blur=30)
        )
        for k in range(acini):
            reach, turn = 23 * spread * np.sqrt(k + 0.3), 2.4 * k + rng.normal(0, 0.3)  # a sunflower's packing
            u, v = reach * np.cos(turn), ratio * reach * np.sin(turn)
            at_x, at_y = x + u * np.cos(angle) - v * np.sin(angle), y + u * np.sin(angle) + v * np.cos(angle)
            size = rng.uniform(14, 23)
            glands.append(Gland(_outline(rng, at_x, at_y, size), wall=rng.uniform(9, 15), collar=4, sheath=0.35))
    for x, y in places(500, 0.7):  # ducts
        size = rng.uniform(20, 60)
        wall = rng.uniform(11, 15) + rng.uniform(0, 0.35) * size
        glands.append(Gland(_outline(rng, x, y, size, 3.5), wall=wall, collar=9, sheath=rng.choice([0.15, 0.9])))
    for x, y in places(850, 0.6, 0.3):  # ducts filled with cells, some dead in the middle
        size = rng.uniform(50, 120)
        filling = rng.choice([0.0, 0.9])
        outline = _outline(rng, x, y, size, 2)
        glands.append(
            Gland(
                outline, wall=size * rng.uniform(0.4, 1.2), collar=8, sheath=0.6, filling=filling, cells=0.9, tint=0.3
            )
        )
    for x, y in places(480, 0.6, 0.2):  # vessels
        size = float(np.exp(rng.normal(2.9, 0.5)))
        blood = float(rng.random() < 0.45) * 0.8
        glands.append(
            Gland(_outline(rng, x, y, size, 6), wall=4, collar=size * 0.4, sheath=1.1, blood=blood, cells=0.3)
        )
    return glands
