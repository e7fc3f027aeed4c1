"""Lists of slides: which file, under which name, at which scale, with which outlines."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import TextIO

from wsi_idc.errors import DataNotFoundError, OptionError, printable
from wsi_idc.io.stores import is_url, name_in, without_secrets
from wsi_idc.slides.discovery import FoundSlide

PATH_COLUMN, NAME_COLUMN, MPP_COLUMN, LABELS_COLUMN = "path", "name", "mpp", "labels"

_SEPARATORS = ",;\t"
"""What spreadsheets part cells with, the most likely first."""

_DECLARED = re.compile(r"\"?sep=(.)\"?[,;\t]*", re.IGNORECASE)
"""The line by which spreadsheets say what parts the cells below."""

_MISSING = frozenset({"na", "n/a", "#n/a", "nan", "null", "none"})
"""What R, pandas, spreadsheets and databases write where there is nothing."""

_COMMA_DECIMAL = re.compile(r"\d+,\d+")

_LONGEST_HEADER = 65_536
"""Characters of the first line that are looked at to tell what parts the cells."""


def read_manifest(path: Path) -> tuple[FoundSlide, ...]:
    """Read a list of slides: a CSV in UTF-8 with the column ``path`` and perhaps ``name``, ``mpp`` and ``labels``.

    Cells may be parted by commas, semicolons or tabs; column names may be in capitals; blanks around cells, empty rows,
    ``NA`` and a first line ``sep=`` are what spreadsheets leave, and mean nothing. Relative paths start from the
    manifest's folder; backslashes part folders. A slide is named by `name`; else by its path as written, or by its file
    name alone where that is absolute or leads upwards. Nothing that the manifest names is looked for.

    Returns
    -------
    tuple of FoundSlide
        In the manifest's order, rows that are the same once. A row that cannot be used says so in `wrong`, and costs no
        other.

    Raises
    ------
    DataNotFoundError
        Where the manifest cannot be read.
    OptionError
        Where it is no such table, or names no slide.
    """
    slides: list[FoundSlide] = []
    taken: dict[str, tuple[int, FoundSlide]] = {}
    for line, row in _rows(path):
        where = f"Line {line} of {path}"
        try:
            slide = _slide_of(row, path.parent, where)
            first, same = taken.setdefault(slide.name, (line, slide))
            if first != line and same == slide:
                continue
            if first != line:
                raise OptionError(
                    f"{where} names the slide {printable(slide.name)} as line {first} does, and results of one would "
                    f"replace the other's: give each a name of its own in a column {NAME_COLUMN}."
                )
        except OptionError as error:
            slide = FoundSlide(f"line {line}", path, wrong=str(error))
        slides.append(slide)
    if not slides:
        raise OptionError(f"{path} lists no slide: add a row for each below its header.")
    return tuple(slides)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a manifest that are not empty, and the lines that they stand in; a cell that is cut off is empty."""
    with _reading(path), path.open(newline="", encoding="utf-8-sig") as file:
        skipped, separator = _separator(file)
        table = csv.reader(file, delimiter=separator, skipinitialspace=True)
        try:
            for _ in range(skipped):
                next(table, None)
            header = [name.strip().lower() for name in next(table, [])]
            if PATH_COLUMN not in header:
                raise OptionError(
                    f"Line {skipped + 1} of {path} names no column {PATH_COLUMN}: a manifest is a CSV with the columns "
                    f"{PATH_COLUMN} and, where needed, {NAME_COLUMN}, {MPP_COLUMN} and {LABELS_COLUMN}."
                )
            for cells in table:
                kept = ["" if cell.strip().lower() in _MISSING else cell.strip() for cell in cells]
                if any(kept):
                    yield table.line_num, dict.fromkeys(header, "") | dict(zip(header, kept, strict=False))
        except csv.Error as error:
            raise OptionError(f"Line {table.line_num} of {path} is no CSV ({error}): mend it.") from error


def _separator(file: TextIO) -> tuple[int, str]:
    """Lines before the header, and what parts the cells; the file is at its start again."""
    first = file.readline(_LONGEST_HEADER)
    declared = _DECLARED.fullmatch(first.rstrip("\r\n"))
    file.seek(0)
    if declared:
        return 1, declared[1]
    # A header that has no separator, or another than these, is one cell.
    parted = (sign for sign in _SEPARATORS if sign in first and PATH_COLUMN in _cells(first, sign))
    return 0, next(parted, _SEPARATORS[0])


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip(' \t\r\n"').lower() for cell in line.split(separator)]


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
    written, labels = row[PATH_COLUMN], row.get(LABELS_COLUMN, "")
    if is_url(written):
        return _slide_at(row, folder, where)
    if is_url(labels):
        told = without_secrets(labels)
        raise OptionError(f"{where} has {LABELS_COLUMN} at {told}, which are not read: name a file of this machine.")
    if not written:
        raise OptionError(f"{where} has an empty {PATH_COLUMN}: name the slide's file there, or remove the line.")
    if "\0" in written + labels:
        raise OptionError(f"{where} has a zero byte in a path, which no file's name has: write the true path.")
    name = _checked_name(row.get(NAME_COLUMN, ""), where) or _name_of(written)
    if name in ("", ".", ".."):
        raise OptionError(f"{where} has the {PATH_COLUMN} {written!r}, which is a folder: name the slide's file there.")
    mpp = _scale(row.get(MPP_COLUMN, ""), where)
    return FoundSlide(name, folder / _slashed(written), mpp, folder / _slashed(labels) if labels else None)


def _slide_at(row: dict[str, str], folder: Path, where: str) -> FoundSlide:
    """The slide in a store or on a web server that a row names."""
    url = row[PATH_COLUMN]
    if row.get(LABELS_COLUMN, ""):
        raise OptionError(f"{where} has {LABELS_COLUMN} for a slide in a store, which are not read: leave them out.")
    name = _checked_name(row.get(NAME_COLUMN, ""), where) or name_in(url)
    if not name:
        raise OptionError(f"{where} has the {PATH_COLUMN} {without_secrets(url)}, which names no file: name a slide's.")
    return FoundSlide(name, folder, _scale(row.get(MPP_COLUMN, ""), where), url=url)


def _scale(cell: str, where: str) -> float | None:
    """A scale in µm/px, written with a point or, as spreadsheets in many countries do, a comma."""
    if not cell:
        return None
    try:
        return float(cell.replace(",", ".") if _COMMA_DECIMAL.fullmatch(cell) else cell)
    except ValueError as error:
        raise OptionError(
            f"{where} has the {MPP_COLUMN} {cell!r}, which is no number: give the scale in µm/px, such as 0.5."
        ) from error


def _checked_name(name: str, where: str) -> str:
    """What the column of names says, as a path below the results folder; empty where it says nothing."""
    parts = _slashed(name).split("/")
    if name and (not printable(name) == name or any(part in ("", "..") or part[0] == "." for part in parts)):
        raise OptionError(
            f"{where} has the {NAME_COLUMN} {name!r}, which is no name of a folder in the results: write letters and "
            "digits, and slashes between folders."
        )
    return "/".join(parts)


def _name_of(written: str) -> str:
    path = Path(_slashed(written))
    if path.is_absolute() or PureWindowsPath(written).is_absolute() or ".." in path.parts:
        return path.name
    return path.as_posix()


def _slashed(path: str) -> str:
    return path.replace("\\", "/")
