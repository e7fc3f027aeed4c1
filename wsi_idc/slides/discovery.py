"""Which files of a folder are slides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from wsi_idc._util.walking import walk
from wsi_idc.errors import SlideError
from wsi_idc.io.dicom import dicom_identity, has_dicom_magic

DICOM_ENDING = ".dcm"

SLIDE_ENDINGS = (
    *(".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".bif", ".svslide", ".czi"),
    *(".ome.tf2", ".ome.tf8", ".ome.btf"),
)
"""What OpenSlide and OME-TIFF call their files, DICOM apart; ``.ome.tif`` and ``.ome.tiff`` end like TIFF."""

DICOM_DIRECTORY = "dicomdir"
"""A file of this name has DICOM's magic and lists the others of a disc."""


@dataclass(frozen=True)
class FoundSlide:
    """A slide file of a cohort; it may turn out not to be there, or to be none.

    Attributes
    ----------
    name : str
        Relative path in POSIX form with its ending, ``a/b.svs``: never absolute, never with ``..``.
    path : Path
    mpp : float or None
        Scale of level 0 in µm/px that the manifest gives, plausible or not.
    labels : Path or None
        Outlines that the manifest gives.
    url : str
        Address in a store or on a web server, in place of `path`; empty where it is a file.
    wrong : str
        Why the row of the manifest cannot be used; empty where it can.
    """

    name: str
    path: Path
    mpp: float | None = None
    labels: Path | None = None
    wrong: str = ""
    url: str = ""


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    Attributes
    ----------
    slides : tuple of FoundSlide
        Sorted by name.
    others : int
        Files that are no slides.
    """

    slides: tuple[FoundSlide, ...]
    others: int


def find_slides(folder: Path, *, leave_out: Path | None = None) -> Found:
    """Find the slides in a folder and the folders below it.

    Slides are files with an ending that OpenSlide or OME-TIFF knows, and files with DICOM's magic. The DICOM files of
    one slide count once, named by the lexically first. Links are followed, a folder that is reached twice counts once,
    and what begins with a dot is left out.

    Parameters
    ----------
    folder : Path
    leave_out : Path, optional
        A folder below that is not looked into, such as the one where results go: mosaics look like slides.

    Raises
    ------
    SlideError
        Where the folder or one below cannot be listed, or there is no slide.
    """
    slides: list[Path] = []
    others = 0
    try:
        for prefix, entries in walk(folder, [leave_out] if leave_out else [], hidden=False):
            files = [folder / prefix / entry.name for entry in entries]
            plain = [file for file in files if _has_slide_ending(file)]
            dicom = [file for file in files if not _has_slide_ending(file) and _is_dicom(file)]
            slides += (*plain, *_first_of_each_slide(dicom))
            others += len(files) - len(plain) - len(dicom)
    except OSError as error:
        _refuse(error)
    if not slides:
        counted = "1 file" if others == 1 else f"{others:,} files"
        raise SlideError(f"{folder} holds no slides among its {counted}: name a folder of slides with --slides.")
    found = (FoundSlide(path.relative_to(folder).as_posix(), path) for path in slides)
    return Found(tuple(sorted(found, key=lambda slide: slide.name)), others)


def _refuse(error: OSError) -> NoReturn:
    wrong = f"cannot be listed ({error.strerror})"
    if isinstance(error, FileNotFoundError):
        wrong = "is not there"
    elif isinstance(error, NotADirectoryError):
        wrong = "is no folder"
    raise SlideError(f"{error.filename} {wrong}: name a folder of slides with --slides.") from error


def _has_slide_ending(file: Path) -> bool:
    return file.name.lower().endswith(SLIDE_ENDINGS)


def _is_dicom(file: Path) -> bool:
    """Whether a file's ending or its magic says DICOM; one that cannot be read has no magic."""
    if file.name.lower().endswith(DICOM_ENDING):
        return True
    if file.name.lower() == DICOM_DIRECTORY:
        return False
    try:
        # Opening a pipe would wait for somebody to write into it.
        if not file.is_file():
            return False
        return has_dicom_magic(file)
    except OSError:
        return False


def _first_of_each_slide(dicom: Sequence[Path]) -> list[Path]:
    """Of the DICOM files of one folder the lexically first of each slide."""
    if len(dicom) < 2:
        return list(dicom)
    first: dict[str | Path, Path] = {}
    for file in sorted(dicom):
        first.setdefault(dicom_identity(file) or file, file)
    return list(first.values())
