"""Slide files: pixels of any region at any scale, through OpenSlide or, for OME-TIFF, tifffile."""

from __future__ import annotations

import logging
import math
import threading
import xml.etree.ElementTree as ET
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import ImageCms
from scipy import sparse

from wsi_idc._util.files import Closable
from wsi_idc.errors import SlideError
from wsi_idc.io.jpeg_tiles import FACTORS, NO_JPEG, JpegLevels

WHITE = (255, 255, 255)
NO_OME_TIFF = "no OME-TIFF"

_MOST_SUMMED = 257
"""Pixels of 8 bits whose sum 16 bits hold."""

_LEAST_LEFT = 4
"""Reduced pixels that are left along each side of a cell, where they do not fit it."""

_WHOLE_PX = 1e-6
"""An edge so close to a whole number is one but for rounding."""

_FINER = 1 + 1e-3
"""A level whose scale is the one asked for but for rounding is fine enough."""

_PLAIN_TIFF = ("aperio", "generic-tiff")
"""Vendors whose levels are pages of a TIFF as they are, by OpenSlide's names."""

_LFS_POINTER = b"version https://git-lfs.github.com/"
"""What a file holds that Git has not fetched."""

_DICOM_MAGIC, _DICOM_MAGIC_AT = b"DICM", 128
"""The magic, and the bytes before it, which may hold anything (DICOM part 10, section 7.1)."""

_LARGEST_TILE_PX = 1 << 26
"""Pixels that a file may want decoded at once: 8192x8192, where scanners write 256x256 to 4096x4096."""

# tifffile logs each damaged tag, thousands for one file, and Python prints what nobody handles; what matters is raised.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False


@dataclass(frozen=True)
class Level:
    """A resolution that a slide is stored in.

    Attributes
    ----------
    width_px, height_px : int
        In pixels of this level.
    downsample : tuple of float
        Pixels of level 0 to one of this level, along x and y.
    """

    width_px: int
    height_px: int
    downsample: tuple[float, float]


