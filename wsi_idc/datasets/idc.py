"""IDC patches in a folder or an unopened zip: found by name, each counted once, every oddity told."""

from __future__ import annotations

import hashlib
import lzma
import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_idc.datasets.case import Case
from wsi_idc.datasets.dataset import Dataset, unknown_case
from wsi_idc.errors import DataNotFoundError, NotIdcDataError
from wsi_idc.geometry import IDC_PATCH
from wsi_idc.io.png import PngError, decode_png, png_size
from wsi_idc.naming import PatchName, almost_a_patch_name, parse_patch_name
from wsi_idc.source import Block, Patch, Problem

MAX_PATCH_BYTES = 65_536
"""A 50x50 patch is 7.5 kB before compression; a file larger than this is none and is not opened."""

MAX_CASE_BYTES = 1 << 29
"""Of a case's files together: glass full of patches takes 400 MB, cases of the set 20 MB."""

NESTED_COPY = "IDC_regular_ps50_idx5"
"""Kaggle's archive holds every patch a second time under a folder of this name."""


_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OverflowError, ValueError)
"""What a zip's directory and decompressors raise; bz2 raises OSError."""


class Container(ABC):
    """Files by their relative POSIX path, wherever they lie."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def files(self) -> Iterator[str]:
        """Paths of all files."""

    def files_of(self, case: str) -> Iterator[str]:
        """Paths that may have to do with a case: its number is in them."""
        return (path for path in self.files() if case in path)

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Bytes of one file; OSError where that cannot be done."""

    def close(self) -> None:  # noqa: B027  (a folder has nothing to close)
        """Let go of what is open."""


class Folder(Container):
    """Files under a folder. Links are not followed out of it."""

    def files(self) -> Iterator[str]:
        return self._walk("", None)

    def files_of(self, case: str) -> Iterator[str]:
        """As of any container, but other cases' folders beside this case's own are not even walked."""
        return (path for path in self._walk("", case) if case in path)

    def _walk(self, prefix: str, case: str | None) -> Iterator[str]:
        with os.scandir(self.path / prefix) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        beside = any(entry.name == case for entry in found)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                if not beside or _case_folder(entry.name) in (None, case):
                    yield from self._walk(f"{prefix}{entry.name}/", case)
            elif entry.is_file(follow_symlinks=False):
                yield prefix + entry.name

    def read(self, path: str) -> bytes:
        with (self.path / path).open("rb") as file:
            data = file.read(MAX_PATCH_BYTES + 1)
        _refuse_large(len(data))
        return data


