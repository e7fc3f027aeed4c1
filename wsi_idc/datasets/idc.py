"""IDC patches in a folder or an unopened zip: found by name, each counted once, every problem reported."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.cache import cached_property
from wsi_idc.datasets.case import Case
from wsi_idc.datasets.containers import Container, open_container, read_files
from wsi_idc.datasets.dataset import Dataset, unknown_case
from wsi_idc.errors import DataNotFoundError, NotIdcDataError
from wsi_idc.geometry import PATCH_PX
from wsi_idc.io.jpeg import decode_jpeg, jpeg_size
from wsi_idc.io.png import PatchImageError, decode_png, png_size
from wsi_idc.naming import PatchName, almost_a_patch_name, is_case_number, is_jpeg_name, parse_patch_name
from wsi_idc.source import Block, Patch, Problem

NESTED_COPY = "IDC_regular_ps50_idx5"
"""Kaggle's archive holds every patch a second time under a folder of this name."""

_UNPACKED_FIRST = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
"""Endings of files that may hold the patches."""

_ARRAYS = (".npy", ".npz", ".h5", ".hdf5")
"""Endings of files that hold pixels of patches without their names."""


@dataclass(frozen=True)
class Entry:
    """A sound patch name and where its file lies in the container."""

    path: str
    name: PatchName

    @property
    def folders(self) -> list[str]:
        """The folders above the file, outermost first."""
        return _parts(self.path)[:-1]

    @property
    def is_jpeg(self) -> bool:
        """Whether the file's ending says JPEG."""
        return is_jpeg_name(self.path)


@dataclass
class Index:
    """What a container holds: patches by case, odd files by case, and how many files were passed over.

    `copies` counts the second copies under `NESTED_COPY`, `foreign` the files that are no patches; `archive` and
    `arrays` name the first of these that is an archive, or holds arrays.
    """

    cases: dict[str, list[Entry]] = field(default_factory=dict)
    problems: dict[str, list[Problem]] = field(default_factory=dict)
    copies: int = 0
    foreign: int = 0
    patch_camelyon: bool = False
    archive: str | None = None
    arrays: str | None = None

    def report(self, case: str, path: str, reason: str) -> None:
        self.problems.setdefault(case, []).append(Problem(path, reason))


def index_files(paths: Iterable[str]) -> Index:
    """Sort files into cases by their names alone, whatever the folders above them are called.

    Parameters
    ----------
    paths : iterable of str
        Relative paths in any order, parted by slashes or, as some Windows tools write them, backslashes.

    Returns
    -------
    Index
        Each case's patches in row-major order (y, then x), one for each position. A position named twice
        keeps the PNG, then the file whose path is shortest, then first in the alphabet.
    """
    index = Index()
    by_position: dict[tuple[str, int, int], list[Entry]] = {}
    for path in paths:
        *folders, name = _parts(path)
        if name.startswith(".") or "__MACOSX" in folders:
            continue
        parsed = parse_patch_name(name)
        if parsed is not None:
            by_position.setdefault((parsed.case, parsed.y, parsed.x), []).append(Entry(path, parsed))
        elif almost_a_patch_name(name):
            index.report(_meant_case(folders, name), path, "almost an IDC patch's name, so it was left out")
        else:
            _count_foreign(index, path, name)
    for (case, _, _), entries in sorted(by_position.items()):
        entries.sort(key=lambda entry: (entry.is_jpeg, len(entry.folders), entry.path))
        kept = entries[0]
        index.cases.setdefault(case, []).append(kept)
        _check_class_folder(index, kept)
        for other in entries[1:]:
            if other.name == kept.name and NESTED_COPY in other.folders:
                index.copies += 1
            else:
                index.report(case, other.path, f"at the same place as {kept.path}: left out")
    _report_jpegs(index)
    return index


def _parts(path: str) -> list[str]:
    return path.replace("\\", "/").split("/")


