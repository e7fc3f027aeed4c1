"""Levels of a TIFF in JPEG tiles, decoded at a half, a quarter or an eighth of their size.

JPEG stores blocks of 8x8 pixels by their frequencies. A decoder makes of them the mean of every 2x2, 4x4 or 8x8 pixels
without making the pixels, which is what a slide that is read far finer than it is shown needs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray

from wsi_idc._util.cache import Latest
from wsi_idc._util.files import Closable

FACTORS = (8, 4, 2, 1)
"""What JPEG's blocks can be reduced by."""

_KEPT_BYTES = 64_000_000
"""Decoded tiles of all slides that are kept: rows of patches share tiles, and so does the sample of the stain."""

_START = b"\xff\xd8"
"""The marker that begins a JPEG."""

_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
"""A segment that tells what a JPEG's channels are, but for its last byte (Adobe Technical Note 5116)."""

_IS_RGB, _IS_YCBCR = b"\x00", b"\x01"

_FIRST_APP, _LAST_APP = b"\xff\xe0", b"\xff\xef"
"""Markers of segments in which a JPEG tells of itself. What its channels are, the TIFF says."""

_HEADER_BYTES = 4_096
"""Of a tile: its quantisation tables stand before its pixels."""

_TABLE, _TABLE_BYTES, _STANDARD_SUM = b"\xff\xdb", 64, 3_688
"""Marker of quantisation tables, their length, and the sum of the standard luminance table (ITU-T T.81, annex K.1)."""

Region = NDArray[np.uint8]

_decoded = Latest[Region](_KEPT_BYTES, size=lambda tile: tile.nbytes)


class JpegLevels(Closable):
    """Those levels of a slide that are stored in JPEG tiles.

    Parameters
    ----------
    path : Path
        A TIFF.
    pages : mapping of int to TiffPage
        A level's page by the level's number, finest first; those that are stored otherwise are left out.
    missing_in_all : bool
        Whether what is missing in a level is so in all that are coarser, whatever is stored there.
    trust_jfif : bool
        Whether JPEG with a JFIF header is YCbCr, as that header says, where the TIFF says RGB. Bio-Formats writes such
        files; tifffile reads them so, libtiff and OpenSlide do not.

    Attributes
    ----------
    tiles : mapping of int to JpegTiles
    """

    def __init__(
        self, path: Path, pages: Mapping[int, Any], missing_in_all: bool = False, trust_jfif: bool = False
    ) -> None:
        readable = {level: page for level, page in pages.items() if _is_jpeg_tiled(page)}
        self._file = _SharedFile(path) if readable else None
        self.tiles = {}
        if self._file:
            for level, page in readable.items():
                is_ycbcr = page.photometric == tifffile.PHOTOMETRIC.YCBCR or (trust_jfif and page.is_jfif)
                self.tiles[level] = JpegTiles(self._file, page, is_ycbcr)
        if missing_in_all:
            finest_first = list(self.tiles.values())
            for index, finer in enumerate(finest_first):
                for coarser in finest_first[index + 1 :]:
                    coarser.leave_out(finer)

    @property
    def quality(self) -> int | None:
        """Quality, 1-100, of the finest of these levels: see `jpeg_quality`."""
        return next((tiles.quality for tiles in self.tiles.values()), None)

    def close(self) -> None:
        if self._file:
            self._file.close()
        for tiles in self.tiles.values():
            tiles.forget()


class _SharedFile(Closable):
    """A file that threads read."""

    def __init__(self, path: Path) -> None:
        self._file, self._lock = path.open("rb", buffering=0), threading.Lock()
        self._size = path.stat().st_size

    def read(self, offset: int, length: int) -> bytes:
        """OSError where the file ends before."""
        if offset + length > self._size:
            raise OSError("past the end of the file")
        with self._lock:
            self._file.seek(offset)
            return self._file.read(length)

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def __del__(self) -> None:
        # As OpenSlide's handles: sources that threads share are not closed, but let go of.
        self.close()


