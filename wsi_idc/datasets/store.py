"""Patches of many cases in one Zarr: a case is read with one contiguous read instead of a thousand files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from wsi_idc._util.cpu_count import processors
from wsi_idc._util.files import new_folder, writing_thread
from wsi_idc.datasets.case import LoadedCase
from wsi_idc.datasets.dataset import Dataset, unknown_case
from wsi_idc.datasets.shards import ShardedRows
from wsi_idc.errors import NotIdcDataError, printable
from wsi_idc.geometry import PATCH_PX
from wsi_idc.naming import MAX_COORDINATE_PX, is_case_number
from wsi_idc.source import UNKNOWN, Patches, PatchSource, Problem

STORE_MARK = "wsi_idc_store"
"""Attribute that tells a patch store from other Zarrs; its value is the version of the layout."""

_VERSION = 2

_CHUNK, _SHARD = 256, 2_048
"""Patches read, and hashed, together, and patches in one file."""

_ROWS = 1 << 20
"""Rows of the table in one file."""

_TABLE = {"case": "int32", "x": "int32", "y": "int32", "width": "uint8", "height": "uint8", "label": "int8"}
"""Arrays beside the pixels, one value a patch."""

STORE_NAMES = ("zarr.json", "pixels", *_TABLE)
"""What the folder of a store holds."""

_SHOWN = 40
"""Signs of a case's number that an error shows, as any text may stand there."""

_ROW_TYPE = "<i8"
"""Of a row of the table where it is hashed."""


@dataclass(frozen=True)
class _Entry:
    """Where a case lies in the store, and what was found when it was packed."""

    case: str
    start: int
    stop: int
    fingerprint: str
    pixels_sha256: str
    table_sha256: str
    problems: tuple[Problem, ...]
    unreadable: dict[int, Problem]


def write_store(
    out: Path, cases: Iterable[PatchSource], on_patches: Callable[[int], None] | None = None
) -> list[Problem]:
    """Pack cases into a new patch store, atomically: see `packing.write_patches`.

    Parameters
    ----------
    out : path
        Folder to make; there must be nothing.
    cases : iterable of PatchSource
        In ascending order of their numbers, which are the names of the slides.
    on_patches : callable, optional
        Called with the number of patches just packed.

    Returns
    -------
    list of Problem
        One for each patch that is unreadable.
    """
    with new_folder(out) as folder, writing_thread() as thread:
        writer = StoreWriter(folder, thread)
        problems = [problem for case in cases for problem in writer.add(case, on_patches)]
        writer.finish()
    return problems


