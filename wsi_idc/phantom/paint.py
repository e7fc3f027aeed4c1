"""What each tissue looks like: which cells it holds and how much stain they bind.

Stain amounts are optical densities: see `absorb`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from wsi_idc.phantom.anatomy import Anatomy, Fibres, Gland, draw_anatomy, draw_glands
from wsi_idc.phantom.frame import Field, Frame, Mask, Points, soft

GLASS_RGB = (244.0, 243.0, 244.0)
"""What the scanner sees where there is no tissue."""

HAEMATOXYLIN = (0.66, 0.75, 0.38)
EOSIN = (0.13, 0.66, 0.40)
BLOOD = (0.14, 1.00, 0.74)
"""Optical density in R, G and B of one unit of stain (natural logarithm); haemoglobin counts as one."""


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
    loose = 0.4 * rng.normal() + 0.7 * frame.noise(rng, 260) - 0.9 * dense - 1.5 * soft(anatomy.invasion, 0.2)
    slit = soft(clefts + 0.4 * bundles + 0.5 * loose + 0.3 * frame.noise(rng, 24) - 2.15, 0.9)
    eosin *= 1 - 0.9 * slit
    blue = (0.08 + 0.08 * frame.noise(rng, 300)).clip(0.02)  # young stroma takes up some haematoxylin
    haematoxylin = blue * (1 + 0.3 * fine) * (1 - slit)
    zero = np.zeros(frame.shape, dtype=np.float32)
    return Paint(haematoxylin.clip(0), eosin.clip(0.02), zero, zero.copy())


def paint_tumour(rng: np.random.Generator, frame: Frame, fibres: Fibres, anatomy: Anatomy, paint: Paint) -> Field:
    """Nests, cords and sheets of tumour cells in stroma that turns grey; returns each pixel's share of tumour cells."""
    inside = soft(anatomy.invasion, 0.06)
    nests, cords = frame.noise(rng, rng.uniform(12, 24)), fibres.texture(rng, rng.uniform(50, 110), rng.uniform(11, 18))
    style = soft(rng.normal(0, 0.6) + frame.noise(rng, 400), 1.5)
    crowd = rng.uniform(-0.45, 0.1) + 0.75 * frame.noise(rng, 300) + 0.5 * frame.noise(rng, 90)
    pattern = style * nests + (1 - style) * cords + crowd
    cells = inside * soft(pattern, 0.5)
    grey = inside * (0.5 + 0.2 * frame.noise(rng, 200)).clip(0, 1)
    paint.haematoxylin += 0.16 * grey
    paint.cover(cells, 0.25, 0.46, EVERYWHERE)
    chinks = cells * soft(frame.noise(rng, 6) - 1.9, 0.5)  # cells shrink from each other and leave chinks
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
    bubble[rows, columns] = soft(depth.astype(np.float32), frame.um_per_px * 1.2) * empty[which[:, 0]]
    fat = bubble > 0.5
    paint.cover(bubble, 0.0, 0.03, EVERYWHERE)
    return fat


def paint_gland(frame: Frame, gland: Gland, paint: Paint) -> None:
    """Sheath, wall and lumen of one gland or vessel."""
    where, depth = gland.outline.depth(frame, gland.collar + frame.um_per_px)
    pixel = frame.um_per_px
    paint.cover(soft(depth + np.float32(gland.collar), 2 * pixel), 0.05, gland.sheath * 0.6, where)
    wall = soft(depth, gland.blur)
    if not gland.cells:  # a lobule's stroma fills no fat cell and no cleft
        wall *= np.clip(paint.eosin[where] / 0.3, 0, 1)
    lumen = soft(depth - np.float32(gland.wall), pixel)
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
    invaded = soft(anatomy.invasion, 0.1)
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
    clusters = soft(frame.noise(rng, 110) + 0.5 * frame.noise(rng, 500) - rng.uniform(1.9, 2.5), 0.35)
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
    pixels = absorb(for_stain, frame, paint, soft(anatomy.tissue - 0.004, 0.008))
    return Painting(pixels, inside & (anatomy.outline > 0), stained)
