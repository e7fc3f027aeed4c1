"""Outlines of groups of neighbouring boxes: numbers only, no files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Region:
    """Boxes that hang together by their sides, and the outline of all of them.

    Attributes
    ----------
    boxes : ndarray of int64, shape (n,)
        Which boxes, in ascending order.
    rings : tuple of ndarray of int64, shape (k, 2)
        x, y of the corners: the exterior, with positive area where y is drawn upwards, then the holes, with negative
        area. Each ends where it begins, and passes no point twice.
    area : int
        What the rings enclose, holes left out, in square pixels.
    """

    boxes: Ints
    rings: tuple[Ints, ...]
    area: int


@dataclass(frozen=True)
class _Cells:
    """What boxes cover, cut along the edges of all of them.

    A cell is numbered by its upper left corner, and corners row by row, so that `stride` leads to the one below.

    Attributes
    ----------
    x, y : ndarray of int64
        Positions of all edges, ascending.
    taken : ndarray of int64, shape (c,)
        Cells that are covered, ascending.
    of_box : ndarray of int64, shape (n,)
        Place in `taken` of a cell of each box.
    """

    x: Ints
    y: Ints
    taken: Ints
    of_box: Ints

    @property
    def stride(self) -> int:
        return len(self.x)

    def find(self, cells: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """Place in `taken` of each cell, and whether it is there at all."""
        place = np.searchsorted(self.taken, cells).clip(max=len(self.taken) - 1)
        return place, self.taken[place] == cells

    def corners(self, numbers: list[int]) -> Ints:
        """x, y of numbered corners, shape (k, 2)."""
        row, column = np.divmod(np.array(numbers, dtype=np.int64), self.stride)
        return np.column_stack([self.x[column], self.y[row]])


def trace_regions(minx: Ints, miny: Ints, width: Ints, height: Ints) -> list[Region]:
    """Join boxes that share a part of a side, and outline each group, in the order of its first box.

    Boxes that touch at a corner alone are apart: joined there, their outline would touch itself, and no program takes
    that for a valid polygon. Where a hole touches the exterior or another hole at a corner, each keeps a ring of its
    own, which is valid.

    Parameters
    ----------
    minx, miny, width, height : ndarray of int64, shape (n,)
        Widths and heights are above 0. Boxes may differ in size, and may overlap.
    """
    if not len(minx):
        return []
    cells = _cut_cells(minx, miny, minx + width, miny + height)
    count, group = _groups(cells)
    first = np.full(count, len(minx), dtype=np.int64)
    np.minimum.at(first, group[cells.of_box], np.arange(len(minx)))
    edges = _boundary(cells, group, count)
    boxes = _split(np.arange(len(minx)), group[cells.of_box], count)
    regions = []
    for k in np.argsort(first).tolist():
        rings = [cells.corners(ring) for ring in _close_rings(*edges[k])]
        rings.sort(key=_twice_area, reverse=True)
        area = sum(map(_twice_area, rings)) // 2
        regions.append(Region(boxes[k], tuple(map(_without_straight_corners, rings)), area))
    return regions


def _cut_cells(left: Ints, top: Ints, right: Ints, bottom: Ints) -> _Cells:
    x, y = np.unique(np.concatenate([left, right])), np.unique(np.concatenate([top, bottom]))
    column, row = np.searchsorted(x, left), np.searchsorted(y, top)
    columns, rows = np.searchsorted(x, right) - column, np.searchsorted(y, bottom) - row
    count = columns * rows
    box = np.repeat(np.arange(len(left)), count)
    first = np.cumsum(count) - count
    down, across = np.divmod(np.arange(len(box)) - first[box], columns[box])
    taken, place = np.unique((row[box] + down) * len(x) + column[box] + across, return_inverse=True)
    return _Cells(x, y, taken, place[first])


def _groups(cells: _Cells) -> tuple[int, Ints]:
    """How many groups the cells form by their sides, and the group of each cell."""
    pairs = []
    for step in (1, cells.stride):
        place, there = cells.find(cells.taken + step)
        pairs.append((np.flatnonzero(there), place[there]))
    one, other = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    size = len(cells.taken)
    count, group = connected_components(coo_array((np.ones(len(one)), (one, other)), shape=(size, size)), False)
    return int(count), group.astype(np.int64)


def _boundary(cells: _Cells, group: Ints, count: int) -> list[tuple[Ints, Ints]]:
    """By group the sides of cells that face nothing, as corners from and to, the cell on the same hand all the way."""
    down = cells.stride
    # Neighbour on that side, then the corners from which to which the side leads, all counted from the cell.
    sides = ((-down, 0, 1), (1, 1, 1 + down), (down, 1 + down, down), (-1, down, 0))
    found = []
    for neighbour, start, stop in sides:
        bare = ~cells.find(cells.taken + neighbour)[1]
        found.append((cells.taken[bare] + start, cells.taken[bare] + stop, group[bare]))
    starts, stops, owner = (np.concatenate(part) for part in zip(*found, strict=True))
    return list(zip(_split(starts, owner, count), _split(stops, owner, count), strict=True))


def _split(values: Ints, group: Ints, count: int) -> list[Ints]:
    order = np.argsort(group, kind="stable")
    return np.split(values[order], np.cumsum(np.bincount(group, minlength=count))[:-1])


def _close_rings(starts: Ints, stops: Ints) -> Iterator[list[int]]:
    """Chain edges to rings. A ring is cut off as soon as it comes back to a corner, so it passes none twice."""
    onward: defaultdict[int, list[int]] = defaultdict(list)
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        onward[start].append(stop)
    for start in sorted(onward):
        path: list[int] = []
        place: dict[int, int] = {}
        corner = start
        while onward[corner]:
            place[corner] = len(path)
            path.append(corner)
            corner = onward[corner].pop()
            if corner in place:
                ring = path[place[corner] :]
                yield [*ring, corner]
                del path[place[corner] :]
                for passed in ring:
                    del place[passed]


def _twice_area(ring: Ints) -> int:
    """Shoelace formula; above 0 where the ring turns from x towards y."""
    x, y = ring.T
    return int((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())


def _without_straight_corners(ring: Ints) -> Ints:
    """The same ring without the corners at which it goes straight on."""
    ahead = np.sign(np.diff(ring, axis=0))
    kept = ring[:-1][(ahead != np.roll(ahead, 1, axis=0)).any(axis=1)]
    return np.vstack([kept, kept[:1]])
