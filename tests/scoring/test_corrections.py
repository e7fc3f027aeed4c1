"""Corrections: written as QuPath wants them, and taken back as QuPath saves them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.export.qupath import read_checked
from wsi_idc.errors import CorrectionsError, WsiIdcError
from wsi_idc.scoring.corrections import (
    CORRECTIONS_FILE,
    Correction,
    corrected_boxes,
    read_corrections,
    write_corrections,
)
from wsi_idc.scoring.scores import make_scores, write_scores
from wsi_idc.source import Patch

SHA = "3fa9c07be1d24455" * 4
WHEN = "2026-01-31T12:00:00+00:00"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda text: "Annotation" not in text)
CORRECTIONS = st.lists(
    st.builds(
        Correction,
        *(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 2000), st.integers(1, 2000)),
        st.sampled_from([True, False, None]),
        *(TEXT, TEXT, st.just(WHEN), st.sampled_from(["", SHA])),
    ),
    max_size=6,
    unique_by=lambda one: one.box,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A results folder of 5 x 4 patches of 100 px, the last column 60 px wide, from x 1,000 and y 2,000 on."""
    patches = [
        Patch(1000 + 100 * column, 2000 + 100 * row, 60 if column == 4 else 100, 100)
        for row in range(4)
        for column in range(5)
    ]
    prob = np.linspace(0, 1, len(patches), dtype=np.float32)
    write_scores(tmp_path / "scores.csv", make_scores("a", patches, np.stack([1 - prob, prob], axis=1), 0.5))
    return tmp_path


def box(column: int, row: int) -> tuple[int, int, int, int]:
    return 1000 + 100 * column, 2000 + 100 * row, 60 if column == 4 else 100, 100


def at(column: int, row: int, is_idc: bool | None = True, note: str = "", when: str = WHEN) -> Correction:
    return Correction(*box(column, row), is_idc, note, "A. Person", when, SHA)


def rectangle(left: float, top: float, right: float, bottom: float) -> dict[str, Any]:
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    return {"type": "Polygon", "coordinates": [ring]}


def drawn(geometry: dict[str, Any] | None, of: str | None = "Tumor", **properties: Any) -> dict[str, Any]:
    of_class = {} if of is None else {"classification": {"name": of, "color": [200, 0, 0]}}
    return {
        "type": "Feature",
        "id": "PathAnnotationObject",
        "geometry": geometry,
        "properties": {"objectType": "annotation", **of_class, **properties},
    }


def save(folder: Path, document: object) -> Path:
    path = folder / CORRECTIONS_FILE
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def load(folder: Path) -> Any:
    return json.loads((folder / CORRECTIONS_FILE).read_text(encoding="utf-8"))


@given(CORRECTIONS, st.tuples(st.integers(0, 5000), st.integers(0, 5000)))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, corrections: list[Correction], origin_px: tuple[int, int]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    write_corrections(folder, corrections, origin_px)
    assert read_corrections(folder) == tuple(corrections)
    written = (folder / CORRECTIONS_FILE).read_bytes()
    write_corrections(folder, read_corrections(folder), origin_px)
    assert (folder / CORRECTIONS_FILE).read_bytes() == written


def test_qupath_opens_the_file_in_its_own_frame(folder: Path) -> None:
    path = write_corrections(
        folder, [at(1, 0), at(2, 0, False), at(3, 3, None, "look here"), at(3, 3, None, "and here")], (900, 1900)
    )
    assert path == folder / "corrections.geojson"
    features = [one["properties"].pop("metadata") and one for one in load(folder)["features"]]
    save(folder.parent, {"type": "FeatureCollection", "features": features})
    idc, no_idc, note, _ = read_checked(folder.parent / CORRECTIONS_FILE)
    assert idc["geometry"]["coordinates"] == [[[300, 100], [300, 200], [200, 200], [200, 100], [300, 100]]]
    assert idc["properties"]["classification"] == {"name": "IDC", "color": [213, 94, 0]}
    assert no_idc["properties"]["classification"] == {"name": "no IDC", "color": [0, 114, 178]}
    assert note["properties"]["name"] == "look here"
    assert "classification" not in note["properties"]
    assert all(not one["properties"]["isLocked"] for one in (idc, no_idc, note))
    assert [one["properties"]["objectType"] for one in (idc, no_idc, note)] == ["annotation"] * 3


def test_no_file_is_no_correction_and_none_is_a_file(folder: Path) -> None:
    assert read_corrections(folder) == ()
    write_corrections(folder, [])
    assert read_corrections(folder) == ()
    assert load(folder) == {"type": "FeatureCollection", "features": []}
    assert [of.name for of in folder.iterdir() if of.name.startswith(".")] == []


def test_a_save_by_qupath_changes_nothing(folder: Path) -> None:
    corrections = (at(1, 0), at(2, 0, False, "stroma"), at(3, 3, None, "look here"))
    write_corrections(folder, corrections, (900, 1900))
    features = load(folder)["features"]
    for one in features:
        (ring,) = one["geometry"]["coordinates"]
        one["geometry"]["coordinates"] = [[[float(value) for value in point] for point in reversed(ring)]]
        del one["properties"]["measurements"], one["properties"]["isLocked"]
    as_saved = [
        dict(reversed(one.items())) | {"properties": dict(reversed(one["properties"].items()))} for one in features
    ]
    save(folder, as_saved)
    assert read_corrections(folder) == corrections


