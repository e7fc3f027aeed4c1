"""Tiles get the share of their area that lies inside outlines, and what is cut out is not inside."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_idc.geometry import IDC_PATCH, tile_edges
from wsi_idc.slides.annotations import LABEL_SHARE
from wsi_idc.slides.outline_shapes import FlawError, cut_out, ellipse_ring, make_area, share_inside

Floats = NDArray[np.float64]
Areas = tuple[shapely.Geometry, ...]


def rectangle(left: float, top: float, right: float, bottom: float) -> Floats:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)


def circle(x: float, y: float, radius: float, corners: int = 500) -> Floats:
    angle = np.arange(corners) * (2 * math.pi / corners)
    return np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])


def drawn(*polygons: Floats | tuple[Floats, ...]) -> Areas:
    """Areas of polygons; those without any are left out."""
    areas = []
    for polygon in polygons:
        with suppress(FlawError):
            areas.append(make_area(polygon if isinstance(polygon, tuple) else (polygon,)))
    return tuple(areas)


def share_of(areas: Areas, *boxes: tuple[int, int, int, int]) -> Floats:
    return share_inside(areas, *np.array(boxes).T)


def grid(width: int, height: int, mpp: tuple[float, float]) -> NDArray[np.int64]:
    """Tiles of a slide in row-major order, shape (n, 4)."""
    across, down = (np.array(tile_edges(side, of, IDC_PATCH.um)) for side, of in zip((width, height), mpp, strict=True))
    top, left = (axis.ravel() for axis in np.meshgrid(down[:-1], across[:-1], indexing="ij"))
    bottom, right = (axis.ravel() for axis in np.meshgrid(down[1:], across[1:], indexing="ij"))
    return np.column_stack([left, top, right, bottom])


def area_of(areas: Areas, boxes: NDArray[np.int64]) -> float:
    size = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return float((share_inside(areas, *boxes.T) * size).sum())


def polygon_area(ring: Floats) -> float:
    x, y = ring.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def clipped(ring: Floats, box: tuple[int, int, int, int]) -> Floats:
    """A convex ring within a box (Sutherland and Hodgman, Commun ACM 1974;17:32)."""
    points = list(ring)
    for axis, limit, sign in ((0, box[0], 1), (1, box[1], 1), (0, box[2], -1), (1, box[3], -1)):
        kept = []
        for i, point in enumerate(points):
            before = points[i - 1]
            inside, was = sign * (point[axis] - limit) >= 0, sign * (before[axis] - limit) >= 0
            if inside != was:
                kept.append(before + (limit - before[axis]) / (point[axis] - before[axis]) * (point - before))
            if inside:
                kept.append(point)
        points = kept
    return np.array(points).reshape(-1, 2)


class TestShare:
    def test_half_of_a_tile(self) -> None:
        tile = (100, 100, 300, 300)
        for half in ((100, 100, 200, 300), (200, 0, 900, 900), (0, 0, 900, 200), (100, 200, 300, 300)):
            assert share_of(drawn(rectangle(*half)), tile) == pytest.approx(0.5, abs=1e-9)

    def test_all_and_nothing_are_exact(self) -> None:
        areas = drawn(rectangle(0, 0, 200, 200))
        boxes = (
            (0, 0, 200, 200),
            (50, 50, 60, 61),
            (200, 0, 400, 200),
            (0, 200, 200, 400),
            (5, 5, 5, 90),
            (9, 9, 2, 2),
        )
        assert share_of(areas, *boxes).tolist() == [1, 1, 0, 0, 0, 0]

    def test_four_fifths_are_enough(self) -> None:
        """From the first tile on, whatever its place does to the last digit."""
        for x in range(0, 300_000, 7919):
            for width, height in ((800, 800), (793, 795), (5, 5)):
                tile = (x, x, x + width, x + height)
                assert share_of(drawn(rectangle(x, x, x + 0.8 * width, x + height)), tile) >= LABEL_SHARE
                assert share_of(drawn(rectangle(x, x, x + 0.799 * width, x + height)), tile) < LABEL_SHARE
                assert share_of(drawn(rectangle(x, x, x + width, x + 0.8 * height)), tile) >= LABEL_SHARE

    def test_no_outline(self) -> None:
        assert share_of((), (0, 0, 10, 10), (10, 0, 20, 10)).tolist() == [0, 0]
        assert share_inside(drawn(circle(0, 0, 5)), *np.zeros((4, 0), dtype=np.int64)).shape == (0,)

    def test_circle_over_tiles(self) -> None:
        area = area_of(drawn(circle(5000, 4000, 2500, 2000)), grid(10_000, 9000, (0.5, 0.5)))
        assert area == pytest.approx(math.pi * 2500**2, rel=1e-4)

    def test_circle_in_one_tile(self) -> None:
        assert share_of(drawn(circle(400, 400, 300)), (0, 0, 800, 800)) == pytest.approx(
            math.pi * 300**2 / 800**2, abs=1e-3
        )

    def test_direction_of_rings_does_not_matter(self) -> None:
        ring, hole = circle(400, 400, 300), circle(380, 420, 100)
        shares = {
            float(share_of(drawn((a, b)), (0, 0, 700, 600))[0]) for a in (ring, ring[::-1]) for b in (hole, hole[::-1])
        }
        assert max(shares) - min(shares) < 1e-8

    def test_closed_or_not(self) -> None:
        ring = circle(50, 50, 40, 7)
        boxes = ((0, 0, 100, 100), (30, 30, 90, 90))
        assert share_of(drawn(ring), *boxes) == pytest.approx(share_of(drawn(np.vstack([ring, ring[:1]])), *boxes))

    def test_hole(self) -> None:
        areas = drawn((rectangle(0, 0, 400, 400), rectangle(100, 100, 200, 200), rectangle(200, 100, 300, 200)))
        shares = share_of(areas, (0, 0, 400, 400), (100, 100, 200, 200), (200, 0, 400, 200))
        assert shares == pytest.approx([0.875, 0, 0.75])

    def test_overlapping_holes(self) -> None:
        """Cut out once and for all, not filled where they overlap; nor is one drawn that leaves its exterior."""
        areas = drawn((rectangle(0, 0, 400, 400), rectangle(100, 0, 300, 400), rectangle(200, 0, 500, 400)))
        assert share_of(areas, (0, 0, 600, 400)) == pytest.approx(100 / 600)

    def test_hole_covered_by_another_polygon(self) -> None:
        ring = (rectangle(0, 0, 400, 400), rectangle(100, 100, 300, 300))
        island = rectangle(150, 150, 350, 250)
        boxes = ((0, 0, 400, 400), (150, 150, 300, 250), (100, 100, 150, 300))
        for areas in (drawn(ring, island), drawn(island, ring)):
            assert share_of(areas, *boxes) == pytest.approx([0.75 + 150 * 100 / 400**2, 1, 0])

    def test_overlapping_polygons_count_once(self) -> None:
        areas = drawn(rectangle(0, 0, 100, 200), rectangle(50, 0, 150, 200), rectangle(50, 0, 150, 200))
        assert share_of(areas, (0, 0, 200, 200)) == pytest.approx(0.75)

    def test_crossing_itself(self) -> None:
        """By the even-odd rule: the middle of a five-pointed star, drawn in one go, is outside."""
        star = circle(0, 0, 100, 5)[[0, 2, 4, 1, 3]]
        assert share_of(drawn(star), (-5, -5, 5, 5), (70, -2, 80, 2)) == pytest.approx([0, 1])

    def test_reaching_outside_the_slide(self) -> None:
        areas = drawn(rectangle(-1e9, -5000, 500, 1e9))
        assert area_of(areas, grid(1000, 900, (1, 1))) == pytest.approx(500 * 900)

    @pytest.mark.parametrize("mpp", [(0.25, 0.5), (0.5, 0.25), (0.2468, 0.2501), (4.4, 0.05)])
    def test_scales_that_differ(self, mpp: tuple[float, float]) -> None:
        """An ellipse that is a circle of 500 µm on the slide."""
        ring = circle(0, 0, 500) / mpp + (700 / mpp[0], 600 / mpp[1])
        boxes = grid(round(1500 / mpp[0]), round(1300 / mpp[1]), mpp)
        assert area_of(drawn(ring), boxes) * mpp[0] * mpp[1] == pytest.approx(math.pi * 500**2, rel=2e-3)

    def test_boxes_in_any_order(self) -> None:
        areas = drawn((circle(500, 500, 400), circle(450, 520, 100)), circle(1200, 700, 300))
        rng = np.random.default_rng(0)
        boxes = grid(1600, 1100, (1, 1))
        order = rng.permutation(len(boxes))
        assert (share_inside(areas, *boxes[order].T) == share_inside(areas, *boxes.T)[order]).all()
        corner = rng.integers(-200, 1500, (50, 2))
        boxes = np.hstack([corner, corner + rng.integers(1, 700, (50, 2))])
        alone = [float(share_of(areas, tuple(box))[0]) for box in boxes.tolist()]
        assert share_inside(areas, *boxes.T) == pytest.approx(alone, abs=1e-8)

    def test_nearly_level_edges(self) -> None:
        """Edges whose slope cannot be told from 0 neither break the sum nor warn."""
        with np.errstate(all="raise"):
            low = 5e-324
            sliver = np.array([(0, 0.5), (1e9, 0.5 + 1e-16), (1e9, 0.5), (-1e9, np.nextafter(0.5, 1))])
            areas = drawn(sliver, np.array([(-1e9, 0), (1e9, low), (0, -low)]), rectangle(0, 0, 100, 50))
            assert share_of(areas, (0, 0, 100, 100), (0, -100, 100, 100)) == pytest.approx([0.5, 0.25], abs=0.01)

    @given(
        st.tuples(*[st.floats(-300, 1100)] * 4).map(
            lambda ends: (*map(min, ends[:2], ends[2:]), *map(max, ends[:2], ends[2:]))
        ),
        st.integers(1, 900),
        st.integers(1, 900),
    )
    def test_any_rectangle(self, edges: tuple[float, float, float, float], width: int, height: int) -> None:
        left, top, right, bottom = edges
        exact = max(0, min(right, width) - max(left, 0)) * max(0, min(bottom, height) - max(top, 0)) / (width * height)
        assert share_of(drawn(rectangle(*edges)), (0, 0, width, height)) == pytest.approx(exact, abs=1e-6)

    @given(
        st.lists(st.floats(0, 2 * math.pi), min_size=3, max_size=12, unique=True),
        st.tuples(*[st.floats(-500, 1500)] * 2),
        st.tuples(*[st.floats(1, 1500)] * 2),
    )
    def test_any_convex_polygon(
        self, angles: list[float], centre: tuple[float, float], radius: tuple[float, float]
    ) -> None:
        angle = np.sort(angles)
        ring = np.array(centre) + np.column_stack([np.cos(angle), np.sin(angle)]) * radius
        boxes = [(x, y, x + 400, y + 310) for y in (0, 310) for x in (0, 400, 800)]
        exact = [polygon_area(clipped(ring, box)) / (400 * 310) for box in boxes]
        assert share_of(drawn(ring), *boxes) == pytest.approx(exact, abs=1e-6)

    @given(
        st.lists(st.tuples(st.floats(50, 950), st.floats(50, 850), st.floats(5, 45)), min_size=1, max_size=6),
        st.tuples(*[st.floats(0.3, 3)] * 2),
    )
    def test_tiles_add_up(self, circles: list[tuple[float, float, float]], mpp: tuple[float, float]) -> None:
        """To the same area as other boxes, however circles overlap, and to the true one of a circle alone."""
        areas = drawn(*(circle(*given_circle, 40) for given_circle in circles))
        boxes = grid(1000, 900, mpp)
        fine = np.array([(0, y, 1000, y + 10) for y in range(0, 900, 10)])
        assert area_of(areas, boxes) == pytest.approx(area_of(areas, fine), rel=1e-5)  # shares have seven digits
        alone = circle(*circles[0], 40)
        assert area_of(drawn(alone), boxes) == pytest.approx(polygon_area(alone), rel=1e-5)

    @pytest.mark.parametrize("corners", [90, 3_000])
    def test_an_outline_of_many_corners_over_many_tiles(self, corners: int) -> None:
        """Boxes are halved with such an outline; what comes out is what each box alone would give."""
        ring = circle(2000, 1900, 1500, corners) + np.random.default_rng(0).normal(0, 1, (corners, 2))
        area, boxes = make_area([ring]), grid(4000, 4000, (2.1, 2.3))
        alone = [area.intersection(shapely.box(*box)).area / shapely.box(*box).area for box in boxes.tolist()]
        assert share_inside([area], *boxes.T) == pytest.approx(alone, abs=1e-8)


class TestAreas:
    @pytest.mark.parametrize(
        "ring",
        [[], [(5, 5)], [(5, 5)] * 4, [(1, 1), (2, 2), (1, 1)], [(0, 0), (1, 1), (2, 2), (0, 0)]],
        ids=["nothing", "point", "click", "there and back", "line"],
    )
    def test_no_area(self, ring: list[tuple[int, int]]) -> None:
        with pytest.raises(FlawError, match="has no area"):
            make_area([np.array(ring, dtype=np.float64).reshape(-1, 2)])

    def test_a_hole_without_area_is_none(self) -> None:
        assert make_area([rectangle(0, 0, 10, 10), np.array([(5.0, 5.0)] * 4)]).area == 100

    def test_a_bow_tie_is_two_triangles(self) -> None:
        bow = np.array([(0, 0), (10, 10), (10, 0), (0, 10)], dtype=np.float64)
        assert make_area([bow]).area == pytest.approx(50)

    def test_a_hole_that_touches_or_leaves_its_exterior(self) -> None:
        assert make_area([rectangle(0, 0, 10, 10), rectangle(5, 0, 20, 10)]).area == pytest.approx(50)

    def test_an_ellipse_fills_its_box(self) -> None:
        area = make_area([ellipse_ring(rectangle(10, 20, 110, 60))])
        assert area.bounds == pytest.approx((10, 20, 110, 60))
        assert area.area == pytest.approx(math.pi * 50 * 20, rel=1e-4)


class TestCutOut:
    def left(self, areas: Areas, others: Areas) -> tuple[float, list[bool]]:
        """What is left, overlaps counted once, and which others were cut out."""
        left, cutting = cut_out(areas, others)
        return shapely.union_all(left).area, cutting.tolist()

    def test_inside_and_overlapping(self) -> None:
        tumour = drawn(rectangle(0, 0, 100, 100))
        assert self.left(tumour, drawn(rectangle(10, 10, 20, 20), rectangle(90, 0, 300, 100))) == (8_900, [True, True])

    def test_outside_and_touching(self) -> None:
        tumour = drawn(rectangle(0, 0, 100, 100))
        assert self.left(tumour, drawn(rectangle(200, 0, 300, 10), rectangle(100, 0, 150, 100))) == (
            10_000,
            [False, False],
        )

    def test_around_a_tumour(self) -> None:
        """The region that holds a tumour takes nothing of it, nor does one drawn along the same line."""
        tumour = drawn(rectangle(0, 0, 100, 100))
        assert self.left(tumour, drawn(rectangle(-50, -50, 500, 500))) == (10_000, [False])
        assert self.left(tumour, drawn(rectangle(3, 0, 500, 500))) == (10_000, [False])
        assert self.left(tumour, tumour) == (10_000, [False])

    def test_a_tumour_in_another_class_in_a_tumour(self) -> None:
        tumours = drawn(rectangle(0, 0, 100, 100), rectangle(40, 40, 60, 60))
        assert self.left(tumours, drawn(rectangle(30, 30, 70, 70))) == (10_000 - 1_600 + 400, [True])

    def test_nothing_is_left(self) -> None:
        left, cutting = cut_out(drawn(rectangle(0, 0, 10, 10)), drawn(rectangle(0, 0, 5, 10), rectangle(5, 0, 10, 10)))
        assert (left, cutting.tolist()) == ((), [True, True])
        assert share_inside(left, *np.array([[0, 0, 10, 10]]).T).tolist() == [0]
