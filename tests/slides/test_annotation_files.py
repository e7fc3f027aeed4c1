"""Annotations are read from whatever QuPath, ASAP and ImageScope write; what is damaged or hostile is refused."""

from __future__ import annotations

import gzip
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.slides.drawings import SQUARE, asap, box, collection, feature, imagescope, named, polygon, region, write
from wsi_idc.errors import DataNotFoundError, OptionError
from wsi_idc.slides import annotation_files
from wsi_idc.slides.annotation_files import ADVICE, MAX_FILE_MB, FileContents, read_contents

ONE = json.dumps(collection(named("Tumor"))).encode()


def read(folder: Path, document: object) -> FileContents:
    return read_contents(write(folder / "slide.geojson", document))


def area(contents: FileContents) -> float:
    return float(sum(one.area.area for one in contents.objects))


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, contents in files.items():
            archive.writestr(name, contents)
    return stream.getvalue()


def refusal(folder: Path, document: object) -> str:
    with pytest.raises(OptionError) as caught:
        read(folder, document)
    return str(caught.value).replace(str(folder / "slide.geojson"), "FILE")


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
            feature(polygon(SQUARE[:-1])),
            [polygon(SQUARE)],
            asap(("Polygon", "Tumor", SQUARE)),
            imagescope(("Tumor", [region(SQUARE)])),
        ],
    )
    def test_one_square(self, tmp_path: Path, document: object) -> None:
        (one,) = read(tmp_path, document).objects
        assert one.area.bounds == (10, 20, 110, 120)
        assert one.area.area == 10_000

    def test_holes(self, tmp_path: Path) -> None:
        hole, many = box(20, 30, 30, 40), [[SQUARE, box(20, 30, 30, 40)], [box(200, 0, 210, 10)]]
        contents = read(
            tmp_path, collection(feature(polygon(SQUARE, hole)), feature({"type": "MultiPolygon", "coordinates": many}))
        )
        assert [one.area.area for one in contents.objects] == [9_900, 10_000]

    @pytest.mark.parametrize("geometry", [polygon(SQUARE) | {"isEllipse": True}, polygon(SQUARE)])
    def test_ellipse(self, tmp_path: Path, geometry: dict[str, object]) -> None:
        more = {} if "isEllipse" in geometry else {"isEllipse": True}
        assert area(read(tmp_path, feature(geometry, **more))) == pytest.approx(math.pi * 50**2, rel=1e-4)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_encodings(self, tmp_path: Path, encoding: str) -> None:
        text = json.dumps(collection(named("Tumör")), ensure_ascii=False)
        assert read(tmp_path, text.encode(encoding)).objects[0].classes == ("Tumör",)
        xml = imagescope(("Tumör", [region(SQUARE)])).decode()
        head = "" if encoding == "utf-16" else '<?xml version="1.0" encoding="UTF-8"?>'
        assert read(tmp_path, (head + xml).encode(encoding)).objects[0].classes == ("Tumör",)

    @pytest.mark.parametrize(
        ("classification", "classes"),
        [
            ({"name": "Tumor", "colorRGB": -3670016}, ("Tumor",)),
            ({"names": ["Tumor", "Positive"], "color": [1, 2, 3]}, ("Tumor: Positive",)),
            ({"name": None, "names": ["Stroma"]}, ("Stroma",)),
            (" Tumor ", ("Tumor",)),
            (["Tumor"], ("Tumor",)),
            *((nothing, ()) for nothing in (None, "", {}, {"name": " "}, {"names": []})),
        ],
    )
    def test_where_the_class_stands(self, tmp_path: Path, classification: object, classes: tuple[str, ...]) -> None:
        assert read(tmp_path, feature(polygon(SQUARE), classification=classification)).objects[0].classes == classes

    def test_asap_with_commas_and_in_another_order(self, tmp_path: Path) -> None:
        corners = [("2", "110,5", "120"), ("0", "10,5", "20"), ("3", "10.5", "120"), ("1", "110,5", "20")]
        inner = "".join(f'<Coordinate Order="{order}" X="{x}" Y="{y}"/>' for order, x, y in corners)
        text = f'<ASAP_Annotations><Annotations><Annotation Type="Polygon" PartOfGroup="Tumor"><Coordinates>{inner}'
        text += "</Coordinates></Annotation></Annotations></ASAP_Annotations>"
        (one,) = read(tmp_path, text.encode()).objects
        assert (one.area.bounds, one.area.area) == ((10.5, 20, 110.5, 120), 10_000)


