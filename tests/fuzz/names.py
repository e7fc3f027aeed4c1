"""File names, one a line: which are patches, and what becomes of the others."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from wsi_idc.datasets.dataset import unknown_case
from wsi_idc.datasets.idc import Index, index_files
from wsi_idc.errors import UnknownCaseError
from wsi_idc.naming import MAX_COORDINATE_PX, almost_a_patch_name, is_case_number, parse_patch_name

WORDS = (
    *("8863", "_idx5", "_x", "_y", "_class0", "_class1", ".png", "1000000", "/", "\n", "0/", "1/", "."),
    *("IDC_regular_ps50_idx5/", "__MACOSX/", "train_labels.csv", "\u0661", "\u00b2", "\x85", "\u2028"),
)


def seeds() -> list[bytes]:
    """Lists of files as they are found in the set, and near misses."""
    good = "8863/0/8863_idx5_x451_y1451_class0.png"
    return [
        text.encode()
        for text in (
            good,
            "8863_idx5_x1_y1.png",
            "999999999_idx5_x1000000_y1000000_class1.png",
            f"{good}\nIDC_regular_ps50_idx5/{good}",
            f"{good}\n8863/1/8863_idx5_x451_y1451_class1.png\n__MACOSX/8863/0/._8863_idx5_x451_y1451_class0.png",
            f"9022/{good}\n8863/1/8863_idx5_x1_y1_class0.png\n8863/0/8863_idx5_x0_y1_class0.png",
            "8863_idx5_x1000001_y1_class1.png\n8863_idx5_x-4_y1_class1.png\n8863_idx7_x1_y1_class2.PNG",
            f"train_labels.csv\ntrain/{'a1' * 20}.tif\ncamelyonpatch_level_2_split_test_x.h5",
            "\u0661\u0662_idx5_x1_y1.png\n8863_idx5_x\u00b2_y1.png\n0/1/0/8863_idx5_x1_y1_class0.png",
        )
    ]


def one_input(data: bytes) -> None:
    """Sort the names into cases, and ask for a case by each."""
    lines = [os.fsdecode(line) for line in data.split(b"\n") if b"\0" not in line]
    # As a folder would give them: no file has an empty name, and no two the same.
    paths = list(dict.fromkeys(line for line in lines if line and not line.endswith("/")))
    for path in paths:
        _check_name(PurePosixPath(path).name)
    index = index_files(paths)
    _check_index(index, paths)
    assert _sorted(index) == _sorted(index_files(reversed(paths)))
    for text in lines:
        _ask_for(text, sorted(index.cases, key=int) or ["8863"])


def _check_name(name: str) -> None:
    parsed = parse_patch_name(name)
    if parsed is None:
        almost_a_patch_name(name)
        return
    assert str(parsed) == name
    assert is_case_number(parsed.case)
    assert 1 <= min(parsed.x, parsed.y) <= max(parsed.x, parsed.y) <= MAX_COORDINATE_PX
    assert not almost_a_patch_name(name)


def _check_index(index: Index, paths: list[str]) -> None:
    kept = [entry.path for entries in index.cases.values() for entry in entries]
    told = [problem.path for problems in index.problems.values() for problem in problems]
    assert len(set(kept)) == len(kept)
    assert {*kept, *told} <= set(paths)
    assert len({*kept, *told}) + index.copies + index.foreign <= len(paths)
    for case, entries in index.cases.items():
        places = [(entry.name.y, entry.name.x) for entry in entries]
        assert places == sorted(set(places))
        assert {entry.name.case for entry in entries} == {case}


def _sorted(index: Index) -> tuple[object, ...]:
    """What an index says, in an order that does not depend on that of the files."""
    problems = sorted((case, str(problem)) for case, of in index.problems.items() for problem in of)
    return index.cases, problems, index.copies, index.foreign, index.patch_camelyon


def _ask_for(text: str, cases: list[str]) -> None:
    try:
        raise unknown_case(text, cases, Path("set"))
    except UnknownCaseError as error:
        assert str(error).endswith(".")
        assert len(str(error)) < 400
