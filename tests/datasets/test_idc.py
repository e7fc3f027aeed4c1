from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagecodecs import jpeg_encode, png_decode, png_encode

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
    np.testing.assert_array_equal(corner[6:42, :38], tissue_like(8863 + 203, 42, 38)[6:])
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
    case = open_case(patch_set if layout == "folder" else zip_folder(patch_set, tmp_path / "a.zip"))
    told = {problem.path: problem.reason for problem in case.problems}
    assert set(told) == {
        "8863/0/8863_idx5_x1_y1_class7.png",
        "8863/1/8863_idx5_x1_y1_class1.png",
        "8863/0/8863_idx5_x501_y1_class1.png",
    }
    assert "same place as 8863/0/8863_idx5_x1_y1_class0.png" in told["8863/1/8863_idx5_x1_y1_class1.png"]
    assert "class folder 0" in told["8863/0/8863_idx5_x501_y1_class1.png"]
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


def test_links_below_the_folder_are_followed(patch_set: Path, tmp_path: Path) -> None:
    outside = make_patch_set(tmp_path / "outside", cases=("9999", "10000"))
    name = "10000_idx5_x1_y1_class1.png"
    (patch_set / "9999").symlink_to(outside / "9999")
    (patch_set / name).symlink_to(outside / "10000" / "1" / name)
    with IdcDataset(patch_set) as dataset:
        assert dataset.cases == ["8863", "9022", "9999", "10000"]
        assert [len(dataset.labels(case)) for case in dataset.cases] == [12, 12, 12, 1]
        assert dataset.case("9999").fingerprint == open_case(outside, "9999").fingerprint
    assert len(open_case(patch_set, "9999").patches) == 12


def test_a_folder_that_is_reached_twice_counts_once(patch_set: Path) -> None:
    (patch_set / "8863" / "up").symlink_to("..")
    (patch_set / "self").symlink_to("self")
    (patch_set / "aside").symlink_to(patch_set / "9022")
    for loop in ("one", "two"):
        (patch_set / loop).mkdir()
    (patch_set / "one" / "two").symlink_to("../two")
    (patch_set / "two" / "one").symlink_to("../one")
    with IdcDataset(patch_set) as dataset:
        assert (dataset.cases, dataset.problems) == (["8863", "9022"], [])
        assert dataset.passed_over == (0, 1)
        assert len(dataset.case("9022").patches) == 12


def test_a_link_that_leads_nowhere_is_an_unreadable_patch(patch_set: Path) -> None:
    (patch_set / "8863" / "0" / "8863_idx5_x901_y1_class0.png").symlink_to("absent.png")
    case = open_case(patch_set)
    block = case.read(0, 13)
    assert block.readable.sum() == 12
    assert [str(problem) for problem in block.problems] == [
        "8863/0/8863_idx5_x901_y1_class0.png: unreadable: No such file or directory"
    ]


@pytest.mark.parametrize("folders", ["2", "2021", "1/2/3", "fold/2", "9022", "train/8863/10"])
@pytest.mark.parametrize("layout", ["folder", "zip"])
def test_folders_of_digits_above_the_patches_mean_nothing(tmp_path: Path, folders: str, layout: str) -> None:
    root = make_patch_set(tmp_path / "set" / folders, cases=("8863",)).parents[folders.count("/")]
    loose = tmp_path / "loose" / folders
    loose.mkdir(parents=True)
    for file in root.rglob("*.png"):
        (loose / file.name).write_bytes(file.read_bytes())
    for path in (root, tmp_path / "loose"):
        case = open_case(path if layout == "folder" else zip_folder(path, tmp_path / f"{path.name}.zip"))
        assert (len(case.patches), case.problems) == (12, ())


def test_a_patch_below_another_case_is_found_by_its_name(patch_set: Path, tmp_path: Path) -> None:
    stray = write_patch(patch_set, PatchName("9022", 551, 1, 1), tissue_like(3))
    stray.rename(patch_set / "8863" / "1" / stray.name)
    for path in (patch_set, zip_folder(patch_set, tmp_path / "a.zip")):
        assert len(open_case(path, "9022").patches) == 13
        with IdcDataset(path) as dataset:
            assert (dataset.cases, dataset.problems) == (["8863", "9022"], [])
            assert len(dataset.case("9022").patches) == 13


@pytest.mark.parametrize("layout", ["folder", "zip"])
def test_paths_parted_by_backslashes(patch_set: Path, tmp_path: Path, layout: str) -> None:
    """As .NET writes zips, and as some tools unpack those."""
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in patch_set.rglob("*.png"):
        name = file.relative_to(patch_set).as_posix()
        for copy in (name, f"{NESTED_COPY}/{name}"):
            (flat / copy.replace("/", "\\")).write_bytes(file.read_bytes())
    with IdcDataset(flat if layout == "folder" else zip_folder(flat, tmp_path / "a.zip")) as dataset:
        assert dataset.cases == ["8863", "9022"]
        assert (dataset.passed_over, dataset.problems) == ((24, 0), [])
        assert dataset.case("8863").fingerprint == open_case(patch_set).fingerprint