def _meant_case(folders: Sequence[str], name: str) -> str:
    """The case that a name seems to mean, else the folder of digits nearest above."""
    begins = name.partition("_")[0]
    if is_case_number(begins):
        return begins
    return next((folder for folder in reversed(folders) if is_case_number(folder)), begins)


def _count_foreign(index: Index, path: str, name: str) -> None:
    index.foreign += 1
    index.patch_camelyon |= _is_patch_camelyon(name)
    if name.lower().endswith(_UNPACKED_FIRST):
        index.archive = index.archive or path
    if name.lower().endswith(_ARRAYS):
        index.arrays = index.arrays or path


def _check_class_folder(index: Index, entry: Entry) -> None:
    folder = entry.folders[-1:]
    if folder in (["0"], ["1"]) and entry.name.label is not None and int(folder[0]) != entry.name.label:
        reason = f"lies in class folder {folder[0]}, but its name says class {entry.name.label}: the name counts"
        index.report(entry.name.case, entry.path, reason)


def _report_jpegs(index: Index) -> None:
    """One line a case that has JPEGs."""
    for case, entries in index.cases.items():
        jpegs = [entry.path for entry in entries if entry.is_jpeg]
        if jpegs:
            reason = (
                f"JPEG, as are {len(jpegs):,} of the {len(entries):,} patches of case {case}: its losses shift the "
                "probabilities, so score the PNGs where there are any"
            )
            index.report(case, jpegs[0], reason)


def _is_patch_camelyon(name: str) -> bool:
    stem, _, ending = name.rpartition(".")
    is_hash = len(stem) == 40 and all(c in "0123456789abcdef" for c in stem)
    return name == "train_labels.csv" or (ending == "tif" and is_hash) or name.startswith("camelyonpatch_level_2")


class IdcDataset(Dataset):
    """IDC patches of any number of cases, in a folder or a zip."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._container = open_container(self.path)
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
        pixels = np.full((len(entries), PATCH_PX, PATCH_PX, 3), 255, dtype=np.uint8)
        readable = np.ones(len(entries), dtype=np.bool_)
        problems = []
        for i, (entry, data) in enumerate(zip(entries, self._encoded[start:stop], strict=True)):
            try:
                rgb = _decode(entry, data)
                pixels[i, : rgb.shape[0], : rgb.shape[1]] = rgb
            except PatchImageError as error:
                readable[i] = False
                problems.append(Problem(entry.path, f"unreadable: {error}"))
        return Block(pixels, readable, tuple(problems))


def _patch(entry: Entry, data: bytes | str) -> Patch:
    try:
        width, height = _size(entry, data) if isinstance(data, bytes) else (PATCH_PX, PATCH_PX)
    except PatchImageError:
        width, height = PATCH_PX, PATCH_PX
    if max(width, height) > PATCH_PX:
        width, height = PATCH_PX, PATCH_PX
    return Patch(entry.name.x - 1, entry.name.y - 1, width, height, entry.name.label)


def _size(entry: Entry, data: bytes) -> tuple[int, int]:
    return jpeg_size(data) if entry.is_jpeg else png_size(data)


def _decode(entry: Entry, data: bytes | str) -> NDArray[np.uint8]:
    if isinstance(data, str):
        raise PatchImageError(data)
    width, height = _size(entry, data)
    if max(width, height) > PATCH_PX:
        raise PatchImageError(f"{width}x{height} px, where a patch has at most {PATCH_PX}x{PATCH_PX}")
    return decode_jpeg(data) if entry.is_jpeg else decode_png(data)


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
    if index.archive is not None:
        return (
            f"{path} holds no patches but {index.archive}: name that with --data if it is a zip, else unpack it first."
        )
    if index.arrays is not None:
        return (
            f"{path} holds no patches but arrays ({index.arrays}), which say neither case nor position of a patch: "
            "name the folder or zip of the patches as PNGs."
        )
    files = index.foreign + sum(map(len, index.problems.values()))
    return (
        f"{path} holds no patches named like 8863_idx5_x451_y1451_class0.png among its {files:,} files: "
        "name the folder or zip of Kaggle's paultimothymooney/breast-histopathology-images."
    )
