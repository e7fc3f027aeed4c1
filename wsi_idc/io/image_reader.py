"""Plain images of tissue, held in memory: JPEG, PNG, and TIFF that is not cut into tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from wsi_idc.errors import OptionError, SlideError
from wsi_idc.io.choice import choose_image
from wsi_idc.io.reader import Level, SlideReader
from wsi_idc.io.samples import UnfitPixelsError, check_depth, samples_of
from wsi_idc.io.tiff_tiles import first_page
from wsi_idc.source import ImageInfo

NO_IMAGE = "no image"

MOST_SIDE_PX = 20_000
"""Longest side of an image that is held in memory; 1.2 GB at most."""

_JPEG, _PNG, _TIFF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_MOST_PAGES = 10_000

_TO_TILES = "vips tiffsave IN OUT.tif --tile --pyramid --compression jpeg --Q 90"
"""What makes a slide of any image."""

_WITH_OPACITY = ("RGBA", "LA", "PA", "La", "RGBa")


class ImageReader(SlideReader):
    """A picture of tissue as one level, without a scale of its own: a print resolution is no scale of a slide.

    Parameters
    ----------
    path : Path
    image : str, optional
        Which image of a TIFF that holds several: see `choose_image`.

    Raises
    ------
    OSError
        Where the file is no such image, or damaged.
    OptionError
        Where it holds no such image.
    SlideError
        Where it is too large to be held, or its pixels are of a kind that is not scored.
    """

    def __init__(self, path: Path, image: str | None = None) -> None:
        self.path = path
        with path.open("rb") as file:
            magic = file.read(len(_PNG))
        if not magic.startswith((_JPEG, _PNG, *_TIFF)):
            raise OSError(NO_IMAGE)
        try:
            self._pixels = self._read_tiff(image) if magic.startswith(_TIFF) else self._read_picture(magic, image)
        except (OptionError, SlideError):
            raise
        except UnfitPixelsError as error:
            raise SlideError(f"{path} {error}.") from error
        except Exception as error:  # Pillow and tifffile raise whatever their parts raise on damaged files
            raise OSError(str(error) if isinstance(error, OSError) else f"damaged: {error!r}") from error
        height, width = self._pixels.shape[:2]
        self.levels = (Level(width, height, (1.0, 1.0)),)

    def _read_picture(self, magic: bytes, wanted: str | None) -> NDArray[np.uint8]:
        # Not by Image.open, which refuses what is larger than a screen needs; the size is checked here.
        with JpegImageFile(self.path) if magic.startswith(_JPEG) else PngImageFile(self.path) as image:
            choose_image(self.path, [ImageInfo("0", *image.size)], wanted)
            self._check_size(*image.size)
            self.icc_profile = image.info.get("icc_profile") or None
            if image.mode.startswith("I"):
                grey = np.asarray(image).astype(np.int64) >> 8
                return _with_opacity(np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2))
            transparent = image.mode in _WITH_OPACITY or "transparency" in image.info
            decoded: Image.Image = image
            return _with_opacity(np.asarray(decoded.convert("RGBA" if transparent else "RGB")))

    def _read_tiff(self, wanted: str | None) -> NDArray[np.uint8]:
        with tifffile.TiffFile(self.path) as tiff:
            _check_pages(tiff)
            every = list(tiff.series)
            if not every or any(first_page(one).is_tiled for one in every):
                raise OSError(NO_IMAGE)
            sizes = [first_page(one) for one in every]
            infos = [ImageInfo(str(i), page.imagewidth, page.imagelength) for i, page in enumerate(sizes)]
            chosen = choose_image(self.path, infos, wanted)
            self.image = infos[chosen].name if len(infos) > 1 else None
            self.images = tuple(info for i, info in enumerate(infos) if i != chosen)
            series = every[chosen]
            self._check_size(infos[chosen].width_px, infos[chosen].height_px)
            _check_whole(series, tiff.filehandle.size)
            samples = samples_of(series)
            self.icc_profile = getattr(series.pages[0], "iccprofile", None) or None
            stored = series.asarray()
        check_depth(samples, stored[..., ::16, ::16] if samples.channels_first else stored[::16, ::16])
        return samples.rgba(stored)

    def _check_size(self, width_px: int, height_px: int) -> None:
        if max(width_px, height_px) > MOST_SIDE_PX:
            raise SlideError(
                f"{self.path} has {width_px:,} x {height_px:,} px in one piece, where up to {MOST_SIDE_PX:,} a side "
                f"are held in memory: convert it with `{_TO_TILES}`."
            )

    def read(self, level: int, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        return self._pixels[top : top + height, left : left + width]

    def close(self) -> None:
        """Nothing is open."""


def _with_opacity(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.shape[2] == 4:
        return pixels
    region = np.full((*pixels.shape[:2], 4), 255, dtype=np.uint8)
    region[..., :3] = pixels
    return region


def _check_pages(tiff: tifffile.TiffFile) -> None:
    """OSError where a file has no page, or its pages lead back to one another without end."""
    seen: set[int] = set()
    for page in tiff.pages:
        if page.offset in seen or len(seen) > _MOST_PAGES:
            raise OSError("damaged: its directories have no end")
        seen.add(page.offset)
    if not seen:
        raise OSError(NO_IMAGE)


def _check_whole(series: tifffile.TiffPageSeries, size: int) -> None:
    """OSError where the file ends before the pixels that it declares."""
    for page in series.pages:
        if page is None:
            raise OSError("damaged: it ends before its pages do")
        ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends, default=0) > size or not page.dataoffsets:
            raise OSError("damaged: it ends before its pixels do")
