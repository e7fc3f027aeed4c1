"""How much tissue the mask loses, and how much glass and pen it takes: ``python benchmarks/tissue.py``.

Phantoms are taken apart into the amounts of their stains and painted again with others, from blue to brown and pale to
strong, on other glass; then pens of ten colours are drawn over some of them. With ``--real DIR`` pens are drawn over
real slides, too, and thumbnails with a mask of the pen beside them (``NAME.png``, ``NAME_mask.png``) are judged by it.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage.morphology import isotropic_closing, isotropic_dilation
from skimage.segmentation import find_boundaries

from wsi_idc import open_slide
from wsi_idc.phantom.frame import Frame
from wsi_idc.phantom.paint import BLOOD, EOSIN, GLASS_RGB, HAEMATOXYLIN, paint_tissue
from wsi_idc.slides.tissue import find_tissue, unlike_he

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Rgb = tuple[float, float, float]

MPP = 16.0
"""Scale of every picture, as the mask sees a slide, in µm/px."""

PEN_PX = 24
"""Width of a pen's line: 0.4 mm."""

FAR_UM = 250.0
"""Glass counts from this distance to tissue on: gaps between are filled on purpose."""


@dataclass(frozen=True)
class Stains:
    """Optical density in R, G and B of one unit of each stain, how much of both is bound, and the colour of glass."""

    haematoxylin: Rgb = HAEMATOXYLIN
    eosin: Rgb = EOSIN
    strength: float = 1.0
    glass: Rgb = GLASS_RGB


FAMILIES = {
    "as painted": Stains(),
    "strong": Stains(strength=1.8),
    "pale": Stains(strength=0.5),
    "very pale": Stains(strength=0.33),
    "blue haematoxylin": Stains(haematoxylin=(0.82, 0.72, 0.32)),
    "navy, frozen section": Stains((0.95, 0.90, 0.48), (0.36, 0.62, 0.36), 1.3),
    "navy, strong": Stains((1.00, 0.88, 0.46), (0.20, 0.66, 0.38), 1.6),
    "purple throughout": Stains((0.72, 0.85, 0.35), (0.42, 0.75, 0.30)),
    "violet haematoxylin": Stains(haematoxylin=(0.50, 0.90, 0.30)),
    "brown haematoxylin": Stains(haematoxylin=(0.50, 0.68, 0.56)),
    "brown eosin": Stains(eosin=(0.16, 0.60, 0.55)),
    "orange eosin": Stains(eosin=(0.05, 0.58, 0.52)),
    "magenta eosin": Stains(eosin=(0.10, 0.85, 0.25)),
    "both browned": Stains((0.52, 0.66, 0.54), (0.18, 0.56, 0.50), 0.8),
    "faded": Stains((0.40, 0.44, 0.32), (0.07, 0.34, 0.20), 0.8),
    "greyed haematoxylin": Stains(haematoxylin=(0.66, 0.68, 0.54)),
    "eosin alone": Stains(haematoxylin=(0.13, 0.66, 0.40)),
    "haematoxylin alone": Stains(eosin=(0.20, 0.24, 0.11)),
    "grey glass": Stains(glass=(188.0, 188.0, 190.0)),
    "dim glass, pale": Stains(strength=0.5, glass=(150.0, 150.0, 152.0)),
    "yellow glass": Stains(glass=(240.0, 228.0, 198.0)),
    "blue glass": Stains(glass=(214.0, 226.0, 240.0)),
}

INKS: dict[str, Rgb] = {
    "blue": (40, 60, 180),
    "navy": (20, 25, 110),
    "green": (30, 140, 70),
    "teal": (20, 150, 120),
    "black": (30, 30, 32),
    "red": (210, 35, 45),
    "orange": (240, 130, 30),
    "yellow": (240, 220, 40),
    "violet": (120, 60, 160),
    "pink": (230, 90, 160),
}

UNDER_PENS = ("as painted", "very pale", "strong", "navy, frozen section", "purple throughout", "both browned", "faded")


@dataclass(frozen=True)
class View:
    """A picture at `MPP` and what is known of it; each of shape (h, w), `pixels` with channels.

    Attributes
    ----------
    tissue : ndarray of bool
        Stained tissue, without fat.
    glass : ndarray of bool
        Glass well away from it.
    """

    pixels: Picture
    tissue: Mask
    glass: Mask