class JpegTiles:
    """One level, whose page is `_is_jpeg_tiled`."""

    def __init__(self, file: _SharedFile, page: tifffile.TiffPage, is_ycbcr: bool) -> None:
        self._file, self._id = file, object()
        self._width_px, self._height_px = page.imagewidth, page.imagelength
        self._tile_width, self._tile_height = page.tilewidth, page.tilelength
        shape = -(-page.imagelength // page.tilelength), -(-page.imagewidth // page.tilewidth)
        self._offsets, self._lengths = (
            np.array(values, dtype=np.int64).reshape(shape) for values in (page.dataoffsets, page.databytecounts)
        )
        self._left_out = self._lengths == 0
        self._head = _ADOBE + (_IS_YCBCR if is_ycbcr else _IS_RGB)
        self._tables = (page.jpegtables or b"")[len(_START) : -len(_START)]
        self._of_thread = threading.local()

    @property
    def quality(self) -> int | None:
        """Quality, 1-100, of the first tile that is stored: see `jpeg_quality`; None where none can be read."""
        at = np.flatnonzero((self._lengths > 0).ravel())
        if not len(at):
            return None
        try:
            start = self._file.read(int(self._offsets.flat[at[0]]), min(_HEADER_BYTES, int(self._lengths.flat[at[0]])))
        except OSError:
            return None
        return jpeg_quality(self._tables) or jpeg_quality(start)

    def forget(self) -> None:
        """Let go of decoded tiles."""
        _decoded.forget_where(lambda key: key[0] is self._id)

    def leave_out(self, finer: JpegTiles) -> None:
        """Take for missing what lies over missing tiles of a finer level."""
        x, y = (
            self._width_px / finer._width_px / self._tile_width,
            self._height_px / finer._height_px / self._tile_height,
        )
        for row, column in np.argwhere(finer._lengths == 0):
            top, left = row * finer._tile_height * y, column * finer._tile_width * x
            rows = slice(int(top), int(top + finer._tile_height * y) + 1)
            columns = slice(int(left), int(left + finer._tile_width * x) + 1)
            self._left_out[rows, columns] = True

    def read(self, factor: int, left: int, top: int, width: int, height: int, instead: Callable[..., Region]) -> Region:
        """Read a region, each of its pixels the mean over `factor` x `factor` of the level's.

        Parameters
        ----------
        factor : int
            One of `FACTORS`.
        left, top, width, height : int
            In reduced pixels.
        instead : callable
            ``instead(left, top, width, height)`` reads pixels of the level, shape (height, width, 4), where a tile is
            missing or damaged; what it raises is passed on.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3) or (height, width, 4)
            RGB and, where any of it was read by `instead`, opacity, not multiplied.
        """
        region = np.empty((height, width, 3), dtype=np.uint8)
        opacity: NDArray[np.uint8] | None = None
        across, down = self._tile_width // factor, self._tile_height // factor
        for row, rows, from_rows in _pieces(top, height, down):
            for column, columns, from_columns in _pieces(left, width, across):
                # Of a tile that is used up here nothing is left for the next region.
                used_up = from_rows == slice(0, down) and from_columns == slice(0, across)
                tile = self._tile(factor, row, column, keep=not used_up)
                if tile is None:
                    tile = self._reduced(factor, row, column, instead)
                piece = tile[from_rows, from_columns]
                region[rows, columns] = piece[..., :3]
                if piece.shape[2] == 4:
                    if opacity is None:
                        opacity = np.full((height, width), 255, dtype=np.uint8)
                    opacity[rows, columns] = piece[..., 3]
        return region if opacity is None else np.dstack([region, opacity])

    def _tile(self, factor: int, row: int, column: int, keep: bool) -> Region | None:
        """A whole tile, which this thread's next may overwrite unless it is to be kept; None if missing or damaged."""
        if self._left_out[row, column]:
            return None
        size = self._own_size(row, column)
        # The last reduced pixel must not average what the encoder filled the tile up with.
        cut = any(length % factor for length in size)

        def decode() -> Region:
            if not cut:
                return self._decode(factor, row, column, None if keep else self._buffer())
            return _block_means(self._decode(1, row, column)[: size[0], : size[1]], factor)

        try:
            return _decoded.get((self._id, factor, row, column), decode) if keep or cut else decode()
        except (OSError, ValueError):
            return None

    def _buffer(self) -> bytearray:
        """A buffer for a decoded tile, one for each thread: a new array for each adds half of the decoding time."""
        buffer: bytearray | None = getattr(self._of_thread, "buffer", None)
        if buffer is None:
            buffer = self._of_thread.buffer = bytearray(3 * self._tile_width * self._tile_height)
        return buffer

    def _own_size(self, row: int, column: int) -> tuple[int, int]:
        """Height and width of what belongs to the level of a tile."""
        return (
            min(self._tile_height, self._height_px - row * self._tile_height),
            min(self._tile_width, self._width_px - column * self._tile_width),
        )

    def _decode(self, factor: int, row: int, column: int, buffer: bytearray | None = None) -> Region:
        stored = self._file.read(int(self._offsets[row, column]), int(self._lengths[row, column]))
        jpeg = _START + self._head + self._tables + _without_app_segments(stored)
        if simplejpeg.decode_jpeg_header(jpeg)[:2] != (self._tile_height, self._tile_width):
            raise ValueError("a JPEG of another size")
        least = self._tile_height // factor, self._tile_width // factor
        return cast(Region, simplejpeg.decode_jpeg(jpeg, min_height=least[0], min_width=least[1], buffer=buffer))

    def _reduced(self, factor: int, row: int, column: int, instead: Callable[..., Region]) -> Region:
        left, top = column * self._tile_width, row * self._tile_height
        height, width = self._own_size(row, column)
        return _block_means(instead(left, top, width, height), factor)


def _block_means(pixels: Region, factor: int) -> Region:
    """Mean over each block of `factor` x `factor` pixels; the last blocks may be smaller."""
    height, width = pixels.shape[:2]
    rows, columns = np.arange(0, height, factor), np.arange(0, width, factor)
    total = np.add.reduceat(np.add.reduceat(pixels, rows, axis=0, dtype=np.uint32), columns, axis=1)
    counts = np.outer(np.minimum(factor, height - rows), np.minimum(factor, width - columns))
    return cast(Region, np.rint(total / counts[..., None]).astype(np.uint8))


def _is_jpeg_tiled(page: Any) -> bool:
    return bool(
        isinstance(page, tifffile.TiffPage)
        and page.is_tiled
        and page.compression == tifffile.COMPRESSION.JPEG
        and page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
        and page.dtype == np.uint8
        and page.samplesperpixel == 3
        and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        and page.tilewidth % FACTORS[0] == page.tilelength % FACTORS[0] == 0
        and len(page.dataoffsets) == len(page.databytecounts) == np.prod(page.chunked)
    )


NO_JPEG = JpegLevels(Path(), {})


def _without_app_segments(jpeg: bytes) -> bytes:
    """What follows a JPEG's start and the segments in which it tells of itself; ValueError where it is no JPEG."""
    if not jpeg.startswith(_START):
        raise ValueError("not a JPEG")
    at = len(_START)
    while _FIRST_APP <= jpeg[at : at + 2] <= _LAST_APP:
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return jpeg[at:]


def _pieces(first: int, count: int, side: int) -> Iterator[tuple[int, slice, slice]]:
    """Cut a range at multiples of `side`: each multiple's number, its part of the range, and that part in itself."""
    for index in range(first // side, (first + count - 1) // side + 1):
        start, stop = max(first, index * side), min(first + count, (index + 1) * side)
        yield index, slice(start - first, stop - first), slice(start - index * side, stop - index * side)


def jpeg_quality(jpeg: bytes) -> int | None:
    """Quality, 1-100, that a JPEG was written with, by libjpeg's scale; None where it has no table of 8 bits.

    The first table, that of luminance, is compared with the standard one, which libjpeg scales by the quality. Below 25
    it cuts the table, and the quality comes out too high.
    """
    at = jpeg.find(_TABLE)
    table = jpeg[at + 5 : at + 5 + _TABLE_BYTES]
    if at < 0 or len(table) < _TABLE_BYTES or jpeg[at + 4] >> 4:
        return None
    percent = 100 * sum(table) / _STANDARD_SUM
    return round(min(100, max(1, (200 - percent) / 2 if percent <= 100 else 5_000 / percent)))
