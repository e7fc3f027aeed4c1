"""What QuPath asks of a GeoJSON file, checked without QuPath; written after its PathObjectTypeAdapters."""

from __future__ import annotations

import gzip
import json
import math
import uuid
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

Ring = list[list[int]]
OBJECT_TYPES = {"tile", "annotation", "detection", "cell"}


def read_checked(path: Path) -> list[dict[str, Any]]:
    """Features of a file that keeps all of the rules."""
    contents = path.read_bytes()
    text = (gzip.decompress(contents) if path.suffix == ".gz" else contents).decode("utf-8")
    document = json.loads(text, parse_constant=_refuse)
    assert document["type"] == "FeatureCollection"
    features: list[dict[str, Any]] = document["features"]
    for feature in features:
        check_feature(feature)
    idents = [feature["id"] for feature in features]
    assert len(set(idents)) == len(idents)
    return features


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def check_feature(feature: dict[str, Any]) -> None:
    assert set(feature) == {"type", "id", "geometry", "properties"}
    assert feature["type"] == "Feature"
    assert str(uuid.UUID(feature["id"])) == feature["id"]
    assert uuid.UUID(feature["id"]).version == 5
    properties = feature["properties"]
    assert properties["objectType"] in OBJECT_TYPES
    assert type(properties["isLocked"]) is bool
    if "classification" in properties:
        assert set(properties["classification"]) == {"name", "color"}
        assert isinstance(properties["classification"]["name"], str)
        # A colon would make a derived class of it, an asterisk one that is ignored.
        assert not set(properties["classification"]["name"]) & set(":*")
        colour = properties["classification"]["color"]
        assert len(colour) == 3
        assert all(type(part) is int and 0 <= part <= 255 for part in colour)
    assert isinstance(properties["measurements"], dict)
    for name, value in properties["measurements"].items():
        assert isinstance(name, str)
        assert type(value) in (int, float)
        assert math.isfinite(value)
    assert set(feature["geometry"]) == {"type", "coordinates"}
    assert feature["geometry"]["type"] == "Polygon"
    check_polygon(feature["geometry"]["coordinates"])


def check_polygon(rings: list[Ring]) -> None:
    """Rules of OGC's simple features and RFC 7946 for a polygon whose sides run along x and y."""
    for ring in rings:
        assert ring[0] == ring[-1]
        assert len(ring) >= 5
        assert all(type(value) is int and value >= 0 for point in ring for value in point)
        corners = [tuple(point) for point in ring[:-1]]
        assert len(set(corners)) == len(corners)
        turns = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(ring)]
        assert all((dx == 0) != (dy == 0) for dx, dy in turns)
        # Every corner is one.
        assert all((one[0] == 0) != (other[0] == 0) for one, other in pairwise([*turns, turns[0]]))
    exterior, *holes = rings
    assert twice_area(exterior) > 0
    assert all(twice_area(hole) < 0 for hole in holes)
    pieces = Counter(piece for ring in rings for piece in _unit_sides(ring, rings))
    assert set(pieces.values()) == {1}
    # Where rings cross or one touches itself, more than two sides would meet at a point of one ring.
    for hole in holes:
        assert all(_within(point, exterior) for point in hole)
        others = [other for other in holes if other is not hole]
        assert not any(_strictly_within(_inner_point(hole), other) for other in others)
    touching = Counter(tuple(point) for ring in rings for point in ring[:-1])
    assert max(touching.values()) <= 2


def twice_area(ring: Ring) -> int:
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring))


def _unit_sides(ring: Ring, rings: list[Ring]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Sides, cut at the positions of all corners, with the lesser end first."""
    x = sorted({point[0] for other in rings for point in other})
    y = sorted({point[1] for other in rings for point in other})
    sides = []
    for a, b in pairwise(ring):
        (x0, x1), (y0, y1) = sorted((a[0], b[0])), sorted((a[1], b[1]))
        along = [(value, y0) for value in x if x0 <= value <= x1] if y0 == y1 else []
        along += [(x0, value) for value in y if y0 <= value <= y1] if x0 == x1 else []
        sides += list(pairwise(along))
    return sides


def _strictly_within(point: tuple[float, float], ring: Ring) -> bool:
    x, y = point
    crossed = [a[0] > x for a, b in pairwise(ring) if a[0] == b[0] and min(a[1], b[1]) <= y < max(a[1], b[1])]
    return bool(sum(crossed) % 2)


def _within(point: list[int], ring: Ring) -> bool:
    """Inside or on the ring."""
    x, y = point
    return any(_strictly_within((x + dx, y + dy), ring) for dx in (-0.25, 0.25) for dy in (-0.25, 0.25))


def _inner_point(ring: Ring) -> tuple[float, float]:
    """Just inside of the upper left corner."""
    x, y = min((point[1], point[0]) for point in ring)[::-1]
    return x + 0.25, y + 0.25
