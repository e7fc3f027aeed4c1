"""Which reader a file is opened with, and what is said of one that none can read."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import openslide

from wsi_idc.errors import OptionError, SlideError, printable
from wsi_idc.io.image_reader import NO_IMAGE, ImageReader
from wsi_idc.io.openslide_reader import OpenSlideReader
from wsi_idc.io.reader import SlideReader
from wsi_idc.io.tiff_reader import NO_OME_TIFF, TiffReader

_LFS_POINTER = b"version https://git-lfs.github.com/"
"""What a file holds that Git has not fetched."""

_OF_VENDORS = (".svs", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".bif", ".svslide", ".czi", ".vsi", ".dcm")
"""Endings of slides. What stands in such a file as a plain image is not the tissue: a MIRAX's own file is a JPEG."""

_UNREAD = {
    ".vsi": "Olympus VSI",
    ".czi": "Zeiss CZI",
    ".isyntax": "Philips iSyntax",
    ".i2syntax": "Philips iSyntax",
    ".lif": "Leica LIF",
    ".nd2": "Nikon ND2",
    ".oir": "Olympus OIR",
    ".mds": "Motic MDS",
    ".kfb": "KFBio KFB",
    ".sdpc": "Sqray SDPC",
}
"""Formats of slides that nothing here reads."""

_PLAIN = {".jp2": "JPEG 2000", ".bmp": "BMP", ".gif": "GIF", ".webp": "WebP", ".heic": "HEIC"}
"""Formats of plain images that are not read."""


def open_reader(path: str | Path, image: str | None = None) -> SlideReader:
    """Open a slide file.

    Parameters
    ----------
    path : path
    image : str, optional
        Which of several images in one file, by name or number: see `choose_image`.

    Raises
    ------
    SlideError
        Where there is no such file, or none of the readers can read it.
    OptionError
        Where it holds no such image.
    """
    path = Path(path)
    if path.is_dir():
        raise SlideError(f"{path} is a folder: name a slide file in it, or score them all with `all --slides`.")
    if not path.is_file():
        raise SlideError(f"There is no slide file {path}: name one that OpenSlide can read, or an OME-TIFF.")
    if _is_tiff_of_no_vendor(path):
        # OpenSlide knows neither the scale in OME-XML nor levels in SubIFDs, and only the first image.
        with suppress(OSError):
            return TiffReader(path, image)
    try:
        reader = OpenSlideReader(path)
    except OSError as error:
        refused = error
    else:
        return _of_one_image(reader, image)
    try:
        return TiffReader(path, image)
    except OSError as error:
        told = refused if str(error) == NO_OME_TIFF else error
    if not path.name.lower().endswith(_OF_VENDORS):
        try:
            return ImageReader(path, image)
        except OSError as error:
            told = told if str(error) == NO_IMAGE else error
    raise SlideError(
        _what_is_missing(path)
        or f"{path} cannot be read as a slide ({_whats_there(path) or told}): fetch it again if it should be one, or "
        "name a file that OpenSlide can read, or an OME-TIFF of 8-bit RGB."
    ) from told


def _of_one_image(reader: SlideReader, image: str | None) -> SlideReader:
    """OptionError where another image is wanted than the slide: the photographs of its glass are never scored."""
    if image in (None, "0"):
        return reader
    reader.close()
    raise OptionError(
        f"{reader.path} holds one image that can be scored, and none called {printable(image or '')}: leave out "
        "--image."
    )


def _what_is_missing(path: Path) -> str | None:
    """What is wrong with a file of a known format, by its ending; None where that tells nothing."""
    if not path.stat().st_size or _whats_there(path):
        return None
    ending = path.suffix.lower()
    if ending == ".mrxs":
        folder = path.with_suffix("")
        if (folder / "Slidedat.ini").is_file():
            return f"{path} is a MIRAX slide whose folder {folder.name} is damaged or lacks files: copy it again."
        return (
            f"{path} is only the index of a MIRAX slide, and its folder {folder.name} with Slidedat.ini and the pixels "
            "is missing beside it: copy that folder, too."
        )
    if ending in (".vms", ".vmu"):
        lacking = [name for name in _named_files(path) if not (path.parent / name).is_file()]
        if lacking:
            return (
                f"{path} is only the index of a Hamamatsu slide, and {printable(lacking[0])} is missing beside it: "
                "copy all its files."
            )
    if ending in _PLAIN:
        return f"{path} is a plain image of {_PLAIN[ending]}: convert it to PNG, and name that with --mpp."
    if ending in _UNREAD:
        folder = path.with_name(f"_{path.stem}_")
        lacks = ending == ".vsi" and not folder.is_dir()
        more = f", and its folder {folder.name} with the pixels is missing beside it" if lacks else ""
        return (
            f"{path} is a slide of {_UNREAD[ending]}, which OpenSlide {openslide.__library_version__} does not read"
            f"{more}: convert the whole slide to OME-TIFF, with QuPath or bfconvert."
        )
    return None


def _named_files(index: Path) -> list[str]:
    """Files that a Hamamatsu index names."""
    text = index.read_bytes()[:65_536].decode("utf-8", "replace")
    return [name.strip() for name in re.findall(r"^(?:ImageFile|MapFile)[^=\n]*=([^\r\n]+)", text, re.MULTILINE)]


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
