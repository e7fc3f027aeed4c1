from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Ran
from tests.damage import good
from tests.slides.test_slide import damage, smooth_tissue, write_slide
from wsi_idc.geometry import IDC_PATCH

Run = Callable[..., Ran]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_slide_is_scored_and_drawn(run: Run, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(900, 1_250), 2.0)
    ran = run("heatmap", "slide", path, "--no-tissue-mask", "--out", tmp_path / "out")
    folder = tmp_path / "out" / "a.tiff"
    assert (ran.code, ran.out) == (0, f"{folder / 'heatmap.png'}\n")
    assert {file.name for file in folder.iterdir()} == {
        "heatmap.png", "mosaic.png", "overlay.png", "scores.csv", "scores.geojson", "run.json"
    }  # fmt: skip
    rows = rows_of(folder)
    assert len(rows) == 7 * 5
    assert [rows[6][name] for name in ("minx", "miny", "width", "height", "label")] == ["1200", "0", "50", "200", ""]
    assert 0 < float(rows[0]["prob_idc"]) < 1
    source = json.loads((folder / "run.json").read_text())["source"]
    assert (source["kind"], source["mpp_source"], source["min_tissue"]) == ("slide", "file", None)
    assert source["mpp"] == pytest.approx([2, 2], rel=1e-3)
    with Image.open(folder / "mosaic.png") as mosaic, Image.open(folder / "overlay.png") as overlay:
        assert mosaic.size == overlay.size == (313, 225)
    before = (folder / "scores.csv").stat().st_mtime_ns
    assert run("score", "slide", path, "--no-tissue-mask", "--out", tmp_path / "out").code == 0
    assert (folder / "scores.csv").stat().st_mtime_ns == before
    assert run("score", "slide", path, "--no-tissue-mask", "--mpp", "1.0", "--out", tmp_path / "out").code == 0
    # Of the last tile less than a tenth lies on the slide.
    assert len(rows_of(folder)) == 4 * 3 - 1


def test_only_tissue_is_scored(run: Run, tmp_path: Path) -> None:
    pixels = np.full((1_600, 2_400, 3), 244, np.uint8)
    pixels[400:1_200, 800:1_600] = smooth_tissue(800, 800)
    path = write_slide(tmp_path / "a.tiff", pixels, 2.0)
    assert run("heatmap", "slide", path, "--out", tmp_path / "out").code == 0
    places = {(int(row["minx"]), int(row["miny"])) for row in rows_of(tmp_path / "out" / "a.tiff")}
    inside = {(x, y) for x in range(800, 1_600, 200) for y in range(400, 1_200, 200)}
    assert inside <= places
    assert len(places) <= len(inside) + 20
    with Image.open(tmp_path / "out" / "a.tiff" / "tissue.png") as picture:
        shown = np.asarray(picture)
    assert shown[150, 300].min() < 200
    assert shown[20, 20].min() > 245


def test_a_slide_without_tissue_is_an_outcome_of_its_own(run: Run, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "blank.tiff", np.full((800, 800, 3), 240, np.uint8), 2.0)
    ran = run("heatmap", "slide", path, "--out", tmp_path / "out")
    assert ran.code == 0
    assert "no tissue" in ran.err
    assert rows_of(tmp_path / "out" / "blank.tiff") == []
    assert Path(ran.out.strip()).is_file()


def test_unreadable_tiles_are_named_and_the_rest_is_scored(run: Run, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(1_300, 1_300), 2.0, tile=400)
    damage(path, 5, b"\x00")
    ran = run("score", "slide", path, "--no-tissue-mask", "--out", tmp_path / "out")
    assert ran.code == 1
    assert "x 400, y 400" in ran.err
    assert "4 of the 49 patches" in ran.err
    rows = rows_of(tmp_path / "out" / "a.tiff")
    assert [row["status"] for row in rows].count("unreadable") == 4


def test_slides_that_the_user_can_mend(run: Run, tmp_path: Path) -> None:
    good = write_slide(tmp_path / "good.tiff", smooth_tissue(300, 300), 2.0)
    plain = write_slide(tmp_path / "plain.tiff", smooth_tissue(300, 300), None)
    (tmp_path / "other").mkdir()
    same_name = write_slide(tmp_path / "other" / "good.tiff", smooth_tissue(300, 300), 2.0)
    (tmp_path / "text.svs").write_text("no slide")
    for args, said in (
        ([plain], "--mpp"),
        ([good, tmp_path / "absent.svs"], "There is no slide file"),
        ([tmp_path / "text.svs"], "cannot be read as a slide"),
        ([good, "--mpp", "nan"], "--mpp"),
        ([good, same_name], "share a folder"),
    ):
        ran = run("score", "slide", *args, "--out", tmp_path / "out")
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err
        assert not (tmp_path / "out").exists()


