from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.conftest import make_patch_set, tissue_like
from wsi_idc.datasets.idc import IdcDataset
from wsi_idc.datasets.labelled import load_patches


def test_load_patches_leaves_out_what_is_unlabelled_or_unreadable(tmp_path: Path) -> None:
    root = make_patch_set(tmp_path, cases=("8863", "9022", "9035"))
    (root / "9022" / "1" / "9022_idx5_x1_y1_class1.png").write_bytes(b"")
    one = root / "9022" / "0" / "9022_idx5_x51_y1_class0.png"
    one.rename(one.with_name("9022_idx5_x51_y1.png"))
    with IdcDataset(root) as dataset:
        data = load_patches(dataset, ["9022", "9035"])
    assert sorted(set(data.case.tolist())) == ["9022", "9035"]
    assert len(data) == len(data.pixels) == len(data.position) == 22
    assert data.position[-1].tolist() == [150, 100]
    assert [problem.path for problem in data.problems] == ["9022/1/9022_idx5_x1_y1_class1.png"]
    np.testing.assert_array_equal(data.pixels[-1][6:42, :38], tissue_like(9035 + 203, 42, 38)[6:])
