"""setuptools, whose source archive holds the times of its building; here it is the same bytes from the same files.

The time is ``SOURCE_DATE_EPOCH``, which setuptools follows in wheels by itself.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Build the source archive, as PEP 517 asks for it."""
    name: str = build_meta.build_sdist(sdist_directory, config_settings)
    if "SOURCE_DATE_EPOCH" in os.environ:
        set_times(Path(sdist_directory, name), int(os.environ["SOURCE_DATE_EPOCH"]))
    return name


def set_times(archive: Path, seconds: int) -> None:
    """Write a ``.tar.gz`` again with its members sorted, all of one time, and of no user."""
    with tarfile.open(archive) as tar:
        members = [(member, tar.extractfile(member)) for member in sorted(tar.getmembers(), key=lambda one: one.name)]
        new = archive.with_suffix(".new")
        with (
            new.open("wb") as file,
            gzip.GzipFile("", "wb", 9, file, mtime=seconds) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as out,
        ):
            for member, data in members:
                member.mtime, member.uid, member.gid, member.uname, member.gname = seconds, 0, 0, "", ""
                member.mode, member.pax_headers = 0o755 if member.isdir() else 0o644, {}
                out.addfile(member, data)
    new.replace(archive)
