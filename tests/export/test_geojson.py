"""GeoJSON against the rules of QuPath, and read back as outlines."""

from __future__ import annotations

import errno
import gzip
import os
import tracemalloc
import uuid
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.export.qupath import read_checked, twice_area
from tests.export.test_ome import file_size_limit
from wsi_idc.errors import OptionError, OutputError
from wsi_idc.export.geojson import write_contours, write_geojson
from wsi_idc.geometry import IDC_PATCH, tile_edges
from wsi_idc.phantom import as_case, paint_slide
from wsi_idc.scoring.qupath import uuid5
from wsi_idc.scoring.scores import Scores, make_scores
from wsi_idc.slides.annotations import read_annotations
from wsi_idc.slides.outline_shapes import share_inside
from wsi_idc.source import Patch

MPP = (0.5, 0.5)

Write = Callable[[Scores, Path], None]
each = pytest.mark.parametrize(
    "write", [write_geojson, lambda scores, path: write_contours(scores, path, MPP)], ids=["tiles", "contours"]
)


def scores_of(
    probs: NDArray[np.float64], across: list[int], down: list[int], slide: str = "a/b.svs", label: int | None = None
) -> Scores:
    """A slide whose tiles have these edges and probabilities; 2 is no tile, NaN an unreadable one."""
    place = [(row, column) for row, column in np.ndindex(probs.shape) if probs[row, column] != 2]
    patches = [
        Patch(across[column], down[row], across[column + 1] - across[column], down[row + 1] - down[row], label)
        for row, column in place
    ]
    prob = np.array([probs[at] for at in place]).reshape(-1)
    return make_scores(slide, patches, np.stack([1 - prob, prob], axis=1).astype(np.float32), 0.5)


def scores_of_mask(mask: str | NDArray[np.bool_], mpp: float = 0.998, **more: object) -> Scores:
    """A slide with a tile called IDC for each #; edges are rounded one by one, as those of a raw slide."""
    if isinstance(mask, str):
        mask = np.array([[sign == "#" for sign in row] for row in mask.split()])
    rows, columns = mask.shape
    across, down = (tile_edges(int(count * IDC_PATCH.um / mpp) - 30, mpp, IDC_PATCH.um) for count in (columns, rows))
    return scores_of(np.where(mask, 0.9, 0.1), across, down, **more)  # type: ignore[arg-type]


def contours(scores: Scores, folder: Path, mpp: tuple[float, float] = MPP) -> list[dict]:
    write_contours(scores, folder / "contours.geojson", mpp)
    return read_checked(folder / "contours.geojson")


@pytest.fixture(scope="module")
def phantom() -> Scores:
    """As many patches as case 8863 has, with probabilities that follow the labels, and some that cannot be read."""
    case = as_case(paint_slide("90001", 7, 1892, 1935))
    random = np.random.default_rng(0)
    lean = np.array([3 * (patch.label or 0) - 1.5 for patch in case.patches])
    prob = 1 / (1 + np.exp(-lean - random.normal(0, 1.5, len(lean))))
    prob[::200] = np.nan
    return make_scores("90001", case.patches, np.stack([1 - prob, prob], axis=1).astype(np.float32), 0.4)


def test_tiles_of_a_phantom(phantom: Scores, tmp_path: Path) -> None:
    path = tmp_path / "scores.geojson"
    write_geojson(phantom, path)
    features = read_checked(path)
    rows = np.flatnonzero(phantom.readable)
    assert 850 < len(rows) == len(features) < len(phantom)
    for i, feature in zip(rows, features, strict=True):
        left, top = int(phantom.minx[i]), int(phantom.miny[i])
        right, bottom = left + int(phantom.width[i]), top + int(phantom.height[i])
        (ring,) = feature["geometry"]["coordinates"]
        assert {tuple(point) for point in ring} == {(left, top), (right, top), (right, bottom), (left, bottom)}
        properties = feature["properties"]
        assert properties["objectType"] == "tile"
        assert properties["isLocked"] is True
        assert properties["classification"]["name"] == ("IDC" if phantom.pred[i] else "no IDC")
        assert properties["measurements"] == {"prob_idc": phantom.prob_idc[i], "label": phantom.label[i]}
    assert {str(feature["properties"]["classification"]) for feature in features} == {
        "{'name': 'IDC', 'color': [213, 94, 0]}",
        "{'name': 'no IDC', 'color': [0, 114, 178]}",
    }
    assert [file.name for file in tmp_path.iterdir()] == ["scores.geojson"]


