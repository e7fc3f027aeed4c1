"""Which of several images in one file is the tissue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from wsi_idc.errors import OptionError, printable
from wsi_idc.source import ImageInfo

_NOT_TISSUE = re.compile(r"(?<![a-z])(?:label|macro|thumb(?:nail)?)(?:image)?s?(?![a-z])", re.IGNORECASE)
"""Names of photographs of the glass, and of small copies."""


def choose_image(path: Path, images: Sequence[ImageInfo], wanted: str | None = None) -> int:
    """Index of the image that is scored.

    Parameters
    ----------
    path : Path
        For errors.
    images : sequence of ImageInfo
        All that the file holds, in its order; at least one.
    wanted : str, optional
        Name of the image, or its number, from 0. By default the one of most pixels that is no label, macro or
        thumbnail by its name; of all, where all are.

    Raises
    ------
    OptionError
        Where `wanted` names none of them, or several.
    """
    if wanted is None:
        tissue = [i for i, image in enumerate(images) if not _NOT_TISSUE.search(image.name)]
        return max(tissue or range(len(images)), key=lambda i: images[i].width_px * images[i].height_px)
    named = [i for i, image in enumerate(images) if image.name == wanted]
    if len(named) == 1:
        return named[0]
    if len(named) > 1:
        raise OptionError(
            f"{path} holds {len(named)} images called {printable(wanted)}: choose one by its number with --image: "
            f"{listed(images)}."
        )
    if wanted.isdecimal() and int(wanted) < len(images):
        return int(wanted)
    raise OptionError(
        f"{path} holds no image {printable(wanted)}: choose one by name or number with --image: {listed(images)}."
    )


def listed(images: Sequence[ImageInfo]) -> str:
    """Images by number, name and size, for messages."""
    return ", ".join(f"{i} ({described(image)})" for i, image in enumerate(images))


def described(image: ImageInfo) -> str:
    """An image by name and size, for messages."""
    return f"{printable(image.name)}, {image.width_px:,} x {image.height_px:,} px"
