"""Which files of a folder, or rows of a manifest, are slides."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from wsi_idc.errors import DataNotFoundError, OptionError, SlideError
from wsi_idc.io.dicom import dicom_identity, has_dicom_magic

DICOM_ENDING = ".dcm"

SLIDE_ENDINGS = (
    *(".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".bif", ".svslide", ".czi"),
    *(".ome.tf2", ".ome.tf8", ".ome.btf"),
)
"""What OpenSlide and OME-TIFF call their files, DICOM apart; ``.ome.tif`` and ``.ome.tiff`` end like TIFF."""

PATH_COLUMN, MPP_COLUMN, LABELS_COLUMN = "path", "mpp", "labels"


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
        GeoJSON that the manifest gives.
    """

    name: str
    path: Path
    mpp: float | None = None
    labels: Path | None = None


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
    one slide count once, named by the lexically first. Linked folders and what begins with a dot are left out.

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
    skipped = leave_out and leave_out.resolve()
    slides: list[Path] = []
    others = 0
    for root, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if name[0] != "." and Path(root, name).resolve() != skipped]
        files = [Path(root, name) for name in names if name[0] != "."]
        plain = [file for file in files if _has_slide_ending(file)]
        dicom = [file for file in files if not _has_slide_ending(file) and _is_dicom(file)]
        slides += (*plain, *_first_of_each_slide(dicom))
        others += len(files) - len(plain) - len(dicom)
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


def read_manifest(path: Path) -> tuple[FoundSlide, ...]:
    """Read a list of slides: a CSV in UTF-8 with the column ``path`` and perhaps ``mpp`` (µm/px) and ``labels``.

    Relative paths start from the manifest's folder. A slide is named by its path as written; by its file name alone
    where that is absolute or leads upwards. Nothing that the manifest names is looked for.

    Returns
    -------
    tuple of FoundSlide
        In the manifest's order.

    Raises
    ------
    DataNotFoundError
        Where the manifest cannot be read.
    OptionError
        Where it is no such table, names no slide, or names one twice.
    """
    slides: list[FoundSlide] = []
    line_of: dict[str, int] = {}
    for line, row in _rows(path):
        slide = _slide_of(row, path.parent, f"Line {line} of {path}")
        if slide.name in line_of:
            raise OptionError(
                f"Lines {line_of[slide.name]} and {line} of {path} both name the slide {slide.name}, and results of "
                "one would replace the other's: keep one, or write paths relative to the manifest that differ."
            )
        line_of[slide.name] = line
        slides.append(slide)
    if not slides:
        raise OptionError(f"{path} lists no slide: add a row for each below its header.")
    return tuple(slides)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a manifest and the lines that they stand in; a cell that is cut off is empty."""
    with _reading(path), path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.reader(file, skipinitialspace=True)
        try:
            header = [name.strip() for name in next(table, [])]
            if PATH_COLUMN not in header:
                raise OptionError(
                    f"Line 1 of {path} names no column {PATH_COLUMN}: a manifest is a CSV, parted by commas, with the "
                    f"columns {PATH_COLUMN} and, where needed, {MPP_COLUMN} and {LABELS_COLUMN}."
                )
            for cells in table:
                if cells:
                    yield table.line_num, dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))
        except csv.Error as error:
            raise OptionError(f"Line {table.line_num} of {path} is no CSV ({error}): mend it.") from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} is no text in UTF-8: save the manifest as CSV in UTF-8.") from error
    except FileNotFoundError as error:
        raise DataNotFoundError(f"There is no manifest {path}: name a CSV of slides with --manifest.") from error
    except OSError as error:
        raise DataNotFoundError(
            f"{path} cannot be read ({error.strerror}): name a CSV of slides with --manifest."
        ) from error


def _slide_of(row: dict[str, str], folder: Path, where: str) -> FoundSlide:
    """The slide that a row names; `where` is the row's place, for errors."""
    written, mpp, labels = row[PATH_COLUMN], row.get(MPP_COLUMN, "").strip(), row.get(LABELS_COLUMN, "")
    if not written.strip():
        raise OptionError(f"{where} has an empty {PATH_COLUMN}: name the slide's file there, or remove the line.")
    if "\0" in written + labels:
        raise OptionError(f"{where} has a zero byte in a path, which no file's name has: write the true path.")
    name = _name_of(Path(written))
    if name in ("", ".", ".."):
        raise OptionError(f"{where} has the {PATH_COLUMN} {written!r}, which is a folder: name the slide's file there.")
    try:
        scale = float(mpp) if mpp else None
    except ValueError as error:
        raise OptionError(
            f"{where} has the {MPP_COLUMN} {mpp!r}, which is no number: give the scale in µm/px, such as 0.5."
        ) from error
    return FoundSlide(name, folder / written, scale, folder / labels if labels.strip() else None)


def _name_of(written: Path) -> str:
    return written.name if written.is_absolute() or ".." in written.parts else written.as_posix()
