"""Objects of QuPath as GeoJSON.

What QuPath wants stands in its PathObjectTypeAdapters: type of object, lock, class and measurements inside
``properties``, an id that is a UUID beside them, and positions in pixels of level 0 from its top-left corner, y down.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from wsi_idc._util.files import replacing, replacing_text

RGB = tuple[int, int, int]

CORNER = (0, 0)
"""Where pixels are counted from, unless QuPath crops the slide to what was scanned."""

IDC, NO_IDC = "IDC", "no IDC"
"""Classes of a patch that is called IDC, and of one that is not. Read back as outlines, only the first counts."""

IDC_RGB: RGB = (213, 94, 0)
NO_IDC_RGB: RGB = (0, 114, 178)
"""Vermilion and blue of Okabe and Ito, which the colour-blind can tell apart, and both from the stains."""


def classification(name: str, rgb: RGB) -> dict[str, Any]:
    """A class as QuPath wants it: it takes one only with name and colour."""
    return {"name": name, "color": list(rgb)}


def feature(
    ident: str, kind: str, rings: Iterable[list[list[int]]], measurements: dict[str, float], **properties: Any
) -> dict[str, Any]:
    """An object of QuPath, locked unless `properties` say otherwise, so that nobody moves a result by accident."""
    return {
        "type": "Feature",
        "id": ident,
        "geometry": {"type": "Polygon", "coordinates": list(rings)},
        "properties": {"objectType": kind, "isLocked": True, **properties, "measurements": measurements},
    }


def uuid_of(name: str) -> uuid.UUID:
    """UUIDv5 of a name that may hold bytes of a file's name that are no UTF-8, kept by Python as surrogates."""
    return uuid.UUID(uuid5(uuid.NAMESPACE_OID, name))


def uuid5(namespace: uuid.UUID, name: str) -> str:
    """As `uuid_of`, within a namespace. `uuid.uuid5` takes ten times as long (RFC 9562, 5.5)."""
    hashed = hashlib.sha1(namespace.bytes + name.encode("utf-8", "surrogateescape"), usedforsecurity=False)
    octets = bytearray(hashed.digest()[:16])
    octets[6] = octets[6] & 0x0F | 0x50
    octets[8] = octets[8] & 0x3F | 0x80
    digits = octets.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def write_features(path: Path, features: Iterable[dict[str, Any]]) -> None:
    """Write a FeatureCollection, one feature at a time, each on a line of its own; gzipped for a path in ``.gz``."""
    encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
    with _writing(path) as file:
        file.write('{"type":"FeatureCollection","features":[')
        separator = "\n"
        for one in features:
            file.write(separator + encode(one))
            separator = ",\n"
        file.write("\n]}\n")


@contextmanager
def _writing(path: Path) -> Iterator[TextIO]:
    if path.suffix != ".gz":
        with replacing_text(path) as plain:
            yield plain
        return
    with (
        replacing(path) as temporary,
        temporary.open("wb") as raw,
        # Neither time nor the temporary name, which gzip would store.
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as zipped,
        TextIOWrapper(zipped, encoding="utf-8", newline="") as text,
    ):
        yield text
