"""Outlines are read from whatever QuPath writes, and tiles get the share of their area that is inside."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_idc.errors import DataNotFoundError, OptionError
from wsi_idc.geometry import IDC_PATCH, tile_edges
from wsi_idc.slides import annotations as outlines_module
from wsi_idc.slides.annotations import MAX_FILE_MB, OUTLINE_SHARE, Outlines, inside_share, read_outlines

SQUARE = [[10, 20], [110, 20], [110, 120], [10, 120], [10, 20]]
ADVICE = "name a GeoJSON file, as QuPath exports it."

Floats = NDArray[np.float64]


def rectangle(left: float, top: float, right: float, bottom: float) -> Floats:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)


def circle(x: float, y: float, radius: float, corners: int = 500) -> Floats:
    angle = np.arange(corners) * (2 * math.pi / corners)
    return np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])


def drawn(*polygons: Floats | tuple[Floats, ...]) -> Outlines:
    return Outlines(tuple(polygon if isinstance(polygon, tuple) else (polygon,) for polygon in polygons))


def share_of(outlines: Outlines, *boxes: tuple[int, int, int, int]) -> Floats:
    return inside_share(outlines, *np.array(boxes).T)


def grid(width: int, height: int, mpp: tuple[float, float]) -> NDArray[np.int64]:
    """Tiles of a slide in row-major order, shape (n, 4)."""
    across, down = np.array(tile_edges(width, mpp[0], IDC_PATCH.um)), np.array(tile_edges(height, mpp[1], IDC_PATCH.um))
    top, left = (axis.ravel() for axis in np.meshgrid(down[:-1], across[:-1], indexing="ij"))
    bottom, right = (axis.ravel() for axis in np.meshgrid(down[1:], across[1:], indexing="ij"))
    return np.column_stack([left, top, right, bottom])


def area_of(outlines: Outlines, boxes: NDArray[np.int64]) -> float:
    size = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return float((inside_share(outlines, *boxes.T) * size).sum())


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


def polygon(*rings: object) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry: object, **properties: object) -> dict[str, object]:
    return {
        "type": "Feature",
        "id": "f1",
        "geometry": geometry,
        "properties": {"objectType": "annotation"} | properties,
    }


def collection(*features: object) -> dict[str, object]:
    return {"type": "FeatureCollection", "features": list(features)}


def named(name: str) -> dict[str, object]:
    return feature(polygon(SQUARE), classification={"name": name, "color": [200, 0, 0]})


def read(folder: Path, document: object) -> Outlines:
    path = folder / "slide.geojson"
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return read_outlines(path)


class TestShare:
    def test_half_of_a_tile(self) -> None:
        tile = (100, 100, 300, 300)
        for half in ((100, 100, 200, 300), (200, 0, 900, 900), (0, 0, 900, 200), (100, 200, 300, 300)):
            assert share_of(drawn(rectangle(*half)), tile) == pytest.approx(0.5, abs=1e-9)

    def test_all_and_nothing_are_exact(self) -> None:
        outlines = drawn(rectangle(0, 0, 200, 200))
        boxes = (
            (0, 0, 200, 200),
            (50, 50, 60, 61),
            (200, 0, 400, 200),
            (0, 200, 200, 400),
            (5, 5, 5, 90),
            (9, 9, 2, 2),
        )
        assert share_of(outlines, *boxes).tolist() == [1, 1, 0, 0, 0, 0]

    def test_four_fifths_are_enough(self) -> None:
        """From the first tile on, whatever its place does to the last digit."""
        for x in range(0, 300_000, 7919):
            for width, height in ((800, 800), (793, 795), (5, 5)):
                tile = (x, x, x + width, x + height)
                assert share_of(drawn(rectangle(x, x, x + 0.8 * width, x + height)), tile) >= OUTLINE_SHARE
                assert share_of(drawn(rectangle(x, x, x + 0.799 * width, x + height)), tile) < OUTLINE_SHARE
                assert share_of(drawn(rectangle(x, x, x + width, x + 0.8 * height)), tile) >= OUTLINE_SHARE

    def test_no_outline(self) -> None:
        assert share_of(Outlines(()), (0, 0, 10, 10), (10, 0, 20, 10)).tolist() == [0, 0]
        assert inside_share(drawn(circle(0, 0, 5)), *np.zeros((4, 0), dtype=np.int64)).shape == (0,)

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

    def test_no_bias_at_edges(self) -> None:
        """An edge anywhere between two lines is wrong by half a line at most, and right on average."""
        edges = np.linspace(300, 304, 41)
        wrong = [
            float(share_of(drawn(rectangle(0, y, 800, 700)), (0, 0, 800, 800))[0]) - (700 - y) / 800 for y in edges
        ]
        assert np.abs(wrong).max() <= 1 / 400 + 1e-9
        assert abs(np.mean(wrong)) < 1e-4
        wrong = [
            float(share_of(drawn(rectangle(x, 0, 700, 800)), (0, 0, 800, 800))[0]) - (700 - x) / 800 for x in edges
        ]
        assert np.abs(wrong).max() < 1e-8

    def test_hole(self) -> None:
        outlines = drawn((rectangle(0, 0, 400, 400), rectangle(100, 100, 200, 200), rectangle(200, 100, 300, 200)))
        shares = share_of(outlines, (0, 0, 400, 400), (100, 100, 200, 200), (200, 0, 400, 200))
        assert shares == pytest.approx([0.875, 0, 0.75])

    def test_overlapping_holes(self) -> None:
        """Cut out once and for all, not filled where they overlap; nor is one drawn that leaves its exterior."""
        outlines = drawn((rectangle(0, 0, 400, 400), rectangle(100, 0, 300, 400), rectangle(200, 0, 500, 400)))
        assert share_of(outlines, (0, 0, 600, 400)) == pytest.approx(100 / 600)

    def test_hole_covered_by_another_polygon(self) -> None:
        ring = (rectangle(0, 0, 400, 400), rectangle(100, 100, 300, 300))
        island = rectangle(150, 150, 350, 250)
        boxes = ((0, 0, 400, 400), (150, 150, 300, 250), (100, 100, 150, 300))
        for outlines in (drawn(ring, island), drawn(island, ring)):
            assert share_of(outlines, *boxes) == pytest.approx([0.75 + 150 * 100 / 400**2, 1, 0])

    def test_overlapping_polygons_count_once(self) -> None:
        outlines = drawn(rectangle(0, 0, 100, 200), rectangle(50, 0, 150, 200), rectangle(50, 0, 150, 200))
        assert share_of(outlines, (0, 0, 200, 200)) == pytest.approx(0.75)

    def test_crossing_itself(self) -> None:
        """By the even-odd rule: the middle of a five-pointed star, drawn in one go, is outside."""
        star = circle(0, 0, 100, 5)[[0, 2, 4, 1, 3]]
        assert share_of(drawn(star), (-5, -5, 5, 5), (70, -2, 80, 2)) == pytest.approx([0, 1])

    def test_reaching_outside_the_slide(self) -> None:
        outlines = drawn(rectangle(-1e9, -5000, 500, 1e9))
        assert area_of(outlines, grid(1000, 900, (1, 1))) == pytest.approx(500 * 900)

    @pytest.mark.parametrize("mpp", [(0.25, 0.5), (0.5, 0.25), (0.2468, 0.2501), (4.4, 0.05)])
    def test_scales_that_differ(self, mpp: tuple[float, float]) -> None:
        """An ellipse that is a circle of 500 µm on the slide."""
        ring = circle(0, 0, 500) / mpp + (700 / mpp[0], 600 / mpp[1])
        boxes = grid(round(1500 / mpp[0]), round(1300 / mpp[1]), mpp)
        assert area_of(drawn(ring), boxes) * mpp[0] * mpp[1] == pytest.approx(math.pi * 500**2, rel=2e-3)

    def test_boxes_in_any_order(self) -> None:
        outlines = drawn((circle(500, 500, 400), circle(450, 520, 100)), circle(1200, 700, 300))
        rng = np.random.default_rng(0)
        boxes = grid(1600, 1100, (1, 1))
        order = rng.permutation(len(boxes))
        assert (inside_share(outlines, *boxes[order].T) == inside_share(outlines, *boxes.T)[order]).all()
        corner = rng.integers(-200, 1500, (50, 2))
        boxes = np.hstack([corner, corner + rng.integers(1, 700, (50, 2))])
        alone = [float(share_of(outlines, tuple(box))[0]) for box in boxes.tolist()]
        assert inside_share(outlines, *boxes.T) == pytest.approx(alone, abs=1e-8)

    def test_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A strip crossed by more edges than are looked at at once."""
        outlines = drawn(*(circle(x, 100, 150) for x in range(0, 2000, 90)))
        boxes = grid(2000, 400, (1, 1))
        whole = inside_share(outlines, *boxes.T)
        monkeypatch.setattr(outlines_module, "_CROSSINGS", 100)
        assert inside_share(outlines, *boxes.T) == pytest.approx(whole, abs=1e-8)

    def test_nearly_level_edges(self) -> None:
        """Edges whose slope cannot be told from 0 neither break the sum nor warn."""
        with np.errstate(all="raise"):
            low = 5e-324
            sliver = np.array([(0, 0.5), (1e9, 0.5 + 1e-16), (1e9, 0.5), (-1e9, np.nextafter(0.5, 1))])
            outlines = drawn(sliver, np.array([(-1e9, 0), (1e9, low), (0, -low)]), rectangle(0, 0, 100, 50))
            assert share_of(outlines, (0, 0, 100, 100), (0, -100, 100, 100)) == pytest.approx([0.5, 0.25], abs=0.01)

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
        assert share_of(drawn(rectangle(*edges)), (0, 0, width, height)) == pytest.approx(exact, abs=0.0051)

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
        assert share_of(drawn(ring), *boxes) == pytest.approx(exact, abs=0.01)

    @given(
        st.lists(st.tuples(st.floats(50, 950), st.floats(50, 850), st.floats(5, 45)), min_size=1, max_size=6),
        st.tuples(*[st.floats(0.3, 3)] * 2),
    )
    def test_tiles_add_up(self, circles: list[tuple[float, float, float]], mpp: tuple[float, float]) -> None:
        """To the same area as other boxes, however circles overlap, and to the true one of a circle alone."""
        outlines = drawn(*(circle(*given_circle, 40) for given_circle in circles))
        boxes = grid(1000, 900, mpp)
        fine = np.array([(0, y, 1000, y + 10) for y in range(0, 900, 10)])
        assert area_of(outlines, boxes) == pytest.approx(area_of(outlines, fine), rel=0.01, abs=60)
        alone = drawn(outlines.polygons[0])
        assert area_of(alone, boxes) == pytest.approx(polygon_area(outlines.polygons[0][0]), rel=0.02, abs=60)