class SlideReader(Closable, ABC):
    """An open slide file.

    Attributes
    ----------
    path : Path
    levels : tuple of Level
        Finest first.
    mpp : tuple of float or None
        Scale of level 0 along x and y in µm/px, as the file says it, plausible or not; None where it says nothing.
    background : tuple of int
        RGB that transparent pixels lie on.
    icc_profile : bytes or None
        Empty where the file has one that cannot be read.
    identity : str
        What tells this slide from others, whichever of its files was named.
    description : str
        What the file says of itself in free text.
    """

    path: Path
    levels: tuple[Level, ...]
    mpp: tuple[float, float] | None = None
    background: tuple[int, ...] = WHITE
    icc_profile: bytes | None = None
    identity: str = ""
    description: str = ""
    _jpeg: JpegLevels = NO_JPEG

    @abstractmethod
    def read(self, level: int, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read a region inside a level, in its own pixels.

        Returns
        -------
        ndarray of uint8, shape (height, width, 4)
            RGB and opacity, not multiplied.

        Raises
        ------
        OSError
            Where the file cannot be read there. The next read may succeed.
        """

    @property
    def name(self) -> str:
        """Of the slide: the file's."""
        return self.path.name

    @abstractmethod
    def close(self) -> None: ...

    def level_for(self, downsample: tuple[float, float]) -> int:
        """The coarsest level with at least as many pixels as this reduction of level 0; else the finest."""
        fine = [
            index
            for index, level in enumerate(self.levels)
            if all(have <= wanted * _FINER for have, wanted in zip(level.downsample, downsample, strict=True))
        ]
        return max(fine, key=lambda index: self.levels[index].downsample, default=0)

    def _level_of(self, across: NDArray[np.float64], down: NDArray[np.float64], finer: float) -> int:
        """The level that a grid is read from."""
        step = (across[-1] - across[0]) / (len(across) - 1), (down[-1] - down[0]) / (len(down) - 1)
        return self.level_for((step[0] / finer, step[1] / finer))

    def pixels_read(self, across: NDArray[np.float64], down: NDArray[np.float64], finer: float = 1.0) -> int:
        """How many pixels of a file `read_scaled` takes for a grid, about; at least 1."""
        x, y = self.levels[self._level_of(across, down, finer)].downsample
        return max(1, round(float((across[-1] - across[0]) / x * (down[-1] - down[0]) / y)))

    def read_scaled(
        self, across: NDArray[np.float64], down: NDArray[np.float64], finer: float = 1.0
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read a grid of pixels of any size, each the mean over its area.

        Parameters
        ----------
        across, down : ndarray of float64, shape (w + 1,) and (h + 1,)
            Edges of the columns and rows in pixels of level 0, ascending. What lies outside the slide counts as
            transparent.
        finer : float
            The pixels come from a level at least so many times as fine as the grid, where the slide has one.

        Returns
        -------
        pixels : ndarray of uint8, shape (h, w, 3)
            RGB, transparent parts on the slide's background colour.
        opaque : ndarray of bool, shape (h, w)
            Where the slide has any pixel at all.
        """
        index = self._level_of(across, down, finer)
        level = self.levels[index]
        x = np.clip(across / level.downsample[0], 0, level.width_px)
        y = np.clip(down / level.downsample[1], 0, level.height_px)
        jpeg = self._jpeg.tiles.get(index)
        factor = (
            1 if jpeg is None else min(_reduction(across / level.downsample[0]), _reduction(down / level.downsample[1]))
        )
        x, y = x / factor, y / factor
        left, top = math.floor(x[0]), math.floor(y[0])
        width, height = math.ceil(x[-1]) - left, math.ceil(y[-1]) - top
        if width <= 0 or height <= 0:
            empty = np.empty((len(down) - 1, len(across) - 1, 3), dtype=np.uint8)
            empty[:] = self.background
            return empty, np.zeros(empty.shape[:2], dtype=np.bool_)
        where = left, top, width, height
        region = jpeg.read(factor, *where, partial(self.read, index)) if jpeg else self.read(index, *where)
        whole = bool((region[..., 3] == 255).all())
        seen = region if whole else _on_background(region, self.background)
        pixels = np.rint(average_areas(seen, x - left, y - top)[..., :3]).astype(np.uint8)
        outside = (np.diff(y) <= 0)[:, None] | (np.diff(x) <= 0)[None]
        pixels[outside] = self.background
        opaque = ~outside
        if not whole:
            opaque &= average_areas(region[..., 3:], x - left, y - top)[..., 0] > 0
        return pixels, opaque


def _reduction(edges: NDArray[np.float64]) -> int:
    """By which factor pixels may be reduced before they are averaged over cells with these edges.

    Either the cells are made of whole reduced pixels, but for a last one that is cut, or enough are left to each.
    """
    inner = edges[: max(2, len(edges) - 1)]
    step = (edges[-1] - edges[0]) / (len(edges) - 1)
    for factor in FACTORS:
        whole = np.abs(inner - factor * np.rint(inner / factor)).max() < _WHOLE_PX and step >= factor
        if whole or step >= factor * _LEAST_LEFT:
            return factor
    return 1


def average_areas(pixels: NDArray[Any], across: NDArray[np.float64], down: NDArray[np.float64]) -> NDArray[np.float32]:
    """Mean of a picture over each cell of a grid, its pixels weighted by the area that lies in the cell.

    Parameters
    ----------
    pixels : ndarray, shape (height, width, channels)
    across, down : ndarray of float64, shape (w + 1,) and (h + 1,)
        Edges of the cells, ascending, within the picture.

    Returns
    -------
    ndarray of float32, shape (h, w, channels)
        0 where a cell has no area.
    """
    height, width, channels = pixels.shape
    sides = _whole_cells(down, height), _whole_cells(across, width)
    if pixels.dtype == np.uint8 and 0 < sides[0] * sides[1] <= _MOST_SUMMED:
        return _block_means(pixels, *sides)
    rows = _shares(down, height) @ pixels.reshape(height, -1).astype(np.float32)
    columns = rows.reshape(-1, width, channels).swapaxes(0, 1).reshape(width, -1)
    mean = (_shares(across, width) @ columns).reshape(len(across) - 1, -1, channels)
    return np.asarray(mean.swapaxes(0, 1))


def _whole_cells(edges: NDArray[np.float64], length: int) -> int:
    """How many pixels each cell has where all have the same whole number and cover everything; else 0."""
    side = length // (len(edges) - 1)
    return (
        side if np.array_equal(edges, np.arange(len(edges)) * float(side)) and side * (len(edges) - 1) == length else 0
    )


def _block_means(pixels: NDArray[np.uint8], down: int, across: int) -> NDArray[np.float32]:
    """Mean over blocks of so many rows and columns."""
    rows = pixels[::down].astype(np.uint16)
    for k in range(1, down):
        rows += pixels[k::down]
    total = rows[:, ::across].copy()
    for k in range(1, across):
        total += rows[:, k::across]
    return total.astype(np.float32) / np.float32(down * across)


def _shares(edges: NDArray[np.float64], length: int) -> sparse.csr_array:
    """How much each of `length` pixels counts in the mean over each cell, shape (cells, length)."""
    first = np.floor(edges[:-1]).astype(np.int64)
    touched = np.minimum(np.ceil(edges[1:]).astype(np.int64), length) - first
    cell = np.repeat(np.arange(len(first)), touched)
    pixel = np.arange(len(cell)) - np.repeat(np.cumsum(touched) - touched - first, touched)
    overlap = np.minimum(edges[cell + 1], pixel + 1) - np.maximum(edges[cell], pixel)
    share = overlap / np.maximum(np.diff(edges), 1e-12)[cell]
    return sparse.csr_array((share.astype(np.float32), (cell, pixel)), shape=(len(first), length))


def _on_background(region: NDArray[np.uint8], background: tuple[int, ...]) -> NDArray[np.uint8]:
    opacity = region[..., 3:].astype(np.float32) / 255
    mixed = region[..., :3] * opacity + np.asarray(background, dtype=np.float32) * (1 - opacity)
    return np.rint(mixed).astype(np.uint8)


class OpenSlideReader(SlideReader):
    """Whatever OpenSlide opens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._of_thread = threading.local()
        _check_beside(path)
        slide = self._open()
        pages = _tiled_pages(path)
        properties = slide.properties
        self.levels = tuple(
            Level(width, height, (downsample, downsample))
            for (width, height), downsample in zip(slide.level_dimensions, slide.level_downsamples, strict=True)
        )
        named = [properties.get(name) for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)]
        self.mpp = None if None in named else (_number(named[0]), _number(named[1]))
        colour = properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR)
        self.background = tuple(bytes.fromhex(colour)) if colour else WHITE
        try:
            profile = slide.color_profile
            self.icc_profile = None if profile is None else profile.tobytes()
        except ImageCms.PyCMSError:
            self.icc_profile = b""
        self.identity = properties.get(openslide.PROPERTY_NAME_QUICKHASH1, "")
        self.description = properties.get(openslide.PROPERTY_NAME_COMMENT, "")
        vendor = properties.get(openslide.PROPERTY_NAME_VENDOR)
        self._several_files = vendor == "dicom"
        if vendor in _PLAIN_TIFF:
            of_size = {(page.imagewidth, page.imagelength): page for page in pages}
            sizes = [(level.width_px, level.height_px) for level in self.levels]
            stored = {index: of_size[size] for index, size in enumerate(sizes) if size in of_size}
            # Over missing tiles of an Aperio slide, OpenSlide draws the coarser levels from the finer ones, too.
            self._jpeg = JpegLevels(path, stored, missing_in_all=vendor == "aperio")

    def _open(self) -> openslide.OpenSlide:
        """This thread's own handle: an error spoils a handle for good, and must not spoil what others read."""
        slide: openslide.OpenSlide | None = getattr(self._of_thread, "slide", None)
        if slide is None:
            try:
                slide = self._of_thread.slide = openslide.OpenSlide(self.path)
            except openslide.OpenSlideError as error:
                raise OSError(str(error)) from error
        return slide

    @property
    def name(self) -> str:
        """Of a DICOM slide, the lexically first of its files: whichever was named, it is the same slide."""
        if not self._several_files:
            return self.path.name
        mine = (path.name for path in self.path.parent.iterdir() if dicom_identity(path) == self.identity)
        return min(mine, default=self.path.name)

    def read(self, level: int, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """As `SlideReader.read`; after an error the file is opened again, since its handle is of no more use."""
        across, down = self.levels[level].downsample
        slide = self._open()
        try:
            image = slide.read_region((round(left * across), round(top * down)), level, (width, height))
        except openslide.OpenSlideError as error:
            self._of_thread.slide = None
            raise OSError(str(error)) from error
        return np.asarray(image)

    def close(self) -> None:
        """Let go of all handles; one that is being read closes when that is done."""
        self._jpeg.close()
        self._of_thread = threading.local()


def has_dicom_magic(file: Path) -> bool:
    """Whether a file says that it is DICOM, whatever its name; OSError where it cannot be read."""
    with file.open("rb", buffering=0) as opened:
        return opened.read(_DICOM_MAGIC_AT + len(_DICOM_MAGIC))[_DICOM_MAGIC_AT:] == _DICOM_MAGIC


def _check_beside(file: Path) -> None:
    """OSError where OpenSlide would wait for ever: it opens whatever lies beside a DICOM file, and pipes as well."""
    if not file.is_file():
        raise OSError("it is no file")
    if not has_dicom_magic(file):
        return
    for other in file.parent.iterdir():
        if other.is_fifo():
            raise OSError(f"{other.name} beside it is a pipe, which OpenSlide would wait for")


def dicom_identity(file: Path) -> str | None:
    """What the DICOM files of one slide have in common, and no others; None where OpenSlide opens no DICOM slide."""
    try:
        _check_beside(file)
        with openslide.OpenSlide(file) as slide:
            if slide.properties.get(openslide.PROPERTY_NAME_VENDOR) != "dicom":
                return None
            return slide.properties.get(openslide.PROPERTY_NAME_QUICKHASH1)
    except (openslide.OpenSlideError, OSError):
        return None


class TiffReader(SlideReader):
    """OME-TIFF of 8-bit RGB, levels in SubIFDs included."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._tiff = tifffile.TiffFile(path)
        except Exception as error:  # tifffile raises whatever its parts raise on damaged files
            raise OSError(NO_OME_TIFF) from error
        try:
            self._describe()
        except OSError:
            self.close()
            raise
        except Exception as error:  # likewise
            self.close()
            raise OSError(f"damaged: {error!r}") from error

    def _describe(self) -> None:
        if not self._tiff.is_ome:
            raise OSError(NO_OME_TIFF)
        series = self._tiff.series[0]
        if series.axes not in ("YXS", "CYX", "SYX") or series.dtype != np.uint8 or 3 not in series.shape:
            raise OSError(f"pixels of axes {series.axes} and type {series.dtype}, where 8-bit RGB is needed")
        self._channels_first = series.axes != "YXS"
        self._stored = [_stored_tiles(level.pages) for level in series.levels]
        self._arrays = [zarr.open_array(series.aszarr(level=index), mode="r") for index in range(len(series.levels))]
        sizes = [array.shape[1:] if self._channels_first else array.shape[:2] for array in self._arrays]
        self.levels = tuple(
            Level(width, height, (sizes[0][1] / width, sizes[0][0] / height)) for height, width in sizes
        )
        whole = {index: level.pages[0] for index, level in enumerate(series.levels) if len(level.pages) == 1}
        self._jpeg = JpegLevels(self.path, whole, trust_jfif=True)
        self.mpp = _ome_scale(self._tiff.ome_metadata or "")
        self.description = series.name
        page = self._tiff.pages[0]
        self.icc_profile = getattr(page, "iccprofile", None) or None

    def read(self, level: int, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        rows, columns = slice(top, top + height), slice(left, left + width)
        array = self._arrays[level]
        try:
            with self._lock:
                pixels = np.asarray(array[:, rows, columns] if self._channels_first else array[rows, columns])
        except Exception as error:  # tifffile's decoders raise whatever their parts raise
            raise OSError(f"damaged: {error!r}") from error
        region = np.empty((height, width, 4), dtype=np.uint8)
        region[..., :3] = np.moveaxis(pixels, 0, -1) if self._channels_first else pixels
        region[..., 3] = self._stored[level].opacity(rows, columns)
        return region

    def close(self) -> None:
        self._jpeg.close()
        with self._lock:
            self._tiff.close()


@dataclass(frozen=True)
class _Tiles:
    """Which tiles of a level are stored: tifffile reads the others as black.

    Attributes
    ----------
    width_px, height_px : int
        Of a tile; a level in strips has tiles of its own width.
    stored : ndarray of bool, shape (rows, columns)
    """

    width_px: int
    height_px: int
    stored: NDArray[np.bool_]

    def opacity(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """255 where the pixels of a region are stored, else 0."""
        row = np.arange(rows.start, rows.stop) // self.height_px
        column = np.arange(columns.start, columns.stop) // self.width_px
        return np.asarray(self.stored[row[:, None], column] * np.uint8(255))


def _stored_tiles(pages: Sequence[Any]) -> _Tiles:
    """Look at all pages of a level, which are its channels; OSError where they do not hold what they declare."""
    page = pages[0].keyframe
    width, height = page.imagewidth, min(page.rowsperstrip, page.imagelength)
    if page.is_tiled:
        width, height = page.tilewidth, page.tilelength
    _check_tiles(page, width, height)
    rows, columns = -(-page.imagelength // height), -(-page.imagewidth // width)
    stored = np.ones((rows, columns), dtype=np.bool_)
    for each in pages:
        for values in (each.dataoffsets, each.databytecounts):
            stored &= np.reshape(np.array(values) > 0, (-1, rows, columns)).all(axis=0)
    return _Tiles(width, height, stored)


def _check_tiles(page: tifffile.TiffPage, width: int, height: int) -> None:
    """OSError where a page has fewer tiles than its size needs, or tiles that nobody can hold."""
    if not 0 < width * height <= _LARGEST_TILE_PX:
        raise OSError(f"damaged: it declares tiles of {width:,} x {height:,} px")
    needed = -(-page.imagewidth // width) * -(-page.imagelength // height)
    tags = (page.tags.get(name) for name in ("TileOffsets", "StripOffsets"))
    there = max((tag.count for tag in tags if tag is not None), default=0)
    if there < needed:
        raise OSError(
            f"damaged: it declares {page.imagewidth:,} x {page.imagelength:,} px, and holds {there:,} of the "
            f"{needed:,} tiles for that"
        )


def _tiled_pages(path: Path) -> Sequence[tifffile.TiffPage]:
    """Pages of a TIFF that OpenSlide opens; none of other files. OSError where one cannot hold what it declares."""
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage) and page.is_tiled]
    except Exception:  # tifffile raises whatever its parts raise; OpenSlide judges the rest
        return []
    for page in pages:
        _check_tiles(page, page.tilewidth, page.tilelength)
    return pages


_MICRONS = {"µm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6, "Å": 1e-4, "in": 25_400.0}


def _ome_scale(metadata: str) -> tuple[float, float] | None:
    """Physical size of a pixel in µm, from the first picture of OME-XML."""
    try:
        pixels = next(element for element in ET.fromstring(metadata).iter() if element.tag.endswith("}Pixels"))
    except (ET.ParseError, StopIteration):
        return None
    scale = []
    for axis in "XY":
        factor = _MICRONS.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        size = pixels.get(f"PhysicalSize{axis}")
        if factor is None or size is None:
            return None
        scale.append(_number(size) * factor)
    return scale[0], scale[1]


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def open_reader(path: str | Path) -> SlideReader:
    """Open a slide file.

    Raises
    ------
    SlideError
        Where there is no such file, or neither OpenSlide nor tifffile can read it.
    """
    path = Path(path)
    if path.is_dir():
        raise SlideError(f"{path} is a folder: name a slide file in it, or score them all with `all --slides`.")
    if not path.is_file():
        raise SlideError(f"There is no slide file {path}: name one that OpenSlide can read, or an OME-TIFF.")
    if _is_tiff_of_no_vendor(path):
        # OpenSlide knows neither the scale in OME-XML nor levels in SubIFDs.
        with suppress(OSError):
            return TiffReader(path)
    try:
        return OpenSlideReader(path)
    except OSError as error:
        refused = error
    try:
        return TiffReader(path)
    except OSError as error:
        told = refused if str(error) == NO_OME_TIFF else error
        raise SlideError(
            f"{path} cannot be read as a slide ({_whats_there(path) or told}): fetch it again if it should be one, or "
            "name a file that OpenSlide can read, or an OME-TIFF of 8-bit RGB."
        ) from error


def _whats_there(path: Path) -> str | None:
    """What a file is that is often found in a slide's place."""
    with path.open("rb") as file:
        start = file.read(256).lstrip().lower()
    if not start:
        return "it is empty"
    if start.startswith(_LFS_POINTER):
        return "it is a pointer of Git LFS, which `git lfs pull` replaces by the file"
    return "it is a web page" if start.startswith((b"<!doctype html", b"<html")) else None


def _is_tiff_of_no_vendor(path: Path) -> bool:
    try:
        return openslide.OpenSlide.detect_format(path) == "generic-tiff"
    except openslide.OpenSlideError:
        return False
