from __future__ import annotations

import re
from pathlib import Path

import pytest

from wsi_idc.errors import DataNotFoundError, OptionError
from wsi_idc.slides.discovery import FoundSlide
from wsi_idc.slides.manifest import read_manifest


def manifest(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "cohort.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_the_rows_of_a_manifest(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "site,labels,mpp,path\nA,,0.5,b/y.svs\n\nB,truth/x.geojson, ,./a/x.svs\n"
        'C,/gold/z.geojson,0.2525,"/data/z, second.svs"\nD,,,../up/w.svs\n',
    )
    assert read_manifest(path) == (
        FoundSlide("b/y.svs", tmp_path / "b/y.svs", 0.5),
        FoundSlide("a/x.svs", tmp_path / "a/x.svs", None, tmp_path / "truth/x.geojson"),
        FoundSlide("z, second.svs", Path("/data/z, second.svs"), 0.2525, Path("/gold/z.geojson")),
        FoundSlide("w.svs", tmp_path / "../up/w.svs"),
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_manifest_as_editors_save_it(encoding: str, end: str, tmp_path: Path) -> None:
    path = manifest(tmp_path, f"mpp, path{end}0.25, Größe.svs{end}", encoding)
    assert read_manifest(path) == (FoundSlide("Größe.svs", tmp_path / "Größe.svs", 0.25),)


def test_a_row_may_end_early(tmp_path: Path) -> None:
    assert read_manifest(manifest(tmp_path, "path,mpp,labels\na.svs\n")) == (FoundSlide("a.svs", tmp_path / "a.svs"),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Line 1 of .* names no column path"),
        ("file,mpp\na.svs,\n", "Line 1 of .* names no column path"),
        ("path|mpp\na.svs|0.5\n", "Line 1 of .* names no column path"),
        ("sep=;\nfile;mpp\n", "Line 2 of .* names no column path"),
        ("path,mpp\n", "lists no slide"),
        ("path,mpp\n,\n  ,NA\n", "lists no slide"),
        (f"path\n{'a' * 200_000}.svs\n", "Line 2 of .* is no CSV"),
    ],
)
def test_manifests_that_cannot_be_used(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=told) as caught:
        read_manifest(manifest(tmp_path, text))
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("path,mpp\na.svs,\n ,0.5\n", 3, "empty path"),
        ("mpp,path\n0.5\n,a.svs\n", 2, "empty path"),
        ("path,mpp\na.svs,\nb.svs,half\n", 3, "mpp 'half', which is no number"),
        ('path,mpp\na.svs,\nb.svs,"1,000.5"\n', 3, "mpp '1,000.5', which is no number"),
        ("path,mpp\na.svs,\nb.svs,\n./a.svs,0.5\n", 4, "names the slide a.svs as line 2 does.*column name"),
        ("path\n/one/a.svs\n/two/a.svs\n", 3, "names the slide a.svs as line 2 does.*column name"),
        *((f"path\na.svs\n{name}\n", 3, "is a folder") for name in ("..", "a/..", ".", "/", "/..")),
        ("path\na.svs\nb\0.svs\n", 3, "zero byte"),
        *(
            (f"path,name\na.svs,\nb.svs,{name}\n", 3, "no name of a folder in the results")
            for name in ("/b", "../b", "a/../b", "..\\b", ".b", "a//b", "b/", "b\x1b[2J", "b\u202egvs")
        ),
    ],
)
def test_a_row_that_cannot_be_used_costs_itself(text: str, line: int, told: str, tmp_path: Path) -> None:
    slides = read_manifest(manifest(tmp_path, text))
    (refused,) = (slide for slide in slides if slide.wrong)
    assert refused.name == f"line {line}"
    assert re.search(f"^Line {line} of .*{told}", refused.wrong)
    assert refused.wrong.endswith(".")
    assert {slide.path.name for slide in slides if not slide.wrong} >= {"a.svs"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,mpp,labels\r\na.tif,0.5,\r\n,,\r\n,,\r\n", ("a.tif", 0.5)),
        ('"path","mpp","labels"\n"a.tif",NA,NA\n', ("a.tif", None)),
        ("path,mpp\na.tif,NaN\n", ("a.tif", None)),
        ("path,mpp\n a.tif ,  0.5 \n", ("a.tif", 0.5)),
        ("Path,MPP,Labels\na.tif,0.5,\n", ("a.tif", 0.5)),
        ("path;mpp\r\na.tif;0,5\r\n", ("a.tif", 0.5)),
        ('path,mpp\na.tif,"0,5"\n', ("a.tif", 0.5)),
        ("path\tmpp\na.tif\t0.5\n", ("a.tif", 0.5)),
        ('mpp;"path"\n0.5;"a.tif"\n', ("a.tif", 0.5)),
        ("sep=,\r\npath,mpp\r\na.tif,0.5\r\n", ("a.tif", 0.5)),
        ("sep=;\npath;mpp\na.tif;0.5\n", ("a.tif", 0.5)),
        ("sep=|\npath|mpp\na.tif|0.5\n", ("a.tif", 0.5)),
        ("path\nsub\\a.tif\n", ("sub/a.tif", None)),
        ("path\na.tif\n./a.tif\n", ("a.tif", None)),
    ],
)
def test_what_spreadsheets_leave_is_read(text: str, expected: tuple[str, float | None], tmp_path: Path) -> None:
    name, mpp = expected
    assert read_manifest(manifest(tmp_path, text)) == (FoundSlide(name, tmp_path / name, mpp),)


def test_a_path_of_another_system_is_named_by_its_file(tmp_path: Path) -> None:
    (slide,) = read_manifest(manifest(tmp_path, "path\nC:\\slides\\a.svs\n"))
    assert slide.name == "a.svs"


def test_names_of_ones_own(tmp_path: Path) -> None:
    path = manifest(tmp_path, "path,Name\n/one/a.svs,site 1/a\n/two/a.svs, site 2\\a\n/three/a.svs,\n")
    assert read_manifest(path) == (
        FoundSlide("site 1/a", Path("/one/a.svs")),
        FoundSlide("site 2/a", Path("/two/a.svs")),
        FoundSlide("a.svs", Path("/three/a.svs")),
    )


def test_a_manifest_of_100_000_rows(tmp_path: Path) -> None:
    rows = "".join(f"site-{i % 7}/{i}.svs,0.{i % 9 + 1},\n" for i in range(100_000))
    slides = read_manifest(manifest(tmp_path, f"path,mpp,labels\n{rows}"))
    assert len(slides) == len({slide.name for slide in slides}) == 100_000
    assert not any(slide.wrong for slide in slides)


def test_manifests_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"There is no manifest .*cohort\.csv"):
        read_manifest(tmp_path / "cohort.csv")
    with pytest.raises(DataNotFoundError, match="cannot be read"):
        read_manifest(tmp_path)
    for encoding in ("latin-1", "utf-16"):
        with pytest.raises(OptionError, match="UTF-8"):
            read_manifest(manifest(tmp_path, "path\nGröße.svs\n", encoding))


def test_labels_at_an_address_are_refused_without_what_is_secret(tmp_path: Path) -> None:
    (row,) = read_manifest(manifest(tmp_path, "path,labels\na.svs,s3://me:secret@bucket/l.geojson\n"))
    assert "s3://bucket/l.geojson, which are not read" in row.wrong
    assert "secret" not in row.wrong
