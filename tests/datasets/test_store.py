"""Folder, zip and store hold the same patches, and a damaged store says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.conftest import Ran, make_patch_set, tissue_like, write_patch
from wsi_idc.datasets import store
from wsi_idc.datasets.dataset import Dataset
from wsi_idc.datasets.ingest import check_store_free, ingest
from wsi_idc.datasets.opening import open_dataset
from wsi_idc.datasets.packing import PackForm, write_patches
from wsi_idc.errors import NotIdcDataError, OutputError, UnknownCaseError
from wsi_idc.naming import PatchName
from wsi_idc.source import PatchSource


def pack(dataset: Dataset, out: Path, form: PackForm | None = None) -> Dataset:
    write_patches(out, (dataset.case(case) for case in dataset.cases), form)
    return open_dataset(out)


def assert_same(one: PatchSource, other: PatchSource) -> None:
    assert (one.slide, one.kind, one.size_px, one.patches) == (other.slide, other.kind, other.size_px, other.patches)
    first, second = (case.read(0, len(case.patches)) for case in (one, other))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.readable, second.readable)


@pytest.mark.parametrize("name", ["a", "a.zip", "a.zarr"])
def test_every_form_holds_the_same_patches(patch_set: Path, tmp_path: Path, name: str) -> None:
    write_patch(patch_set, PatchName("9022", 501, 1), tissue_like(3))
    with open_dataset(patch_set) as dataset, pack(dataset, tmp_path / name) as packed:
        assert packed.cases == dataset.cases == ["8863", "9022"]
        for case in dataset.cases:
            assert packed.labels(case) == dataset.labels(case)
            assert_same(packed.case(case), dataset.case(case))
        with pytest.raises(UnknownCaseError, match=r"2 cases .* 8863, 9022"):
            packed.case("8864")
        with pytest.raises(OutputError, match="is there already"):
            pack(dataset, tmp_path / name)


def test_the_form_may_be_said(patch_set: Path, tmp_path: Path) -> None:
    with open_dataset(patch_set) as dataset:
        with pack(dataset, tmp_path / "plain", "store") as packed:
            assert packed.cases == dataset.cases
        with pack(dataset, tmp_path / "data", "zip") as packed:
            assert packed.cases == dataset.cases
        assert (tmp_path / "data").is_file()


def test_a_store_keeps_fingerprints_and_what_is_unreadable(patch_set: Path, tmp_path: Path) -> None:
    (patch_set / "8863" / "8863_idx5_x1_y1_class7.png").write_bytes(b"")
    broken = patch_set / "8863" / "0" / "8863_idx5_x51_y1_class0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with open_dataset(patch_set) as dataset:
        problems = write_patches(tmp_path / "a.zarr", (dataset.case(case) for case in dataset.cases))
        assert [problem.path for problem in problems] == ["8863/0/8863_idx5_x51_y1_class0.png"]
        with open_dataset(tmp_path / "a.zarr") as packed:
            for case in dataset.cases:
                one, other = dataset.case(case), packed.case(case)
                assert_same(one, other)
                assert one.fingerprint == other.fingerprint
                assert one.problems == other.problems
                assert one.read(0, 3).problems == other.read(0, 3).problems
                assert one.read(1, 2).problems == other.read(1, 2).problems
            assert packed.problems == dataset.problems


def test_cases_lie_across_files_and_come_back_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch_set: Path
) -> None:
    monkeypatch.setattr(store, "_SHARD", 8)
    monkeypatch.setattr(store, "_CHUNK", 4)
    make_patch_set(patch_set, ("700", "10300"), columns=5, rows=3)
    with open_dataset(patch_set) as dataset, pack(dataset, tmp_path / "a.zarr") as packed:
        assert packed.cases == ["700", "8863", "9022", "10300"]
        for case in dataset.cases:
            assert_same(packed.case(case), dataset.case(case))
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert np.asarray(group["case"][:]).tolist() == [700] * 15 + [8863] * 12 + [9022] * 12 + [10300] * 15
    assert group["pixels"].shape == (54, 50, 50, 3)


def test_the_same_patches_make_the_same_store(patch_set: Path, tmp_path: Path) -> None:
    with open_dataset(patch_set) as dataset:
        for name in ("a.zarr", "b.zarr"):
            pack(dataset, tmp_path / name)
    one, other = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("a.zarr", "b.zarr")
    )
    assert one == other


def test_a_flipped_bit_is_noticed(patch_set: Path, tmp_path: Path) -> None:
    with open_dataset(patch_set) as dataset:
        pack(dataset, tmp_path / "a.zarr")
    shard = max((tmp_path / "a.zarr" / "pixels").rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[1_000] ^= 1
    shard.write_bytes(content)
    with open_dataset(tmp_path / "a.zarr") as packed, pytest.raises(NotIdcDataError, match="damaged patch store"):
        packed.case("8863")


@pytest.mark.parametrize("name", ["pixels", "label", "x"])
def test_a_missing_file_is_noticed(patch_set: Path, tmp_path: Path, name: str) -> None:
    """Zarr itself takes it for zeros."""
    with open_dataset(patch_set) as dataset:
        pack(dataset, tmp_path / "a.zarr")
    (shard,) = (path for path in (tmp_path / "a.zarr" / name / "c").rglob("*") if path.is_file())
    shard.unlink()
    with pytest.raises(NotIdcDataError, match="not what was written"), open_dataset(tmp_path / "a.zarr") as packed:
        packed.case("8863")


def test_what_is_no_store(patch_set: Path, tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(NotIdcDataError, match="no patch store"):
        open_dataset(tmp_path / "other.zarr")
    with open_dataset(patch_set) as dataset:
        pack(dataset, tmp_path / "a.zarr")
    about = tmp_path / "a.zarr" / "zarr.json"
    whole = json.loads(about.read_text())
    for key, value, said in (
        (store.STORE_MARK, 99, "layout 99"),
        ("cases", [], "damaged"),
        ("cases", [{"case": "../x"}], "damaged"),
        ("cases", whole["attributes"]["cases"][:1], "do not fit together"),
    ):
        about.write_text(json.dumps(whole | {"attributes": whole["attributes"] | {key: value}}))
        with pytest.raises(NotIdcDataError, match=said):
            open_dataset(tmp_path / "a.zarr")
    about.write_text("{")
    with pytest.raises(NotIdcDataError, match="damaged"):
        open_dataset(tmp_path / "a.zarr")


@pytest.mark.parametrize("name", ["a", "a.zip", "a.zarr"])
def test_nothing_is_left_when_packing_fails_midway(patch_set: Path, tmp_path: Path, name: str) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "out").mkdir()
    with open_dataset(patch_set) as dataset, pytest.raises(KeyboardInterrupt):
        write_patches(tmp_path / "out" / name, map(dataset.case, dataset.cases), on_patches=stop)
    assert list((tmp_path / "out").iterdir()) == []


def ingest_interrupted(dataset: Dataset, out: Path, after: int) -> None:
    """Pack until so many patches are done, then stop as Ctrl-C does."""
    done = 0

    def stop(count: int) -> None:
        nonlocal done
        done += count
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(dataset, out, stop)
    assert not out.exists()


@pytest.mark.parametrize("after", [1, 12, 24, 36])
def test_ingest_goes_on_where_it_stopped(
    patch_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(store, "_SHARD", 8)
    monkeypatch.setattr(store, "_CHUNK", 4)
    make_patch_set(patch_set, ("9100", "9200"))
    broken = next(patch_set.glob("8863/0/*_x51_*.png"))
    broken.write_bytes(b"")
    with open_dataset(patch_set) as dataset:
        ingest_interrupted(dataset, tmp_path / "a.zarr", after)
        told: list[int] = []
        problems = ingest(dataset, tmp_path / "a.zarr", told.append)
        assert sum(told) == 48
        assert [problem.path for problem in problems] == [str(broken.relative_to(patch_set))]
        with open_dataset(tmp_path / "a.zarr") as packed:
            assert packed.cases == dataset.cases
            for case in dataset.cases:
                assert_same(packed.case(case), dataset.case(case))
    assert not list(tmp_path.glob(".*"))


def test_ingest_begins_anew_with_other_data(patch_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_SHARD", 8)
    monkeypatch.setattr(store, "_CHUNK", 4)
    with open_dataset(patch_set) as dataset:
        ingest_interrupted(dataset, tmp_path / "a.zarr", 24)
    write_patch(patch_set, PatchName("8863", 501, 1), tissue_like(3))
    with open_dataset(patch_set) as dataset:
        ingest(dataset, tmp_path / "a.zarr")
        with open_dataset(tmp_path / "a.zarr") as packed:
            assert_same(packed.case("8863"), dataset.case("8863"))


@pytest.mark.parametrize("change", ["pixels", "label", "case before"])
def test_ingest_begins_anew_where_counts_are_the_same(
    patch_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(store, "_SHARD", 8)
    monkeypatch.setattr(store, "_CHUNK", 4)
    with open_dataset(patch_set) as dataset:
        ingest_interrupted(dataset, tmp_path / "a.zarr", 24)
    if change == "case before":
        make_patch_set(patch_set, ("700",))
    else:
        write_patch(patch_set, PatchName("8863", 1, 1, 1), tissue_like(99))
    if change == "label":
        patch = patch_set / "8863" / "1" / "8863_idx5_x1_y1_class1.png"
        patch.rename(patch_set / "8863" / "0" / "8863_idx5_x1_y1_class0.png")
    with open_dataset(patch_set) as dataset:
        ingest(dataset, tmp_path / "a.zarr")
        with open_dataset(tmp_path / "a.zarr") as packed:
            for case in dataset.cases:
                assert_same(packed.case(case), dataset.case(case))
                assert packed.case(case).fingerprint == dataset.case(case).fingerprint
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert (np.diff(np.asarray(group["case"][:])) >= 0).all()


def test_one_process_makes_a_store(patch_set: Path, tmp_path: Path, run: Callable[..., Ran]) -> None:
    told: list[Ran] = []

    def second(_: int) -> None:
        told.append(run("ingest", patch_set, tmp_path / "a.zarr"))

    with open_dataset(patch_set) as dataset:
        ingest(dataset, tmp_path / "a.zarr", second)
        assert [(ran.code, ran.err) for ran in told] == 2 * [
            (2, f"Error: Another process is making {tmp_path}/a.zarr: wait for its end, or choose another name.")
        ]
        with open_dataset(tmp_path / "a.zarr") as packed:
            assert packed.cases == dataset.cases
    ran = run("ingest", patch_set, tmp_path / "a.zarr")
    assert (ran.code, "is there already" in ran.err) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "idc"]


@pytest.mark.parametrize("emptied", ["*", "zarr.json", "pixels/c/*/*/*/*", "x/c/*"])
def test_a_store_that_a_power_cut_emptied_is_made_again(
    patch_set: Path, tmp_path: Path, run: Callable[..., Ran], emptied: str
) -> None:
    out = tmp_path / "a.zarr"
    with open_dataset(patch_set) as dataset:
        ingest(dataset, out)
        for file in out.rglob("*") if emptied == "*" else out.glob(emptied):
            if file.is_file():
                file.write_bytes(b"")
        with pytest.raises(NotIdcDataError, match="make it again with wsi-idc ingest"), open_dataset(out) as packed:
            packed.case("8863")
        assert run("ingest", patch_set, out).code == 0
        with open_dataset(out) as packed:
            for case in dataset.cases:
                assert_same(packed.case(case), dataset.case(case))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "idc"]


def test_ingest_replaces_nothing_but_damaged_stores(patch_set: Path, tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "other.zarr")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with open_dataset(patch_set) as dataset:
        ingest(dataset, tmp_path / "mixed.zarr")
    (tmp_path / "mixed.zarr" / "zarr.json").write_bytes(b"")
    (tmp_path / "mixed.zarr" / "notes.txt").write_text("mine")
    for name in ("other.zarr", "empty", "file", "link", "mixed.zarr"):
        with pytest.raises(OutputError, match="is there already"):
            check_store_free(tmp_path / name)


def test_ingest_reads_back_what_it_wrote(patch_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = store._put

    def spoil(array: zarr.Array, start: int, values: np.ndarray) -> None:
        put(array, start, values if values.ndim == 1 else values ^ (values.shape[0] > 3))

    monkeypatch.setattr(store, "_put", spoil)
    with open_dataset(patch_set) as dataset, pytest.raises(NotIdcDataError, match="not what was written"):
        ingest(dataset, tmp_path / "a.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["idc"]


def test_ingest_survives_a_note_that_was_cut_off(
    patch_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_SHARD", 8)
    monkeypatch.setattr(store, "_CHUNK", 4)
    with open_dataset(patch_set) as dataset:
        ingest_interrupted(dataset, tmp_path / "a.zarr", 24)
        (tmp_path / ".a.zarr.part" / "store" / "zarr.json").write_text('{"attributes": {')
        ingest(dataset, tmp_path / "a.zarr")
        with open_dataset(tmp_path / "a.zarr") as packed:
            assert packed.cases == dataset.cases
