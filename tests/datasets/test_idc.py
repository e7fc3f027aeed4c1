from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import make_patch_set, tissue_like, write_patch, zip_folder
from wsi_idc.datasets.idc import NESTED_COPY, IdcCase, IdcDataset, index_files
from wsi_idc.errors import DataNotFoundError, NotIdcDataError, UnknownCaseError, WsiIdcError
from wsi_idc.naming import PatchName
from wsi_idc.source import Patch, Patches


def open_case(path: Path, case: str = "8863") -> IdcCase:
    with IdcDataset(path) as dataset:
        return dataset.case(case)


def test_case_is_a_grid_in_row_major_order(patch_set: Path) -> None:
    case = open_case(patch_set)
    assert [(p.y, p.x) for p in case.patches] == sorted((p.y, p.x) for p in case.patches)
    assert case.patches[0] == Patch(0, 0, 50, 50, label=1)
    assert case.patches[-1] == Patch(150, 100, 38, 42, label=0)
    assert case.size_px == (188, 142)
    assert (case.slide, case.kind, case.mpp, case.mpp_source) == ("8863", "idc", (8.0, 8.0), "nominal")


def test_small_patches_are_padded_with_white_at_right_and_bottom(patch_set: Path) -> None:
    case = open_case(patch_set)
    corner = case.read(11, 12).pixels[0]
    np.testing.assert_array_equal(corner[:42, :38], tissue_like(8863 + 203, 42, 38))
    assert (corner[42:] == 255).all()
    assert (corner[:, 38:] == 255).all()


def test_folder_zip_and_kaggles_double_zip_are_the_same_case(patch_set: Path, tmp_path: Path) -> None:
    single = zip_folder(patch_set, tmp_path / "one.zip")
    double = zip_folder(patch_set, tmp_path / "two.zip", ("", f"{NESTED_COPY}/"))
    with IdcDataset(double) as dataset:
        assert (dataset.index.copies, dataset.index.problems) == (24, {})
    cases = [open_case(path) for path in (patch_set, single, double)]
    assert len({case.fingerprint for case in cases}) == 1
    assert cases[0].patches == cases[1].patches == cases[2].patches
    blocks = [case.read(0, 12).pixels for case in cases]
    np.testing.assert_array_equal(blocks[0], blocks[1])
    np.testing.assert_array_equal(blocks[0], blocks[2])


def test_nested_copy_alone_is_enough(tmp_path: Path) -> None:
    make_patch_set(tmp_path / NESTED_COPY)
    assert len(open_case(tmp_path).patches) == 12


def test_patches_without_folders(tmp_path: Path) -> None:
    write_patch(tmp_path, PatchName("8863", 1, 1), tissue_like(0)).rename(tmp_path / "8863_idx5_x1_y1.png")
    assert open_case(tmp_path).patches == Patches.of([Patch(0, 0, 50, 50, label=None)])


def test_foreign_files_are_left_out_silently(patch_set: Path, tmp_path: Path) -> None:
    (patch_set / "README.md").write_text("hello")
    (patch_set / "8863" / "0" / ".DS_Store").write_bytes(b"x")
    hidden = patch_set / "8863" / "0" / "._8863_idx5_x1_y1_class0.png"
    hidden.write_bytes(b"x")
    archive = zip_folder(patch_set, tmp_path / "a.zip", ("", "__MACOSX/"))
    for path in (patch_set, archive):
        with IdcDataset(path) as dataset:
            case = dataset.case("8863")
            assert dataset.index.foreign == 1
            assert (len(case.patches), case.problems) == (12, ())


@pytest.mark.parametrize("layout", ["folder", "zip"])
def test_oddities_are_reported_with_their_path_and_survived(patch_set: Path, tmp_path: Path, layout: str) -> None:
    almost = patch_set / "8863" / "0" / "8863_idx5_x1_y1_class7.png"
    almost.write_bytes(b"x")
    write_patch(patch_set, PatchName("8863", 1, 1, 0), tissue_like(1))
    write_patch(patch_set, PatchName("8863", 501, 1, 1), tissue_like(2), label_folder=0)
    stray = write_patch(patch_set, PatchName("9022", 551, 1, 1), tissue_like(3))
    stray.rename(patch_set / "8863" / "1" / stray.name)
    case = open_case(patch_set if layout == "folder" else zip_folder(patch_set, tmp_path / "a.zip"))
    told = {problem.path: problem.reason for problem in case.problems}
    assert set(told) == {
        "8863/0/8863_idx5_x1_y1_class7.png",
        "8863/1/8863_idx5_x1_y1_class1.png",
        "8863/0/8863_idx5_x501_y1_class1.png",
        "8863/1/9022_idx5_x551_y1_class1.png",
    }
    assert "same place as 8863/0/8863_idx5_x1_y1_class0.png" in told["8863/1/8863_idx5_x1_y1_class1.png"]
    assert "class folder 0" in told["8863/0/8863_idx5_x501_y1_class1.png"]
    assert "folder of case 8863" in told["8863/1/9022_idx5_x551_y1_class1.png"]
    assert len(case.patches) == 13
    assert case.patches[0].label == 0


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[: len(data) // 2], "damaged PNG"),
        (lambda data: data[:20], "header is cut off"),
        (lambda data: b"", "the file is empty"),
        (lambda data: b"<html>not found</html>", "not a PNG"),
        (lambda data: data[:16] + (100_000).to_bytes(4, "big") * 2 + data[24:], "100000x100000 px"),
        (lambda data: data[:200] + bytes([data[200] ^ 255]) + data[201:], "damaged PNG"),
        (lambda data: data + bytes(70_000), "larger than 65,536 bytes"),
    ],
)
@pytest.mark.parametrize("layout", ["folder", "zip"])
def test_unreadable_patch_keeps_its_row(
    patch_set: Path, tmp_path: Path, layout: str, damage: object, reason: str
) -> None:
    bad = patch_set / "8863" / "1" / "8863_idx5_x1_y1_class1.png"
    bad.write_bytes(damage(bad.read_bytes()))  # type: ignore[operator]
    case = open_case(patch_set if layout == "folder" else zip_folder(patch_set, tmp_path / "a.zip"))
    block = case.read(0, 12)
    assert block.readable.tolist() == [False] + [True] * 11
    assert case.patches[0] == Patch(0, 0, 50, 50, label=1)
    assert [problem.path for problem in block.problems] == ["8863/1/8863_idx5_x1_y1_class1.png"]
    assert reason in block.problems[0].reason


