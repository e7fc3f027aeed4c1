"""Which outlines of a file count as IDC, which are cut out, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from tests.slides.drawings import (
    SQUARE,
    asap,
    box,
    boxes_of,
    collection,
    feature,
    imagescope,
    named,
    polygon,
    region,
    write,
)
from wsi_idc.errors import OptionError
from wsi_idc.slides.annotations import Annotations, labels_line, read_annotations, read_roi

LEFT, RIGHT, ALL = box(0, 0, 800, 1600), box(800, 0, 1600, 1600), box(0, 0, 1600, 1600)
TILES = boxes_of(*((x, y, x + 400, y + 400) for y in range(0, 1600, 400) for x in range(0, 1600, 400)))


def read(folder: Path, document: object, *label_classes: str) -> Annotations:
    return read_annotations(write(folder / "slide.geojson", document), label_classes=label_classes)


def positives(annotations: Annotations) -> int:
    """Tiles of a slide of 4x4 that are labelled IDC."""
    return int(annotations.labels(TILES).sum())


def line_of(annotations: Annotations) -> str:
    return labels_line(annotations.as_dict())


def refusal(folder: Path, document: object, *label_classes: str) -> str:
    with pytest.raises(OptionError) as caught:
        read(folder, document, *label_classes)
    return str(caught.value).replace(str(folder / "slide.geojson"), "FILE")


class TestClassesOfAModel:
    """Outlines whose class is one of several that a model tells apart."""

    NAMES = ("stroma", "In_situ", "tumor")
    DRAWN = (
        named("TUMOR", box(0, 0, 800, 1600)),
        named("Stroma", box(800, 0, 1600, 1600)),
        named("in situ", box(400, 0, 800, 400)),
        named("Carcinoma", box(800, 1200, 1200, 1600)),
        named("Necrosis", box(1200, 1200, 1600, 1600)),
    )

    def read(self, folder: Path, *features: dict[str, object], positive: str = "tumor", only: str = "") -> Annotations:
        path = write(folder / "slide.geojson", collection(*features))
        only_these = (only,) if only else ()
        return read_annotations(path, label_classes=only_these, class_names=self.NAMES, positive_class=positive)

    def test_each_tile_has_the_class_of_its_innermost_outline(self, tmp_path: Path) -> None:
        found = self.read(tmp_path, *self.DRAWN)
        tumor, stroma, in_situ, none = 2, 0, 1, -1
        expected = [[tumor, in_situ, stroma, stroma], *[[tumor, tumor, stroma, stroma]] * 2]
        expected.append([tumor, tumor, none, none])
        np.testing.assert_array_equal(found.class_labels(TILES).reshape(4, 4), expected)
        # "Carcinoma" is a usual name of what the positive class means.
        np.testing.assert_array_equal(
            found.labels(TILES).reshape(4, 4), [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]
        )
        assert found.table(TILES).shape == (16, 6)
        assert line_of(found) == (
            "slide.geojson: 1 outline of Carcinoma counts as IDC; 1 of TUMOR counts as that class; "
            "1 of Stroma counts as that class; 1 of in situ counts as that class; 1 of Necrosis not counted"
        )

    def test_another_positive_class_has_its_own_outlines(self, tmp_path: Path) -> None:
        found = self.read(tmp_path, *self.DRAWN, positive="stroma")
        np.testing.assert_array_equal(
            found.labels(TILES).reshape(4, 4), [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
        )
        none = self.read(tmp_path, *self.DRAWN[:2], positive="In_situ")
        assert positives(none) == 0
        assert (none.class_labels(TILES) >= 0).all()

    def test_label_class_decides_what_is_positive_and_not_the_classes(self, tmp_path: Path) -> None:
        found = self.read(tmp_path, *self.DRAWN, only="necrosis")
        assert positives(found) == 1
        assert set(found.class_labels(TILES).tolist()) == {-1, 0, 1, 2}
        with pytest.raises(OptionError, match=r"no outline of the class Necrosys, .*: correct --label-class"):
            self.read(tmp_path, *self.DRAWN, only="Necrosys")

    def test_without_an_outline_of_a_class_all_is_as_for_two(self, tmp_path: Path) -> None:
        drawn = [named("Carcinoma", LEFT), named("DCIS", box(0, 0, 400, 400))]
        found, usual = self.read(tmp_path, *drawn), read(tmp_path, collection(*drawn))
        assert found == usual
        assert found.table(TILES).shape == (16, 5)
        with pytest.raises(OptionError, match="no outline of IDC, only of Fat"):
            self.read(tmp_path, named("Fat", LEFT))


class TestClasses:
    def test_counted_cut_out_and_neither(self, tmp_path: Path) -> None:
        found = read(
            tmp_path,
            collection(
                named("Tumor", box(0, 0, 1600, 800)),
                named("tumor ", box(0, 800, 1600, 1600)),
                named("DCIS", box(800, 0, 1200, 1600)),
                named("DCIS", box(1200, 0, 1600, 1600)),
                named("Necrosis", box(5000, 0, 5100, 100)),
            ),
        )
        assert positives(found) == 8
        assert line_of(found) == (
            "slide.geojson: 1 outline of Tumor counts as IDC; 1 of tumor counts as IDC; 2 of DCIS are cut out; "
            "1 of Necrosis not counted"
        )
        told = found.as_dict()
        assert told["file"] == str(tmp_path / "slide.geojson")
        assert told["classes"] == {
            "Tumor": {"outlines": 1, "counted_as": "idc"},
            "tumor": {"outlines": 1, "counted_as": "idc"},
            "DCIS": {"outlines": 2, "counted_as": "cut out"},
            "Necrosis": {"outlines": 1, "counted_as": "not counted"},
        }
        assert told["skipped"] == []
        assert found.warnings == ()
        json.dumps(told)

    @pytest.mark.parametrize("name", ["Intraductal carcinoma", "Benign tumour", "Fat next to tumor", "Ignore*"])
    def test_a_word_inside_a_name_is_none(self, tmp_path: Path, name: str) -> None:
        assert positives(read(tmp_path, collection(named("Tumor", LEFT), named(name, RIGHT)))) == 8
        assert positives(read(tmp_path, collection(named("Tumor", ALL), named(name, RIGHT)))) == 8

    @pytest.mark.parametrize("name", ["Region*", "Stroma", "Tissue"])
    def test_a_class_around_the_tumour_cuts_nothing(self, tmp_path: Path, name: str) -> None:
        assert positives(read(tmp_path, collection(named(name, box(-9, -9, 3000, 3000)), named("Tumor", LEFT)))) == 8

    @pytest.mark.parametrize(("name", "count"), [("Region*", 16), ("ROI", 16), ("Stroma", 8), ("Other", 8)])
    def test_a_region_is_no_tissue(self, tmp_path: Path, name: str, count: int) -> None:
        assert positives(read(tmp_path, collection(named("Tumor", ALL), named(name, RIGHT)))) == count

    def test_names_that_are_given(self, tmp_path: Path) -> None:
        document = collection(named("Tumor", ALL), named("Nest A", LEFT), named("Nest B", RIGHT))
        assert positives(read(tmp_path, document, "nest a")) == 8
        assert positives(read(tmp_path, document, "Nest A", "NEST B ")) == 16
        assert refusal(tmp_path, document, "Nest") == (
            "FILE has no outline of the class Nest, only of Tumor, Nest A, Nest B: correct --label-class."
        )
        with pytest.raises(OptionError, match="--label-class has an empty name"):
            read(tmp_path, document, "Tumor", " ")

    def test_none_counts(self, tmp_path: Path) -> None:
        assert refusal(tmp_path, collection(named("Stroma"), named("DCIS"), named("DCIS"), feature(None))) == (
            "FILE has no outline of IDC, only of DCIS, Stroma: classify outlines as Tumor, or name one with "
            "--label-class."
        )

    def test_many_and_long_classes_are_told_in_short(self, tmp_path: Path) -> None:
        others = [named(name, box(9000, 0, 9010, 10)) for name in ("x\x1b[2J" * 999, *(f"C{i}" for i in range(99)))]
        assert len(refusal(tmp_path, collection(*others)).splitlines()[0]) < 400
        line = line_of(read(tmp_path, collection(named("Tumor"), *others)))
        assert len(line) < 300 and line.isprintable()
        assert line.endswith("96 more classes, all in run.json")

    @pytest.mark.parametrize("document", [collection(), [], collection(feature(None)), collection(feature(polygon()))])
    def test_no_outline(self, tmp_path: Path, document: object) -> None:
        found = read(tmp_path, document)
        assert positives(found) == 0
        assert line_of(found) == "slide.geojson: no outlines, so no tile is positive"


class TestWithoutClass:
    def test_counts_where_none_has_one_and_is_said(self, tmp_path: Path) -> None:
        found = read(tmp_path, collection(feature(polygon(LEFT)), feature(polygon(RIGHT), name="ROI 2")))
        assert positives(found) == 16
        assert line_of(found) == "slide.geojson: 2 outlines without a class count as IDC"
        assert found.warnings[0].startswith("no object has a class, so all 2 outlines count as IDC")

    @pytest.mark.parametrize(
        "other",
        [
            feature(polygon(ALL)),
            feature(polygon(ALL), name="Tissue"),
            feature(polygon(ALL), name="Tumor"),
            feature(polygon(ALL), classification=None),
            feature(polygon(ALL), classification={"name": None}),
            feature(polygon(ALL), classification=" "),
            polygon(ALL),
        ],
    )
    def test_counts_not_beside_a_class(self, tmp_path: Path, other: object) -> None:
        found = read(tmp_path, collection(other, named("Tumor", LEFT)))
        assert positives(found) == 8
        assert line_of(found) == "slide.geojson: 1 outline of Tumor counts as IDC; 1 without a class not counted"

    def test_nor_beside_a_class_of_what_never_counts(self, tmp_path: Path) -> None:
        """The outline that cells were looked for in is no tumour."""
        cell = named("Tumor", LEFT, objectType="cell")
        assert "only of no class, Tumor (detection)" in refusal(tmp_path, collection(feature(polygon(ALL)), cell))

    def test_names_stand_for_classes_where_one_says_idc(self, tmp_path: Path) -> None:
        found = read(tmp_path, collection(feature(polygon(LEFT), name="Tumor"), feature(polygon(ALL), name="Normal")))
        assert positives(found) == 8
        assert found.warnings == ()

    def test_counts_not_where_classes_are_given(self, tmp_path: Path) -> None:
        assert "no outline of the class Tumor" in refusal(tmp_path, collection(feature(polygon(ALL))), "Tumor")
        assert positives(read(tmp_path, collection(feature(polygon(LEFT), name="a")), "A")) == 8


class TestKinds:
    @pytest.mark.parametrize("kind", ["root", "tma_core", "detection", "cell", "tile", "TMA_CORE"])
    @pytest.mark.parametrize("classification", [None, {"name": "Tumor"}])
    def test_never_count(self, tmp_path: Path, kind: str, classification: object) -> None:
        other = feature(polygon(ALL), classification=classification, objectType=kind)
        assert positives(read(tmp_path, collection(other, named("Tumor", LEFT)))) == 8
        assert refusal(tmp_path, collection(other)).startswith("FILE has no outline of IDC, only of ")

    @pytest.mark.parametrize(
        ("ident", "count"),
        [
            *((f"Path{kind}Object", 8) for kind in ("Root", "TMACore", "Detection", "Cell", "Tile")),
            *(("TMACoreObject", 8), ("PathAnnotationObject", 16), ("a5c8d7f0-0000-4000-8000-000000000001", 16)),
        ],
    )
    def test_as_older_versions_of_qupath_write_them(self, tmp_path: Path, ident: str, count: int) -> None:
        other = {
            "type": "Feature",
            "id": ident,
            "geometry": polygon(ALL),
            "properties": {"classification": {"name": "Tumor", "colorRGB": -3670016}, "isLocked": False},
        }
        assert positives(read(tmp_path, collection(other, named("Tumor", LEFT)))) == count

    def test_another_key_for_the_kind(self, tmp_path: Path) -> None:
        other = {"type": "Feature", "geometry": polygon(ALL), "properties": {"object_type": "tile"}}
        assert positives(read(tmp_path, [other, named("Tumor", LEFT)])) == 8


class TestSkipped:
    @pytest.mark.parametrize("corners", [[[5, 5]] * 4, [[5, 5], [9, 9], [5, 5]], [[5, 5], [6, 6], [7, 7], [5, 5]]])
    def test_one_without_area(self, tmp_path: Path, corners: list[list[int]]) -> None:
        found = read(tmp_path, collection(named("Tumor", LEFT), named("Tumor", corners)))
        assert positives(found) == 8
        assert found.warnings == ("outline 2 at x 5, y 5 has no area, so it was skipped",)
        assert found.as_dict()["skipped"] == list(found.warnings)

    def test_a_part_of_one(self, tmp_path: Path) -> None:
        many = {"type": "MultiPolygon", "coordinates": [[LEFT], [[[7, 8]] * 4]]}
        found = read(tmp_path, feature(many, classification="Tumor"))
        assert positives(found) == 8
        assert found.warnings == ("a part of outline 1 at x 7, y 8 has no area, so it was skipped",)

    def test_points_and_lines_of_a_class(self, tmp_path: Path) -> None:
        points = feature({"type": "MultiPoint", "coordinates": [[1, 2]]}, classification="Tumor")
        line = feature({"type": "LineString", "coordinates": [[0, 0], [5, 5]]})
        found = read(tmp_path, collection(points, line, points, named("Tumor", LEFT)))
        assert positives(found) == 8
        assert found.warnings == ("2 points of Tumor have no area", "1 line has no area")

    def test_all_of_them(self, tmp_path: Path) -> None:
        assert refusal(tmp_path, collection(named("Tumor", [[5, 5]] * 4))) == (
            "FILE has no outline of IDC, as outline 1 at x 5, y 5 has no area, so it was skipped: classify outlines as "
            "Tumor, or name one with --label-class."
        )


class TestOrigin:
    def test_is_added(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.geojson", collection(named("Tumor", LEFT), named("DCIS", box(0, 0, 800, 400))))
        moved = read_annotations(path, origin=(800, 400))
        assert shapely.union_all(moved.idc).bounds == (800, 800, 1600, 2000)
        assert moved.labels(TILES).reshape(4, 4).tolist() == [[0] * 4, [0] * 4, [0, 0, 1, 1], [0, 0, 1, 1]]
        (area,) = read_roi(write(tmp_path / "b.geojson", polygon(LEFT)), origin=(800, -100)).areas
        assert area.bounds == (800, -100, 1600, 1500)


class TestXml:
    def test_asap(self, tmp_path: Path) -> None:
        found = read(
            tmp_path,
            asap(
                ("Polygon", "Tumor", LEFT[:-1]),
                ("Rectangle", "Tumor", box(800, 0, 1600, 400)[:-1]),
                ("Spline", "Tumor", box(800, 400, 1600, 800)),
                ("Rectangle", "Stroma", [[1200, 0], [1600, 800]]),
                ("Dot", "Tumor", [[3, 4]]),
                ("PointSet", "None", [[3, 4], [5, 6]]),
                ("Polygon", "None", ALL),
            ),
        )
        assert positives(found) == 8 + 2
        assert line_of(found) == (
            "slide.geojson: 3 outlines of Tumor count as IDC; 1 of Stroma is cut out; 1 without a class not counted"
        )
        assert found.warnings == ("1 point of Tumor has no area", "1 point has no area")

    def test_asap_without_groups(self, tmp_path: Path) -> None:
        found = read(tmp_path, asap(("Polygon", "None", LEFT), ("Polygon", "None", box(800, 0, 1600, 400))))
        assert positives(found) == 10
        assert found.unclassified

    def test_groups_that_are_given(self, tmp_path: Path) -> None:
        """As in the Camelyon sets, where _2 is what an outline leaves out."""
        drawn = asap(("Polygon", "_0", LEFT), ("Polygon", "_1", RIGHT), ("Polygon", "_2", box(0, 0, 1600, 800)))
        assert positives(read(tmp_path, drawn, "_0", "_1")) == 8

    def test_imagescope(self, tmp_path: Path) -> None:
        drawn = imagescope(
            ("Tumor", [region(LEFT), region(box(0, 0, 400, 400), negative=1), region([[1, 2], [3, 4]], kind=4)]),
            ("Necrosis", [region([[0, 1200], [400, 1600]], kind=1)]),
            ("Layer 3", [region(ALL)]),
        )
        found = read(tmp_path, drawn)
        assert positives(found) == 6
        assert line_of(found) == (
            "slide.geojson: 1 outline of Tumor counts as IDC; 1 of Necrosis is cut out; 1 without a class not counted"
        )
        assert found.warnings == ("1 line of Tumor has no area",)

    @pytest.mark.parametrize(
        "drawn",
        [
            imagescope(("", [region(LEFT, text="Tumor"), region(RIGHT, text="Stroma")])),
            imagescope(("Layer 1", [region(LEFT, text="IDC"), region(ALL, text="DCIS")])),
            imagescope(("Dr. X", [region(LEFT, text="Tumor"), region(RIGHT, text="17")])),
            imagescope(("", [region(LEFT)]), description="Tumor"),
            imagescope(("Annotation 1", [region(ALL), region(RIGHT, negative=1)])),
            imagescope(("Tumor", [region(ALL)]), ("", [region(RIGHT, negative=1)])),
        ],
        ids=["text", "layer by number", "layer of a person", "description", "no class", "negative alone"],
    )
    def test_where_imagescope_has_the_class(self, tmp_path: Path, drawn: bytes) -> None:
        assert positives(read(tmp_path, drawn)) == 8

    def test_a_negative_region_of_another_layer_stays_there(self, tmp_path: Path) -> None:
        """It is a hole in that, not in the tumour."""
        stroma = ("Stroma", [region(box(0, 0, 400, 1600)), region(box(0, 0, 400, 800), negative=1)])
        assert positives(read(tmp_path, imagescope(("Tumor", [region(LEFT)]), stroma))) == 6

    def test_ellipse_of_two_corners(self, tmp_path: Path) -> None:
        found = read(tmp_path, imagescope(("Tumor", [region([[0, 0], [1600, 800]], kind=2)])))
        assert shapely.union_all(found.idc).area == pytest.approx(np.pi * 800 * 400, rel=1e-4)


class TestRoi:
    def test_all_classes_but_what_is_ignored(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "a.geojson",
            collection(
                named("Region*", box(0, 0, 800, 600)),
                feature(polygon(box(400, 0, 900, 600))),
                feature(polygon(box(0, 1200, 400, 1600)), objectType="tma_core"),
                named("Ignore*", box(0, 0, 400, 250)),
                feature(polygon(ALL), objectType="root"),
                named("Tumor", ALL, objectType="tile"),
                named("Tumor", [[3, 3]] * 4),
            ),
        )
        roi = read_roi(path)
        # The first is left out by 250 of 400 lines, the second row is in by half.
        assert roi.holds(TILES).reshape(4, 4).astype(int).tolist() == [
            [0, 1, 0, 0],
            [1, 1, 0, 0],
            [0, 0, 0, 0],
            [1, 0, 0, 0],
        ]
        assert roi.skipped == ("outline 7 at x 3, y 3 has no area, so it was skipped",)

    @pytest.mark.parametrize("document", [collection(), collection(feature(polygon(ALL), objectType="tile"))])
    def test_none(self, tmp_path: Path, document: object) -> None:
        with pytest.raises(OptionError, match="holds no outline of a region of interest: draw one"):
            read_roi(write(tmp_path / "a.geojson", document))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.floats()
        | st.text()
        | st.sampled_from([0, 1, "Feature", "Polygon", "Tumor", "tile"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["type", "features", "geometry", "geometries", "coordinates", "properties"]), inner
            )
            | inner.map(lambda value: collection(feature(value)))
            | inner.map(lambda value: feature(polygon(SQUARE), classification=value))
            | inner.map(lambda value: feature(polygon(SQUARE), objectType=value, name=value, isEllipse=value))
            | inner.map(lambda value: {"type": "MultiPolygon", "coordinates": [[SQUARE], value]})
        ),
        max_leaves=8,
    )
)
def test_anything(tmp_path_factory: pytest.TempPathFactory, document: object) -> None:
    """Any JSON is either read, and then measured, or refused in a sentence."""
    try:
        found = read(tmp_path_factory.getbasetemp(), document)
    except OptionError as error:
        assert str(error).endswith(".")
    else:
        assert set(found.labels(TILES)) <= {0, 1}
        assert line_of(found)


@given(st.lists(st.lists(st.tuples(*[st.floats(-2e3, 2e3) | st.sampled_from([0, 400, 1e9])] * 2), max_size=9)))
def test_any_corners(tmp_path_factory: pytest.TempPathFactory, rings: list[list[tuple[float, float]]]) -> None:
    """Crossing, doubled and far corners end in labels or in a sentence."""
    features = [named(("Tumor", "DCIS")[i % 2], ring) for i, ring in enumerate(rings)]
    try:
        found = read(tmp_path_factory.getbasetemp(), collection(named("Tumor", LEFT), *features))
    except OptionError as error:
        pytest.fail(str(error))
    assert set(found.labels(TILES)) <= {0, 1}
