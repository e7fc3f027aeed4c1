"""Synthetic slides in the form of the IDC set, so that everything runs with no download."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from imagecodecs import png_encode
from numpy.typing import NDArray

from wsi_idc.errors import OptionError, OutputError
from wsi_idc.files import make_folder, replacing
from wsi_idc.geometry import PATCH_MPP, PATCH_PX
from wsi_idc.naming import PHANTOM_CASES, PatchName
from wsi_idc.sources.phantom.frame import Frame
from wsi_idc.sources.phantom.paint import paint_tissue

DEMO_CASES = 3
"""Cases of the demo set."""

LABEL_SHARE = 0.8
"""Share of a patch that lies inside the tumour's outline where its label is 1, as in the IDC set."""

TISSUE_SHARE = 0.35
"""Patches with less stained tissue than this (fat, empty glass) are left out, as in the IDC set."""

_VERSION = 1
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class PhantomSlide:
    """A painted slide at 4 µm/px.

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
        Size at 4 µm/px. The default is no multiple of 50, so that patches at the right and bottom are smaller.
    """
    painting = paint_tissue(np.random.default_rng([seed, int(case)]), Frame(width_px, height_px, PATCH_MPP))
    return PhantomSlide(case, painting.pixels, painting.tumour, painting.tissue)


def cut_patches(slide: PhantomSlide) -> Iterator[tuple[PatchName, NDArray[np.uint8]]]:
    """Cut a slide into named, labelled patches in row-major order; those of mostly fat or glass are left out."""
    height, width = slide.tumour.shape
    for y in range(0, height, PATCH_PX):
        for x in range(0, width, PATCH_PX):
            box = (slice(y, y + PATCH_PX), slice(x, x + PATCH_PX))
            if slide.tissue[box].mean() >= TISSUE_SHARE:
                label = int(slide.tumour[box].mean() >= LABEL_SHARE)
                yield PatchName(slide.case, x + 1, y + 1, label), slide.pixels[box]


def write_phantom(out: Path, cases: int, seed: int, on_case: Callable[[int, int], None] | None = None) -> Path:
    """Write a data set of synthetic cases as ``<case>/<0|1>/<name>.png``, whole or not at all.

    Parameters
    ----------
    out : path
        A folder, or a file that ends in ``.zip``; it must not exist yet.
    cases : int
        Number of cases.
    seed : int
        Same seed, same bytes.
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
    if not 1 <= cases <= len(PHANTOM_CASES):
        raise OptionError(f"{cases} cases cannot be painted: choose 1 to {len(PHANTOM_CASES):,}.")
    if out.exists():
        raise OutputError(f"{out} is there already: choose another --out.")
    make_folder(out.parent)
    files = _files(cases, seed, on_case)
    if out.suffix.lower() == ".zip":
        _write_zip(out, files)
    else:
        _write_folder(out, files)
    return out


def _write_zip(out: Path, files: Iterable[tuple[str, bytes]]) -> None:
    with replacing(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), data)


def _write_folder(out: Path, files: Iterable[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory(prefix=".", suffix=f"-{out.name}", dir=out.parent) as beside:
        top = Path(beside) / out.name
        for name, data in files:
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        top.replace(out)


def _files(cases: int, seed: int, on_case: Callable[[int, int], None] | None) -> Iterator[tuple[str, bytes]]:
    """Relative path and content of each file of the data set."""
    numbers = [str(number) for number in PHANTOM_CASES[:cases]]
    marker = {"seed": seed, "cases": numbers, "version": _VERSION}
    yield "phantom.json", (json.dumps(marker, indent=2) + "\n").encode()
    for done, case in enumerate(numbers, start=1):
        for name, pixels in cut_patches(paint_slide(case, seed)):
            yield f"{case}/{name.label}/{name}", bytes(png_encode(np.ascontiguousarray(pixels)))
        if on_case is not None:
            on_case(done, cases)
