from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsi_idc.errors import SlideError
from wsi_idc.slides import discovery as find
from wsi_idc.slides.discovery import FoundSlide, find_slides

DICOM = bytes(128) + b"DICM" + bytes(40)


def put(folder: Path, *names: str, content: bytes = b"no picture") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def names_in(folder: Path) -> list[str]:
    return [slide.name for slide in find_slides(folder).slides]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that OpenSlide was asked about; a file is of the slide named before its underscore, "broken" of none."""
    files: list[str] = []

    def answer(file: Path) -> str | None:
        files.append(file.name)
        slide = file.name.split("_")[0]
        return None if slide == "broken" else slide

    monkeypatch.setattr(find, "dicom_identity", answer)
    return files


def test_slides_by_their_ending_sorted_by_name_and_the_rest_counted(tmp_path: Path) -> None:
    slides = ["Z.SVS", "a.tif", "a/b.svs", "a/c d.ome.tiff", "b/x.ndpi", "m.mrxs", "o.ome.btf", "v.vms", "z.czi"]
    put(tmp_path, *slides, "readme.txt", "a/b.json", "svs", "m/Data0001.dat", "btf.btf")
    found = find_slides(tmp_path)
    assert [slide.name for slide in found.slides] == slides
    assert found.slides[2] == FoundSlide("a/b.svs", tmp_path / "a" / "b.svs", None, None)
    assert found.others == 5


@pytest.mark.parametrize("folder", [".", "below", "../cohort"])
def test_names_are_relative_however_the_folder_is_named(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "cohort", "a/b.svs", "below/a/b.svs")
    monkeypatch.chdir(tmp_path / "cohort")
    (slide, *_) = find_slides(Path(folder)).slides
    assert slide.name == "a/b.svs"
    assert slide.path == Path(folder, "a/b.svs")


def test_dot_files_are_left_out_and_links_followed_once(tmp_path: Path) -> None:
    put(tmp_path / "cohort", ".a.svs", ".trash/b.svs", "c.svs", "p/e.svs")
    put(tmp_path / "elsewhere", "d.svs", "below/f.svs", "notes.txt")
    (tmp_path / "cohort" / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "cohort" / "again").symlink_to(tmp_path / "cohort" / "p")
    (tmp_path / "cohort" / "round").symlink_to(tmp_path / "cohort")
    (tmp_path / "elsewhere" / "below" / "up").symlink_to("..")
    (tmp_path / "cohort" / "file.svs").symlink_to(tmp_path / "elsewhere" / "d.svs")
    (tmp_path / "cohort" / "lost.svs").symlink_to(tmp_path / "nowhere.svs")
    found = find_slides(tmp_path / "cohort")
    assert [slide.name for slide in found.slides] == [
        *("c.svs", "file.svs", "folder/below/f.svs", "folder/d.svs", "lost.svs", "p/e.svs")
    ]
    assert found.others == 1


def test_results_beside_the_slides_are_looked_at(tmp_path: Path) -> None:
    put(tmp_path, "a.svs", "a/b.svs")
    assert [slide.name for slide in find_slides(tmp_path, leave_out=tmp_path).slides] == ["a.svs", "a/b.svs"]


def test_the_directory_of_a_disc_is_no_slide(tmp_path: Path, asked: list[str]) -> None:
    put(tmp_path, "DICOMDIR", "IM1/one_1", content=DICOM)
    found = find_slides(tmp_path)
    assert ([slide.name for slide in found.slides], found.others) == (["IM1/one_1"], 1)


def test_the_folder_of_results_is_not_looked_into(tmp_path: Path) -> None:
    put(tmp_path, "a.svs", "out/a.svs/mosaic.ome.tif", "out/a.svs/scores.csv", "a/out/b.svs")
    assert names_in(tmp_path) == ["a.svs", "a/out/b.svs", "out/a.svs/mosaic.ome.tif"]
    found = find_slides(tmp_path, leave_out=tmp_path / "a" / ".." / "out")
    assert ([slide.name for slide in found.slides], found.others) == (["a.svs", "a/out/b.svs"], 0)


def test_dicom_is_known_by_its_magic_whatever_its_name(tmp_path: Path, asked: list[str]) -> None:
    put(tmp_path, "1/IM0001", "2/1.2.840.113", "3/x.dcm", content=DICOM)
    put(tmp_path, "4/damaged.DCM", content=b"")
    put(tmp_path, "5/short", content=DICOM[:131])
    put(tmp_path, "6/late", content=b"\0" + DICOM)
    put(tmp_path, "7/empty", content=b"")
    found = find_slides(tmp_path)
    assert [slide.name for slide in found.slides] == ["1/IM0001", "2/1.2.840.113", "3/x.dcm", "4/damaged.DCM"]
    assert found.others == 3


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    put(tmp_path, "a.svs")
    os.mkfifo(tmp_path / "pipe")
    assert find_slides(tmp_path).others == 1


def test_files_of_one_dicom_slide_count_once_named_by_the_first(tmp_path: Path, asked: list[str]) -> None:
    slides = [f"d/{letter}" for letter in "abcdefgh"]
    put(tmp_path, *(f"{slide}_{part}" for part in ("2.dcm", "1", "3.dcm") for slide in slides), content=DICOM)
    put(tmp_path, "d/notes.txt")
    found = find_slides(tmp_path)
    assert [slide.name for slide in found.slides] == [f"{slide}_1" for slide in slides]
    assert found.others == 1


def test_dicom_slides_are_told_apart_within_a_folder_only(tmp_path: Path, asked: list[str]) -> None:
    put(tmp_path, "d/one_1.dcm", "d/one_2.dcm", "e/one_1.dcm", "e/one_2.dcm", content=DICOM)
    assert names_in(tmp_path) == ["d/one_1.dcm", "e/one_1.dcm"]


def test_a_dicom_file_that_cannot_be_opened_stays_a_slide(tmp_path: Path, asked: list[str]) -> None:
    put(tmp_path, "broken_1.dcm", "broken_2.dcm", "one_1.dcm", "one_2.dcm", content=DICOM)
    assert names_in(tmp_path) == ["broken_1.dcm", "broken_2.dcm", "one_1.dcm"]


def test_what_openslide_refuses_has_no_identity(tmp_path: Path) -> None:
    put(tmp_path, "a.dcm", "b.dcm", content=DICOM)
    assert find.dicom_identity(tmp_path / "a.dcm") is None
    assert find.dicom_identity(tmp_path / "missing.dcm") is None
    assert names_in(tmp_path) == ["a.dcm", "b.dcm"]


def test_only_dicom_files_that_stand_together_are_opened(tmp_path: Path, asked: list[str]) -> None:
    put(tmp_path, "alone/one_1.dcm", "both/one_1.dcm", "both/one_2.dcm", content=DICOM)
    put(tmp_path, "both/a.svs", "both/b.svs", "both/c.txt")
    find_slides(tmp_path)
    assert sorted(asked) == ["one_1.dcm", "one_2.dcm"]


def test_no_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.svs")
    with pytest.raises(SlideError, match=r"nowhere is not there: .*--slides\.$"):
        find_slides(tmp_path / "nowhere")
    with pytest.raises(SlideError, match=r"a\.svs is no folder: .*--slides\.$"):
        find_slides(tmp_path / "a.svs")


def test_a_folder_without_slides(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="holds no slides among its 0 files:"):
        find_slides(tmp_path)
    put(tmp_path, "a.png")
    with pytest.raises(SlideError, match="holds no slides among its 1 file:"):
        find_slides(tmp_path)
    put(tmp_path, "a/b.png", ".c.svs")
    with pytest.raises(SlideError, match=r"holds no slides among its 2 files: .*--slides\.$"):
        find_slides(tmp_path)


def test_a_folder_that_cannot_be_listed_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.svs", "shut/b.svs")
    listed = os.scandir

    def scandir(folder: str) -> Iterator[os.DirEntry[str]]:
        if Path(folder).name == "shut":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
        return listed(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(SlideError, match=r"shut cannot be listed \(Permission denied\): "):
        find_slides(tmp_path)
