"""Synthetic H&E breast tissue: where each tissue lies, which cells it holds, and how much stain they bind.

Lengths are in µm and every random draw is made on a grid in µm, so that the scale of the picture decides only how
finely the same tissue is sampled. Stain amounts are optical densities: see `absorb`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]
Points = NDArray[np.float64]
"""Shape (n, 2): x and y in µm."""

Scalar = TypeVar("Scalar", bound=np.generic)

GLASS_RGB = (244.0, 243.0, 244.0)
"""What the scanner sees where there is no tissue."""

HAEMATOXYLIN = (0.66, 0.75, 0.38)
EOSIN = (0.13, 0.66, 0.40)
BLOOD = (0.14, 1.00, 0.74)
"""Optical density in R, G and B of one unit of stain (natural logarithm); haemoglobin counts as one."""


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
        rows = _between(coarse, self.y_um[:, 0] / step, axis=0)
        return _between(rows, self.x_um[0] / step, axis=1)

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


def _between(values: Field, positions: Field, axis: int) -> Field:
    """Linear interpolation along one axis."""
    low = positions.astype(np.intp)
    part = (positions - low).astype(np.float32)
    part = part[:, None] if axis == 0 else part[None, :]
    between: Field = np.take(values, low, axis) * (1 - part) + np.take(values, low + 1, axis) * part
    return between


def _soft(field: NDArray[np.floating[Any]], width: float) -> Field:
    """0 below, 1 above the field's zero, with a ramp of this width between."""
    share: Field = np.clip(field / np.float32(width) + np.float32(0.5), 0, 1, dtype=np.float32, casting="same_kind")
    return share


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


@dataclass(frozen=True)
class Nuclei:
    """Nuclei of one kind: centres, half axes (µm), direction of the long axis, and haematoxylin bound."""

    points: Points
    long: NDArray[np.float64]
    short: NDArray[np.float64]
    angle: NDArray[np.float64]
    stain: NDArray[np.float64]

    def batches(self, size: int = 8_000) -> Iterator[Nuclei]:
        for i in range(0, len(self.points), size):
            part = slice(i, i + size)
            yield Nuclei(self.points[part], self.long[part], self.short[part], self.angle[part], self.stain[part])


def scatter(
    rng: np.random.Generator, points: Points, radius_um: float, spread: float, stretch: float, stain: float
) -> Nuclei:
    """Give nuclei their sizes and stain: `spread` is the deviation of the logarithm of both (pleomorphism)."""
    n = len(points)
    radius = radius_um * np.exp(rng.normal(0, spread, n))
    ratio = np.sqrt(rng.uniform(1, stretch, n))
    bound = stain * np.exp(rng.normal(0, 1.2 * spread, n))
    return Nuclei(points, radius * ratio, radius / ratio, rng.uniform(0, np.pi, n), bound)


