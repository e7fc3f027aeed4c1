"""Whether what is installed is what the package asks for."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from wsi_idc._version import __version__
from wsi_idc.doctor.check import Check, fail, ok, warn

DISTRIBUTION = "wsi-idc"
FOR_DEVELOPERS = ("test", "fuzz")
"""Extras that no run needs."""

OLDEST_OPENSLIDE = Version("4.0.1")


def python() -> Iterator[Check]:
    """The interpreter's version, and that of the package."""
    running = platform.python_version()
    told = f"wsi-idc {__version__}, Python {running}, {platform.platform()}"
    try:
        installed = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        yield warn("python", f"{told}; the package is not installed, so no version can be compared: pip install it.")
        return
    if installed["Version"] != __version__:
        yield warn(
            "python",
            f"{told}; the versions below are compared with what {installed['Version']} asks for, which is installed "
            "beside this code: pip install it again.",
        )
    elif not SpecifierSet(installed["Requires-Python"] or "").contains(running, prereleases=True):
        yield fail("python", f"{told}; take a Python {installed['Requires-Python']}.")
    else:
        yield ok("python", told)


def requirements() -> list[Requirement]:
    """All that the metadata ask for, those of extras with their marker; none where nothing is installed."""
    try:
        return [Requirement(line) for line in metadata.requires(DISTRIBUTION) or []]
    except metadata.PackageNotFoundError:
        return []


def packages(wanted: Iterable[Requirement] | None = None) -> Iterator[Check]:
    """Whether all packages that every run needs are there, new enough."""
    always = [one for one in (requirements() if wanted is None else wanted) if _applies(one, "")]
    wrong = [text for one in always if (text := wrong_with(one))]
    if wrong:
        yield fail("packages", f"{'; '.join(wrong)}: pip install them again.")
    elif always:
        yield ok("packages", f"all {len(always)} are there, new enough")


def extras(wanted: Iterable[Requirement] | None = None) -> Iterator[Check]:
    """Which extras are whole; one that is there in part, or too old, is worth a word."""
    asked = list(requirements() if wanted is None else wanted)
    names = (metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []) if wanted is None else _extras_of(asked)
    whole, absent = [], []
    for name in (name for name in names if name not in FOR_DEVELOPERS):
        own = [one for one in asked if not _applies(one, "") and _applies(one, name)]
        wrong = [text for one in own if (text := wrong_with(one))]
        if not wrong:
            whole.append(name)
        elif any("is too old" in text for text in wrong):
            yield warn("extras", f'{"; ".join(wrong)}: pip install "wsi-idc[{name}]" again.')
        else:
            absent.append(name)
    told = [f"{', '.join(found)} {word}" for found, word in ((whole, "there"), (absent, "not installed")) if found]
    if told:
        yield ok("extras", "; ".join(told))


def _extras_of(asked: Iterable[Requirement]) -> list[str]:
    """Names of extras in markers: ``extra == "dicom"``."""
    markers = (str(one.marker) for one in asked if one.marker is not None)
    return sorted({text.split('extra == "')[1].split('"')[0] for text in markers if 'extra == "' in text})


def _applies(one: Requirement, extra: str) -> bool:
    return one.marker is None or one.marker.evaluate({"extra": extra})


def wrong_with(one: Requirement) -> str:
    """What is wrong with an installed package, or with what an extra of it asks for; empty where nothing is."""
    try:
        version = metadata.version(one.name)
    except metadata.PackageNotFoundError:
        return f"{one.name} is missing"
    try:
        new_enough = one.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return ""
    if not new_enough:
        return f"{one.name} {version} is too old ({one.specifier})"
    below = [Requirement(line) for line in (metadata.requires(one.name) or []) if one.extras]
    asked = (other for other in below if not _applies(other, "") and any(_applies(other, name) for name in one.extras))
    return next((text for other in asked if (text := wrong_with(other))), "")


def openslide() -> Iterator[Check]:
    """Whether OpenSlide's library is new enough, and opens a slide."""
    try:
        import openslide as library
        import tifffile
    except (ImportError, OSError) as error:
        yield fail("openslide", f"cannot be loaded ({error}): pip install openslide-python openslide-bin.")
        return
    version = library.__library_version__
    if Version(version) < OLDEST_OPENSLIDE:
        yield fail("openslide", f"{version} is older than {OLDEST_OPENSLIDE}: pip install -U openslide-bin.")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tif"
        tifffile.imwrite(path, np.full((256, 256, 3), 200, np.uint8), tile=(128, 128), photometric="rgb")
        with library.OpenSlide(path) as slide:
            pixel = slide.read_region((100, 100), 0, (1, 1)).getpixel((0, 0))
    if pixel != (200, 200, 200, 255):
        yield fail(
            "openslide", f"{version} reads {pixel} for a grey of 200: pip install --force-reinstall openslide-bin."
        )
    else:
        yield ok("openslide", f"{version}, opens a slide")