def test_context_decides_the_class_and_is_measured(phantom: Scores, tmp_path: Path) -> None:
    blurred = phantom.with_context(1.5)
    assert (blurred.pred != phantom.pred).any()
    write_geojson(blurred, tmp_path / "a.geojson", idc_rgb=(1, 2, 3))
    features = read_checked(tmp_path / "a.geojson")
    rows = np.flatnonzero(blurred.readable)
    assert blurred.prob_idc_context is not None
    for i, feature in zip(rows, features, strict=True):
        measured = feature["properties"]["measurements"]
        assert (measured["prob_idc"], measured["prob_idc_context"]) == (
            blurred.prob_idc[i],
            blurred.prob_idc_context[i],
        )
        assert (feature["properties"]["classification"]["color"] == [1, 2, 3]) == blurred.pred[i]
    measured = contours(blurred, tmp_path)[0]["properties"]["measurements"]
    assert set(measured) == {"prob_idc_mean", "prob_idc_context_mean", "area_mm2", "patches"}


def test_an_unknown_label_is_not_measured(tmp_path: Path) -> None:
    write_geojson(scores_of_mask("#."), tmp_path / "a.geojson")
    assert [set(f["properties"]["measurements"]) for f in read_checked(tmp_path / "a.geojson")] == [{"prob_idc"}] * 2


@each
@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz"])
def test_a_slide_without_tissue(write: Write, tmp_path: Path, name: str) -> None:
    write(make_scores("a", [], np.empty((0, 2), np.float32), 0.5), tmp_path / name)
    assert read_checked(tmp_path / name) == []


@each
def test_a_slide_that_cannot_be_read(write: Write, tmp_path: Path) -> None:
    write(scores_of(np.full((2, 2), np.nan), [0, 50, 100], [0, 50, 100]), tmp_path / "a.geojson")
    assert read_checked(tmp_path / "a.geojson") == []


@each
def test_one_slide_after_another(write: Write, phantom: Scores, tmp_path: Path) -> None:
    first, second, again = (tmp_path / name for name in ("a.geojson", "b.geojson", "c.geojson"))
    other = scores_of_mask(".#\n##", slide="b")
    write(phantom, first)
    write(other, second)
    write(phantom, again)
    assert first.read_bytes() == again.read_bytes()
    # The same places in a slide of another name.
    write(scores_of_mask(".#\n##", slide="c"), again)
    idents = [{feature["id"] for feature in read_checked(path)} for path in (first, second, again)]
    assert len(set.union(*idents)) == sum(map(len, idents))
    write(other, first)
    assert first.read_bytes() == second.read_bytes()


def test_ids_outlast_another_threshold(phantom: Scores, tmp_path: Path) -> None:
    for name, scores in (("a", phantom), ("b", phantom.with_threshold(0.9))):
        write_geojson(scores, tmp_path / name)
    one, other = (read_checked(tmp_path / name) for name in ("a", "b"))
    assert [feature["id"] for feature in one] == [feature["id"] for feature in other]
    assert [feature["properties"]["classification"] for feature in one] != [
        feature["properties"]["classification"] for feature in other
    ]


def test_tiles_and_regions_share_no_id(phantom: Scores, tmp_path: Path) -> None:
    write_geojson(phantom, tmp_path / "a.geojson")
    tiles = {feature["id"] for feature in read_checked(tmp_path / "a.geojson")}
    assert not tiles & {feature["id"] for feature in contours(phantom, tmp_path)}


