"""Patches in folders and zips with one change each: what a damaged patch costs, and what ends at the door."""

from __future__ import annotations

import csv
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagecodecs import jpeg_encode, png_encode
from PIL import Image

from tests.conftest import Ran, make_patch_set, tissue_like
from tests.damage import tiff
from tests.damage.tiff import Change
from wsi_idc.datasets.case import Case
from wsi_idc.datasets.containers import MAX_PATCH_BYTES, Zip, read_files
from wsi_idc.datasets.idc import IdcDataset
from wsi_idc.errors import DataNotFoundError, NotIdcDataError, UnknownCaseError, WsiIdcError
from wsi_idc.source import Block

Run = Callable[..., Ran]

RGB = tissue_like(1)
PNG = bytes(png_encode(RGB))
PATCH = "8863/0/8863_idx5_x901_y1_class0.png"
FIRST = "8863/1/8863_idx5_x1_y1_class1.png"
"""A patch of `make_patch_set`, the first in row-major order."""


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def saved(image: Image.Image, kind: str = "png", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


IMAGE = Image.fromarray(RGB)
BOMB = zlib.compress(bytes(30_000_000))
AFTER_HEADER = 33

UNREADABLE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty"),
    "one byte": (PNG[:1], "not a PNG"),
    "signature alone": (PNG[:8], "header is cut off"),
    "header alone": (PNG[:AFTER_HEADER], "damaged PNG"),
    "half": (PNG[: len(PNG) // 2], "damaged PNG"),
    "checksum of the header": (tiff.put(PNG, 29, bytes(4)), "damaged PNG"),
    "checksum of the pixels": (tiff.put(PNG, len(PNG) - 16, bytes(4)), "damaged PNG"),
    "byte turned": (tiff.flip_middle(PNG), "damaged PNG"),
    "100,000 x 100,000 px": (PNG[:8] + header(100_000, 100_000) + PNG[AFTER_HEADER:], "100000x100000 px"),
    "2^31 px wide": (PNG[:8] + header(2**31 - 1, 1) + PNG[AFTER_HEADER:], "2147483647x1 px"),
    "no pixels": (PNG[:8] + header(0, 0) + PNG[AFTER_HEADER:], "declares no pixels"),
    "3 bits": (PNG[:8] + header(50, 50, depth=3) + PNG[AFTER_HEADER:], "damaged PNG"),
    "second header": (PNG[:AFTER_HEADER] + header(100_000, 100_000) + PNG[AFTER_HEADER:], "damaged PNG"),
    "one row too many": (bytes(png_encode(tissue_like(1, 51, 50))), "50x51 px"),
    "larger than a patch": (PNG + bytes(MAX_PATCH_BYTES), "larger than 65,536 bytes"),
    "JPEG": (bytes(jpeg_encode(RGB)), "not a PNG"),
    "GIF": (saved(IMAGE, "gif"), "not a PNG"),
    "web page": (b"<!DOCTYPE html>", "not a PNG"),
    "pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "not a PNG"),
}

GREY = np.asarray(IMAGE.convert("L"))
ON_WHITE = np.full_like(RGB, 255)
READABLE: dict[str, tuple[bytes, np.ndarray]] = {
    "whole": (PNG, RGB),
    "end missing": (PNG[:-12], RGB),
    "bytes after the end": (PNG + b"x" * 99, RGB),
    "text that unfolds": (PNG[:AFTER_HEADER] + chunk(b"zTXt", b"a\0\0" + BOMB) + PNG[AFTER_HEADER:], RGB),
    "profile that unfolds": (PNG[:AFTER_HEADER] + chunk(b"iCCP", b"a\0\0" + BOMB) + PNG[AFTER_HEADER:], RGB),
    "16 bits": (bytes(png_encode(RGB.astype(np.uint16) * 257)), RGB),
    "grey": (saved(IMAGE.convert("L")), np.dstack([GREY] * 3)),
    "grey of 16 bits": (bytes(png_encode(GREY.astype(np.uint16) * 257)), np.dstack([GREY] * 3)),
    "black and white": (saved(IMAGE.convert("1")), np.asarray(IMAGE.convert("1").convert("RGB"))),
    "palette": (saved(IMAGE.convert("P")), np.asarray(IMAGE.convert("P").convert("RGB"))),
    "opaque alpha": (saved(IMAGE.convert("RGBA")), RGB),
    "transparent": (bytes(png_encode(np.dstack([RGB, np.zeros((50, 50), np.uint8)]))), ON_WHITE),
    "1x1": (bytes(png_encode(RGB[:1, :1].copy())), RGB[:1, :1]),
}


def read(path: Path, case: str = "8863") -> tuple[Case, Block]:
    with IdcDataset(path) as dataset:
        opened = dataset.case(case)
        return opened, opened.read(0, len(opened.patches))


def add(root: Path, path: str, content: bytes = PNG) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(("content", "reason"), UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("layout", ["folder", "zip"])
def test_a_damaged_patch_costs_itself(
    patch_set: Path, tmp_path: Path, content: bytes, reason: str, layout: str
) -> None:
    whole = read(patch_set)[1]
    add(patch_set, PATCH, content)
    path = patch_set if layout == "folder" else zipped(patch_set, tmp_path / "a.zip")
    case, block = read(path)
    wrong = [index for index, ok in enumerate(block.readable) if not ok]
    assert [case.patches[index].x for index in wrong] == [900]
    assert [problem.path for problem in block.problems] == [PATCH]
    assert reason in block.problems[0].reason
    np.testing.assert_array_equal(block.pixels[block.readable], whole.pixels)


@pytest.mark.parametrize(("content", "pixels"), READABLE.values(), ids=READABLE)
def test_an_odd_patch_is_read(tmp_path: Path, content: bytes, pixels: np.ndarray) -> None:
    add(tmp_path, PATCH, content)
    case, block = read(tmp_path)
    height, width = pixels.shape[:2]
    assert (case.patches[0].width, case.patches[0].height) == (width, height)
    assert block.problems == ()
    np.testing.assert_array_equal(block.pixels[0, :height, :width], pixels)
    assert (block.pixels[0, height:] == 255).all()


@pytest.mark.parametrize(
    ("path", "kept", "reason"),
    [
        ("8863/1/copy/8863_idx5_x1_y1_class1.png", False, "at the same place"),
        ("8863/0/8863_idx5_x901_y1_class1.png", True, "class folder 0"),
        ("8863/1/9022_idx5_x901_y1_class1.png", False, ""),
        ("2021/8863_idx5_x901_y1_class1.png", True, ""),
        ("8863/1/8863_idx5_x1000001_y1_class1.png", False, "almost"),
        ("8863/1/8863_idx5_x99999999999_y1_class1.png", False, "almost"),
        ("8863/1/8863_idx5_x-49_y1_class1.png", False, "almost"),
        ("8863/1/8863_idx5_x0_y1_class1.png", False, "almost"),
        ("8863/1/8863_idx5_x1e3_y1_class1.png", False, "almost"),
        ("8863/1/8863_idx5_x901_y1_class2.png", False, "almost"),
        ("8863/1/8863_idx5_x901_y1_class1.png.png", False, "almost"),
        ("8863/1/8863_idx5_x901_y1_class1\n.png", False, "almost"),
        ("8863/1/8863_idx5_x904_y7_class1.png", True, ""),
        ("8863/1/8863_idx5_x1000000_y1000000_class1.png", True, ""),
        ("8863/<script>/8863_idx5_x901_y1_class1.png", True, ""),
        ("8863/1/\N{MICROSCOPE}.png", False, ""),
    ],
    ids=ascii,
)
def test_odd_names(patch_set: Path, path: str, kept: bool, reason: str) -> None:
    add(patch_set, path)
    case, block = read(patch_set)
    assert len(case.patches) == 12 + kept
    assert block.readable.all()
    assert [problem.path for problem in case.problems] == ([path] if reason else [])
    assert reason in "".join(problem.reason for problem in case.problems)


def test_many_foreign_files_are_counted(patch_set: Path) -> None:
    for i in range(2_000):
        add(patch_set, f"8863/{i}.txt", b"")
    with IdcDataset(patch_set) as dataset:
        assert dataset.cases == ["8863", "9022"]
        assert dataset.passed_over == (0, 2_000)
        assert dataset.problems == []


def test_links_are_followed_once_and_pipes_are_not_read(patch_set: Path, tmp_path: Path) -> None:
    outside = add(tmp_path / "outside", "8863_idx5_x951_y1_class0.png")
    (patch_set / "8863" / "2").symlink_to(outside.parent)
    (patch_set / "8863" / "up").symlink_to("..")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    os.mkfifo(patch_set / "8863" / "0" / "8863_idx5_x1001_y1_class0.png")
    (patch_set / "8863" / "0" / "8863_idx5_x1051_y1_class0.png").symlink_to(pipe)
    case, block = read(patch_set)
    assert len(case.patches) == 13
    assert (block.readable.all(), case.problems) == (True, ())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_without_read_permission(patch_set: Path, what: str) -> None:
    locked = patch_set / FIRST if what == "file" else patch_set / "8863"
    locked.chmod(0)
    try:
        if what == "file":
            assert read(patch_set)[1].readable.tolist() == [False] + [True] * 11
        else:
            with pytest.raises(DataNotFoundError, match="check its permissions"):
                read(patch_set)
    finally:
        locked.chmod(0o700)


@pytest.mark.parametrize("case", ["../8863", "/8863", "8863/0", "8863\0", "\N{SUPERSCRIPT TWO}", "-1", "9" * 5_000, ""])
def test_case_numbers_that_are_none(patch_set: Path, case: str) -> None:
    with IdcDataset(patch_set) as dataset, pytest.raises(UnknownCaseError, match="2 cases"):
        dataset.case(case)


# Zips: the bytes of one are made once, and each row changes a field of its directory or an entry.


def zipped(root: Path, path: Path) -> Path:
    path.write_bytes(packed({file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*.png")}))
    return path


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


DIRECTORY, END = b"PK\1\2", b"PK\5\6"


def in_directory(offset: int, content: bytes, signature: bytes = DIRECTORY) -> Change:
    """Overwrite a field of the first entry of the directory, or of its end."""
    return lambda data: tiff.put(data, data.index(signature) + offset, content)


def u16(number: int) -> bytes:
    return struct.pack("<H", number)


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


@pytest.fixture
def files(patch_set: Path) -> dict[str, bytes]:
    return {file.relative_to(patch_set).as_posix(): file.read_bytes() for file in patch_set.rglob("*.png")}


REFUSED: dict[str, Change] = {
    "empty": tiff.keep(0),
    "half": tiff.cut(0.5),
    "last byte missing": tiff.keep(-1),
    "end missing": lambda data: data[: data.rindex(END)],
    "web page": tiff.become(b"<html>"),
    "directory of another magic": in_directory(0, b"XXXX"),
    "directory past the end": in_directory(12, u32(2**31), END),
    "version 9.9": in_directory(6, u16(99)),
    "name that is no UTF-8": tiff.both(in_directory(8, u16(0x800)), in_directory(46, b"\xff\xfe")),
    "name of no length": in_directory(28, u16(0)),
    "extra field past the end": in_directory(30, u16(60_000)),
}

COSTS_ONE: dict[str, tuple[Change, str]] = {
    "encrypted": (in_directory(8, u16(1)), "encrypted"),
    "unknown compression": (in_directory(10, u16(99)), "not supported"),
    "offset past the end": (in_directory(42, u32(2**31)), ""),
    "size of 4 GB": (in_directory(24, u32(2**32 - 2)), "larger than 65,536 bytes"),
    "other name at the entry": (lambda data: tiff.put(data, 30, b"9"), ""),
    "other magic at the entry": (lambda data: tiff.put(data, 0, b"XXXX"), ""),
    "other checksum": (in_directory(16, u32(0)), "CRC"),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_a_zip_that_is_none(files: dict[str, bytes], tmp_path: Path, change: Change) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(change(packed(files)))
    with pytest.raises(NotIdcDataError, match=r"is not a whole zip archive .*: fetch it again") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("change", "reason"), COSTS_ONE.values(), ids=COSTS_ONE)
def test_an_entry_that_is_damaged_costs_itself(
    files: dict[str, bytes], tmp_path: Path, change: Change, reason: str
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(change(packed(files)))
    _, block = read(path)
    assert block.readable.sum() == 11
    assert reason in block.problems[0].reason
    assert read(path, "9022")[1].readable.all()


@pytest.mark.parametrize("prefix", ["../../", "/", "C:/", "a/../../", "./"], ids=repr)
def test_nothing_of_a_zip_is_unpacked(files: dict[str, bytes], tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "below" / "a.zip"
    path.parent.mkdir()
    path.write_bytes(packed({prefix + name: content for name, content in files.items()}))
    before = sorted(tmp_path.rglob("*"))
    assert read(path)[1].readable.all()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_zip_bomb(files: dict[str, bytes], tmp_path: Path) -> None:
    """200 MB of zeros, named honestly and with a size that lies."""
    path = tmp_path / "a.zip"
    bomb = packed(files | {PATCH: bytes(200_000_000)}, zipfile.ZIP_DEFLATED)
    entry = bomb.rindex(PATCH.encode()) - 46
    assert bomb[entry : entry + 4] == DIRECTORY
    for content in (bomb, tiff.put(bomb, entry + 24, u32(5_000))):
        path.write_bytes(content)
        _, block = read(path)
        assert len(block.readable) == 13
        assert [problem.path for problem in block.problems] == [PATCH]


def test_a_zip_of_many_small_bombs(files: dict[str, bytes], tmp_path: Path) -> None:
    """Each would pass for a patch's file, and together they take 300 times what the zip does."""
    path = tmp_path / "a.zip"
    names = [f"8863/0/8863_idx5_x{x}_y1_class0.png" for x in range(1, 2_000)]
    path.write_bytes(packed(dict.fromkeys(names, bytes(65_536)), zipfile.ZIP_DEFLATED))
    container = Zip(path)
    read = list(read_files(container, names, 1_000_000))
    container.close()
    assert sum(isinstance(data, bytes) for data in read) == 16
    assert set(read[16:]) == {"beyond what the patches of one case can take"}


SMALL = packed({PATCH: PNG, "8863/1/8863_idx5_x1_y1_class1.png": PNG})


@given(st.integers(0, len(SMALL) - 1), st.integers(1, 255))
def test_no_byte_of_a_zip_ends_in_anything_else(tmp_path_factory: pytest.TempPathFactory, at: int, turned: int) -> None:
    path = tmp_path_factory.getbasetemp() / "byte.zip"
    path.write_bytes(tiff.put(SMALL, at, bytes([SMALL[at] ^ turned])))
    try:
        with IdcDataset(path) as dataset:
            for number in dataset.cases:
                case = dataset.case(number)
                block = case.read(0, len(case.patches))
                assert len(block.problems) == (~block.readable).sum()
    except WsiIdcError as error:
        assert str(error).endswith(".")


def test_the_exit_code_and_the_table_tell(run: Run, patch_set: Path, tmp_path: Path) -> None:
    for i, (content, _) in enumerate(UNREADABLE.values()):
        add(patch_set, f"8863/0/8863_idx5_x{901 + 50 * i}_y1_class0.png", content)
    out = tmp_path / "out"
    ran = run("score", "patient", "8863", "9022", "--data", patch_set, "--out", out, "--batch-size", 16)
    assert ran.code == 1
    assert f"{len(UNREADABLE)} of the {12 + len(UNREADABLE)} patches of case 8863 could not be scored" in ran.err
    with (out / "8863" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows].count("unreadable") == len(UNREADABLE)
    assert all((row["prob_idc"] == "") == (row["status"] == "unreadable") for row in rows)
    alone = tmp_path / "alone"
    assert run("score", "patient", "9022", "--data", patch_set, "--out", alone, "--batch-size", 16).code == 0
    assert (alone / "9022" / "scores.csv").read_bytes() == (out / "9022" / "scores.csv").read_bytes()


def test_damaged_sets_leak_no_descriptor(files: dict[str, bytes], tmp_path: Path) -> None:
    for name, change in REFUSED.items():
        (tmp_path / f"{name}.zip").write_bytes(change(packed(files)))

    def open_all(times: int) -> int:
        for _ in range(times):
            for name in REFUSED:
                with pytest.raises(NotIdcDataError):
                    IdcDataset(tmp_path / f"{name}.zip")
        return len(list(Path("/proc/self/fd").iterdir()))

    assert open_all(100) <= open_all(1)


def test_a_set_made_of_nothing_else_is_still_a_set(tmp_path: Path) -> None:
    make_patch_set(tmp_path / "idc", ("8863",), columns=1, rows=1)
    for file in (tmp_path / "idc").rglob("*.png"):
        file.write_bytes(b"")
    assert not read(tmp_path / "idc")[1].readable.any()