def test_what_was_deleted_or_called_otherwise_in_qupath(folder: Path) -> None:
    write_corrections(folder, [at(0, 0), at(1, 0), at(2, 0)])
    document = load(folder)
    del document["features"][0]
    document["features"][0]["properties"]["classification"] = {"name": "Negative", "color": [0, 0, 200]}
    save(folder, document)
    assert read_corrections(folder) == (at(1, 0, False), at(2, 0))


def test_a_moved_box_corrects_the_patch_that_it_covers_most(folder: Path) -> None:
    write_corrections(folder, [at(0, 0)])
    document = load(folder)
    (ring,) = document["features"][0]["geometry"]["coordinates"]
    document["features"][0]["geometry"]["coordinates"] = [[[x + 131.5, y + 228.25] for x, y in ring]]
    save(folder, document)
    assert read_corrections(folder) == (at(1, 2),)
    document["features"][0]["geometry"] = rectangle(-900, -900, -800, -800)
    save(folder, document)
    assert [one.box for one in read_corrections(folder)] == [(-900, -900, 100, 100)]


def test_merged_and_drawn_outlines_correct_each_patch_below(folder: Path) -> None:
    merged = {
        "type": "MultiPolygon",
        "coordinates": [
            rectangle(1000, 2000, 1200, 2100)["coordinates"],
            rectangle(1400, 2300, 1460, 2400)["coordinates"],
        ],
    }
    small = rectangle(1240, 2240, 1260, 2260)
    save(folder, {"type": "FeatureCollection", "features": [drawn(merged), drawn(small, "benign", name="nest")]})
    found = read_corrections(folder)
    assert corrected_boxes(found) == {box(0, 0): True, box(1, 0): True, box(4, 3): True, box(2, 2): False}
    assert [one.note for one in found] == ["", "", "", "nest"]
    assert {one.who for one in found} == {""}
    assert all(one.when.endswith("+00:00") for one in found)


def test_points_correct_the_patches_that_they_lie_in(folder: Path) -> None:
    points = {"type": "MultiPoint", "coordinates": [[1050.5, 2050], [1459, 2399], [50, 50]]}
    save(folder, [drawn(points)])
    assert corrected_boxes(read_corrections(folder)) == {box(0, 0): True, box(4, 3): True}


def test_other_objects_drawn_by_hand_are_notes_or_left_out(folder: Path) -> None:
    place = rectangle(1010, 2010, 1030, 2025)
    save(
        folder,
        [
            drawn(place, None, name="Annotation 3", metadata={"ANNOTATION_DESCRIPTION": "what is this?"}),
            drawn(place, "Necrosis"),
            drawn({"type": "Point", "coordinates": [1500, 2500]}, None, name="here"),
            drawn(place, objectType="detection"),
            drawn(place, objectType="tile"),
            drawn(None),
        ],
    )
    found = read_corrections(folder)
    assert [(one.box, one.is_idc, one.note) for one in found] == [
        ((1010, 2010, 20, 15), None, "what is this?"),
        ((1010, 2010, 20, 15), None, "Necrosis"),
        ((1500, 2500, 1, 1), None, "here"),
    ]


def test_the_frame_of_objects_drawn_by_hand_is_that_of_the_slide(folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps({"source": {"origin_px": [900, 1900]}}))
    save(folder, [drawn(rectangle(100, 100, 200, 200))])
    assert corrected_boxes(read_corrections(folder)) == {box(0, 0): True}


def test_the_latest_word_on_a_patch_counts(folder: Path) -> None:
    write_corrections(folder, [at(0, 0, True, when="2026-02-01T00:00:00+00:00"), at(0, 0, False)])
    assert corrected_boxes(read_corrections(folder)) == {box(0, 0): True}
    write_corrections(folder, [at(0, 0, True), at(0, 0, False)])
    assert corrected_boxes(read_corrections(folder)) == {box(0, 0): False}


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        '{"type": "FeatureCollection", "features": [',
        "\x00\x00",
        "[" * 100_000,
        '{"type": "Topology"}',
        "3",
        "[3]",
        '[{"type": "Feature"}]',
        '[{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[NaN, 0], [1, 0], [1, 1]]]}}]',
        '[{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [["a", 0]]}}]',
        '[{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": 7}}]',
        '[{"type": "Feature", "geometry": {"type": "Curve", "coordinates": []}}]',
        '[{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1e300, 0]}}]',
    ],
    ids=range(14),
)
def test_a_damaged_file_is_named_in_one_sentence(folder: Path, document: str) -> None:
    path = save(folder, document)
    with pytest.raises(CorrectionsError) as caught:
        read_corrections(folder)
    assert isinstance(caught.value, WsiIdcError)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_folder_in_the_place_of_the_file_is_named(folder: Path) -> None:
    (folder / CORRECTIONS_FILE).mkdir()
    with pytest.raises(CorrectionsError, match="cannot be read"):
        read_corrections(folder)


def test_huge_files_are_refused_before_they_are_read(folder: Path) -> None:
    os.truncate(save(folder, "[]"), 101_000_000)
    with pytest.raises(CorrectionsError, match="more than 100 MB"):
        read_corrections(folder)
