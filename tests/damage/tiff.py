"""One change to a TIFF at a time, in place: what is not changed keeps its bytes.

For classic little-endian TIFFs, as tifffile and scanners write them (TIFF 6.0, section 2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

Change = Callable[[bytes], bytes]
"""A good file to a damaged one."""

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION, SAMPLES = 256, 257, 258, 259, 262, 270, 277
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, JPEG_TABLES, ICC_PROFILE = 322, 323, 324, 325, 347, 34675

_FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 5: "I", 7: "B"}
"""What a field's type is stored as; a rational (5) is two numbers."""

_NO_TAG = 65_000
"""A private tag that no reader knows."""


@dataclass(frozen=True)
class Field:
    """Where a tag of a directory stands, and where its values do."""

    entry_at: int
    kind: int
    count: int
    values_at: int

    @property
    def format(self) -> str:
        return _FORMATS[self.kind]

    @property
    def step(self) -> int:
        return struct.calcsize(self.format)


def _read(data: bytes, kind: str, at: int) -> int:
    return int(struct.unpack_from("<" + kind, data, at)[0])


def _directories(data: bytes) -> list[int]:
    """Where each page's directory stands."""
    assert data[:4] == b"II*\0", "only classic little-endian TIFF"
    found, at = [], _read(data, "I", 4)
    while at:
        found.append(at)
        at = _read(data, "I", at + 2 + 12 * _read(data, "H", at))
    return found


def field_of(data: bytes, tag: int, page: int = 0) -> Field:
    """Find a tag."""
    at = _directories(data)[page]
    for entry in range(at + 2, at + 2 + 12 * _read(data, "H", at), 12):
        if _read(data, "H", entry) == tag:
            kind, count = _read(data, "H", entry + 2), _read(data, "I", entry + 4)
            numbers = 2 * count if kind == 5 else count
            fits = struct.calcsize(_FORMATS[kind]) * numbers <= 4
            return Field(entry, kind, numbers, entry + 8 if fits else _read(data, "I", entry + 8))
    raise KeyError(tag)


def values_of(data: bytes, tag: int, page: int = 0) -> list[int]:
    """All values of a tag."""
    field = field_of(data, tag, page)
    return [_read(data, field.format, field.values_at + i * field.step) for i in range(field.count)]


def put(data: bytes, at: int, content: bytes) -> bytes:
    """Overwrite bytes."""
    return data[:at] + content + data[at + len(content) :]


def set_tag(tag: int, *values: int, page: int = 0, first: int = 0) -> Change:
    """Overwrite values of a tag, from the one at `first` on."""

    def change(data: bytes) -> bytes:
        field = field_of(data, tag, page)
        content = struct.pack(f"<{len(values)}{field.format}", *values)
        return put(data, field.values_at + first * field.step, content)

    return change


def set_all(tag: int, value: int, page: int = 0) -> Change:
    """Give all values of a tag the same number."""
    return lambda data: set_tag(tag, *[value] * field_of(data, tag, page).count, page=page)(data)


def drop_tag(tag: int, page: int = 0) -> Change:
    """Call a tag something that nobody knows."""
    return lambda data: put(data, field_of(data, tag, page).entry_at, struct.pack("<H", _NO_TAG))


def set_count(tag: int, count: int, page: int = 0) -> Change:
    """Say that a tag has so many values."""
    return lambda data: put(data, field_of(data, tag, page).entry_at + 4, struct.pack("<I", count))


def first_directory(at: int) -> Change:
    """Say that the first page's directory stands there; negative from the end."""
    return lambda data: put(data, 4, struct.pack("<I", at % len(data) if at < 0 else at))


def next_directory(target: int | None, page: int = -1) -> Change:
    """Say that after a page comes the one at `target`; with None, the first again."""

    def change(data: bytes) -> bytes:
        pages = _directories(data)
        at = pages[page] + 2 + 12 * _read(data, "H", pages[page])
        return put(data, at, struct.pack("<I", pages[0] if target is None else target))

    return change


def tile_span(data: bytes, tile: int, page: int = 0) -> slice:
    """Where a tile's bytes stand."""
    start = values_of(data, TILE_OFFSETS, page)[tile]
    return slice(start, start + values_of(data, TILE_BYTES, page)[tile])


def in_tile(change: Change, tile: int = 0, page: int = 0) -> Change:
    """Make a change to the bytes of a tile; its length must stay."""

    def change_tile(data: bytes) -> bytes:
        span = tile_span(data, tile, page)
        return put(data, span.start, change(data[span]))

    return change_tile


def in_all_tiles(change: Change, page: int = 0) -> Change:
    """The same for every tile of a page."""

    def change_tiles(data: bytes) -> bytes:
        for tile in range(field_of(data, TILE_OFFSETS, page).count):
            data = in_tile(change, tile, page)(data)
        return data

    return change_tiles


def zeroed(data: bytes) -> bytes:
    """Zeros instead."""
    return bytes(len(data))


def flipped(data: bytes) -> bytes:
    """Every bit turned."""
    return bytes(byte ^ 0xFF for byte in data)


def flip_middle(data: bytes) -> bytes:
    """One byte in the middle turned."""
    return put(data, len(data) // 2, flipped(data[len(data) // 2 :][:1]))


def cut(share: float) -> Change:
    """Keep the first part of a file."""
    return lambda data: data[: int(len(data) * share)]


def keep(length: int) -> Change:
    """Keep so many bytes; with a negative number, all but so many."""
    return lambda data: data[:length]


def become(content: bytes) -> Change:
    """Another file under this name."""
    return lambda data: content


def replace(old: bytes, new: bytes) -> Change:
    """Change text where it stands; what is shorter is filled up with blanks."""

    def change(data: bytes) -> bytes:
        assert old in data
        assert len(new) <= len(old)
        return data.replace(old, new.ljust(len(old)), 1)

    return change


def both(*changes: Change) -> Change:
    """Several changes that only together are one damage."""

    def change(data: bytes) -> bytes:
        for one in changes:
            data = one(data)
        return data

    return change


def same(data: bytes) -> bytes:
    """No change: what must still work."""
    return data