def test_labels_bring_the_confusion_matrix_and_need_no_new_scores(run: Run, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(900, 1_250), 2.0)
    outline = {"type": "Polygon", "coordinates": [[[0, 0], [1250, 0], [1250, 400], [0, 400]]]}
    labels = tmp_path / "a.geojson"
    labels.write_text(json.dumps(outline))
    args = ("heatmap", "slide", path, "--no-tissue-mask", "--out", tmp_path / "out")
    folder = tmp_path / "out" / "a.tiff"
    assert run(*args).code == 0
    plain = rows_of(folder)
    key = json.loads((folder / "run.json").read_text())["key"]
    assert run(*args, "--labels", labels).code == 0
    rows = rows_of(folder)
    assert [row["label"] for row in rows] == ["1"] * 14 + ["0"] * 21
    assert [row | {"label": ""} for row in rows] == plain
    assert json.loads((folder / "run.json").read_text())["key"] == key
    assert json.loads((folder / "metrics.json").read_text())["n"] == 35
    assert (folder / "confusion.png").is_file()
    assert run(*args).code == 0
    assert rows_of(folder) == plain
    assert not (folder / "metrics.json").exists()
    assert not (folder / "confusion.png").exists()
    ran = run(*args, tmp_path / "b.tiff", "--labels", tmp_path / "absent.geojson")
    assert (ran.code, ran.out) == (2, "")


