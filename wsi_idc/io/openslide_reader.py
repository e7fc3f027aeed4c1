"""Slide files that OpenSlide opens."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import ImageCms

from wsi_idc.io.dicom import check_beside, dicom_identity
from wsi_idc.io.jpeg_tiles import JpegLevels
from wsi_idc.io.ome_xml import number
from wsi_idc.io.reader import WHITE, Level, SlideReader
from wsi_idc.io.tiff_tiles import tiled_pages
from wsi_idc.source import ImageInfo

_PLAIN_TIFF = ("aperio", "generic-tiff")
"""Vendors whose levels are pages of a TIFF as they are, by OpenSlide's names."""

_ASSOCIATED = re.compile(r"openslide\.associated\.(.+)\.(width|height)")


class OpenSlideReader(SlideReader):
    """Whatever OpenSlide opens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._of_thread = threading.local()
        check_beside(path)
        slide = self._open()
        pages = tiled_pages(path)
        properties = slide.properties
        self.levels = tuple(
            Level(width, height, (downsample, downsample))
            for (width, height), downsample in zip(slide.level_dimensions, slide.level_downsamples, strict=True)
        )
        named = [properties.get(name) for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)]
        self.mpp = None if None in named else (number(named[0]), number(named[1]))
        colour = properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR)
        self.background = tuple(bytes.fromhex(colour)) if colour else WHITE
        try:
            profile = slide.color_profile
            self.icc_profile = None if profile is None else profile.tobytes()
        except ImageCms.PyCMSError:
            self.icc_profile = b""
        self.identity = properties.get(openslide.PROPERTY_NAME_QUICKHASH1, "")
        self.description = properties.get(openslide.PROPERTY_NAME_COMMENT, "")
        self.bounds = _bounds(properties)
        self.images = _associated(properties)
        vendor = properties.get(openslide.PROPERTY_NAME_VENDOR)
        self._vendor, self._named = vendor, frozenset(properties.values())
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
        return self.files[0].name if self._vendor == "dicom" else self.path.name

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """As `SlideReader.files`; of DICOM with the photographs of the glass, which belong to the same series."""
        return tuple(sorted({self.path, *self._beside()})) if self._vendor != "dicom" else self._of_series()

    def _of_series(self) -> tuple[Path, ...]:
        mine = (path for path in self.path.parent.iterdir() if dicom_identity(path) == self.identity)
        return tuple(sorted(mine)) or (self.path,)

    def _beside(self) -> Iterator[Path]:
        """Files of a slide that is named by an index: MIRAX keeps a folder, VMS and VMU name files beside them."""
        if self._vendor == "mirax":
            yield from (path for path in self.path.with_suffix("").rglob("*") if path.is_file())
        elif self._vendor == "hamamatsu":
            yield from (path for path in self.path.parent.iterdir() if path.name in self._named and path.is_file())

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


def _bounds(properties: Mapping[str, str]) -> tuple[int, int, int, int] | None:
    """What was scanned: x, y, width and height in pixels of level 0."""
    names = (
        openslide.PROPERTY_NAME_BOUNDS_X,
        openslide.PROPERTY_NAME_BOUNDS_Y,
        openslide.PROPERTY_NAME_BOUNDS_WIDTH,
        openslide.PROPERTY_NAME_BOUNDS_HEIGHT,
    )
    try:
        x, y, width, height = (int(properties[name]) for name in names)
    except (KeyError, ValueError):
        return None
    return (x, y, width, height) if width > 0 and height > 0 else None


def _associated(properties: Mapping[str, str]) -> tuple[ImageInfo, ...]:
    """The photographs of the glass, which OpenSlide gives the size of without decoding them."""
    sizes: dict[str, dict[str, int]] = {}
    for key, value in properties.items():
        match = _ASSOCIATED.fullmatch(key)
        if match and value.isdecimal():
            sizes.setdefault(match[1], {})[match[2]] = int(value)
    return tuple(
        ImageInfo(name, size["width"], size["height"]) for name, size in sorted(sizes.items()) if len(size) == 2
    )
