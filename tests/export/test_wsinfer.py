"""wsinfer's layout, by what wsinfer 0.6.1 writes and reads."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.export.qupath import read_checked
from wsi_idc.errors import OutputError
from wsi_idc.export.wsinfer import write_run_metadata, write_wsinfer, wsinfer_name
from wsi_idc.model.config import CLASS_NAMES, ModelConfig
from wsi_idc.scoring.scores import Scores, make_scores
from wsi_idc.source import Patch

HEADER = ["minx", "miny", "width", "height", *(f"prob_{name}" for name in CLASS_NAMES)]


def made_scores(slide: str = "a/b.svs") -> Scores:
    """A row of three tiles, the second unreadable, the third cut by the slide's edge."""
    patches = [Patch(0, 401, 401, 401, 1), Patch(401, 401, 401, 401), Patch(802, 401, 7, 401, 0)]
    idc = np.array([0.25, np.nan, 0.8765432], dtype=np.float32)
    return make_scores(slide, patches, np.stack([1 - idc, idc], axis=1), 0.5)


def test_files_of_a_slide(tmp_path: Path) -> None:
    table, geojson = write_wsinfer(made_scores(), tmp_path / "out")
    assert table == tmp_path / "out" / "model-outputs-csv" / "a%2Fb.svs.csv"
    assert geojson == tmp_path / "out" / "model-outputs-geojson" / "a%2Fb.svs.geojson"
    assert table.read_bytes().decode() == (
        "minx,miny,width,height,prob_no_idc,prob_idc\n"
        "0,401,401,401,0.750000,0.250000\n"
        "802,401,7,401,0.123457,0.876543\n"
    )
    first, last = read_checked(geojson)
    # From the upper right corner downwards, as wsinfer has it.
    assert first["geometry"]["coordinates"] == [[[401, 401], [401, 802], [0, 802], [0, 401], [401, 401]]]
    assert last["properties"] == {
        "objectType": "tile",
        "isLocked": True,
        "measurements": {"prob_no_idc": 0.123457, "prob_idc": 0.876543},
    }


def test_the_table_is_what_wsinfer_makes_its_geojson_of(tmp_path: Path) -> None:
    """wsinfer takes every column that begins with prob_ for a measurement, and the four others for the box."""
    table, geojson = write_wsinfer(made_scores(), tmp_path)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, feature in zip(rows, read_checked(geojson), strict=True):
        assert list(row) == HEADER
        x, y = int(row["minx"]), int(row["miny"])
        width, height = int(row["width"]), int(row["height"])
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == [x + width, y]
        assert ring[2] == [x, y + height]
        assert feature["properties"]["measurements"] == {name: float(row[name]) for name in HEADER[4:]}


def test_context_and_threshold_change_nothing(tmp_path: Path) -> None:
    scores = made_scores()
    before = [path.read_bytes() for path in write_wsinfer(scores, tmp_path)]
    after = [path.read_bytes() for path in write_wsinfer(scores.with_context(1.0).with_threshold(0.1), tmp_path)]
    assert before == after


def test_a_slide_without_tissue(tmp_path: Path) -> None:
    table, geojson = write_wsinfer(make_scores("a.svs", [], np.empty((0, 2), np.float32), 0.5), tmp_path)
    assert table.read_text() == ",".join(HEADER) + "\n"
    assert read_checked(geojson) == []


def test_slides_of_one_cohort_stand_side_by_side(tmp_path: Path) -> None:
    names = ["8863", "8863.svs", "b.svs", "b.ndpi", "a/b.svs", "a%2Fb.svs", "a_b.svs", "A/b.svs"]
    for name in names:
        write_wsinfer(made_scores(name), tmp_path)
    # wsinfer and its readers look no deeper.
    assert len(list((tmp_path / "model-outputs-csv").glob("*.csv"))) == len(names)
    assert len(list((tmp_path / "model-outputs-geojson").glob("*.geojson"))) == len(names)
    assert (tmp_path / "model-outputs-csv" / "8863.csv").is_file()
    again = replace(made_scores("b.svs"), prob_idc=np.array([0.5, np.nan, 0.5]))
    table, _ = write_wsinfer(again, tmp_path)
    assert "0.500000" in table.read_text()
    assert len(list((tmp_path / "model-outputs-csv").iterdir())) == len(names)


@given(st.text("ab/%2F.", min_size=1), st.text("ab/%2F.", min_size=1))
def test_names_are_flat_and_never_shared(one: str, other: str) -> None:
    assert "/" not in wsinfer_name(one)
    assert (wsinfer_name(one) == wsinfer_name(other)) == (one == other)


def test_run_metadata(tmp_path: Path) -> None:
    config = ModelConfig("CancerNet", "0" * 64, 0.4, training={"cases_train": ["9022"]})
    started = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
    command = ["wsi-idc", "score", "slide", "my slide.svs"]
    path = write_run_metadata(tmp_path / "out", config, Path("m.keras"), command, started)
    assert path.name == f"run_metadata_{started.astimezone():%Y%m%dT%H%M%S}.json"
    told = json.loads(path.read_text())
    assert set(told) == {"model", "runtime", "timestamp"}
    assert set(told["model"]) == {"config", "huggingface_location", "path"}
    assert told["model"]["config"]["class_names"] == ["no_idc", "idc"]
    assert (told["model"]["config"]["patch_size_pixels"], told["model"]["config"]["spacing_um_px"]) == (50, 8)
    assert Path(told["model"]["path"]) == Path("m.keras").absolute()
    assert told["runtime"]["args"] == "wsi-idc score slide 'my slide.svs'"
    assert set(told["runtime"]) >= {
        *("version", "working_dir", "args", "python_executable", "python_version", "in_container"),
        *("pytorch_version", "cuda_version", "git", "wsinfer_zoo_version"),
    }


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="choose another place"):
        write_wsinfer(made_scores(), tmp_path / "out")
