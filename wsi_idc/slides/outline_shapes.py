"""Outlines as areas: rings to valid polygons, what is cut out of them, and how much of each tile they cover."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import GEOSException, STRtree
from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]

FARTHEST_PX = 1e9
"""No corner lies farther out than this: arithmetic on it would lose parts of a pixel."""

NESTED_SHARE = 0.9
"""Share of an outline that lies inside another, at least, where it is called nested in it: hands are not exact."""

_LEAST_AREA = 1e-6
"""In square pixels. A line drawn there and back encloses about as much by rounding."""

_GRID_PX = 1 / 64
"""Where exact arithmetic on corners fails, they are moved to a grid as fine as this."""

_FEW_TILES, _FEW_CORNERS = 64, 256
"""Below these, tiles are compared with an area as it is; above, both are halved first."""

_ELLIPSE_CORNERS = 360


class FlawError(Exception):
    """What is wrong with one outline; the message follows on "it"."""


def checked_ring(points: Sequence[Sequence[Any]]) -> Floats:
    """Corners of a ring as an array, shape (n, 2); FlawError where one is not finite or too far out."""
    pairs = [point[:2] for point in points]
    try:
        ring = np.array(pairs)
    except ValueError:
        ring = np.array(None)
    if not pairs:
        return np.empty((0, 2))
    # Text, nothing, lists in lists and numbers of hundreds of digits give other types; NaN is not less than anything.
    if ring.dtype.kind not in "if" or ring.shape != (len(pairs), 2) or not (np.abs(ring) <= FARTHEST_PX).all():
        raise FlawError(f"has a coordinate that is no number up to {FARTHEST_PX:,.0f} px")
    return ring.astype(np.float64)


def make_area(rings: Sequence[Floats]) -> BaseGeometry:
    """Make a polygon of its exterior and holes, each shape (n, 2), closed or not.

    A ring that crosses itself encloses by the even-odd rule. Holes without area are left out, and what of a hole lies
    outside the exterior changes nothing.

    Raises
    ------
    FlawError
        Where there is no area.
    """
    exterior, *holes = [ring for i, ring in enumerate(rings) if i == 0 or _encloses(ring)]
    if not _encloses(exterior):
        raise FlawError("has no area")
    polygon: BaseGeometry = shapely.Polygon(exterior, holes)
    if not polygon.is_valid:
        polygon = _valid(exterior)
        if holes:
            polygon = cut(polygon, unite([_valid(hole) for hole in holes]))
    if polygon.area < _LEAST_AREA:
        raise FlawError("has no area")
    return polygon


def ellipse_ring(corners: Floats) -> Floats:
    """The ellipse in the upright box around some points, shape (360, 2)."""
    if not len(corners):
        raise FlawError("has no area")
    low, high = corners.min(axis=0), corners.max(axis=0)
    angle = np.arange(_ELLIPSE_CORNERS) * (2 * np.pi / _ELLIPSE_CORNERS)
    ring: Floats = (low + high) / 2 + np.column_stack([np.cos(angle), np.sin(angle)]) * (high - low) / 2
    return ring


def rectangle_ring(corners: Floats) -> Floats:
    """A rectangle of which two opposite corners are given, or all four."""
    if len(corners) != 2:
        return corners
    (left, top), (right, bottom) = corners
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _encloses(ring: Floats) -> bool:
    """Whether a ring has three distinct corners."""
    others = ring[(ring != ring[:1]).any(axis=1)]
    return bool((others != others[:1]).any())


def _valid(ring: Floats) -> BaseGeometry:
    return _areal(shapely.make_valid(shapely.Polygon(ring)))


def _areal(geometry: BaseGeometry) -> BaseGeometry:
    """The polygons of a geometry, without the points and lines that are left where outlines touch."""
    if geometry.geom_type in ("Polygon", "MultiPolygon"):
        return geometry
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return shapely.MultiPolygon([part for part in parts if part.geom_type == "Polygon"])


def unite(areas: Sequence[BaseGeometry]) -> BaseGeometry:
    """The union of areas."""
    return _robust(shapely.union_all, areas)


def cut(area: BaseGeometry, away: BaseGeometry) -> BaseGeometry:
    """An area without what lies in another."""
    return _robust(shapely.difference, area, away)


def common(area: BaseGeometry, other: BaseGeometry) -> BaseGeometry:
    """What lies in both areas."""
    return _robust(shapely.intersection, area, other)


def _robust(operation: Callable[..., BaseGeometry], *operands: Any) -> BaseGeometry:
    """What an operation of Shapely gives, its corners on a grid where exact ones make it fail."""
    try:
        return _areal(operation(*operands))
    except GEOSException:
        return _areal(operation(*operands, grid_size=_GRID_PX))


def cut_out(
    areas: Sequence[BaseGeometry], others: Sequence[BaseGeometry]
) -> tuple[tuple[BaseGeometry, ...], NDArray[np.bool_]]:
    """Each area without those of others that it overlaps.

    An area that is nested in another one, as large or larger, keeps its whole extent: the inner outline says more.

    Returns
    -------
    left : tuple of geometry
        What is left of the areas; they may overlap.
    cutting : ndarray of bool, shape (len(others),)
        Which of the others overlap an area and are cut out.
    """
    cutting = np.zeros(len(others), dtype=np.bool_)
    if not others:
        return tuple(areas), cutting
    size = shapely.area(others)
    tree = STRtree(others)
    left = []
    for area in areas:
        shapely.prepare(area)
        near = tree.query(area, predicate="intersects")
        inside = shapely.contains_properly(area, [others[i] for i in near])
        mine = near[inside].tolist()
        for i in near[~inside].tolist():
            shared = common(area, others[i]).area
            nested = size[i] >= area.area and shared >= NESTED_SHARE * area.area
            if shared > _LEAST_AREA and not nested:
                mine.append(i)
        cutting[mine] = True
        rest = cut(area, unite([others[i] for i in mine])) if mine else area
        if not rest.is_empty:
            left.append(rest)
    return tuple(left), cutting


def share_inside(areas: Sequence[BaseGeometry], left: Floats, top: Floats, right: Floats, bottom: Floats) -> Floats:
    """Share of each box that lies inside areas, 0-1.

    Parameters
    ----------
    areas : sequence of Polygon or MultiPolygon
        Valid. Where they overlap, they count once.
    left, top, right, bottom : ndarray, shape (n,)
        Edges of the boxes in pixels of level 0, half open, in any order. They may overlap and reach out of the slide;
        an empty one has a share of 0.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    edges = np.column_stack([left, top, right, bottom]).astype(np.float64)
    share = np.zeros(len(edges))
    full = np.flatnonzero((edges[:, 2] > edges[:, 0]) & (edges[:, 3] > edges[:, 1]))
    if len(full) and len(areas):
        boxes = _Boxes(edges[full])
        for area in areas:
            boxes.add(area)
        share[full] = boxes.shares()
    # What is exactly 80 % must not miss it by the noise of its sum.
    return share.clip(0, 1).round(9)