class Zip(Container):
    """Files in a zip archive, read in place."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGE as error:
            told = "a name in it is no text" if isinstance(error, UnicodeError) else error
            raise NotIdcDataError(
                f"{path} is not a whole zip archive ({told}): fetch it again, or name a folder."
            ) from error

    def files(self) -> Iterator[str]:
        # ZipInfo.is_dir asks for the last sign of a name, and a name may have none.
        return (info.filename for info in self._zip.infolist() if not info.filename.endswith("/"))

    def read(self, path: str) -> bytes:
        info = self._zip.getinfo(path)
        _refuse_large(info.file_size)
        if info.flag_bits & 0x1:
            raise OSError("encrypted in the zip")
        try:
            with self._zip.open(info) as file:
                data = file.read(MAX_PATCH_BYTES + 1)
        except _DAMAGE as error:
            raise OSError(str(error)) from error
        _refuse_large(len(data))
        return data

    def close(self) -> None:
        self._zip.close()


def _refuse_large(size: int) -> None:
    if size > MAX_PATCH_BYTES:
        raise OSError(f"larger than {MAX_PATCH_BYTES:,} bytes, so no {IDC_PATCH.size_px}x{IDC_PATCH.size_px} patch")


def _case_folder(name: str) -> str | None:
    """The case that a folder is named after: digits alone, but for the class folders 0 and 1."""
    return name if name.isascii() and name.isdigit() and name not in ("0", "1") else None


@dataclass(frozen=True)
class Entry:
    """A sound patch name and where its file lies in the container."""

    path: str
    name: PatchName


@dataclass
class Index:
    """What a container holds: patches by case, odd files by case, and how many files were passed over.

    `copies` counts the second copies under `NESTED_COPY`, `foreign` the files that are no patches.
    """

    cases: dict[str, list[Entry]] = field(default_factory=dict)
    problems: dict[str, list[Problem]] = field(default_factory=dict)
    copies: int = 0
    foreign: int = 0
    patch_camelyon: bool = False

    def report(self, case: str, path: str, reason: str) -> None:
        self.problems.setdefault(case, []).append(Problem(path, reason))


def index_files(paths: Iterable[str]) -> Index:
    """Sort files into cases by their names alone.

    Parameters
    ----------
    paths : iterable of str
        Relative POSIX paths, in any order.

    Returns
    -------
    Index
        Each case's patches in row-major order (y, then x), one for each position. A position named twice
        keeps the file whose path is shortest, then first in the alphabet.
    """
    index = Index()
    by_position: dict[tuple[str, int, int], list[Entry]] = {}
    for path in paths:
        *folders, name = path.split("/")
        if name.startswith(".") or "__MACOSX" in folders:
            continue
        parsed = parse_patch_name(name)
        folder_case = next((c for c in map(_case_folder, reversed(folders)) if c), None)
        if parsed is None:
            if almost_a_patch_name(name):
                case = folder_case or name.partition("_")[0]
                index.report(case, path, "almost an IDC patch's name, so it was left out")
            else:
                index.foreign += 1
                index.patch_camelyon |= _is_patch_camelyon(name)
        elif folder_case not in (None, parsed.case):
            index.report(folder_case or parsed.case, path, f"lies in the folder of case {folder_case}: left out")
        else:
            by_position.setdefault((parsed.case, parsed.y, parsed.x), []).append(Entry(path, parsed))
    for (case, _, _), entries in sorted(by_position.items()):
        entries.sort(key=lambda entry: (entry.path.count("/"), entry.path))
        kept = entries[0]
        index.cases.setdefault(case, []).append(kept)
        _check_class_folder(index, kept)
        for other in entries[1:]:
            if other.name == kept.name and f"{NESTED_COPY}/" in other.path:
                index.copies += 1
            else:
                index.report(case, other.path, f"at the same place as {kept.path}: left out")
    return index


def _check_class_folder(index: Index, entry: Entry) -> None:
    folder = entry.path.split("/")[-2:-1]
    if folder in (["0"], ["1"]) and entry.name.label is not None and int(folder[0]) != entry.name.label:
        reason = f"lies in class folder {folder[0]}, but its name says class {entry.name.label}: the name counts"
        index.report(entry.name.case, entry.path, reason)


def _is_patch_camelyon(name: str) -> bool:
    stem, _, ending = name.rpartition(".")
    is_hash = len(stem) == 40 and all(c in "0123456789abcdef" for c in stem)
    return name == "train_labels.csv" or (ending == "tif" and is_hash) or name.startswith("camelyonpatch_level_2")


class IdcDataset(Dataset):
    """IDC patches of any number of cases, in a folder or a zip."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._container = Folder(self.path) if self.path.is_dir() else Zip(self.path)
        except FileNotFoundError as error:
            raise DataNotFoundError(f"There are no data at {path}: name a folder or a zip of IDC patches.") from error
        except OSError as error:
            raise DataNotFoundError(_cannot_read(self.path, error)) from error

        self._of_one_case: dict[str, Index] = {}

    @cached_property
    def index(self) -> Index:
        """All files by case. Walks the whole folder."""
        index = self._indexed(self._container.files())
        if not index.cases:
            raise NotIdcDataError(_not_idc(self.path, index))
        return index

    def _indexed(self, files: Iterable[str]) -> Index:
        try:
            return index_files(files)
        except OSError as error:
            raise DataNotFoundError(_cannot_read(self.path, error)) from error

    @property
    def cases(self) -> list[str]:
        return sorted(self.index.cases, key=int)

    def labels(self, case: str) -> Sequence[int | None]:
        return [entry.name.label for entry in self._index_of(case).cases[case]]

    @property
    def problems(self) -> Sequence[Problem]:
        return [problem for found in self.index.problems.values() for problem in found]

    @property
    def passed_over(self) -> tuple[int, int]:
        return self.index.copies, self.index.foreign

    def check(self, cases: Iterable[str]) -> None:
        for case in cases:
            self._index_of(case)

    def _index_of(self, case: str) -> Index:
        """An index that holds at least this case, without a walk over all others where that can be spared."""
        if "index" not in self.__dict__:
            index = self._of_one_case.get(case) or self._indexed(self._container.files_of(case))
            if case in index.cases:
                self._of_one_case[case] = index
                return index
        if case not in self.index.cases:
            raise unknown_case(case, self.cases, self.path)
        return self.index

    def case(self, case: str) -> IdcCase:
        index = self._index_of(case)
        return IdcCase(case, self._container, index.cases[case], index.problems.get(case, []))

    def close(self) -> None:
        self._container.close()


