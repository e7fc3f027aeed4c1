"""Patch stores with one change each: all of them are refused, with bounded memory, or hold what was written."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import make_patch_set
from tests.damage import tiff
from tests.damage.tiff import Change
from wsi_idc.datasets.opening import open_dataset
from wsi_idc.datasets.packing import write_patches
from wsi_idc.datasets.store import PatchStore
from wsi_idc.errors import NotIdcDataError, WsiIdcError

Harm = Callable[[Path], object]
"""What befalls the folder of a store."""

SHARD = "pixels/c/0/0/0/0"
ARRAYS = ("pixels", "case", "x", "y", "width", "height", "label")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two cases of twelve patches."""
    folder = tmp_path_factory.mktemp("good")
    with open_dataset(make_patch_set(folder / "idc")) as dataset:
        write_patches(folder / "good.zarr", map(dataset.case, dataset.cases))
    return folder / "good.zarr"


def content(file: str, change: Change) -> Harm:
    """Change the bytes of a file."""
    return lambda store: (store / file).write_bytes(change((store / file).read_bytes()))


def described(file: str, *keys: str | int, to: Any) -> Harm:
    """Give a value of a description another; with an Ellipsis, take it away."""

    def change(data: bytes) -> bytes:
        whole = json.loads(data)
        part = whole
        for key in keys[:-1]:
            part = part[key]
        if to is ...:
            del part[keys[-1]]
        else:
            part[keys[-1]] = to
        return json.dumps(whole).encode()

    return content(file, change)


def attribute(*keys: str | int, to: Any) -> Harm:
    return described("zarr.json", "attributes", *keys, to=to)


def of_case(key: str, to: Any) -> Harm:
    return attribute("cases", 0, key, to=to)


def shape(name: str, patches: Any) -> Harm:
    return described(f"{name}/zarr.json", "shape", 0, to=patches)


def all_of(*harms: Harm) -> Harm:
    return lambda store: [harm(store) for harm in harms]


def link(target: str) -> Harm:
    return lambda store: ((store / SHARD).unlink(), (store / SHARD).symlink_to(target))


REFUSED: dict[str, Harm] = {
    "no pixels": lambda store: shutil.rmtree(store / "pixels"),
    "no column": lambda store: shutil.rmtree(store / "x"),
    "pixels missing": lambda store: (store / SHARD).unlink(),
    "column missing": lambda store: (store / "label/c/0").unlink(),
    "pixels empty": content(SHARD, tiff.keep(0)),
    "pixels cut": content(SHARD, tiff.cut(0.5)),
    "pixels of zeros": content(SHARD, tiff.zeroed),
    "byte of pixels turned": content(SHARD, lambda data: tiff.put(data, 70_000, bytes([data[70_000] ^ 1]))),
    "first byte of pixels turned": content(SHARD, lambda data: tiff.put(data, 0, bytes([data[0] ^ 255]))),
    "offset in the index turned": content(
        SHARD, lambda data: tiff.put(data, len(data) - 132, bytes([data[-132] ^ 255]))
    ),
    "length in the index turned": content(
        SHARD, lambda data: tiff.put(data, len(data) - 124, bytes([data[-124] ^ 255]))
    ),
    "column cut": content("x/c/0", tiff.cut(0.5)),
    "column of zeros": content("x/c/0", tiff.zeroed),
    "pixels a folder": lambda store: ((store / SHARD).unlink(), (store / SHARD).mkdir()),
    "pixels elsewhere": link("/etc/passwd"),
    "pixels nowhere": link("/nowhere"),
    "description empty": content("zarr.json", tiff.keep(0)),
    "description cut": content("zarr.json", tiff.cut(0.5)),
    "description a list": content("zarr.json", tiff.become(b"[]")),
    "description of bytes": content("zarr.json", tiff.become(b"\xff\xfe")),
    "description nested deeply": content("zarr.json", tiff.become(b"[" * 100_000)),
    "description of pixels empty": content("pixels/zarr.json", tiff.become(b"{}")),
    "pixels a group": described("pixels/zarr.json", "node_type", to="group"),
    "layout unknown": attribute("wsi_idc_store", to=99),
    "layout a list": attribute("wsi_idc_store", to=[1]),
    "no mark": attribute("wsi_idc_store", to=...),
    "no cases": attribute("cases", to=...),
    "cases none": attribute("cases", to=None),
    "cases a text": attribute("cases", to="8863"),
    "cases empty": attribute("cases", to=[]),
    "case a path": of_case("case", "../x"),
    "case superscript": of_case("case", "\N{SUPERSCRIPT TWO}"),
    "case of 5,000 digits": of_case("case", "9" * 5_000),
    "case empty": of_case("case", ""),
    "case none": of_case("case", None),
    "case another": of_case("case", "9999"),
    "start below 0": of_case("start", -1),
    "stop before start": of_case("stop", 0),
    "stop too far": of_case("stop", 10**9),
    "stop of 30 digits": of_case("stop", 10**30),
    "stop infinite": of_case("stop", float("inf")),
    "stop missing": of_case("stop", ...),
    "hash none": of_case("pixels_sha256", None),
    "table's hash none": of_case("table_sha256", None),
    "unreadable a text": of_case("unreadable", "x"),
    "unreadable past the end": of_case("unreadable", [[12, "path", "reason"]]),
    "unreadable before the start": of_case("unreadable", [[-1, "path", "reason"]]),
    "problems none": of_case("problems", None),
    "problem of one part": of_case("problems", [["path"]]),
    "pixels of 10^9": shape("pixels", 10**9),
    "column of 10^9": shape("x", 10**9),
    "all of 10^8": all_of(*(shape(name, 10**8) for name in ARRAYS), attribute("cases", 1, "stop", to=10**8)),
    "patches below 0": shape("pixels", -1),
    "patches a half": shape("pixels", 1.5),
    "patches a text": shape("pixels", "24"),
    "chunks of 15 TB": described(
        "pixels/zarr.json", "chunk_grid", "configuration", "chunk_shape", to=[2048, 50_000, 50_000, 3]
    ),
    "chunk of 80 GB": described("x/zarr.json", "chunk_grid", "configuration", "chunk_shape", to=[10**10]),
    "pixels of floats": described("pixels/zarr.json", "data_type", to="float64"),
    "column of floats": described("x/zarr.json", "data_type", to="float64"),
    "column of text": described("x/zarr.json", "data_type", to="string"),
    "type a number": described("x/zarr.json", "data_type", to=5),
    "codec unknown": described("pixels/zarr.json", "codecs", to=[{"name": "evil"}]),
    "no codec": described("pixels/zarr.json", "codecs", to=[]),
}