def splat(frame: Frame, nuclei: Nuclei) -> Field:
    """Haematoxylin of nuclei, edges softened over one pixel; where two overlap, both count."""
    height, width = frame.shape
    total = np.zeros(height * width)
    for part in nuclei.batches():
        reach = int(np.ceil(part.long.max(initial=0.0) / frame.um_per_px)) + 1
        dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, 1, -1)
        column, row = (part.points / frame.um_per_px).astype(np.intp).T[:, :, None]
        column, row = column + dx, row + dy
        x = (column + 0.5) * frame.um_per_px - part.points[:, :1]
        y = (row + 0.5) * frame.um_per_px - part.points[:, 1:]
        cosine, sine = np.cos(part.angle)[:, None], np.sin(part.angle)[:, None]
        radius = np.hypot((x * cosine + y * sine) / part.long[:, None], (y * cosine - x * sine) / part.short[:, None])
        # A nucleus narrower than a pixel covers only part of it.
        cover = np.clip((1 - radius) * part.short[:, None] / frame.um_per_px + 0.5, 0, 1)
        seen = (cover > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        places = (row * width + column)[seen]
        total += np.bincount(places, (cover * part.stain[:, None])[seen], minlength=height * width)
    return total.reshape(frame.shape).astype(np.float32)


@dataclass
class Paint:
    """Stain bound at each pixel, as it is painted layer upon layer."""

    haematoxylin: Field
    eosin: Field
    blood: Field
    gland: Field
    """Share of each pixel that belongs to gland walls."""

    def cover(
        self, share: Field, haematoxylin: float | Field, eosin: float | Field, where: tuple[slice, slice]
    ) -> None:
        """Paint over what lies there, as far as `share` says."""
        for layer, value in ((self.haematoxylin, haematoxylin), (self.eosin, eosin), (self.blood, 0.0)):
            layer[where] += share * (value - layer[where])


EVERYWHERE = (slice(None), slice(None))


def paint_stroma(rng: np.random.Generator, frame: Frame, fibres: Fibres, anatomy: Anatomy) -> Paint:
    """Collagen: wavy bundles with pale clefts between them, looser here and there."""
    fine, bundles, clefts = (fibres.texture(rng, *size) for size in ((26, 5), (120, 20), (60, 6)))
    dense = frame.noise(rng, 350)
    eosin = 0.60 * (1 + 0.13 * fine + 0.10 * bundles + 0.12 * frame.noise(rng, 7) + 0.19 * dense)
    loose = 0.4 * rng.normal() + 0.7 * frame.noise(rng, 260) - 0.9 * dense - 1.5 * _soft(anatomy.invasion, 0.2)
    slit = _soft(clefts + 0.4 * bundles + 0.5 * loose + 0.3 * frame.noise(rng, 24) - 2.15, 0.9)
    eosin *= 1 - 0.9 * slit
    blue = (0.08 + 0.08 * frame.noise(rng, 300)).clip(0.02)  # young stroma takes up some haematoxylin
    haematoxylin = blue * (1 + 0.3 * fine) * (1 - slit)
    zero = np.zeros(frame.shape, dtype=np.float32)
    return Paint(haematoxylin.clip(0), eosin.clip(0.02), zero, zero.copy())


def paint_tumour(rng: np.random.Generator, frame: Frame, fibres: Fibres, anatomy: Anatomy, paint: Paint) -> Field:
    """Nests, cords and sheets of tumour cells in stroma that turns grey; returns each pixel's share of tumour cells."""
    inside = _soft(anatomy.invasion, 0.06)
    nests, cords = frame.noise(rng, rng.uniform(12, 24)), fibres.texture(rng, rng.uniform(50, 110), rng.uniform(11, 18))
    style = _soft(rng.normal(0, 0.6) + frame.noise(rng, 400), 1.5)
    crowd = rng.uniform(-0.45, 0.1) + 0.75 * frame.noise(rng, 300) + 0.5 * frame.noise(rng, 90)
    pattern = style * nests + (1 - style) * cords + crowd
    cells = inside * _soft(pattern, 0.5)
    grey = inside * (0.5 + 0.2 * frame.noise(rng, 200)).clip(0, 1)
    paint.haematoxylin += 0.16 * grey
    paint.cover(cells, 0.25, 0.46, EVERYWHERE)
    chinks = cells * _soft(frame.noise(rng, 6) - 1.9, 0.5)  # cells shrink from each other and leave chinks
    paint.cover(0.8 * chinks, 0.0, 0.05, EVERYWHERE)
    return cells


def paint_fat(rng: np.random.Generator, frame: Frame, anatomy: Anatomy, paint: Paint) -> Mask:
    """Fat cells: empty bubbles with thin walls; returns where they are."""
    spacing = 62.0
    points = frame.jittered(rng, spacing, jitter=0.5)
    level = frame.at(anatomy.fat, points) + rng.normal(0, 0.10, len(points))
    empty = level > 0
    radius = (0.36 + 0.35 * level.clip(0, 1) + rng.uniform(0, 0.16, len(points))) * spacing
    near = anatomy.fat > -0.4
    rows, columns = np.nonzero(near)
    places = np.stack([frame.x_um[0, columns], frame.y_um[rows, 0]], axis=1)
    distance, which = cKDTree(points).query(places, k=2)
    # Walls stand where a pixel is as near to one cell's centre as to the next.
    depth = np.minimum((distance[:, 1] - distance[:, 0]) / 2 - 1.2, radius[which[:, 0]] - distance[:, 0])
    # A single cell among fibres is round; in a crowd they press each other flat.
    bubble = np.zeros(frame.shape, dtype=np.float32)
    bubble[rows, columns] = _soft(depth.astype(np.float32), frame.um_per_px * 1.2) * empty[which[:, 0]]
    fat = bubble > 0.5
    paint.cover(bubble, 0.0, 0.03, EVERYWHERE)
    return fat


def paint_gland(frame: Frame, gland: Gland, paint: Paint) -> None:
    """Sheath, wall and lumen of one gland or vessel."""
    where, depth = gland.outline.depth(frame, gland.collar + frame.um_per_px)
    soft = frame.um_per_px
    paint.cover(_soft(depth + np.float32(gland.collar), 2 * soft), 0.05, gland.sheath * 0.6, where)
    wall = _soft(depth, gland.blur)
    if not gland.cells:  # a lobule's stroma fills no fat cell and no cleft
        wall *= np.clip(paint.eosin[where] / 0.3, 0, 1)
    lumen = _soft(depth - np.float32(gland.wall), soft)
    paint.cover(wall, gland.tint, 0.45, where)
    paint.cover(lumen, 0.0, 0.02 + gland.filling, where)
    paint.blood[where] += lumen * np.float32(gland.blood)
    paint.gland[where] = np.maximum(paint.gland[where] * (1 - lumen), (wall - lumen) * np.float32(gland.cells))


def draw_nuclei(
    rng: np.random.Generator, frame: Frame, fibres: Fibres, anatomy: Anatomy, paint: Paint, tumour: Field, fat: Mask
) -> list[Nuclei]:
    """Nuclei of every kind, each where its tissue lies."""

    def places(rng: np.random.Generator, spacing_um: float, share: NDArray[np.floating[Any]]) -> Points:
        points = frame.jittered(rng, spacing_um)
        kept = (rng.random(len(points)) < frame.at(share, points)) & ~frame.at(empty, points)
        chosen: Points = points[kept]
        return chosen

    inside = anatomy.tissue > 0
    bare = inside & (paint.gland < 0.3) & (paint.eosin > 0.2)
    stroma = bare * (1 - tumour)
    invaded = _soft(anatomy.invasion, 0.1)
    empty = fat & (paint.gland < 0.3)
    for_fibroblasts, for_lymphocytes, for_cancer, for_glands = rng.spawn(4)

    rng = for_fibroblasts
    busy = (0.11 + 0.14 * frame.noise(rng, 160)).clip(0.03)
    spindles = scatter(rng, places(rng, 19, stroma * (busy + 0.3 * invaded)), 2.4, 0.25, 1.2, 0.7)
    slope_y, slope_x = (frame.at(slope, spindles.points) for slope in tuple(np.gradient(fibres.across)))
    along = np.arctan2(slope_y, slope_x, dtype=np.float64) + np.pi / 2
    drawn_out = rng.uniform(1.5, 2.8, len(along))
    fibroblasts = replace(spindles, long=spindles.long * drawn_out, short=spindles.short * 0.8, angle=along)

    rng = for_lymphocytes
    clusters = _soft(frame.noise(rng, 110) + 0.5 * frame.noise(rng, 500) - rng.uniform(1.9, 2.5), 0.35)
    crowd = stroma * (0.95 * clusters + 0.02 * invaded + 0.004)
    lymphocytes = scatter(rng, places(rng, 7.2, crowd), 3.4, 0.08, 1.2, 1.2)

    rng = for_cancer
    grade, spacing, radius = rng.uniform(0.16, 0.28), rng.uniform(10.3, 12.5), rng.uniform(4.3, 5.0)
    cancer = scatter(rng, places(rng, spacing, tumour * (bare * 0.92)), radius, grade, 2.0, 0.85)

    rng = for_glands
    glandular = scatter(rng, places(rng, 7.6, paint.gland * inside), 3.6, 0.10, 1.8, 0.75)
    return [fibroblasts, lymphocytes, cancer, glandular]


def absorb(rng: np.random.Generator, frame: Frame, paint: Paint, tissue: Field) -> NDArray[np.uint8]:
    """Light that stained tissue lets through, by the law of Beer and Lambert, as 8-bit RGB.

    Every slide has its own staining: the strength of each stain, and slightly its colour.
    """
    strengths = np.exp(rng.normal(0, (0.14, 0.16, 0.1)))
    colours = np.array([HAEMATOXYLIN, EOSIN, BLOOD]) * strengths[:, None] * np.exp(rng.normal(0, 0.04, (3, 3)))
    thickness = (1 + 0.13 * frame.noise(rng, 600)) * tissue  # no section is cut evenly
    thickness *= 1 + 0.13 * rng.standard_normal(frame.shape, dtype=np.float32)  # stands for all that is finer
    pixels = np.empty((*frame.shape, 3), dtype=np.uint8)
    for channel in range(3):
        h, e, b = colours[:, channel].astype(np.float32)
        density = (h * paint.haematoxylin + e * paint.eosin + b * paint.blood) * thickness
        light = np.float32(GLASS_RGB[channel]) * np.exp(-density)
        light += 1.6 * rng.standard_normal(frame.shape, dtype=np.float32)  # the camera's own noise
        pixels[..., channel] = np.clip(np.rint(light), 0, 255)
    return pixels


@dataclass(frozen=True)
class Painting:
    """A painted slide: RGB, the tumour's outline, and tissue that is neither fat nor empty glass."""

    pixels: NDArray[np.uint8]
    tumour: Mask
    tissue: Mask


def paint_tissue(rng: np.random.Generator, frame: Frame) -> Painting:
    """Paint one slide. Every step draws from a generator of its own, so that a change in one leaves the others."""
    for_anatomy, for_fibres, for_stroma, for_tumour, for_fat, for_glands, for_nuclei, for_stain = rng.spawn(8)
    anatomy = draw_anatomy(for_anatomy, frame)
    fibres = Fibres.draw(for_fibres, frame)
    paint = paint_stroma(for_stroma, frame, fibres, anatomy)
    tumour = paint_tumour(for_tumour, frame, fibres, anatomy, paint)
    fat = paint_fat(for_fat, frame, anatomy, paint)
    for gland in draw_glands(for_glands, frame, anatomy):
        paint_gland(frame, gland, paint)
    for nuclei in draw_nuclei(for_nuclei, frame, fibres, anatomy, paint, tumour, fat):
        paint.haematoxylin += splat(frame, nuclei)
    # Nuclei that lie over each other bind more than one does, but the section is thin.
    paint.haematoxylin = 1.5 * np.tanh(paint.haematoxylin / 1.5)
    inside = anatomy.tissue > 0
    stained = inside & (paint.eosin + paint.haematoxylin + paint.blood > 0.15)
    pixels = absorb(for_stain, frame, paint, _soft(anatomy.tissue - 0.004, 0.008))
    return Painting(pixels, inside & (anatomy.outline > 0), stained)