class IdcCase(Case):
    """One case of the IDC set; it holds the encoded patches (some 20 MB, at most `MAX_CASE_BYTES`).

    A name's 1-based ``x451`` is column 450.
    """

    def __init__(
        self,
        case: str,
        container: Container,
        entries: Sequence[Entry],
        problems: Sequence[Problem],
    ) -> None:
        self._entries = tuple(entries)
        self._encoded = list(read_files(container, [entry.path for entry in entries]))
        super().__init__(case, str(container.path), list(map(_patch, self._entries, self._encoded)), problems)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over names and encoded patches: the same for a folder and a zip of it."""
        digest = hashlib.sha256()
        for entry, data in zip(self._entries, self._encoded, strict=True):
            content = data if isinstance(data, bytes) else data.encode()
            digest.update(f"{entry.name} {len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()

    def read(self, start: int, stop: int) -> Block:
        """Decode the patches ``start`` to ``stop - 1``: see `Block`."""
        entries = self._entries[start:stop]
        pixels = np.full((len(entries), IDC_PATCH.size_px, IDC_PATCH.size_px, 3), 255, dtype=np.uint8)
        readable = np.ones(len(entries), dtype=np.bool_)
        problems = []
        for i, (entry, data) in enumerate(zip(entries, self._encoded[start:stop], strict=True)):
            try:
                rgb = _decode(data)
                pixels[i, : rgb.shape[0], : rgb.shape[1]] = rgb
            except PngError as error:
                readable[i] = False
                problems.append(Problem(entry.path, f"unreadable: {error}"))
        return Block(pixels, readable, tuple(problems))


def read_files(container: Container, paths: Iterable[str], most: int = MAX_CASE_BYTES) -> Iterator[bytes | str]:
    """Bytes of each file, or the reason why there are none; past `most` bytes in all nothing is read.

    In a zip, files of 64 kB may take 200 bytes each.
    """
    for path in paths:
        data = _read_or_reason(container, path) if most > 0 else "beyond what the patches of one case can take"
        if isinstance(data, bytes):
            most -= len(data)
        yield data


def _read_or_reason(container: Container, path: str) -> bytes | str:
    try:
        return container.read(path)
    except OSError as error:
        return error.strerror or str(error)


def _patch(entry: Entry, data: bytes | str) -> Patch:
    try:
        width, height = png_size(data) if isinstance(data, bytes) else (IDC_PATCH.size_px, IDC_PATCH.size_px)
    except PngError:
        width, height = IDC_PATCH.size_px, IDC_PATCH.size_px
    if max(width, height) > IDC_PATCH.size_px:
        width, height = IDC_PATCH.size_px, IDC_PATCH.size_px
    return Patch(entry.name.x - 1, entry.name.y - 1, width, height, entry.name.label)


def _decode(data: bytes | str) -> NDArray[np.uint8]:
    if isinstance(data, str):
        raise PngError(data)
    width, height = png_size(data)
    if max(width, height) > IDC_PATCH.size_px:
        raise PngError(f"{width}x{height} px, where a patch has at most {IDC_PATCH.size_px}x{IDC_PATCH.size_px}")
    return decode_png(data)


def _cannot_read(path: Path, error: OSError) -> str:
    where = error.filename or path
    return f"{where} cannot be read ({error.strerror or error}): check its permissions."


def _not_idc(path: Path, index: Index) -> str:
    if index.patch_camelyon:
        return (
            f"{path} is PatchCamelyon (Kaggle's histopathologic-cancer-detection): 96x96 lymph node patches without "
            "coordinates, from which no slide can be rebuilt; take the IDC set, Kaggle's "
            "paultimothymooney/breast-histopathology-images (`wsi-idc download`)."
        )
    files = index.foreign + sum(map(len, index.problems.values()))
    return (
        f"{path} holds no patches named like 8863_idx5_x451_y1451_class0.png among its {files:,} files: "
        "name the folder or zip of Kaggle's paultimothymooney/breast-histopathology-images."
    )