class StoreWriter:
    """A store that is being written, shard by shard; it goes on where an earlier one stopped.

    Parameters
    ----------
    folder : Path
        Exists already.
    thread : ThreadPoolExecutor
        See `writing_thread`.
    """

    def __init__(self, folder: Path, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._group = self._call(partial(zarr.open_group, folder, mode="a"))
        arrays = dict(self._call(partial(_open_arrays, self._group)))
        self._pixels, self._table = arrays.pop("pixels"), arrays
        kept = self._group.attrs.get("cases", [])
        self._entries: list[dict[str, Any]] = list(kept) if isinstance(kept, list) else []
        self._written = self._rows = self._entries[-1]["stop"] if self._entries else 0
        self._waiting: list[NDArray[np.uint8]] = []
        self._waiting_rows: list[list[int]] = []

    def _call(self, function: Callable[[], Any]) -> Any:
        return self._thread.submit(function).result()

    @property
    def packed(self) -> dict[str, int]:
        """The cases that are written, and how many patches each has."""
        return {entry["case"]: entry["stop"] - entry["start"] for entry in self._entries}

    def begins(self, dataset: Dataset) -> bool:
        """Whether what is written is the beginning of what this data set makes. Reads these cases."""
        if list(self.packed) != dataset.cases[: len(self._entries)]:
            return False
        return all(_is_of(entry, dataset.case(entry["case"])) for entry in self._entries)

    @property
    def problems(self) -> list[Problem]:
        """The unreadable patches of those cases."""
        return [Problem(path, reason) for entry in self._entries for _, path, reason in entry["unreadable"]]

    def add(self, case: PatchSource, on_patches: Callable[[int], None] | None = None) -> list[Problem]:
        """Pack a case; the problems of its unreadable patches come back."""
        start, digest, table = self._rows, hashlib.sha256(), hashlib.sha256()
        unreadable: dict[int, Problem] = {}
        for first in range(0, len(case.patches), _SHARD):
            block = case.read(first, first + _SHARD)
            rows = _rows(case.slide, case.patches[first : first + _SHARD])
            digest.update(b"".join(_for_each_chunk(len(block.pixels), partial(_chunk_sha256, block.pixels))))
            table.update(rows.astype(_ROW_TYPE).tobytes())
            wrong = first + np.flatnonzero(~block.readable)
            unreadable |= dict(zip(wrong.tolist(), block.problems, strict=True))
            self._waiting.append(block.pixels)
            self._waiting_rows += rows.tolist()
            self._rows += len(block.pixels)
            self._flush()
            if on_patches:
                on_patches(len(block.pixels))
        self._entries.append(_entry(case, start, self._rows, unreadable, (digest.hexdigest(), table.hexdigest())))
        return list(unreadable.values())

    def _flush(self, all_of_it: bool = False) -> None:
        """Write whole shards, and note the cases that are whole by then."""
        while self._waiting_rows and (all_of_it or self._written + len(self._waiting_rows) >= self._next_shard):
            count = min(len(self._waiting_rows), self._next_shard - self._written)
            joined = np.concatenate(self._waiting)
            rows = np.array(self._waiting_rows[:count], dtype=np.int64)
            self._call(partial(_put, self._pixels, self._written, joined[:count]))
            for array, column in zip(self._table.values(), rows.T, strict=True):
                self._call(partial(_put, array, self._written, column))
            self._waiting, self._waiting_rows = [joined[count:]], self._waiting_rows[count:]
            self._written += count
            whole = [entry for entry in self._entries if entry["stop"] <= self._written]
            self._call(partial(self._group.attrs.update, {"cases": whole}))

    @property
    def _next_shard(self) -> int:
        """Where the shard ends that is written next."""
        return (self._written // _SHARD + 1) * _SHARD

    def finish(self) -> None:
        """Write what waits, and call it a store."""
        self._flush(all_of_it=True)
        for array in (self._pixels, *self._table.values()):
            self._call(partial(array.resize, (self._written, *array.shape[1:])))
        # The mark last: without it this is no store.
        self._call(partial(self._group.attrs.update, {"cases": self._entries}))
        self._call(partial(self._group.attrs.update, {STORE_MARK: _VERSION}))


def _open_arrays(group: zarr.Group) -> dict[str, zarr.Array[Any]]:
    """The pixels, and the columns of the table; made where they are not there."""
    patch = (PATCH_PX, PATCH_PX, 3)
    if "pixels" not in group:
        group.create_array(
            "pixels",
            shape=(0, *patch),
            dtype="uint8",
            chunks=(_CHUNK, *patch),
            shards=(_SHARD, *patch),
            # Fast compressors make real patches 2 % smaller, and reading half as fast; damage is noticed by the hash.
            compressors=None,
        )
    for name, kind in _TABLE.items():
        if name not in group:
            group.create_array(name, shape=(0,), dtype=kind, chunks=(_ROWS,))
    return {name: _array(group, name) for name in ("pixels", *_TABLE)}


def _put(array: zarr.Array[Any], start: int, values: NDArray[Any]) -> None:
    """Write values from `start` on; what was there behind goes."""
    array.resize((start + len(values), *array.shape[1:]))
    array[start:] = values


def _rows(case: str, patches: Patches) -> NDArray[np.int64]:
    """What the table holds of patches, shape (n, 6)."""
    return np.column_stack([np.full(len(patches), int(case)), patches.boxes, patches.labels])


def _is_of(entry: Mapping[str, Any], case: PatchSource) -> bool:
    """Whether a case was packed as it is now: names, labels and encoded pixels."""
    table = hashlib.sha256(_rows(case.slide, case.patches).astype(_ROW_TYPE).tobytes()).hexdigest()
    problems = [[problem.path, problem.reason] for problem in case.problems]
    now = {"fingerprint": case.fingerprint, "table_sha256": table, "problems": problems}
    return entry["stop"] - entry["start"] == len(case.patches) and all(entry[key] == now[key] for key in now)


def _entry(
    case: PatchSource, start: int, stop: int, unreadable: dict[int, Problem], sha256: tuple[str, str]
) -> dict[str, Any]:
    return {
        "case": case.slide,
        "start": start,
        "stop": stop,
        "fingerprint": case.fingerprint,
        "pixels_sha256": sha256[0],
        "table_sha256": sha256[1],
        "problems": [[problem.path, problem.reason] for problem in case.problems],
        "unreadable": [[index, problem.path, problem.reason] for index, problem in unreadable.items()],
    }


class DamagedStoreError(NotIdcDataError):
    """The data were a patch store once."""


class PatchStore(Dataset):
    """A patch store, opened for reading."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            group = zarr.open_group(self.path, mode="r")
            attributes = group.attrs.asdict()
            version = attributes.get(STORE_MARK)
            if version is None:
                raise NotIdcDataError(f"{path} is a Zarr but no patch store: make one with `wsi-idc ingest`.")
            if version != _VERSION:
                raise NotIdcDataError(f"{path} is a patch store of layout {version!r}, which this version cannot read.")
            pixels = _array(group, "pixels")
            columns = {name: _array(group, name) for name in _TABLE}
            self._entries = {entry.case: entry for entry in map(_read_entry, attributes["cases"])}  # type: ignore[arg-type]
            total = max((entry.stop for entry in self._entries.values()), default=0)
            _check_arrays(pixels, columns, total)
            _check_files(self.path / "pixels", total)
            self._pixels = ShardedRows(self.path / "pixels", pixels)
            self._table = {name: np.asarray(column[:]) for name, column in columns.items()}
            # Zarr fills what is missing with zeros, and says nothing.
            table = np.column_stack(list(self._table.values())).astype(_ROW_TYPE)
            for entry in self._entries.values():
                if _sha256(table[entry.start : entry.stop]).hex() != entry.table_sha256:
                    raise ValueError(f"the table of case {entry.case} is not what was written")
                _check_rows(entry, {name: column[entry.start : entry.stop] for name, column in self._table.items()})
        except NotIdcDataError:
            raise
        except ValueError as error:
            raise self._damaged(str(error)) from error
        except Exception as error:  # zarr raises whatever its parts raise on damaged files
            raise self._damaged("its description cannot be read") from error

    def _damaged(self, reason: str) -> NotIdcDataError:
        return DamagedStoreError(f"{self.path} is a damaged patch store ({reason}): make it again with wsi-idc ingest.")

    @property
    def cases(self) -> list[str]:
        return sorted(self._entries, key=int)

    def _entry_of(self, case: str) -> _Entry:
        if case not in self._entries:
            raise unknown_case(case, self.cases, self.path)
        return self._entries[case]

    def labels(self, case: str) -> Sequence[int | None]:
        entry = self._entry_of(case)
        return [
            None if label == UNKNOWN else label for label in self._table["label"][entry.start : entry.stop].tolist()
        ]

    @property
    def problems(self) -> Sequence[Problem]:
        return [problem for entry in self._entries.values() for problem in entry.problems]

    def case(self, case: str) -> LoadedCase:
        entry = self._entry_of(case)
        pixels = np.empty((entry.stop - entry.start, PATCH_PX, PATCH_PX, 3), dtype=np.uint8)

        def read(chunk: slice) -> bytes:
            self._pixels.read_into(pixels[chunk], entry.start + chunk.start)
            return _chunk_sha256(pixels, chunk)

        try:
            digests = _for_each_chunk(len(pixels), read)
        except (OSError, ValueError) as error:
            raise self._damaged(f"case {case} cannot be read") from error
        if hashlib.sha256(b"".join(digests)).hexdigest() != entry.pixels_sha256:
            raise self._damaged(f"the pixels of case {case} are not what was written")
        columns = [self._table[name][entry.start : entry.stop] for name in ("x", "y", "width", "height", "label")]
        return LoadedCase(
            case,
            str(self.path),
            Patches(np.column_stack(columns).astype(np.int64)),
            pixels,
            entry.fingerprint,
            unreadable=entry.unreadable,
            problems=entry.problems,
        )


def _for_each_chunk(count: int, function: Callable[[slice], bytes]) -> list[bytes]:
    """What `function` gives for every `_CHUNK` of so many patches, which threads take at once.

    The hash of a case's pixels is the SHA-256 over those of its chunks, counted from its first patch.
    """
    chunks = [slice(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    with ThreadPoolExecutor(processors()) as pool:
        return list(pool.map(function, chunks))


def _chunk_sha256(pixels: NDArray[np.uint8], chunk: slice) -> bytes:
    return _sha256(pixels[chunk])


def _sha256(values: NDArray[Any]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(values).data).digest()


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{name} is no array")
    return array


def _check_arrays(pixels: zarr.Array[Any], columns: Mapping[str, zarr.Array[Any]], total: int) -> None:
    """ValueError where the arrays are not those of `StoreWriter`; before anything of the declared size is held."""
    patch = (PATCH_PX, PATCH_PX, 3)
    wanted: dict[str, tuple[Any, ...]] = {"pixels": ((total, *patch), "uint8", (_CHUNK, *patch), (_SHARD, *patch))}
    wanted |= {name: ((total,), kind, (_ROWS,), None) for name, kind in _TABLE.items()}
    for name, array in {"pixels": pixels, **columns}.items():
        if not total or (array.shape, str(array.dtype), array.chunks, array.shards) != wanted[name]:
            raise ValueError("its arrays do not fit together")


def _check_files(folder: Path, total: int) -> None:
    """ValueError where there are fewer files of pixels than so many patches need: what is declared may be anything."""
    needed = -(-total // _SHARD)
    there = sum(1 for path in folder.rglob("*") if path.is_file() and path.name != "zarr.json")
    if there < needed:
        raise ValueError(f"its pixels are not what was written: {there:,} of {needed:,} files are there")


def _check_rows(entry: _Entry, columns: Mapping[str, NDArray[Any]]) -> None:
    """ValueError where the table holds what no patch can have, or another case."""
    ranges = {
        "case": (int(entry.case), int(entry.case)),
        **dict.fromkeys(("x", "y"), (0, MAX_COORDINATE_PX - 1)),
        **dict.fromkeys(("width", "height"), (1, PATCH_PX)),
        "label": (UNKNOWN, 1),
    }
    for name, (low, high) in ranges.items():
        if columns[name].min() < low or columns[name].max() > high:
            raise ValueError(f"the table of case {entry.case} has a {name} that its patches cannot have")


def _read_entry(stored: dict[str, Any]) -> _Entry:
    problems = tuple(Problem(str(path), str(reason)) for path, reason in stored["problems"])
    unreadable = {int(i): Problem(str(path), str(reason)) for i, path, reason in stored["unreadable"]}
    case, start, stop = str(stored["case"]), int(stored["start"]), int(stored["stop"])
    if not is_case_number(case) or not 0 <= start < stop:
        raise ValueError(f"case {printable(case)[:_SHOWN]} lies nowhere")
    if any(not 0 <= index < stop - start for index in unreadable):
        raise ValueError(f"case {case} has fewer patches than it calls unreadable")
    digests = str(stored["fingerprint"]), str(stored["pixels_sha256"]), str(stored["table_sha256"])
    return _Entry(case, start, stop, *digests, problems, unreadable)