@each
def test_gzip_holds_the_same_and_neither_time_nor_name(write: Write, phantom: Scores, tmp_path: Path) -> None:
    for name in ("a.geojson", "a.geojson.gz", "b.geojson.gz"):
        write(phantom, tmp_path / name)
    zipped = (tmp_path / "a.geojson.gz").read_bytes()
    assert gzip.decompress(zipped) == (tmp_path / "a.geojson").read_bytes()
    assert zipped == (tmp_path / "b.geojson.gz").read_bytes()
    assert zipped[4:8] == bytes(4)
    assert len(zipped) < (tmp_path / "a.geojson").stat().st_size / 5


def test_memory_does_not_grow_with_the_slide(tmp_path: Path) -> None:
    edges = [i * 50 for i in range(101)]
    scores = scores_of(np.full((100, 100), 0.7), edges, edges)
    assert scores.pred.all()
    tracemalloc.start()
    write_geojson(scores, tmp_path / "a.geojson")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 0.2 * (tmp_path / "a.geojson").stat().st_size


@each
@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz"])
def test_what_the_disk_refuses_leaves_the_old(write: Write, phantom: Scores, tmp_path: Path, name: str) -> None:
    write(scores_of_mask("#"), tmp_path / name)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)), file_size_limit(1_000):
        write(phantom, tmp_path / name)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {name: before}


@each
def test_a_folder_that_is_not_there(write: Write, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="choose another place"):
        write(scores_of_mask("#"), tmp_path / "none" / "a.geojson")


def test_a_region_with_a_hole(tmp_path: Path) -> None:
    scores = scores_of_mask("####.\n#..#.\n####.\n....#")
    ring, corner = contours(scores, tmp_path, (0.998, 0.998))
    edges = [0, 401, 802, 1202, 1603]
    assert ring["geometry"]["coordinates"] == [
        [[0, 0], [edges[4], 0], [edges[4], edges[3]], [0, edges[3]], [0, 0]],
        [[edges[1], edges[1]], [edges[1], edges[2]], [edges[3], edges[2]], [edges[3], edges[1]], [edges[1], edges[1]]],
    ]
    assert ring["properties"] | {"measurements": None} == {
        "objectType": "annotation",
        "isLocked": False,
        "name": "IDC 1",
        "classification": {"name": "IDC", "color": [213, 94, 0]},
        "measurements": None,
    }
    measured = ring["properties"]["measurements"]
    assert measured == {"prob_idc_mean": 0.9, "area_mm2": pytest.approx(10 * 0.16, rel=2e-3), "patches": 10}
    assert corner["properties"]["name"] == "IDC 2"
    assert corner["properties"]["measurements"]["patches"] == 1


@pytest.mark.parametrize(
    ("mask", "rings"),
    [
        ("#.\n.#", [1, 1]),  # a corner joins nothing
        ("###\n#.#\n##.", [2]),  # the hole touches the outside at a corner
        ("####\n#.##\n##.#\n####", [3]),  # two holes that touch are two
        ("#####\n#...#\n#.#.#\n#...#\n#####", [2, 1]),  # an island in a hole
        ("###\n#.#\n###", [2]),
        ("...\n...", []),
    ],
)
def test_regions_that_touch_themselves(tmp_path: Path, mask: str, rings: list[int]) -> None:
    assert [len(feature["geometry"]["coordinates"]) for feature in contours(scores_of_mask(mask), tmp_path)] == rings


