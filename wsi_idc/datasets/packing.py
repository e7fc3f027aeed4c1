"""Cases to named patches: a folder, a zip or a patch store that every command takes as --data."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from imagecodecs import png_encode

from wsi_idc._util.files import make_folder, new_folder, replacing
from wsi_idc.datasets.store import write_store
from wsi_idc.errors import OutputError
from wsi_idc.naming import PatchName
from wsi_idc.source import PatchSource, Problem

PackForm = Literal["folder", "zip", "store"]

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""The same patches make the same zip."""

_BLOCK = 256
"""Patches read at once."""

_ENDINGS: dict[str, PackForm] = {".zip": "zip", ".zarr": "store"}


def form_of(out: Path) -> PackForm:
    """What the ending of a path asks for: ``.zip``, ``.zarr`` for a store, else a folder."""
    return _ENDINGS.get(out.suffix.lower(), "folder")


def check_free(out: Path) -> None:
    """OutputError where there is something at a path."""
    if out.exists() or out.is_symlink():
        raise OutputError(f"{out} is there already: choose another name.")


def write_patches(
    out: Path,
    cases: Iterable[PatchSource],
    form: PackForm | None = None,
    on_patches: Callable[[int], None] | None = None,
) -> list[Problem]:
    """Write cases as named patches, atomically.

    A folder and a zip hold ``<case>/<0|1>/<name>.png``, patches without a label ``<case>/<name>.png``, and leave out
    what is unreadable; a store keeps its place.

    Parameters
    ----------
    out : path
        There must be nothing yet.
    cases : iterable of PatchSource
        At the scale of the IDC set, their slides named by case numbers, ascending.
    form : {"folder", "zip", "store"}, optional
        By default what the ending of `out` asks for.
    on_patches : callable, optional
        Called with the number of patches just written.

    Returns
    -------
    list of Problem
        One for each patch that is unreadable.

    Raises
    ------
    OutputError
        Where there is something at `out`, or its folder cannot be written.
    """
    check_free(out)
    make_folder(out.parent)
    form = form or form_of(out)
    if form == "store":
        return write_store(out, cases, on_patches)
    problems: list[Problem] = []
    files = _files(cases, problems, on_patches)
    if form == "zip":
        with replacing(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, data in files:
                archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), data)
    else:
        with new_folder(out) as folder:
            for name, data in files:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    return problems


def _files(
    cases: Iterable[PatchSource], problems: list[Problem], on_patches: Callable[[int], None] | None
) -> Iterator[tuple[str, bytes]]:
    """Relative path and content of each patch; those that are unreadable are added to `problems`."""
    for case in cases:
        for start in range(0, len(case.patches), _BLOCK):
            patches = case.patches[start : start + _BLOCK]
            block = case.read(start, start + len(patches))
            problems += block.problems
            for patch, pixels, readable in zip(patches, block.pixels, block.readable, strict=True):
                if readable:
                    name = PatchName(case.slide, patch.x + 1, patch.y + 1, patch.label)
                    folder = case.slide if patch.label is None else f"{case.slide}/{patch.label}"
                    content = np.ascontiguousarray(pixels[: patch.height, : patch.width])
                    yield f"{folder}/{name}", bytes(png_encode(content))
            if on_patches:
                on_patches(len(patches))
