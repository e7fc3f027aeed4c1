"""Rows of a sharded Zarr array that is not compressed, read straight from its files.

Zarr takes about ten times as long for them, most of it on its way through an event loop. There is no check here of
what is read: who reads must know a hash of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import zarr
from numpy.typing import NDArray

_CRC_BYTES = 4
"""After the index of a shard."""

_MISSING = 2**64 - 1
"""Offset of a chunk that holds nothing but the fill value, 0."""


class ShardedRows:
    """An array of uint8, its chunks and shards cut along the first axis alone.

    Parameters
    ----------
    folder : Path
        Where the array lies.
    array : zarr.Array
        Open; version 3, the index at the end of each shard.
    """

    def __init__(self, folder: Path, array: zarr.Array[Any]) -> None:
        self._folder, self._array = folder, array
        self._chunk = array.chunks[0]
        self._shard = (array.shards or array.chunks)[0]
        self._row = array.shape[1:]

    def read_into(self, rows: NDArray[np.uint8], start: int) -> None:
        """Fill `rows` with those from `start` on; ValueError or OSError where they are not all there.

        Threads may call it. `rows` lie one after the other in memory.
        """
        stop = start + len(rows)
        for shard in range(start // self._shard, -(-stop // self._shard)):
            first = max(start, shard * self._shard)
            end = min(stop, (shard + 1) * self._shard)
            key = self._array.metadata.encode_chunk_key((shard, *(0 for _ in self._row)))
            with (self._folder / key).open("rb", buffering=0) as file:
                self._fill_from_shard(file, first - shard * self._shard, rows[first - start : end - start])

    def _fill_from_shard(self, file: BinaryIO, first: int, rows: NDArray[np.uint8]) -> None:
        """Read rows of a shard from its row `first` on."""
        chunks = self._shard // self._chunk
        file.seek(-(16 * chunks + _CRC_BYTES), 2)
        index = np.frombuffer(file.read(16 * chunks), dtype="<u8").reshape(chunks, 2).tolist()
        row_bytes = int(np.prod(self._row))
        done = 0
        while done < len(rows):
            chunk, skipped = divmod(first + done, self._chunk)
            part = rows[done : done + self._chunk - skipped]
            offset, length = index[chunk]
            if offset == _MISSING:
                part[:] = 0
            else:
                if length != self._chunk * row_bytes:
                    raise ValueError("a chunk is compressed, or damaged")
                file.seek(offset + skipped * row_bytes)
                if file.readinto(part.reshape(-1).data) != part.nbytes:  # type: ignore[attr-defined]
                    raise ValueError("a chunk is cut off")
            done += len(part)
