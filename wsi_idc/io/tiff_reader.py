"""OME-TIFF through tifffile, which knows its scale, its levels in SubIFDs, and that it may hold several images."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsi_idc.errors import OptionError, SlideError
from wsi_idc.io.choice import choose_image
from wsi_idc.io.jpeg_tiles import JpegLevels
from wsi_idc.io.ome_xml import OmeImage, ome_images
from wsi_idc.io.reader import Level, SlideReader
from wsi_idc.io.samples import UnfitPixelsError, check_depth, samples_of
from wsi_idc.io.tiff_tiles import first_page, stored_tiles
from wsi_idc.source import ImageInfo

NO_OME_TIFF = "no OME-TIFF"

_LOOKED_AT = 3
"""Places along each side of a slide where the range of its values is looked at."""

_LOOK_PX = 512
"""Side of each."""


class TiffReader(SlideReader):
    """An image of an OME-TIFF: RGB of 8 bits, or what can be brought to that; levels in SubIFDs included.

    Parameters
    ----------
    path : Path
    image : str, optional
        Which image: see `choose_image`.

    Raises
    ------
    OSError
        Where it is no OME-TIFF, or damaged.
    OptionError
        Where it holds no such image.
    SlideError
        Where the image's pixels are of a kind that is not scored.
    """

    def __init__(self, path: Path, image: str | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._tiff = tifffile.TiffFile(path)
        except Exception as error:  # tifffile raises whatever its parts raise on damaged files
            raise OSError(NO_OME_TIFF) from error
        try:
            self._describe(image)
        except (OSError, OptionError, SlideError):
            self.close()
            raise
        except Exception as error:  # likewise
            self.close()
            raise OSError(f"damaged: {error!r}") from error

    def _describe(self, wanted: str | None) -> None:
        if not self._tiff.is_ome:
            raise OSError(NO_OME_TIFF)
        every = list(self._tiff.series)
        told = _told(ome_images(self._tiff.ome_metadata or ""), every)
        infos = [_info(i, one) for i, one in enumerate(every)]
        chosen = choose_image(self.path, infos, wanted)
        series, about = every[chosen], told[chosen]
        _check_declared(series, about)
        self.image = infos[chosen].name if len(infos) > 1 else None
        self.images = tuple(info for i, info in enumerate(infos) if i != chosen)
        self.mpp, self.scale_note = (None, "") if about is None else (about.mpp, about.scale_note)
        self.description = series.name
        self.icc_profile = getattr(series.pages[0], "iccprofile", None) or None
        try:
            self._samples = samples_of(series, None if about is None else about.bits)
            self._open_levels(series)
            check_depth(self._samples, self._seen())
        except UnfitPixelsError as error:
            raise SlideError(f"{self.path}{self._which} {error}.") from error

    @property
    def _which(self) -> str:
        return "" if self.image is None else f" (its image {self.image}; --image picks another)"

    def _open_levels(self, series: tifffile.TiffPageSeries) -> None:
        self._stored = [stored_tiles(level.pages) for level in series.levels]
        import zarr  # takes longer than all else that reads slides, and only OME-TIFF needs it

        self._arrays = [zarr.open_array(series.aszarr(level=index), mode="r") for index in range(len(series.levels))]
        sizes = [array.shape[1:] if self._samples.channels_first else array.shape[:2] for array in self._arrays]
        self.levels = tuple(
            Level(width, height, (sizes[0][1] / width, sizes[0][0] / height)) for height, width in sizes
        )
        paths = {page.parent.filehandle.path for level in series.levels for page in level.pages if page is not None}
        self._files = tuple(sorted({self.path, *map(Path, paths)})) if len(paths) > 1 else (self.path,)
        if len(self._files) == 1:
            whole = {index: level.pages[0] for index, level in enumerate(series.levels) if len(level.pages) == 1}
            self._jpeg = JpegLevels(self.path, whole, trust_jfif=True)

    @property
    def files(self) -> tuple[Path, ...]:
        return self._files

    def _seen(self) -> NDArray[Any]:
        """Values from all over the slide; none where 8 bits leave nothing to ask."""
        if self._arrays[-1].dtype == np.uint8:
            return np.empty(0, dtype=np.uint8)
        coarsest = self.levels[-1]
        parts = []
        for k in range(_LOOKED_AT**2):
            row, column = divmod(k, _LOOKED_AT)
            top = max(0, (2 * row + 1) * coarsest.height_px // (2 * _LOOKED_AT) - _LOOK_PX // 2)
            left = max(0, (2 * column + 1) * coarsest.width_px // (2 * _LOOKED_AT) - _LOOK_PX // 2)
            rows, columns = slice(top, top + _LOOK_PX), slice(left, left + _LOOK_PX)
            parts.append(self._stored_values(len(self.levels) - 1, rows, columns).ravel())
        return np.concatenate(parts)

    def _stored_values(self, level: int, rows: slice, columns: slice) -> NDArray[Any]:
        array = self._arrays[level]
        try:
            with self._lock:
                return np.asarray(array[:, rows, columns] if self._samples.channels_first else array[rows, columns])
        except Exception as error:  # tifffile's decoders raise whatever their parts raise
            raise OSError(f"damaged: {error!r}") from error

    def read(self, level: int, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        rows, columns = slice(top, top + height), slice(left, left + width)
        region = self._samples.rgba(self._stored_values(level, rows, columns))
        region[..., 3] = np.minimum(region[..., 3], self._stored[level].opacity(rows, columns))
        return region

    def close(self) -> None:
        self._jpeg.close()
        with self._lock:
            self._tiff.close()


def _info(index: int, series: tifffile.TiffPageSeries) -> ImageInfo:
    """An image by its name, or where it has none by its number."""
    page = first_page(series)
    return ImageInfo(series.name.strip() or str(index), page.imagewidth, page.imagelength)


def _check_declared(series: tifffile.TiffPageSeries, about: OmeImage | None) -> None:
    """OSError where the pages hold another kind of pixels than OME-XML says: one of them is damaged."""
    if about is None:
        return
    channels = math.prod(n for axis, n in zip(series.axes, series.shape, strict=True) if axis in "SC")
    if about.dtype not in ("", series.dtype.name) or about.channels not in (-1, channels):
        raise OSError(
            f"damaged: OME-XML declares {about.channels} channels of {about.dtype}, and the pages {channels} of "
            f"{series.dtype.name}"
        )


def _told(images: Sequence[OmeImage], series: Sequence[tifffile.TiffPageSeries]) -> list[OmeImage | None]:
    """What OME-XML says of each series: in its order, or, where some of its images are not there, by name and size."""
    if len(images) == len(series):
        return list(images)
    return [next((image for image in images if _is_of(image, one)), None) for one in series]


def _is_of(image: OmeImage, series: tifffile.TiffPageSeries) -> bool:
    page = first_page(series)
    return image.name == series.name and image.size_px == (page.imagewidth, page.imagelength)
