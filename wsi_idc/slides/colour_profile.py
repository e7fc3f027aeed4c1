"""ICC profiles of slides."""

from __future__ import annotations

import io
from typing import Any

from PIL import ImageCms

from wsi_idc.errors import SlideError
from wsi_idc.io.reader import SlideReader


def profile_name(profile: bytes | None) -> str | None:
    """What a profile calls itself, ``unreadable``, or None without one."""
    if profile is None:
        return None
    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, OSError):
        return "unreadable"


def srgb_converter(path: str, reader: SlideReader) -> Any:
    """What brings a slide's colours to sRGB, for ``ImageCms.applyTransform``; None where it has no profile."""
    if reader.icc_profile is None:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(reader.icc_profile))
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise SlideError(f"{path} has an ICC profile that cannot be used ({error}): leave out --icc.") from error