def paint_amounts(seed: int) -> tuple[NDArray[np.float32], Mask]:
    """Amounts of haematoxylin, eosin and blood at 8 µm/px, shape (3, h, w), with glass around, and stained tissue."""
    painting = paint_tissue(np.random.default_rng(seed), Frame(1600, 1400, 4.0))
    light = painting.pixels.reshape(700, 2, 800, 2, 3).mean(axis=(1, 3))
    lost = np.log(np.array(GLASS_RGB) / light.clip(1))
    amounts = lost @ np.linalg.inv(np.array([HAEMATOXYLIN, EOSIN, BLOOD]))
    stained = painting.tissue.reshape(700, 2, 800, 2).mean(axis=(1, 3)) > 0.5
    around = ((100, 100), (100, 100))
    padded = np.pad(np.moveaxis(amounts, 2, 0).clip(0), ((0, 0), *around))
    return padded.astype(np.float32), np.pad(stained, around)


def render(amounts: NDArray[np.float32], stained: Mask, stains: Stains, seed: int = 0) -> View:
    """Paint amounts with other stains on other glass."""
    vectors = np.array([stains.haematoxylin, stains.eosin, BLOOD]) * stains.strength
    light = np.array(stains.glass) * np.exp(-np.moveaxis(amounts, 0, 2) @ vectors)
    light += np.random.default_rng(seed).normal(0, 1.6, light.shape)
    height, width = (length // 2 for length in stained.shape)
    coarse = light.reshape(height, 2, width, 2, 3).mean(axis=(1, 3))
    tissue = stained.reshape(height, 2, width, 2).mean(axis=(1, 3)) > 0.5
    section = isotropic_dilation(isotropic_closing(tissue, 400 / MPP), FAR_UM / MPP)
    return View(np.rint(coarse).clip(0, 255).astype(np.uint8), tissue, ~section)


def draw_pen(shape: tuple[int, int]) -> NDArray[np.float64]:
    """How much ink covers each pixel: a line around and across the slide that runs thin, a dot, and a broad stroke."""
    height, width = shape
    drawing = Image.new("F", (width, height), 0.0)
    pen = ImageDraw.Draw(drawing)
    corners = [(0.05, 0.15), (0.07, 0.85), (0.35, 0.94), (0.62, 0.70), (0.95, 0.62), (0.93, 0.08)]
    places = [(x * width, y * height) for x, y in corners]
    for part, (start, stop) in enumerate(itertools.pairwise(places)):
        pen.line([start, stop], fill=1.0 - 0.15 * part, width=PEN_PX)
    pen.ellipse([0.45 * width, 0.03 * height, 0.49 * width, 0.03 * height + 0.04 * width], fill=1.0)
    cover: NDArray[np.float64] = ndimage.gaussian_filter(np.asarray(drawing, dtype=np.float64), 1)
    return cover


def mark(view: View, ink: Rgb) -> tuple[View, Mask]:
    """Draw a pen over a picture; also returns where the ink lies, its soft edge left out."""
    cover = draw_pen(view.tissue.shape)
    density = -np.log(np.array(ink) / 243.0)
    pixels = np.rint(view.pixels * np.exp(-cover[..., None] * density)).clip(0, 255).astype(np.uint8)
    pen = cover > 0.3
    near = ndimage.binary_dilation(cover > 0.02, iterations=5)
    return replace(view, pixels=pixels, tissue=view.tissue & ~near, glass=view.glass & ~near), pen


@dataclass
class Row:
    """Pixels lost and taken, summed over pictures."""

    lost: int = 0
    tissue: int = 0
    taken: int = 0
    glass: int = 0
    taken_pen: int = 0
    pen: int = 0
    cautions: int = 0

    def add(self, view: View, mask: Mask, pen: Mask | None = None) -> None:
        self.lost += int((view.tissue & ~mask).sum())
        self.tissue += int(view.tissue.sum())
        self.taken += int((view.glass & mask).sum())
        self.glass += int(view.glass.sum())
        if pen is not None:
            self.taken_pen += int((pen & mask).sum())
            self.pen += int(pen.sum())
        self.cautions += int(unlike_he(view.pixels))

    def __str__(self) -> str:
        pen = f"{self.taken_pen / self.pen:8.1%}" if self.pen else " " * 8
        return f"{share(self.lost, self.tissue)} {share(self.taken, self.glass)} {pen} {self.cautions:8d}"


def share(part: int, whole: int) -> str:
    return f"{part / whole:8.1%}" if whole else "       -"


def judge(view: View, pen: Mask | None, row: Row, picture: Path | None) -> None:
    mask = find_tissue(view.pixels, (MPP, MPP))
    row.add(view, mask, pen)
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(outline(view.pixels, mask)).save(picture)


def outline(pixels: Picture, mask: Mask) -> Picture:
    """What is left out faded, and the mask's edge in green."""
    shown = np.where(mask[..., None], pixels, pixels // 3 + 140).astype(np.uint8)
    shown[find_boundaries(mask, mode="inner")] = (0, 200, 0)
    return shown


def real_views(folder: Path) -> Iterator[tuple[str, View, Mask | None]]:
    """Slides of a folder as far as they can be opened, and thumbnails that come with a mask of the pen."""
    for path in sorted(folder.rglob("*")):
        if path.name.endswith("_mask.png"):
            thumbnail = path.with_name(path.name.replace("_mask", ""))
            pixels = np.asarray(Image.open(thumbnail).convert("RGB"))
            pen = np.asarray(Image.open(path).convert("L")) > 0
            none = np.zeros_like(pen)
            yield thumbnail.stem, View(pixels, none, none), pen
        elif path.suffix in (".svs", ".tif", ".tiff"):
            try:
                with open_slide(path, mpp=0.5 if path.name.startswith("tcga") else None) as slide:
                    yield path.name, as_view(slide.thumbnail), None
            except Exception as error:  # a folder may hold damaged files, and files without a scale
                print(f"{path.name}: {error}", file=sys.stderr)


def as_view(pixels: Picture) -> View:
    """A real slide: what is plainly stained, and what is plainly glass."""
    chroma = ndimage.gaussian_filter(np.ptp(pixels.astype(float), axis=2), 1)
    tissue = (chroma > 40) & (pixels.max(axis=2) > 40)
    return View(pixels, tissue, ~isotropic_dilation(chroma > 8, FAR_UM / MPP))


def main() -> None:
    """Print what is lost and taken by family of stain, by pen, and of real slides."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phantoms", type=int, default=3, help="number of phantoms (default 3)")
    parser.add_argument("--real", type=Path, help="folder of real slides")
    parser.add_argument("--pictures", type=Path, help="folder to write the masks into as pictures")
    options = parser.parse_args()
    painted = [paint_amounts(seed) for seed in range(options.phantoms)]
    started, count = time.perf_counter(), 0
    head = f"{'lost':>8s} {'glass':>8s} {'pen':>8s} {'cautions':>8s}"

    def picture(*names: str) -> Path | None:
        return options.pictures and options.pictures / ("-".join(names).replace(" ", "_").replace(",", "") + ".png")

    print(f"{'stain':34s} {head}")
    for name, stains in FAMILIES.items():
        row = Row()
        for i, (amounts, stained) in enumerate(painted):
            judge(render(amounts, stained, stains), None, row, picture("stain", name, str(i)))
            count += 1
        print(f"{name:34s} {row}")
    print(f"\n{'pen':34s} {head}")
    for ink, rgb in INKS.items():
        for name in UNDER_PENS:
            row = Row()
            for i, (amounts, stained) in enumerate(painted):
                view, pen = mark(render(amounts, stained, FAMILIES[name]), rgb)
                judge(view, pen, row, picture("pen", ink, name, str(i)))
                count += 1
            print(f"{f'{ink} on {name}':34s} {row}")
    if options.real is not None:
        print(f"\n{'real':34s} {head}")
        for name, view, pen in real_views(options.real):
            row = Row()
            judge(view, pen, row, picture("real", name))
            print(f"{name:34s} {row}")
            for ink, rgb in INKS.items() if pen is None and min(view.tissue.shape) > 4 * PEN_PX else ():
                row = Row()
                marked, pen_mask = mark(view, rgb)
                judge(marked, pen_mask, row, picture("real", name, ink))
                print(f"{f'  {ink}':34s} {row}")
    print(f"\n{(time.perf_counter() - started) / count:.2f} s a picture")


if __name__ == "__main__":
    main()
