"""Which files are DICOM, and which of them are one slide."""

from __future__ import annotations

from pathlib import Path

import openslide

_DICOM_MAGIC, _DICOM_MAGIC_AT = b"DICM", 128
"""The magic, and the bytes before it, which may hold anything (DICOM part 10, section 7.1)."""


def has_dicom_magic(file: Path) -> bool:
    """Whether a file says that it is DICOM, whatever its name; OSError where it cannot be read."""
    with file.open("rb", buffering=0) as opened:
        return opened.read(_DICOM_MAGIC_AT + len(_DICOM_MAGIC))[_DICOM_MAGIC_AT:] == _DICOM_MAGIC


def check_beside(file: Path) -> None:
    """OSError where OpenSlide would wait for ever: it opens whatever lies beside a DICOM file, and pipes as well."""
    if not file.is_file():
        raise OSError("it is no file")
    if not has_dicom_magic(file):
        return
    for other in file.parent.iterdir():
        if other.is_fifo():
            raise OSError(f"{other.name} beside it is a pipe, which OpenSlide would wait for")


def dicom_identity(file: Path) -> str | None:
    """What the DICOM files of one slide have in common, and no others; None where OpenSlide opens no DICOM slide."""
    try:
        check_beside(file)
        with openslide.OpenSlide(file) as slide:
            if slide.properties.get(openslide.PROPERTY_NAME_VENDOR) != "dicom":
                return None
            return slide.properties.get(openslide.PROPERTY_NAME_QUICKHASH1)
    except (openslide.OpenSlideError, OSError):
        return None