def test_folders_in_a_zip_parted_by_backslashes_are_no_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("8863\\", b"")
        archive.writestr("8863\\8863_idx5_x1_y1.png", bytes(png_encode(tissue_like(0))))
    with IdcDataset(tmp_path / "a.zip") as dataset:
        assert (dataset.cases, dataset.passed_over) == (["8863"], (0, 0))


def test_endings_in_capitals(patch_set: Path) -> None:
    before = open_case(patch_set)
    for file in patch_set.rglob("*.png"):
        file.rename(file.with_suffix(".PNG"))
    case = open_case(patch_set)
    assert (case.patches, case.fingerprint, case.problems) == (before.patches, before.fingerprint, ())


@pytest.mark.parametrize("ending", [".jpg", ".JPG", ".jpeg"])
def test_jpegs_are_read_and_cost_a_warning(patch_set: Path, ending: str) -> None:
    whole = open_case(patch_set)
    pixels = whole.read(0, 12).pixels
    for patch in list((patch_set / "8863").rglob("*_y1_*.png")):
        patch.with_suffix(ending).write_bytes(jpeg_encode(png_decode(patch.read_bytes()), level=95))
        patch.unlink()
    case = open_case(patch_set)
    block = case.read(0, 12)
    assert (case.patches, block.readable.all()) == (whole.patches, True)
    assert 0 < np.abs(block.pixels[:4].astype(int) - pixels[:4]).mean() < 20
    np.testing.assert_array_equal(block.pixels[4:], pixels[4:])
    (problem,) = case.problems
    assert "JPEG, as are 4 of the 12 patches of case 8863" in problem.reason
    assert case.fingerprint != whole.fingerprint


def test_a_png_is_taken_before_its_jpeg(patch_set: Path) -> None:
    patch = patch_set / "8863" / "1" / "8863_idx5_x1_y1_class1.png"
    (patch_set / patch.with_suffix(".jpg").name).write_bytes(jpeg_encode(tissue_like(1)))
    case = open_case(patch_set)
    np.testing.assert_array_equal(case.read(0, 1).pixels[0], png_decode(patch.read_bytes()))
    assert [problem.path for problem in case.problems] == ["8863_idx5_x1_y1_class1.jpg"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"<html>", "not a JPEG"),
        (bytes(jpeg_encode(tissue_like(0)))[:900], "damaged JPEG"),
        (bytes(jpeg_encode(tissue_like(0)))[:12], "damaged JPEG"),
        (bytes(jpeg_encode(tissue_like(0, 50, 51))), "51x50 px"),
        (bytes(png_encode(tissue_like(0))), "not a JPEG"),
    ],
)
def test_a_damaged_jpeg_costs_itself(patch_set: Path, content: bytes, reason: str) -> None:
    (patch_set / "8863" / "0" / "8863_idx5_x901_y1_class0.jpg").write_bytes(content)
    case = open_case(patch_set)
    block = case.read(0, 13)
    assert block.readable.sum() == 12
    assert reason in block.problems[0].reason


def test_a_link_in_a_zip_is_not_followed(patch_set: Path, tmp_path: Path) -> None:
    secret = write_patch(tmp_path / "outside", PatchName("8863", 1, 1, 1), tissue_like(0))
    path = zip_folder(patch_set, tmp_path / "a.zip")
    link = zipfile.ZipInfo("8863/0/8863_idx5_x901_y1_class0.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, str(secret))
    block = open_case(path).read(0, 13)
    assert block.readable.sum() == 12
    assert "a link in the zip, which is not followed" in block.problems[0].reason


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_tar_is_answered_with_what_to_do(patch_set: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"idc{ending}"
    with tarfile.open(path, f"w:{ending.removeprefix('.tar').removeprefix('.')}") as archive:
        archive.add(patch_set, "idc")
    with pytest.raises(NotIdcDataError, match=r"is a tar archive.*unpack it \(tar -xf\) and name the folder\.$"):
        IdcDataset(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x93NUMPY\x01\0", "is a NumPy array, which says neither case nor position"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, which says neither case nor position"),
        (b"7z\xbc\xaf\x27\x1c\0", "is a 7z archive, which is not read in place: unpack it"),
        (b"Rar!\x1a\x07\x00", "is a RAR archive, which is not read in place: unpack it"),
        (b"\x1f\x8b\x08 no tar", "is a gzip file, which is not read in place: unpack it"),
        (bytes(png_encode(tissue_like(0))), "is one picture: name the folder"),
    ],
)
def test_other_files_are_answered_with_what_to_do(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "X").write_bytes(content)
    with pytest.raises(NotIdcDataError, match=told):
        IdcDataset(tmp_path / "X")


@pytest.mark.parametrize(
    ("name", "told"),
    [("X.npy", r"arrays \(X\.npy\)"), ("archive.zip", "holds no patches but archive.zip: name that")],
)
def test_a_folder_of_such_files(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / name).write_bytes(b"x")
    for path in (tmp_path / "set", zip_folder(tmp_path / "set", tmp_path / "a.zip")):
        with IdcDataset(path) as dataset, pytest.raises(NotIdcDataError, match=told):
            dataset.case("8863")


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
