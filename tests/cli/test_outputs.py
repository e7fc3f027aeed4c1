"""What ``heatmap`` and ``--layout`` leave for other programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.conftest import Ran
from tests.export.qupath import read_checked

Run = Callable[..., Ran]


def drawn(run: Run, patch_set: Path, *options: str) -> set[str]:
    ran = run("heatmap", "patient", "8863", "--data", patch_set, "--out", "out", "--dpi", "72", *options)
    assert ran.code == 0, ran.err
    return {path.name for path in Path("out/8863").iterdir()}


def kinds(path: Path) -> set[str]:
    return {feature["properties"]["objectType"] for feature in read_checked(path)}


def test_tiles_for_qupath_unless_asked_otherwise(run: Run, patch_set: Path) -> None:
    path = Path("out/8863/scores.geojson")
    assert path.name in drawn(run, patch_set)
    assert kinds(path) == {"tile"}
    drawn(run, patch_set, "--geojson", "contours", "--threshold", "0")
    assert kinds(path) == {"annotation"}
    tiles = drawn(run, patch_set, "--geojson", "tiles.gz")
    assert "scores.geojson.gz" in tiles
    assert "scores.geojson" not in tiles
    assert kinds(Path("out/8863/scores.geojson.gz")) == {"tile"}
    assert not [name for name in drawn(run, patch_set, "--geojson", "none") if "geojson" in name]


def test_images_on_request(run: Run, patch_set: Path) -> None:
    files = drawn(run, patch_set, "--ome", "tiff", "--ome", "zarr")
    assert files >= {"probability.ome.tif", "overlay.ome.tif", "probability.ome.zarr"}
    grid = tifffile.imread("out/8863/probability.ome.tif")
    assert grid.dtype == np.float32
    assert not {name for name in drawn(run, patch_set) if ".ome." in name}


def test_what_belongs_to_other_calls_goes(run: Run, patch_set: Path) -> None:
    drawn(run, patch_set, "--ome", "zarr")
    assert run("score", "patient", "8863", "--data", patch_set, "--out", "out", "--threshold", "0.9").code == 0
    assert {path.name for path in Path("out/8863").iterdir()} == {
        *("scores.csv", "run.json", "metrics.json", "mosaic.png"),
    }


@pytest.mark.parametrize("named", [("patient", "8863", "9022"), ("all",)])
def test_the_layout_of_wsinfer(run: Run, patch_set: Path, named: tuple[str, ...]) -> None:
    ran = run("score", *named, "--data", patch_set, "--out", "out", "--layout", "wsinfer")
    assert ran.code == 0, ran.err
    for case in ("8863", "9022"):
        rows = Path(f"out/model-outputs-csv/{case}.csv").read_text().splitlines()
        ours = Path(f"out/{case}/scores.csv").read_text().splitlines()
        assert rows == [",".join(row.split(",")[:6]) for row in ours]
        assert Path(f"out/model-outputs-geojson/{case}.geojson").is_file()
    (metadata,) = Path("out").glob("run_metadata_*.json")
    assert json.loads(metadata.read_text())["runtime"]["program"] == "wsi-idc"
