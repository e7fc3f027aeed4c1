"""The main job on the real case 8863, which the bundled model never saw."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Ran
from wsi_idc.datasets.idc import NESTED_COPY, IdcDataset
from wsi_idc.naming import PatchName, parse_patch_name
from wsi_idc.plotting.mosaic import rebuild_mosaic

Run = Callable[..., Ran]
CASE = "8863"


@pytest.fixture(scope="module")
def names(complete_cases: Path) -> dict[str, PatchName]:
    """Path in the zip of each patch of the case, and what its name says."""
    with zipfile.ZipFile(complete_cases) as archive:
        paths = [path for path in archive.namelist() if path.startswith(f"{CASE}/") and path.endswith(".png")]
    parsed = {path: parse_patch_name(path.split("/")[-1]) for path in paths}
    return {path: name for path, name in parsed.items() if name is not None}


def test_heatmap_of_the_real_case(run: Run, complete_cases: Path, names: dict[str, PatchName], tmp_path: Path) -> None:
    ran = run("heatmap", "patient", CASE, "--data", complete_cases, "--out", tmp_path)
    folder = tmp_path / CASE
    assert (ran.code, ran.out, ran.err) == (0, f"{folder / 'heatmap.png'}\n", "")
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(names) == 979
    assert {(int(row["minx"]) + 1, int(row["miny"]) + 1, int(row["label"])) for row in rows} == {
        (name.x, name.y, name.label) for name in names.values()
    }
    assert [(int(row["miny"]), int(row["minx"])) for row in rows] == sorted(
        (int(row["miny"]), int(row["minx"])) for row in rows
    )
    assert {row["status"] for row in rows} == {"ok"}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["tn"] + metrics["fp"] + metrics["fn"] + metrics["tp"] == 979
    assert metrics["fn"] + metrics["tp"] == 207
    assert metrics["auc"] >= 0.90
    with Image.open(folder / "mosaic.png") as mosaic, Image.open(folder / "overlay.png") as overlay:
        assert mosaic.size == overlay.size == (2791, 2335)


def test_every_layout_gives_the_same_bytes(
    run: Run, complete_cases: Path, names: dict[str, PatchName], tmp_path: Path
) -> None:
    with zipfile.ZipFile(complete_cases) as archive:
        archive.extractall(tmp_path / "folder", names)
        with zipfile.ZipFile(tmp_path / "double.zip", "w") as double:
            for path in names:
                for prefix in ("", f"{NESTED_COPY}/"):
                    double.writestr(prefix + path, archive.read(path))
    written = set()
    for data in (complete_cases, tmp_path / "folder", tmp_path / "double.zip"):
        ran = run("score", "patient", CASE, "--data", data, "--out", tmp_path / data.stem)
        assert (ran.code, ran.err) == (0, "")
        written.add(Path(ran.out.strip()).read_bytes())
    assert len(written) == 1


def test_mosaic_is_seamless(complete_cases: Path) -> None:
    """Neighbours differ less across their common edge than two patches put side by side at random."""
    with IdcDataset(complete_cases) as dataset:
        case = dataset.case(CASE)
    mosaic = rebuild_mosaic(case)
    assert mosaic.factor == 1
    whole = {(p.x, p.y) for p in case.patches if (p.width, p.height) == (50, 50)}
    left = np.array([(x, y) for x, y in whole if (x + 50, y) in whole])
    rows = left[:, 1, None] + np.arange(50)

    def edge(columns: np.ndarray, of: np.ndarray) -> np.ndarray:
        return mosaic.pixels[of, columns[:, None]].astype(float)

    inner, outer = edge(left[:, 0] + 49, rows), edge(left[:, 0] + 50, rows)
    shuffled = np.random.default_rng(0).permutation(len(left))
    seam = np.abs(inner - outer).mean(axis=(1, 2))
    chance = np.abs(inner - outer[shuffled]).mean(axis=(1, 2))
    assert len(left) > 700
    assert seam.mean() < 0.6 * chance.mean()
    assert (seam < chance).mean() > 0.8
    within = np.abs(edge(left[:, 0] + 48, rows) - inner).mean()
    assert seam.mean() < 1.15 * within