def test_one_file_of_labels_is_for_one_slide(run: Run, tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / name, smooth_tissue(300, 300), 2.0) for name in ("a.tiff", "b.tiff")]
    (tmp_path / "a.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    ran = run("score", "slide", *slides, "--labels", tmp_path / "a.geojson", "--out", tmp_path / "out")
    assert ran.code == 2
    assert "one slide with --labels" in ran.err


def write_outlines(path: Path, **classes: tuple[int, int, int, int]) -> Path:
    """An outline of each class."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]},
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }
        for name, (x0, y0, x1, y1) in classes.items()
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_what_counted_is_said_and_written(run: Run, tmp_path: Path) -> None:
    tile = round(IDC_PATCH.um)
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(tile, 3 * tile), 1.0)
    labels = write_outlines(tmp_path / "a.geojson", Tumor=(0, 0, 2 * tile, tile), DCIS=(tile, 0, 3 * tile, tile))
    args = ("score", "slide", path, "--no-tissue-mask", "--out", tmp_path / "out", "--labels", labels)
    folder = tmp_path / "out" / "a.tiff"
    ran = run(*args)
    assert (ran.code, ran.out) == (0, f"{folder / 'scores.csv'}\n")
    assert "a.geojson: 1 outline of Tumor counts as IDC; 1 of DCIS is cut out" in ran.err
    first = json.loads((folder / "run.json").read_text())
    assert first["labels"] == {
        "file": str(labels),
        "sha256": hashlib.sha256(labels.read_bytes()).hexdigest(),
        "classes": {
            "Tumor": {"outlines": 1, "counted_as": "idc"},
            "DCIS": {"outlines": 1, "counted_as": "cut out"},
        },
        "skipped": [],
    }
    assert [row["label"] for row in rows_of(folder)] == ["1", "0", "0"]
    ran = run(*args, "--label-class", "dcis", "--label-class", "None", "--quiet")
    assert ran.code == 0
    assert "outline" not in ran.err
    assert [row["label"] for row in rows_of(folder)] == ["0", "0", "1"]
    second = json.loads((folder / "run.json").read_text())
    assert second["labels"]["classes"]["DCIS"]["counted_as"] == "idc"
    assert second["key"] == first["key"]


def test_a_region_of_interest_is_part_of_the_key(run: Run, tmp_path: Path) -> None:
    tile = round(IDC_PATCH.um)
    path = write_slide(tmp_path / "a.tiff", np.full((tile, 3 * tile, 3), 244, np.uint8), 1.0)
    folder = tmp_path / "out" / "a.tiff"
    keys = []
    for right in (tile, 2 * tile):
        roi = write_outlines(tmp_path / "roi.geojson", ROI=(0, 0, right, tile))
        assert run("score", "slide", path, "--roi", roi, "--out", tmp_path / "out").code == 0
        assert [int(row["minx"]) for row in rows_of(folder)] == list(range(0, right, tile))
        run_json = json.loads((folder / "run.json").read_text())
        assert run_json["labels"] is None
        keys.append(run_json["key"])
    assert keys[0] != keys[1]
    roi = write_outlines(tmp_path / "roi.geojson", ROI=(90_000, 0, 90_100, tile))
    ran = run("score", "slide", path, "--roi", roi, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "with --roi" in ran.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("score", "slide", "a.tiff", "--label-class", "Tumor"), "--label-class goes with --labels"),
        (("tile", "a.tiff", "out", "--label-class", "Tumor"), "--label-class goes with --labels"),
        (("score", "patient", "8863", "--label-class", "Tumor"), "--label-class goes with --labels"),
        (("score", "all", "--slides", ".", "--label-class", "Tumor"), "--label-class goes with --manifest"),
        (("score", "slide", "a.tiff", "b.tiff", "--roi", "r.geojson"), "give one slide with --roi"),
        (("score", "patient", "8863", "9022", "--labels", "r.geojson"), "give one case with --labels"),
    ],
)
def test_outlines_that_cannot_be_meant(run: Run, args: tuple[str, ...], said: str) -> None:
    ran = run(*args)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_labels_of_a_case_replace_those_of_its_names(run: Run, tmp_path: Path, patch_set: Path) -> None:
    """In pixels of the mosaic, from 0; without them the names count again, and nothing is scored anew."""
    args = ("score", "patient", "8863", "--data", patch_set, "--out", tmp_path / "out")
    folder = tmp_path / "out" / "8863"
    assert run(*args).code == 0
    by_name = rows_of(folder)
    key = json.loads((folder / "run.json").read_text())["key"]
    labels = write_outlines(tmp_path / "case.geojson", Tumor=(0, 0, 90, 142), Necrosis=(0, 0, 50, 50))
    ran = run(*args, "--labels", labels)
    assert ran.code == 0
    assert "case.geojson: 1 outline of Tumor counts as IDC; 1 of Necrosis is cut out" in ran.err
    rows = rows_of(folder)
    assert {(row["minx"], row["miny"]) for row in rows if row["label"] == "1"} == {
        *(("0", y) for y in ("50", "100")),
        *(("50", y) for y in ("0", "50", "100")),
    }
    assert [row | {"label": ""} for row in rows] == [row | {"label": ""} for row in by_name]
    told = json.loads((folder / "run.json").read_text())
    assert (told["key"], told["labels"]["file"]) == (key, str(labels))
    assert run(*args).code == 0
    assert rows_of(folder) == by_name
    assert json.loads((folder / "run.json").read_text())["labels"] is None
    far = write_outlines(tmp_path / "far.geojson", Tumor=(9_000, 0, 9_100, 90))
    assert "are they of this case" in run(*args, "--labels", far).err


def test_other_tiles_are_scored_anew(run: Run, tmp_path: Path) -> None:
    """The key tells the tiles, whatever chose them."""
    pixels = np.full((800, 800, 3), 244, np.uint8)
    pixels[:400] = smooth_tissue(400, 800)
    path = write_slide(tmp_path / "a.tiff", pixels, 2.0)
    keys = []
    for args in ((), ("--no-tissue-mask",)):
        assert run("score", "slide", path, "--out", tmp_path / "out", *args).code == 0
        keys.append(json.loads((tmp_path / "out" / "a.tiff" / "run.json").read_text())["key"])
    assert keys[0] != keys[1]


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are text there")
def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    """In processes of their own, as what they print is no text."""
    path = tmp_path / os.fsdecode(b"schnitt_\xe4.tif")
    path.write_bytes(good.generic())
    sheet = tmp_path / "out" / path.name / "heatmap.png"
    for command in (("slide", path, "--geojson", "contours"), ("all", "--slides", tmp_path, "--layout", "wsinfer")):
        args = ("heatmap", *command, "--out", tmp_path / "out", "--batch-size", "16")
        ran = subprocess.run([sys.executable, "-m", "wsi_idc", *args], capture_output=True, check=False)
        assert (ran.returncode, ran.stdout) == (0, os.fsencode(sheet) + b"\n"), ran.stderr
        assert sheet.is_file()
        assert json.loads((sheet.parent / "scores.geojson").read_text())["features"]
