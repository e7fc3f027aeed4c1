"""Which slide a picture in a results folder was made from, where no ``run.json`` says so.

A mosaic outlasts the scores of its slide, and ``mosaic`` makes one before there are any. While ``run.json`` is missing,
or says something else, a file beside the pictures tells of each; a picture that nothing tells of counts as another's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsi_idc._util.files import write_json
from wsi_idc.source import SlideFacts

ORIGINS_FILE = ".mosaics.json"

Origin = dict[str, Any]

_OF_PIXELS = ("converted_to_srgb", "image")
"""Of `SlideFacts.details`, what a mosaic's pixels depend on."""


def origin_of(source: SlideFacts) -> Origin:
    """What decides the pixels of a slide's mosaic."""
    return _origin(source.fingerprint, list(source.mpp), source.details)


def origin_in(run: Mapping[str, Any]) -> Origin:
    """The same from what a ``run.json`` holds; KeyError or TypeError where it is not as it was written."""
    return _origin(run["source"]["fingerprint"], run["source"]["mpp"], run["source"])


def _origin(fingerprint: str, mpp: list[float], details: Mapping[str, object]) -> Origin:
    return {"fingerprint": fingerprint, "mpp": mpp, **{name: details.get(name) for name in _OF_PIXELS}}


def told_origins(folder: Path) -> dict[str, Origin | None]:
    """What is told of pictures by their names; nothing where the file cannot be read."""
    try:
        told: dict[str, Origin | None] = json.loads((folder / ORIGINS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def tell_origins(folder: Path, origins: Mapping[str, Origin | None]) -> None:
    """Put down what pictures were made from; without any there is no file."""
    if origins:
        write_json(folder / ORIGINS_FILE, dict(origins))
    else:
        (folder / ORIGINS_FILE).unlink(missing_ok=True)


@contextmanager
def making(folder: Path, name: str, source: SlideFacts) -> Iterator[None]:
    """While a picture is made its origin is unknown; then it is told. The folder is locked."""
    tell_origins(folder, told_origins(folder) | {name: None})
    yield
    tell_origins(folder, told_origins(folder) | {name: origin_of(source)})