class TestPacked:
    @pytest.mark.parametrize("name", ["a.geojson.gz", "a.gz", "a.geojson", "A.GZ"])
    def test_gzip_by_what_it_holds(self, tmp_path: Path, name: str) -> None:
        assert area(read_contents(write(tmp_path / name, gzip.compress(ONE)))) == 10_000

    def test_gzip_in_parts(self, tmp_path: Path) -> None:
        assert area(read(tmp_path, gzip.compress(ONE[:50]) + gzip.compress(ONE[50:]))) == 10_000

    @pytest.mark.parametrize(
        "files",
        [
            {"slide.geojson": ONE},
            {"slide.json": ONE},
            {"slide": ONE},
            {
                "folder/slide.GEOJSON": ONE,
                "__MACOSX/folder/._slide.geojson": b"x",
                ".DS_Store": b"x",
                "notes.txt": b"x",
            },
            {"slide.xml": asap(("Polygon", "Tumor", SQUARE))},
        ],
    )
    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_zip(self, tmp_path: Path, files: dict[str, bytes], method: int) -> None:
        assert area(read(tmp_path, zipped(files, method))) == 10_000

    def test_xml_in_gzip(self, tmp_path: Path) -> None:
        assert area(read(tmp_path, gzip.compress(imagescope(("Tumor", [region(SQUARE)]))))) == 10_000

    @pytest.mark.parametrize(("files", "count"), [({}, 0), ({"a.geojson": ONE, "b.geojson": ONE}, 2)])
    def test_zip_of_none_or_several(self, tmp_path: Path, files: dict[str, bytes], count: int) -> None:
        assert refusal(tmp_path, zipped(files)) == (
            f"FILE holds {count} files, where QuPath packs one NAME.geojson: unpack it, and name the one that is of "
            "this slide."
        )

    @pytest.mark.parametrize("cut", [3, 30, -1])
    def test_damaged(self, tmp_path: Path, cut: int) -> None:
        assert refusal(tmp_path, gzip.compress(ONE)[:cut]) == "FILE is a damaged .gz file: export it again."

    @pytest.mark.parametrize("at", [4, 14, 26, 60, -30, -12, -6])
    def test_damaged_zip(self, tmp_path: Path, at: int) -> None:
        """A changed byte is read or refused, never raised as anything else."""
        packed = bytearray(zipped({"a.geojson": ONE}))
        packed[at] ^= 0xFF
        try:
            read(tmp_path, bytes(packed))
        except OptionError as error:
            assert "zip" in str(error) or "files" in str(error)
        assert "zip" in refusal(tmp_path, bytes(packed[: len(packed) // 2]))

    def test_bombs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What unpacks to more than the limit is given up there, whatever the archive declares."""
        monkeypatch.setattr(annotation_files, "_MAX_BYTES", 1_000_000)
        bomb = ONE + b" " * 1_000_000
        said = f"FILE unpacks to more than {MAX_FILE_MB} MB: export annotations without cells."
        assert refusal(tmp_path, gzip.compress(bomb)) == said
        assert refusal(tmp_path, zipped({"a.geojson": bomb})) == said
        packed = zipped({"a.geojson": bomb})
        declared = len(bomb).to_bytes(4, "little")
        assert packed.count(declared) == 2
        assert refusal(tmp_path, packed.replace(declared, (99).to_bytes(4, "little")))
        assert area(read(tmp_path, gzip.compress(ONE + b" " * 900_000))) == 10_000

    def test_zip_of_very_many_files(self, tmp_path: Path) -> None:
        packed = zipped({f"{i:0200}": b"" for i in range(4_500)})
        assert refusal(tmp_path, packed) == "FILE is a zip of very many files: name one with the outlines alone."


class TestErrors:
    def test_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "none.geojson"
        with pytest.raises(DataNotFoundError) as caught:
            read_contents(path)
        assert str(caught.value) == f"There are no outlines at {path}: {ADVICE}."

    def test_unreadable(self, tmp_path: Path) -> None:
        with pytest.raises(DataNotFoundError) as caught:
            read_contents(tmp_path)
        assert str(caught.value) == f"{tmp_path} cannot be read (Is a directory): {ADVICE}."

    def test_too_large(self, tmp_path: Path) -> None:
        with (tmp_path / "slide.geojson").open("wb") as file:
            file.truncate(MAX_FILE_MB * 1_000_000 + 1_000_000)
        with pytest.raises(OptionError, match="has 501 MB, more than 500: export annotations without cells"):
            read_contents(tmp_path / "slide.geojson")

    @pytest.mark.parametrize(
        "contents",
        [
            b"",
            b"{",
            b"PK\x07\x08",
            json.dumps(named("Tumör"), ensure_ascii=False).encode("latin-1"),
            b"[" + b"9" * 5000 + b"]",
        ],
    )
    def test_no_json(self, tmp_path: Path, contents: bytes) -> None:
        assert refusal(tmp_path, contents) == f"FILE holds no outlines that can be read: {ADVICE}."

    def test_nested_too_deeply(self, tmp_path: Path) -> None:
        assert refusal(tmp_path, b"[" * 500_000) == f"FILE is nested too deeply for GeoJSON: {ADVICE}."

    def test_nested_deeply(self, tmp_path: Path) -> None:
        """As deep as JSON is read is not too deep for what comes after."""
        geometry = json.dumps(polygon(SQUARE))
        for _ in range(400):
            geometry = f'{{"type": "GeometryCollection", "geometries": [{geometry}]}}'
        assert area(read(tmp_path, geometry.encode())) == 10_000

    @pytest.mark.parametrize(
        "document",
        [
            *(None, 5, "Tumor", True, {}, {"type": "Topology"}, {"type": ["Feature"]}),
            *({"type": "FeatureCollection"}, {"type": "FeatureCollection", "features": {"a": 1}}),
        ],
    )
    def test_no_geojson(self, tmp_path: Path, document: object) -> None:
        assert refusal(tmp_path, document) == f"FILE is JSON, but no GeoJSON: {ADVICE}."

    def test_entities(self, tmp_path: Path) -> None:
        """Neither those that grow without bounds nor those that name a file are taken."""
        (tmp_path / "secret").write_text("Tumor")
        grows = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
        for inner in (f'<!ENTITY e0 "ha">{grows}', f'<!ENTITY e9 SYSTEM "file://{tmp_path}/secret">'):
            for root in ("Annotations", "ASAP_Annotations"):
                text = f'<?xml version="1.0"?><!DOCTYPE x [{inner}]><{root}><Annotation Name="&e9;"/></{root}>'
                assert refusal(tmp_path, text.encode()) == (
                    f"FILE is XML with a document type, which no annotations have: {ADVICE}."
                )

    @pytest.mark.parametrize("text", [b"<html><body/></html>", b"<annotations><ndpviewstate/></annotations>", b"<a>"])
    def test_other_xml(self, tmp_path: Path, text: bytes) -> None:
        assert refusal(tmp_path, text) == f"FILE is XML, but not of ASAP or ImageScope: {ADVICE}."

    @pytest.mark.parametrize("text", [b"<", b"<Annotations>", asap(("Polygon", "Tumor", SQUARE))[:-40], b"<\x00>"])
    def test_damaged_xml(self, tmp_path: Path, text: bytes) -> None:
        assert refusal(tmp_path, text).startswith("FILE is XML that is damaged (")

    def test_xml_nested_deeply(self, tmp_path: Path) -> None:
        text = b"<Annotations>" + b"<a>" * 200_000 + b"</a>" * 200_000 + b"</Annotations>"
        assert read(tmp_path, text).objects == []


NO_GEOMETRY = "has a geometry that is no GeoJSON"
NO_NUMBER = "has a coordinate that is no number up to 1,000,000,000 px"


class TestFlaws:
    """One broken outline is named by its place, and the others are read."""

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
            *((feature({"type": "MultiPolygon", "coordinates": [rings]}), NO_GEOMETRY) for rings in (None, 7, "x")),
            (feature({"type": "GeometryCollection", "geometries": [7]}), NO_GEOMETRY),
            ({"type": "Feature", "geometry": None, "properties": [1]}, "has properties that are no GeoJSON"),
            *(
                (feature(None, classification=wrong), "has a classification that is no text")
                for wrong in (5, True, [1], {"name": 5}, {"name": {}}, {"names": "Tumor", "name": [None]})
            ),
        ],
    )
    def test_broken_feature(self, tmp_path: Path, changed: object, flaw: str) -> None:
        contents = read(tmp_path, collection(named("Tumor"), changed, named("Tumor")))
        assert contents.skipped == [f"outline 2 {flaw}"]
        assert area(contents) == 20_000

    @pytest.mark.parametrize(
        ("corner", "flaw"),
        [
            *((corner, NO_GEOMETRY) for corner in (None, 7, "xy", [], [1], {"x": 1, "y": 2})),
            *(([5, value], NO_NUMBER) for value in (None, "5", [5], {}, 1e10, -1e300, 10**400)),
            *(([value, 5], NO_NUMBER) for value in (math.nan, math.inf, -math.inf)),
        ],
    )
    def test_broken_corner(self, tmp_path: Path, corner: object, flaw: str) -> None:
        ring: list[Any] = [*SQUARE]
        ring[2] = corner
        contents = read(tmp_path, collection(feature(polygon(ring)), feature(polygon(SQUARE))))
        assert contents.skipped == [f"outline 1 at x 10, y 20 {flaw}"]
        assert area(contents) == 10_000

    @pytest.mark.parametrize(
        ("x", "flaw"), [("", "has a corner whose X or Y is no number"), ("1e99", NO_NUMBER), ("nan", NO_NUMBER)]
    )
    def test_broken_corner_in_xml(self, tmp_path: Path, x: str, flaw: str) -> None:
        good = imagescope(("Tumor", [region(SQUARE), region(box(0, 0, 7, 7))])).decode()
        contents = read(tmp_path, good.replace('X="110"', f'X="{x}"', 1).encode())
        assert contents.skipped == [f"outline 1 at x 10, y 20 {flaw}"]
        assert area(contents) == 49