def read_all(path: Path) -> dict[str, int]:
    """How many patches each case has, every one of them read."""
    with PatchStore(path) as store:
        cases = [store.case(case) for case in store.cases]
        return {case.slide: len(case.read(0, len(case.patches)).pixels) for case in cases}


def copied(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "a.zarr"))


def peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("harm", REFUSED.values(), ids=REFUSED)
def test_a_damaged_store_is_refused(good: Path, tmp_path: Path, harm: Harm) -> None:
    store = copied(good, tmp_path)
    harm(store)
    before = peak_kb()
    with pytest.raises(NotIdcDataError) as caught:
        read_all(store)
    assert str(caught.value).startswith(str(store))
    assert str(caught.value).endswith(".")
    assert peak_kb() - before < 200_000
    assert read_all(good) == {"8863": 12, "9022": 12}


@pytest.mark.parametrize(
    ("column", "value"),
    [("x", 10**6), ("y", -1), ("width", 0), ("width", 51), ("height", 0), ("label", 2), ("label", -2), ("case", 1)],
)
def test_a_store_that_its_hashes_vouch_for(tmp_path: Path, column: str, value: int) -> None:
    """Whoever makes a hostile store makes its hashes, too."""
    import numpy as np
    import zarr

    from wsi_idc.datasets import store as layout

    with open_dataset(make_patch_set(tmp_path / "idc", ("8863",))) as dataset:
        write_patches(tmp_path / "a.zarr", map(dataset.case, dataset.cases))
    group = zarr.open_group(tmp_path / "a.zarr", mode="a")
    group[column][3] = value
    table = np.column_stack([np.asarray(group[name][:]) for name in layout._TABLE]).astype(layout._ROW_TYPE)
    of_case("table_sha256", hashlib.sha256(table.tobytes()).hexdigest())(tmp_path / "a.zarr")
    with pytest.raises(NotIdcDataError, match=f"has a {column} that its patches cannot have"):
        read_all(tmp_path / "a.zarr")


@settings(max_examples=60)
@given(data=st.data())
def test_no_byte_of_a_store_ends_in_anything_else(
    good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A turned byte is noticed, or what is read is what was written: pixels and table are hashed."""
    store = tmp_path_factory.getbasetemp() / "byte.zarr"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(good, store)
    file = data.draw(st.sampled_from(sorted(path for path in store.rglob("*") if path.is_file())))
    whole = file.read_bytes()
    at, turned = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    file.write_bytes(tiff.put(whole, at, bytes([whole[at] ^ turned])))
    try:
        assert set(read_all(store).values()) == {12}
    except WsiIdcError as error:
        assert str(error).endswith(".")
