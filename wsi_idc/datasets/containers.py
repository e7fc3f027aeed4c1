"""Folders and unopened zips as containers of small files, with bounded reads."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path

from wsi_idc._util.walking import kind_of, walk
from wsi_idc.errors import NotIdcDataError
from wsi_idc.geometry import PATCH_PX

MAX_PATCH_BYTES = 65_536
"""A 50x50 patch is 7.5 kB before compression; a file larger than this is none and is not opened."""

MAX_CASE_BYTES = 1 << 29
"""Of a case's files together: glass full of patches takes 400 MB, cases of the set 20 MB."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OverflowError, ValueError)
"""What a zip's directory and decompressors raise; bz2 raises OSError."""

_MAGIC = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x1f\x8b": "a gzip file",
    b"\xfd7zXZ": "an xz file",
    b"BZh": "a bzip2 file",
}
"""How files begin that hold other files, but are no zip."""

_ARRAYS = {b"\x93NUMPY": "a NumPy array", b"\x89HDF": "an HDF5 file"}
"""How files begin that hold pixels without the names of patches."""

_IMAGES = {b"\x89PNG": "one picture", b"\xff\xd8\xff": "one picture"}


class Container(ABC):
    """Files by their relative path, wherever they lie."""

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
    """Files under a folder and the folders linked below it; a folder that is reached twice counts once."""

    def files(self) -> Iterator[str]:
        for prefix, entries in walk(self.path):
            for entry in entries:
                # A link that leads nowhere is a patch that cannot be read, and is reported as one. A pipe would be
                # waited for.
                if kind_of(entry) in (stat.S_IFREG, None):
                    yield prefix + entry.name

    def read(self, path: str) -> bytes:
        with (self.path / path).open("rb") as file:
            data = file.read(MAX_PATCH_BYTES + 1)
        _refuse_large(len(data))
        return data


class Zip(Container):
    """Files in a zip archive, read in place. Links in it are not followed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGE as error:
            told = "a name in it is no text" if isinstance(error, UnicodeError) else error
            raise NotIdcDataError(
                _other_format(path) or f"{path} is not a whole zip archive ({told}): fetch it again, or name a folder."
            ) from error

    def files(self) -> Iterator[str]:
        # ZipInfo.is_dir asks for the last sign of a name, and a name may have none.
        return (info.filename for info in self._zip.infolist() if not info.filename.endswith(("/", "\\")))

    def read(self, path: str) -> bytes:
        info = self._zip.getinfo(path)
        _refuse_large(info.file_size)
        if info.flag_bits & 0x1:
            raise OSError("encrypted in the zip")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise OSError("a link in the zip, which is not followed: pack the file that it leads to")
        try:
            with self._zip.open(info) as file:
                data = file.read(MAX_PATCH_BYTES + 1)
        except _DAMAGE as error:
            raise OSError(str(error)) from error
        _refuse_large(len(data))
        return data

    def close(self) -> None:
        self._zip.close()


def open_container(path: Path) -> Container:
    """Open a folder or a zip.

    Raises
    ------
    NotIdcDataError
        Where it is another file; the message says what to do with it.
    OSError
        Where it is not there or cannot be read.
    """
    return Folder(path) if path.is_dir() else Zip(path)


def _other_format(path: Path) -> str | None:
    """What to do with a file that is no zip, where its kind is known."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
        if _is_tar(path):
            return f"{path} is a tar archive, which is not read in place: unpack it (tar -xf) and name the folder."
    except OSError:
        return None
    for signs, kind in _MAGIC.items():
        if start.startswith(signs):
            return f"{path} is {kind}, which is not read in place: unpack it and name the folder, or pack it as a zip."
    for signs, kind in _ARRAYS.items():
        if start.startswith(signs):
            return (
                f"{path} is {kind}, which says neither case nor position of a patch: name the folder or zip of the "
                "patches as PNGs, named like 8863_idx5_x451_y1451_class0.png."
            )
    for signs, kind in _IMAGES.items():
        if start.startswith(signs):
            return f"{path} is {kind}: name the folder that holds the case's patches with --data."
    return None


def _is_tar(path: Path) -> bool:
    """Whether a file is a tar, compressed or not; its decompressors raise what they like on damaged ones."""
    try:
        return tarfile.is_tarfile(path)
    except (*_DAMAGE, OSError):
        return False


def _refuse_large(size: int) -> None:
    if size > MAX_PATCH_BYTES:
        raise OSError(f"larger than {MAX_PATCH_BYTES:,} bytes, so no {PATCH_PX}x{PATCH_PX} patch")


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
