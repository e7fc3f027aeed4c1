"""A zip of patches: its directory, the index made of it, and every patch in it."""

from __future__ import annotations

import io
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
from imagecodecs import png_encode

from wsi_idc.datasets.idc import IdcDataset
from wsi_idc.errors import WsiIdcError, printable

WORDS = (
    *(b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"\x89PNG", b"IHDR", b"IDAT", b"IEND"),
    *(b"\1\0\x10\0", b"up", b"\xff\xff\xff\xff", b"8863_idx5_x1_y1_class0.png", b"../"),
    *(b"\x0c\0", b"\x0e\0", b"\x5d\0"),
)

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)

_BLOCK = 64


def seeds() -> list[bytes]:
    """Archives of three patches, packed in every way that Python knows, one with a comment and one in zip64."""
    names = [f"8863/0/8863_idx5_x{x}_y1_class0.png" for x in (1, 51)] + ["9022/1/9022_idx5_x1_y1_class1.png"]
    plain = [_packed(names, method) for method in METHODS]
    odd = ["../8863_idx5_x1_y1.png", "8863/\u00b5/8863_idx5_x1_y1.png", "8863/", "a.txt", names[0], names[0]]
    return [*plain, _packed(odd), _packed(names[:1], comment=b"x" * 40), _packed(names[:1], zip64=True), _packed([])]


def _packed(names: list[str], method: int = 0, comment: bytes = b"", zip64: bool = False) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.comment = comment
        for name in names:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=zip64) as member:
                member.write(_patch())
    return file.getvalue()


@cache
def _patch() -> bytes:
    """Small, so that most of an archive is its structure."""
    return bytes(png_encode(np.full((4, 4, 3), 180, dtype=np.uint8)))


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="wsi-idc-fuzz-"))


def one_input(data: bytes) -> None:
    """Open the bytes as a set of patches, and read all there is."""
    path = _folder() / "a.zip"
    path.write_bytes(data)
    for ask in (_read_all, _read_one):
        try:
            ask(path)
        except WsiIdcError as error:
            assert str(error).endswith(".")


def _read_all(path: Path) -> None:
    with IdcDataset(path) as dataset:
        for number in dataset.cases:
            labels, case = dataset.labels(number), dataset.case(number)
            assert len(labels) == len(case.patches) > 0
            assert len(case.fingerprint) == 64
            for start in range(0, len(case.patches), _BLOCK):
                block = case.read(start, start + _BLOCK)
                assert block.pixels.shape == (len(block.readable), 50, 50, 3)
                assert len(block.problems) == (~block.readable).sum()
            for problem in case.problems:
                printable(str(problem))
        assert all(problem.reason for problem in dataset.problems)
        assert min(dataset.passed_over) >= 0


def _read_one(path: Path) -> None:
    """As for a case that is named, which is looked for without an index of all."""
    with IdcDataset(path) as dataset:
        case = dataset.case("8863")
        case.read(0, min(_BLOCK, len(case.patches)))