class TestForms:
    @pytest.mark.parametrize(
        "document",
        [
            collection(feature(polygon(SQUARE))),
            feature(polygon(SQUARE)),
            [feature(polygon(SQUARE))],
            polygon(SQUARE),
            {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
            {"type": "GeometryCollection", "geometries": [polygon(SQUARE), {"type": "Point", "coordinates": [1, 2]}]},
            feature(
                {"type": "GeometryCollection", "geometries": [{"type": "MultiPolygon", "coordinates": [[SQUARE]]}]}
            ),
            {"type": "Feature", "geometry": polygon(SQUARE), "properties": None},
            {"type": "Feature", "geometry": polygon(SQUARE)},
            feature(polygon([[x, y, 0] for x, y in SQUARE])),
            [polygon(SQUARE)],
        ],
    )
    def test_one_square(self, tmp_path: Path, document: object) -> None:
        outlines = read(tmp_path, document)
        ((ring,),) = outlines.polygons
        assert ring.dtype == np.float64
        assert ring.tolist() == SQUARE
        assert outlines.left_out == ()

    def test_holes_and_order(self, tmp_path: Path) -> None:
        hole = [[20, 30], [30, 30], [30, 40], [20, 30]]
        many = {"type": "MultiPolygon", "coordinates": [[SQUARE, hole], [hole]]}
        outlines = read(tmp_path, collection(feature(many), feature(polygon(hole, SQUARE))))
        rings = [[ring.tolist() for ring in rings] for rings in outlines.polygons]
        assert rings == [[SQUARE, hole], [hole], [hole, SQUARE]]

    def test_read_and_measured(self, tmp_path: Path) -> None:
        outlines = read(tmp_path, collection(named("Tumor")))
        assert share_of(outlines, (0, 0, 200, 200), (10, 20, 110, 120)) == pytest.approx([0.25, 1], abs=0.01)

    @pytest.mark.parametrize("document", [collection(), [], collection(feature(None)), collection(feature(polygon()))])
    def test_no_outline(self, tmp_path: Path, document: object) -> None:
        assert read(tmp_path, document).polygons == ()

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_encodings(self, tmp_path: Path, encoding: str) -> None:
        text = json.dumps(collection(named("Tumör"), named("Tumor")), ensure_ascii=False)
        assert read(tmp_path, text.encode(encoding)).left_out == (("Tumör", 1),)

    def test_what_is_left_out(self, tmp_path: Path) -> None:
        line = {"type": "LineString", "coordinates": [[0, 0], [5, 5]]}
        others = [
            named("Stroma"),
            named("Necrosis"),
            named("Stroma"),
            feature(line),
            feature(None),
            named("a\x1b[2J\nb"),
        ]
        broken_but_left_out = feature(polygon([[0, 0]]), classification="Stroma")
        outlines = read(tmp_path, collection(*others, broken_but_left_out, named("Tumor")))
        assert len(outlines.polygons) == 1
        assert dict(outlines.left_out) == {"Stroma": 3, "Necrosis": 1, "LineString": 1, "no geometry": 1, "a [2J b": 1}
        assert outlines.left_out[0] == ("Stroma", 3)


class TestClasses:
    @pytest.mark.parametrize(
        "name",
        [
            *(
                "Tumor",
                "tumour",
                "IDC",
                "Invasive",
                "CARCINOMA",
                "Positive",
                "breast cancer",
                "Adenocarcinoma",
                "Tumor*",
            ),
            *("Invasive carcinoma of no special type", "Invasive ductal carcinoma (NST), grade 3", "Tumor: Positive"),
            *("piano tumor", "Tumor_1"),
        ],
    )
    def test_counts(self, tmp_path: Path, name: str) -> None:
        assert len(read(tmp_path, collection(named(name))).polygons) == 1

    @pytest.mark.parametrize(
        "name",
        [
            *(
                "Stroma",
                "Ignore*",
                "Ductal carcinoma in situ",
                "Carcinoma in-situ",
                "carcinoma_in_situ",
                "DCIS",
                "LCIS",
            ),
            *(
                "non-tumor",
                "Non tumour",
                "nontumor",
                "no tumor",
                "region_no_tumor",
                "Non-invasive carcinoma",
                "not IDC",
            ),
            *(
                "Negative",
                "Tumor: Negative",
                "IDC negative",
                "No cancer",
                "pre-invasive",
                "Peritumoral stroma",
                "Tumor-associated stroma",
                "Tumor necrosis",
                "Tumor bed",
            ),
            *("Tumor-free", "cancer free margin", "DCIS with invasive carcinoma"),
        ],
    )
    def test_does_not_count(self, tmp_path: Path, name: str) -> None:
        outlines = read(tmp_path, collection(named(name), named("Tumor")))
        assert len(outlines.polygons) == 1
        assert outlines.left_out == ((name, 1),)

    @pytest.mark.parametrize(
        ("classification", "counts"),
        [
            ({"name": "Tumor", "colorRGB": -3670016}, True),
            ({"names": ["Tumor", "Positive"], "color": [1, 2, 3]}, True),
            ({"names": ["Tumor", "Negative"]}, False),
            ({"name": None, "names": ["Stroma"]}, False),
            ("Tumor", True),
            ("Stroma", False),
            (["Tumor"], True),
            (None, True),
            ("", True),
            ({}, True),
            ({"name": " "}, True),
            ({"names": []}, True),
        ],
    )
    def test_where_the_class_stands(self, tmp_path: Path, classification: object, counts: bool) -> None:
        document = collection(feature(polygon(SQUARE), classification=classification), feature(polygon(SQUARE)))
        assert len(read(tmp_path, document).polygons) == 1 + counts

    def test_none_counts(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError) as caught:
            read(tmp_path, collection(named("Stroma"), named("DCIS"), named("DCIS"), feature(None)))
        assert str(caught.value) == (
            f"{tmp_path / 'slide.geojson'} has no outline of invasive carcinoma, only of DCIS, Stroma: classify the "
            "outlines as Tumor."
        )

    def test_many_and_long_classes_are_told_in_short(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match=r"only of x{40}\.\.\., C0, C1, C2, C3, \.\.\.: classify"):
            read(tmp_path, collection(*(named(name) for name in ("x" * 9999, *(f"C{i}" for i in range(99))))))


def with_ring(ring: object) -> dict[str, object]:
    return collection(feature(polygon(SQUARE)), feature(polygon(ring)))


NO_GEOMETRY = "has a geometry that is no GeoJSON"
NO_NUMBER = "has a coordinate that is no number up to 1,000,000,000 px"
TOO_FEW = "has a ring of fewer than 3 distinct points"


class TestErrors:
    def check(self, folder: Path, document: object, message: str) -> None:
        with pytest.raises(OptionError) as caught:
            read(folder, document)
        assert str(caught.value) == message.replace("FILE", str(folder / "slide.geojson"))

    def test_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "none.geojson"
        with pytest.raises(DataNotFoundError) as caught:
            read_outlines(path)
        assert str(caught.value) == f"There are no outlines at {path}: {ADVICE}"

    def test_unreadable(self, tmp_path: Path) -> None:
        with pytest.raises(DataNotFoundError) as caught:
            read_outlines(str(tmp_path))
        assert str(caught.value) == f"{tmp_path} cannot be read (Is a directory): {ADVICE}"

    def test_too_large(self, tmp_path: Path) -> None:
        path = tmp_path / "slide.geojson"
        with path.open("wb") as file:
            file.truncate(MAX_FILE_MB * 1_000_000 + 1_000_000)
        with pytest.raises(OptionError) as caught:
            read_outlines(path)
        assert str(caught.value) == f"{path} has 501 MB, more than 500: export annotations without cells."

    @pytest.mark.parametrize(
        "contents",
        [
            b"",
            b"{",
            b"PK\x03\x04",
            json.dumps(named("Tumör"), ensure_ascii=False).encode("latin-1"),
            b"[" + b"9" * 5000 + b"]",
        ],
    )
    def test_no_json(self, tmp_path: Path, contents: bytes) -> None:
        self.check(tmp_path, contents, f"FILE is no JSON that can be read: {ADVICE}")

    def test_nested_too_deeply(self, tmp_path: Path) -> None:
        self.check(tmp_path, b"[" * 500_000, f"FILE is nested too deeply for GeoJSON: {ADVICE}")

    def test_nested_deeply(self, tmp_path: Path) -> None:
        """As deep as JSON is read is not too deep for what comes after."""
        geometry = json.dumps(polygon(SQUARE))
        for _ in range(400):
            geometry = f'{{"type": "GeometryCollection", "geometries": [{geometry}]}}'
        assert len(read(tmp_path, geometry.encode()).polygons) == 1

    @pytest.mark.parametrize(
        "document",
        [
            *(None, 5, "Tumor", True, {}, {"type": "Topology"}, {"type": ["Feature"]}),
            *({"type": "FeatureCollection"}, {"type": "FeatureCollection", "features": {"a": 1}}),
        ],
    )
    def test_no_geojson(self, tmp_path: Path, document: object) -> None:
        self.check(tmp_path, document, f"FILE is JSON, but no GeoJSON: {ADVICE}")

    @pytest.mark.parametrize(
        ("changed", "flaw"),
        [
            *(
                (item, "is no GeoJSON feature")
                for item in (None, 7, "x", [], {}, {"type": "Feature"}, {"type": {}}, collection())
            ),
            *((feature(geometry), NO_GEOMETRY) for geometry in (7, "x", [], {}, {"type": "Circle"}, {"type": []})),
            *((feature({"type": kind}), NO_GEOMETRY) for kind in ("Polygon", "MultiPolygon", "GeometryCollection")),
            *(
                (feature({"type": "Polygon", "coordinates": rings}), NO_GEOMETRY)
                for rings in (None, 7, "x", {"a": SQUARE}, [7])
            ),
            *(
                (feature({"type": "MultiPolygon", "coordinates": [rings]}), NO_GEOMETRY)
                for rings in (None, 7, "x", SQUARE)
            ),
            (feature({"type": "GeometryCollection", "geometries": [7]}), NO_GEOMETRY),
            ({**named("Tumor"), "properties": [1]}, "has properties that are no GeoJSON"),
            ({**named("Tumor"), "properties": "Tumor"}, "has properties that are no GeoJSON"),
            *(
                (feature(polygon(SQUARE), classification=wrong), "has a classification that is no text")
                for wrong in (
                    5,
                    True,
                    [1],
                    {"name": 5},
                    {"name": {}},
                    {"names": "Tumor", "name": [None]},
                    {"names": [[]]},
                )
            ),
        ],
    )
    def test_broken_feature(self, tmp_path: Path, changed: object, flaw: str) -> None:
        document = collection(named("Tumor"), changed)
        self.check(tmp_path, document, f"Outline 2 of FILE {flaw}: correct or delete it in QuPath.")

    @pytest.mark.parametrize(
        ("corner", "flaw"),
        [
            *((corner, NO_GEOMETRY) for corner in (None, 7, "xy", [], [1], {"x": 1, "y": 2})),
            *(([5, value], NO_NUMBER) for value in (None, "5", True, [5], {}, 1e10, -1e300, 10**400)),
            *(([value, 5], NO_NUMBER) for value in (math.nan, math.inf, -math.inf)),
        ],
    )
    def test_broken_corner(self, tmp_path: Path, corner: object, flaw: str) -> None:
        ring: list[Any] = [*SQUARE]
        ring[2] = corner
        self.check(tmp_path, with_ring(ring), f"Outline 2 of FILE {flaw}: correct or delete it in QuPath.")

    @pytest.mark.parametrize("ring", [[], SQUARE[:1], [*SQUARE[:2], SQUARE[0]], [SQUARE[0]] * 5])
    def test_too_few_points(self, tmp_path: Path, ring: object) -> None:
        self.check(tmp_path, with_ring(ring), f"Outline 2 of FILE {TOO_FEW}: correct or delete it in QuPath.")

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.floats()
            | st.text()
            | st.sampled_from([0, 1, "Feature", "Polygon", "Tumor"]),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["type", "features", "geometry", "geometries", "coordinates", "properties"]), inner
                )
                | inner.map(lambda value: collection(feature(value)))
                | inner.map(lambda value: feature(polygon(SQUARE), classification=value))
                | inner.map(lambda value: {"type": "MultiPolygon", "coordinates": [[SQUARE], value]})
            ),
            max_leaves=8,
        )
    )
    def test_anything(self, tmp_path_factory: pytest.TempPathFactory, document: object) -> None:
        """Any JSON is either read, and then measured, or refused in a sentence."""
        try:
            outlines = read(tmp_path_factory.getbasetemp(), document)
        except OptionError as error:
            assert str(error).endswith(".")
        else:
            assert 0 <= share_of(outlines, (0, 0, 100, 100)) <= 1