@settings(max_examples=150)
@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32), st.floats(0.3, 0.95), st.sampled_from([0.25, 0.499, 3])
)
@example(9, 9, 1, 0.7, 0.499)
def test_regions_are_valid_and_hold_what_is_called(
    columns: int, rows: int, seed: int, share: float, mpp: float
) -> None:
    scores = scores_of_mask(np.random.default_rng(seed).random((rows, columns)) < share, mpp)
    with TemporaryDirectory() as folder:
        features = contours(scores, Path(folder), (mpp, mpp))
    polygons = [feature["geometry"]["coordinates"] for feature in features]
    area_px = (scores.width * scores.height)[scores.pred].sum()
    assert sum(twice_area(ring) for rings in polygons for ring in rings) == 2 * area_px
    measured = [feature["properties"]["measurements"] for feature in features]
    assert sum(one["patches"] for one in measured) == scores.pred.sum()
    assert sum(one["area_mm2"] for one in measured) == pytest.approx(scores.areas_mm2((mpp, mpp))[1], abs=1e-4)
    corners = {(x, y) for rings in polygons for ring in rings for x, y in ring}
    edges_x = set(scores.minx.tolist()) | set((scores.minx + scores.width).tolist())
    edges_y = set(scores.miny.tolist()) | set((scores.miny + scores.height).tolist())
    assert {x for x, _ in corners} <= edges_x
    assert {y for _, y in corners} <= edges_y


@settings(max_examples=150)
@given(st.integers(1, 30), st.integers(0, 2**32))
def test_boxes_of_any_size_and_place(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    boxes = [Patch(*box) for box in {tuple(box) for box in random.integers(1, 12, (count, 4)).tolist()}]
    inside = np.zeros((24, 24), dtype=bool)
    for box in boxes:
        inside[box.y : box.y + box.height, box.x : box.x + box.width] = True
    scores = make_scores("a", boxes, np.tile(np.float32([0.1, 0.9]), (len(boxes), 1)), 0.5)
    with TemporaryDirectory() as folder:
        features = contours(scores, Path(folder))
    rings = [ring for feature in features for ring in feature["geometry"]["coordinates"]]
    filled = np.zeros_like(inside)
    for ring in rings:
        for (x, top), (_, bottom) in pairwise(ring):
            if top != bottom:
                filled[min(top, bottom) : max(top, bottom), x:] ^= True
    np.testing.assert_array_equal(filled, inside)


def test_regions_are_valid_to_shapely(phantom: Scores, tmp_path: Path) -> None:
    geometry = pytest.importorskip("shapely.geometry")
    random = np.random.default_rng(3)
    for scores in (phantom, *(scores_of_mask(random.random((30, 40)) < share) for share in (0.4, 0.6, 0.8))):
        shapes = [geometry.shape(feature["geometry"]) for feature in contours(scores, tmp_path)]
        assert shapes
        assert all(shape.is_valid and shape.is_simple for shape in shapes)
        assert sum(shape.area for shape in shapes) == (scores.width * scores.height)[scores.pred].sum()
        for i in np.flatnonzero(scores.readable).tolist():
            centre = geometry.Point(scores.minx[i] + scores.width[i] / 2, scores.miny[i] + scores.height[i] / 2)
            assert any(shape.contains(centre) for shape in shapes) == scores.pred[i]


def test_regions_are_taken_as_labels(phantom: Scores, tmp_path: Path) -> None:
    contours(phantom, tmp_path)
    areas = read_annotations(tmp_path / "contours.geojson").idc
    right, bottom = phantom.minx + phantom.width, phantom.miny + phantom.height
    share = share_inside(areas, phantom.minx, phantom.miny, right, bottom)
    np.testing.assert_allclose(share, phantom.pred, atol=1e-9)


def test_tiles_are_never_taken_as_labels(phantom: Scores, tmp_path: Path) -> None:
    """What the model called is no truth to compare it with."""
    write_geojson(phantom, tmp_path / "a.geojson.gz")
    with pytest.raises(OptionError, match=r"only of .*IDC \(tile\)"):
        read_annotations(tmp_path / "a.geojson.gz")


@given(st.uuids(), st.text(st.characters(exclude_categories=["Cs"])))
def test_ids_are_those_of_the_standard_library(namespace: uuid.UUID, name: str) -> None:
    assert uuid5(namespace, name) == str(uuid.uuid5(namespace, name))