def test_link_out_of_the_folder_is_not_followed(patch_set: Path, tmp_path: Path) -> None:
    outside = make_patch_set(tmp_path / "outside", cases=("9999",))
    name = "9999_idx5_x1_y1_class1.png"
    (patch_set / "9999").symlink_to(outside / "9999")
    (patch_set / name).symlink_to(outside / "9999" / "1" / name)
    with IdcDataset(patch_set) as dataset:
        assert dataset.cases == ["8863", "9022"]


def test_unknown_case_counts_the_cases_and_names_the_nearest(patch_set: Path) -> None:
    for wanted in ("8864", "../8863", "8863x", ""):
        with IdcDataset(patch_set) as dataset, pytest.raises(UnknownCaseError, match=r"2 cases .* 8863, 9022"):
            dataset.case(wanted)


@pytest.mark.parametrize(
    "files",
    [
        ["train_labels.csv", "train/f38a6374c348f90b587e046aac6079959adf3835.tif"],
        ["train/f38a6374c348f90b587e046aac6079959adf3835.tif"],
        ["camelyonpatch_level_2_split_train_x.h5"],
    ],
)
def test_patch_camelyon_is_recognised(tmp_path: Path, files: list[str]) -> None:
    for file in files:
        (tmp_path / "set" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / file).write_bytes(b"II*\0")
    for path in (tmp_path / "set", zip_folder(tmp_path / "set", tmp_path / "a.zip")):
        with IdcDataset(path) as dataset, pytest.raises(NotIdcDataError, match=r"PatchCamelyon.*paultimothymooney"):
            dataset.case("8863")


def test_what_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="no data at"):
        IdcDataset(tmp_path / "nothing")
    (tmp_path / "half.zip").write_bytes(b"PK\3\4 cut off")
    with pytest.raises(NotIdcDataError, match="not a whole zip"):
        IdcDataset(tmp_path / "half.zip")
    (tmp_path / "empty").mkdir()
    with IdcDataset(tmp_path / "empty") as dataset, pytest.raises(NotIdcDataError, match="holds no patches"):
        dataset.case("8863")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_inside_a_zip_costs_one_patch(patch_set: Path, tmp_path: Path, method: int) -> None:
    first = "8863/1/8863_idx5_x1_y1_class1.png"
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted((patch_set / "8863").rglob("*.png")):
            archive.write(file, file.relative_to(patch_set).as_posix())
        info = archive.getinfo(first)
    data = bytearray(path.read_bytes())
    start = info.header_offset + 30 + len(first) + 20
    data[start : start + 60] = b"\xff" * 60
    path.write_bytes(data)
    block = open_case(path).read(0, 12)
    assert block.readable.tolist() == [False] + [True] * 11
    assert [problem.path for problem in block.problems] == [first]


def test_same_name_twice_is_a_second_copy_only_in_the_nested_folder(patch_set: Path) -> None:
    write_patch(patch_set, PatchName("8863", 1, 1, 1), tissue_like(9), label_folder=0)
    case = open_case(patch_set)
    assert len(case.patches) == 12
    assert any("at the same place" in problem.reason for problem in case.problems)


def test_a_set_below_a_folder_named_by_a_number(patch_set: Path, tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    patch_set.rename(tmp_path / "top" / "20240101")
    archive = zip_folder(tmp_path / "top", tmp_path / "a.zip")
    assert open_case(tmp_path / "top").patches == open_case(archive).patches
    assert len(open_case(archive).patches) == 12


def test_synthetic_cases_are_known_by_their_number_wherever_they_lie(tmp_path: Path) -> None:
    make_patch_set(tmp_path / "somewhere" / "else", cases=("90001", "16896"))
    assert open_case(tmp_path, "90001").kind == "phantom"
    assert open_case(tmp_path / "somewhere" / "else" / "90001", "90001").kind == "phantom"
    assert open_case(tmp_path, "16896").kind == "idc"


def test_encrypted_entry_is_unreadable(patch_set: Path, tmp_path: Path) -> None:
    path = zip_folder(patch_set, tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        central = data.index(b"PK\1\2", archive.start_dir)
    data[central + 8] |= 1
    path.write_bytes(data)
    case = open_case(path)
    block = case.read(0, 12)
    assert "encrypted" in block.problems[0].reason
    assert block.readable.sum() == 11


@given(st.lists(st.text(alphabet="0189_idx5xyclass./pngA", max_size=40), max_size=20))
def test_no_list_of_names_breaks_the_index(paths: list[str]) -> None:
    index = index_files(paths)
    assert all(entry.path in paths for entries in index.cases.values() for entry in entries)


def test_errors_are_also_the_built_in_ones() -> None:
    assert issubclass(UnknownCaseError, LookupError)
    assert issubclass(UnknownCaseError, WsiIdcError)
