from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from wsi_idc.datasets.shards import ShardedRows

SHAPE = (50, 3, 2)


def write(folder: Path, compressors: str | None = None) -> NDArray[np.uint8]:
    values = np.random.default_rng(0).integers(1, 256, SHAPE, dtype=np.uint8)
    values[8:12] = 0
    array = zarr.create_array(
        folder, shape=SHAPE, dtype="uint8", chunks=(4, 3, 2), shards=(16, 3, 2), compressors=compressors
    )
    array[:] = values
    return values


def read(folder: Path, start: int, stop: int) -> NDArray[np.uint8]:
    rows = np.full((stop - start, *SHAPE[1:]), 7, dtype=np.uint8)
    ShardedRows(folder, zarr.open_array(folder, mode="r")).read_into(rows, start)
    return rows


def test_rows_are_those_of_zarr(tmp_path: Path) -> None:
    values = write(tmp_path / "a")
    for start in range(SHAPE[0]):
        for stop in range(start, SHAPE[0] + 1):
            np.testing.assert_array_equal(read(tmp_path / "a", start, stop), values[start:stop])


def test_a_compressed_array_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", compressors="auto")
    with pytest.raises(ValueError, match="compressed"):
        read(tmp_path / "a", 0, 5)


@pytest.mark.parametrize("size", [0, 10, 100])
def test_a_file_that_is_cut_is_noticed(size: int, tmp_path: Path) -> None:
    write(tmp_path / "a")
    file = tmp_path / "a" / "c" / "0" / "0" / "0"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises((ValueError, OSError)):
        read(tmp_path / "a", 0, 16)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a")
    (tmp_path / "a" / "c" / "1" / "0" / "0").unlink()
    with pytest.raises(OSError, match="No such file"):
        read(tmp_path / "a", 10, 20)