class _Boxes:
    """Boxes, and what of each is inside of the areas so far.

    Areas are not united as a whole: that would take minutes for a thousand outlines that cross each other often.
    """

    def __init__(self, edges: Floats) -> None:
        self._edges, self._boxes = edges, shapely.box(*edges.T)
        self._tree = STRtree(self._boxes)
        self._whole = np.zeros(len(edges), dtype=np.bool_)
        self._pieces: defaultdict[int, list[BaseGeometry]] = defaultdict(list)

    def add(self, area: BaseGeometry) -> None:
        """Take up an area.

        Boxes are halved across the longer side, and the area with them, so that an outline of a million corners is not
        compared with each box as a whole.
        """
        near = self._tree.query(area)
        rest = [(area, near)]
        while rest:
            part, which = rest.pop()
            which = which[~self._whole[which]]
            if len(which) <= _FEW_TILES or shapely.get_num_coordinates(part) <= _FEW_CORNERS:
                self._compare(part, which)
                continue
            middle = self._edges[which][:, :2] + self._edges[which][:, 2:]
            axis = int(np.ptp(middle[:, 1]) > np.ptp(middle[:, 0]))
            order = which[np.argsort(middle[:, axis], kind="stable")]
            for half in (order[: len(order) // 2], order[len(order) // 2 :]):
                frame = shapely.box(*self._edges[half, :2].min(axis=0), *self._edges[half, 2:].max(axis=0))
                inner = common(part, frame)
                if not inner.is_empty:
                    rest.append((inner, half))

    def _compare(self, area: BaseGeometry, which: NDArray[np.int64]) -> None:
        shapely.prepare(area)
        whole = shapely.contains_properly(area, self._boxes[which])
        self._whole[which[whole]] = True
        which = which[~whole]
        for i in which[shapely.intersects(area, self._boxes[which])].tolist():
            piece = common(area, self._boxes[i])
            if not piece.is_empty:
                self._pieces[i].append(piece)

    def shares(self) -> Floats:
        """Share of each box, shape (n,)."""
        inside = self._whole.astype(np.float64)
        size = shapely.area(self._boxes)
        for i, pieces in self._pieces.items():
            if not self._whole[i]:
                inside[i] = (pieces[0] if len(pieces) == 1 else unite(pieces)).area / size[i]
        return inside
