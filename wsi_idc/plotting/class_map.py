"""The most probable class of each patch as a map, for models of more than two classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wsi_idc.errors import printable
from wsi_idc.plotting.error_map import hatch
from wsi_idc.plotting.fonts import load_font
from wsi_idc.plotting.image_ops import place_boxes
from wsi_idc.plotting.mosaic import Mosaic
from wsi_idc.plotting.overlay import as_grey, mark_unreadable, over_grey
from wsi_idc.scoring.scores import Scores

COLOURS = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
)
"""Those of Okabe and Ito without black. Every second class is hatched, too, as grey print shows some of them alike."""

_OPACITY = 0.75
_HATCH = 0.45
"""Light of a hatched line relative to its colour."""

_INK, _PAPER = (26, 26, 26), (255, 255, 255)


def paint_classes(mosaic: Mosaic, scores: Scores) -> NDArray[np.uint8]:
    """Colour each scored patch by its most probable class, in the shape of the mosaic."""
    boxes = place_boxes(scores, (1 / mosaic.factor, 1 / mosaic.factor))
    painted, chosen, grey = mosaic.pixels.copy(), scores.most_probable, as_grey(mosaic.pixels)
    for number in range(len(scores.classes.names)):
        (blended,) = over_grey(np.array([_colour(number)], dtype=np.float32), _OPACITY)
        for _, where in boxes.slices(chosen == number):
            tile = blended.take(grey[where], axis=0)
            if number % 2:
                lines = hatch(where, boxes.side_px)
                tile[lines] = np.rint(_HATCH * tile[lines])
            painted[where] = tile
    mark_unreadable(painted, boxes, scores)
    return painted


def add_legend(painted: NDArray[np.uint8], scores: Scores) -> NDArray[np.uint8]:
    """The map with a line for each class beneath, shape (height + legend, width, 3)."""
    called = scores.most_probable[scores.readable]
    counts = np.bincount(called, minlength=len(scores.classes.names)).tolist()
    return np.vstack([painted, _legend(scores.classes.names, counts, painted.shape[1])])


def class_colours(number: int) -> tuple[tuple[int, int, int], tuple[int, int, int] | None]:
    """Colour of a class by its number, and that of the lines over it, where it is hatched."""
    red, green, blue = (round(_HATCH * of) for of in _colour(number))
    return _colour(number), (red, green, blue) if number % 2 else None


def _colour(number: int) -> tuple[int, int, int]:
    return COLOURS[number % len(COLOURS)]


def _legend(names: tuple[str, ...], counts: list[int], width: int) -> NDArray[np.uint8]:
    """A line for each class: its colour, its name and how many patches it has; shape (height, width, 3)."""
    size = int(np.clip(width / 70, 11, 40))
    font = load_font(size)
    line, swatch = round(1.7 * size), round(1.2 * size)
    image = Image.new("RGB", (width, line * len(names) + size), _PAPER)
    draw = ImageDraw.Draw(image)
    for number, (name, count) in enumerate(zip(names, counts, strict=True)):
        top = size // 2 + number * line
        tile = np.full((swatch, 2 * swatch, 3), _colour(number), dtype=np.float32)
        if number % 2:
            tile[hatch((slice(0, swatch), slice(0, 2 * swatch)), swatch)] *= _HATCH
        image.paste(Image.fromarray(np.rint(tile).astype(np.uint8)), (size, top))
        label = f"{printable(name).replace('_', ' ')}: {count:,} patches"
        draw.text((2 * size + 2 * swatch, top + swatch / 2), label, fill=_INK, font=font, anchor="lm")
    return np.asarray(image)
