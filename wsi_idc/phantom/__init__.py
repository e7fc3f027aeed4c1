"""Synthetic slides in the form of the IDC set, so that everything runs with no download."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_idc.datasets.case import LoadedCase, pad_patch
from wsi_idc.datasets.packing import PackForm, write_patches
from wsi_idc.errors import OptionError
from wsi_idc.geometry import IDC_PATCH
from wsi_idc.naming import PHANTOM_CASES, PatchName
from wsi_idc.phantom.frame import Frame
from wsi_idc.phantom.paint import paint_tissue
from wsi_idc.source import Patch

DEMO_CASES = 3
"""Cases of the demo set."""

LABEL_SHARE = 0.8
"""Share of a patch that lies inside the tumour's outline where its label is 1, as in the IDC set."""

TISSUE_SHARE = 0.35
"""Patches with less stained tissue than this (fat, empty glass) are left out, as in the IDC set."""


@dataclass(frozen=True, eq=False)
class PhantomSlide:
    """A painted slide at the scale of the IDC set.

    Attributes
    ----------
    case : str
        Case number.
    pixels : ndarray of uint8, shape (height, width, 3)
        RGB.
    tumour : ndarray of bool, shape (height, width)
        Inside the tumour's outline.
    tissue : ndarray of bool, shape (height, width)
        Stained tissue: neither fat nor empty glass.
    """

    case: str
    pixels: NDArray[np.uint8]
    tumour: NDArray[np.bool_]
    tissue: NDArray[np.bool_]


def paint_slide(case: str, seed: int, width_px: int = 1542, height_px: int = 1435) -> PhantomSlide:
    """Paint the slide of one case.

    Parameters
    ----------
    case : str
        Case number; it and `seed` decide all that is drawn.
    seed : int
        Not negative.
    width_px, height_px : int
        Size at that scale. The default is no multiple of 50, so that patches at the right and bottom are smaller.
    """
    painting = paint_tissue(np.random.default_rng([seed, int(case)]), Frame(width_px, height_px, IDC_PATCH.mpp))
    return PhantomSlide(case, painting.pixels, painting.tumour, painting.tissue)


def cut_patches(slide: PhantomSlide) -> Iterator[tuple[PatchName, NDArray[np.uint8]]]:
    """Cut a slide into named, labelled patches in row-major order; those of mostly fat or glass are left out."""
    (height, width), size = slide.tumour.shape, IDC_PATCH.size_px
    for y in range(0, height, size):
        for x in range(0, width, size):
            box = (slice(y, y + size), slice(x, x + size))
            if slide.tissue[box].mean() >= TISSUE_SHARE:
                label = int(slide.tumour[box].mean() >= LABEL_SHARE)
                yield PatchName(slide.case, x + 1, y + 1, label), slide.pixels[box]


def as_case(slide: PhantomSlide) -> LoadedCase:
    """The patches of a painted slide as a case."""
    cut = list(cut_patches(slide))
    digest = hashlib.sha256()
    for name, pixels in cut:
        digest.update(str(name).encode() + pixels.tobytes())
    patches = [Patch(name.x - 1, name.y - 1, rgb.shape[1], rgb.shape[0], name.label) for name, rgb in cut]
    return LoadedCase(slide.case, "phantom", patches, np.stack([pad_patch(rgb) for _, rgb in cut]), digest.hexdigest())


def write_phantom(
    out: Path,
    cases: int,
    seed: int,
    form: PackForm | None = None,
    on_case: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a data set of synthetic cases, atomically: see `write_patches`.

    Parameters
    ----------
    out : path
        It must not exist yet.
    cases : int
        Number of cases.
    seed : int
        Same seed, same bytes.
    form : {"folder", "zip", "store"}, optional
        By default what the ending of `out` asks for.
    on_case : callable, optional
        Called with the number of cases written and their total after each.

    Returns
    -------
    path
        `out`.

    Raises
    ------
    OptionError
        Where there are not so many case numbers.
    OutputError
        Where `out` exists already or its folder cannot be written.
    """
    numbers = case_numbers(cases)

    def paint() -> Iterator[LoadedCase]:
        for done, case in enumerate(numbers, start=1):
            yield as_case(paint_slide(case, seed))
            if on_case is not None:
                on_case(done, cases)

    write_patches(out, paint(), form)
    return out


def case_numbers(cases: int) -> list[str]:
    """The first numbers of synthetic cases; OptionError where there are not so many."""
    if not 1 <= cases <= len(PHANTOM_CASES):
        raise OptionError(f"{cases} cases cannot be painted: choose 1 to {len(PHANTOM_CASES):,}.")
    return [str(number) for number in PHANTOM_CASES[:cases]]
