"""Patches of many cases in one Zarr: a case is read with one contiguous read instead of a thousand files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from wsi_idc.errors import NotIdcDataError
from wsi_idc.files import new_folder, writing_thread
from wsi_idc.geometry import PATCH_PX
from wsi_idc.sources.base import Block, Patch, PatchSource, Problem
from wsi_idc.sources.case import LoadedCase
from wsi_idc.sources.dataset import Dataset, unknown_case

STORE_MARK = "wsi_idc_store"
"""Attribute that tells a patch store from other Zarrs; its value is the version of the layout."""

_VERSION = 1
_UNKNOWN = -1

_CHUNK, _SHARD = 128, 2_048
"""Patches decompressed together, and patches in one file."""

_TABLE = {"case": "int32", "x": "int32", "y": "int32", "width": "uint8", "height": "uint8", "label": "int8"}
"""Arrays beside the pixels, one value a patch."""


@dataclass(frozen=True)
class _Entry:
    """Where a case lies in the store, and what was found when it was packed."""

    case: str
    start: int
    stop: int
    fingerprint: str
    problems: tuple[Problem, ...]
    unreadable: dict[int, Problem]


def write_store(
    out: Path, cases: Iterable[PatchSource], on_patches: Callable[[int], None] | None = None
) -> list[Problem]:
    """Pack cases into a new patch store, whole or not at all: see `packing.write_patches`.

    Parameters
    ----------
    out : path
        Folder to make; there must be nothing.
    cases : iterable of PatchSource
        In ascending order of their numbers, which are the names of the slides.
    on_patches : callable, optional
        Told how many patches were packed now.

    Returns
    -------
    list of Problem
        One for each patch that is unreadable.
    """
    problems: list[Problem] = []
    with new_folder(out) as folder, writing_thread() as thread:
        group = thread.submit(partial(zarr.create_group, folder)).result()
        pixels = thread.submit(_create_pixels, group).result()
        entries: list[dict[str, Any]] = []
        table: list[tuple[int, ...]] = []
        waiting: list[NDArray[np.uint8]] = []

        def flush(least: int) -> None:
            """Write whole shards while at least so many patches wait."""
            while (count := sum(map(len, waiting))) >= least and count:
                joined = np.concatenate(waiting)
                thread.submit(_append, pixels, joined[:_SHARD]).result()
                waiting[:] = [joined[_SHARD:]]

        for case in cases:
            start = len(table)
            unreadable: dict[int, Problem] = {}
            for first, block in _blocks(case):
                waiting.append(block.pixels)
                wrong = first + np.flatnonzero(~block.readable)
                problems += block.problems
                unreadable |= dict(zip(wrong.tolist(), block.problems, strict=True))
                flush(_SHARD)
                if on_patches:
                    on_patches(len(block.pixels))
            table += [_row(case.slide, patch) for patch in case.patches]
            entries.append(_entry(case, start, len(table), unreadable))
        flush(0)
        columns = np.array(table, dtype=np.int64).reshape(-1, len(_TABLE)).T
        for (name, kind), column in zip(_TABLE.items(), columns, strict=True):
            thread.submit(_put_column, group, name, column.astype(kind)).result()
        # Last, so that a store that is not whole is none.
        thread.submit(partial(group.attrs.put, {STORE_MARK: _VERSION, "cases": entries})).result()
    return problems


def _blocks(case: PatchSource) -> Iterator[tuple[int, Block]]:
    for first in range(0, len(case.patches), _SHARD):
        yield first, case.read(first, first + _SHARD)


def _row(case: str, patch: Patch) -> tuple[int, ...]:
    label = _UNKNOWN if patch.label is None else patch.label
    return int(case), patch.x, patch.y, patch.width, patch.height, label


def _entry(case: PatchSource, start: int, stop: int, unreadable: dict[int, Problem]) -> dict[str, Any]:
    return {
        "case": case.slide,
        "start": start,
        "stop": stop,
        "fingerprint": case.fingerprint,
        "problems": [[problem.path, problem.reason] for problem in case.problems],
        "unreadable": [[index, problem.path, problem.reason] for index, problem in unreadable.items()],
    }


def _create_pixels(group: zarr.Group) -> zarr.Array[Any]:
    patch = (PATCH_PX, PATCH_PX, 3)
    return group.create_array(
        "pixels",
        shape=(0, *patch),
        dtype="uint8",
        chunks=(_CHUNK, *patch),
        shards=(_SHARD, *patch),
        # A store must notice when it is damaged: pixels that are only a little wrong would be scored.
        compressors=[BloscCodec(cname="lz4", clevel=1, shuffle="noshuffle", typesize=1), Crc32cCodec()],
    )


def _append(array: zarr.Array[Any], pixels: NDArray[np.uint8]) -> None:
    filled = array.shape[0]
    array.resize((filled + len(pixels), *array.shape[1:]))
    array[filled:] = pixels


def _put_column(group: zarr.Group, name: str, values: NDArray[Any]) -> None:
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=(max(1, len(values)),))
    array[:] = values


class PatchStore(Dataset):
    """A patch store, opened for reading."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._group = zarr.open_group(self.path, mode="r")
            attributes = self._group.attrs.asdict()
            version = attributes.get(STORE_MARK)
            if version is None:
                raise NotIdcDataError(
                    f"{path} is a Zarr but no patch store: make one with `wsi-idc tile` from a slide."
                )
            if version != _VERSION:
                raise NotIdcDataError(f"{path} is a patch store of layout {version!r}, which this version cannot read.")
            self._pixels = _array(self._group, "pixels")
            self._table = {name: np.asarray(_array(self._group, name)[:]) for name in _TABLE}
            self._entries = {entry.case: entry for entry in map(_read_entry, attributes["cases"])}  # type: ignore[arg-type]
            total = max((entry.stop for entry in self._entries.values()), default=0)
            sizes = {len(column) for column in self._table.values()} | {self._pixels.shape[0], total}
            if len(sizes) != 1 or self._pixels.shape[1:] != (PATCH_PX, PATCH_PX, 3) or not self._entries:
                raise ValueError("its arrays do not fit together")
        except NotIdcDataError:
            raise
        except Exception as error:  # zarr raises whatever its parts raise on damaged files
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> NotIdcDataError:
        return NotIdcDataError(f"{self.path} is a damaged patch store ({error}): make it again.")

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
            None if label == _UNKNOWN else label for label in self._table["label"][entry.start : entry.stop].tolist()
        ]

    @property
    def problems(self) -> Sequence[Problem]:
        return [problem for entry in self._entries.values() for problem in entry.problems]

    def case(self, case: str) -> LoadedCase:
        entry = self._entry_of(case)
        where = slice(entry.start, entry.stop)
        try:
            pixels = np.asarray(self._pixels[where])
        except Exception as error:  # likewise
            raise self._damaged(error) from error
        boxes = (self._table[name][where].tolist() for name in ("x", "y", "width", "height"))
        patches = [Patch(*box) for box in zip(*boxes, self.labels(case), strict=True)]
        return LoadedCase(
            case,
            str(self.path),
            patches,
            pixels,
            entry.fingerprint,
            unreadable=entry.unreadable,
            problems=entry.problems,
        )


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{name} is no array")
    return array


def _read_entry(stored: dict[str, Any]) -> _Entry:
    problems = tuple(Problem(str(path), str(reason)) for path, reason in stored["problems"])
    unreadable = {int(i): Problem(str(path), str(reason)) for i, path, reason in stored["unreadable"]}
    case, start, stop = str(stored["case"]), int(stored["start"]), int(stored["stop"])
    if not case.isdigit() or not 0 <= start < stop:
        raise ValueError(f"case {case} lies nowhere")
    return _Entry(case, start, stop, str(stored["fingerprint"]), problems, unreadable)
