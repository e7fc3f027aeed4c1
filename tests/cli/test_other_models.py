"""Slides scored by models of other tiles and classes, from the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from pyarrow import parquet

from tests.cli.test_report import Browser, needs_browser
from tests.conftest import Ran
from tests.model.onnx_models import TO_TENSOR, by_colour, network, saved
from tests.slides.test_slide import smooth_tissue, write_slide
from wsi_idc import PatchSpec, open_slide
from wsi_idc.model.classes import Classes
from wsi_idc.plotting.class_map import COLOURS
from wsi_idc.plotting.overlay import as_grey
from wsi_idc.scoring.scores import read_scores

Run = Callable[..., Ran]

THREE = ("Normal", "In_situ", "Invasive")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    (tmp_path / "slides").mkdir()
    return write_slide(tmp_path / "slides" / "a.tiff", smooth_tissue(300, 400), 1.0)


def test_three_classes_from_slide_to_files(run: Run, slide: Path, tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", network(3, 64), THREE, 64, 1.0, transform=[TO_TENSOR])
    out = tmp_path / "out"
    given = ("slide", slide, "--no-tissue-mask", "--model", model, "--out", out, "--quiet")
    assert run("heatmap", *given, "--layout", "wsinfer").code == 0
    rows = rows_of(out / "a.tiff" / "scores.csv")
    columns = [f"prob_{name}" for name in THREE]
    assert list(rows[0]) == ["minx", "miny", "width", "height", *columns, "label", "pred", "status"]
    assert (int(rows[1]["minx"]), int(rows[0]["width"])) == (64, 64)

    session = onnxruntime.InferenceSession(model)
    with open_slide(slide, patch=PatchSpec(64, 1.0), tissue_mask=False) as source:
        assert len(source.patches) == len(rows)
        pixels = source.read(0, len(rows)).pixels / np.float32(255)
    (raw,) = session.run(None, {"patch": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))})
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    written = np.array([[float(row[name]) for name in columns] for row in rows])
    np.testing.assert_allclose(written, powers / powers.sum(axis=1, keepdims=True), atol=1e-4)

    classes = np.asarray(Image.open(out / "a.tiff" / "classes.png"))
    mosaic = np.asarray(Image.open(out / "a.tiff" / "mosaic.png"))
    assert classes.shape[1] == mosaic.shape[1]
    assert classes.shape[0] > mosaic.shape[0]
    for row, probs in zip(rows, written, strict=True):
        if min(int(row["width"]), int(row["height"])) < 40:
            continue
        x, y = int(row["minx"]) + 20, int(row["miny"]) + 20
        painted = classes[y : y + 20, x : x + 20].reshape(-1, 3).max(axis=0).astype(float)
        grey = as_grey(mosaic[y : y + 20, x : x + 20]).mean()
        expected = [0.75 * np.array(colour) + 0.25 * grey for colour in COLOURS[:3]]
        assert np.argmin([np.abs(painted - colour).sum() for colour in expected]) == np.argmax(probs)

    (table,) = (out / "model-outputs-csv").iterdir()
    assert list(rows_of(table)[0]) == ["minx", "miny", "width", "height", *columns]
    tile = json.loads((out / "a.tiff" / "scores.geojson").read_text())["features"][0]["properties"]
    assert set(tile["measurements"]) == set(columns)
    assert tile["classification"]["name"] in ("Invasive", "no Invasive")
    assert run("report", out, "--quiet").code == 0
    assert "Called Invasive" in (out / "report.html").read_text()


def outlines(path: Path, *areas: tuple[str, int, int, int, int]) -> Path:
    """Boxes with a class each, as QuPath writes them."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[x, y], [x, y + h], [x + w, y + h], [x + w, y], [x, y]]]},
            "properties": {"objectType": "annotation", "classification": {"name": name, "color": [0, 0, 0]}},
        }
        for name, x, y, w, h in areas
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_outlines_of_several_classes_bring_the_whole_matrix(run: Run, slide: Path, tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", network(3, 64), THREE, 64, 1.0, transform=[TO_TENSOR])
    drawn = ("normal", 0, 0, 400, 128), ("In situ", 0, 128, 400, 64), ("invasive", 0, 192, 256, 64)
    labels = outlines(tmp_path / "a.geojson", *drawn)
    folder = tmp_path / "out" / "a.tiff"
    given = ("slide", slide, "--no-tissue-mask", "--model", model, "--out", tmp_path / "out", "--quiet")
    assert run("heatmap", *given).code == 0
    key, plain = json.loads((folder / "run.json").read_text())["key"], rows_of(folder / "scores.csv")
    assert run("heatmap", *given, "--labels", labels).code == 0
    rows = rows_of(folder / "scores.csv")
    told = ["Normal"] * 14 + ["In_situ"] * 7 + ["Invasive"] * 4 + [""] * 10
    assert [row["label_class"] for row in rows] == told
    assert [row["label"] for row in rows] == [str(int(name == "Invasive")) for name in told]
    assert [{**row, "label": ""} for row in plain] == [
        {name: "" if name == "label" else row[name] for name in plain[0]} for row in rows
    ]
    assert json.loads((folder / "run.json").read_text())["key"] == key

    called = [max(THREE, key=lambda name: float(row[f"prob_{name}"])) for row in rows]
    counts = [[sum((a, b) == pair for pair in zip(told, called, strict=True)) for b in THREE] for a in THREE]
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["classes"]["names"] == list(THREE)
    assert figures["classes"]["counts"] == counts
    assert (figures["n"], figures["classes"]["n"], figures["tp"] + figures["fn"]) == (35, 25, 4)
    shares = [row[i] / sum(row) for i, row in enumerate(counts)]
    assert figures["macro_balanced_accuracy"] == pytest.approx(np.mean(shares))

    assert run("export", tmp_path / "out", "--to", "parquet").code == 0
    exported = parquet.read_table(tmp_path / "out" / "scores.parquet")
    assert exported["label_class"].to_pylist() == [name or None for name in told]

    # The same again leaves the table as it is, and another positive class has its own labels.
    written = (folder / "scores.csv").stat().st_mtime_ns
    assert run("score", *given, "--labels", labels).code == 0
    assert (folder / "scores.csv").stat().st_mtime_ns == written
    assert run("score", *given, "--labels", labels, "--class", "Normal").code == 0
    rows = rows_of(folder / "scores.csv")
    assert [row["label"] for row in rows] == [str(int(name == "Normal")) for name in told]
    assert json.loads((folder / "metrics.json").read_text())["classes"]["counts"] == counts
    assert run("score", *given).code == 0
    assert rows_of(folder / "scores.csv") == plain


def test_classes_of_a_cohort_are_pooled(run: Run, slide: Path, tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", network(3, 64), THREE, 64, 1.0, transform=[TO_TENSOR])
    other = write_slide(slide.with_name("b.tiff"), smooth_tissue(200, 200), 1.0)
    write_slide(slide.with_name("c.tiff"), smooth_tissue(200, 200), 1.0)
    drawn = {
        "a": [("normal", 0, 0, 400, 128), ("In situ", 0, 128, 400, 64), ("invasive", 0, 192, 256, 64)],
        "b": [("normal", 0, 0, 64, 256), ("in_situ", 64, 0, 64, 256), ("INVASIVE", 128, 0, 128, 256)],
    }
    for name, areas in drawn.items():
        outlines(tmp_path / f"{name}.geojson", *areas)
    manifest = tmp_path / "slides.csv"
    manifest.write_text(f"path,labels\n{slide},a.geojson\n{other},b.geojson\n{slide.with_name('c.tiff')},\n")
    out = tmp_path / "out"
    given = ("--no-tissue-mask", "--model", model, "--out", out, "--quiet")
    ran = run("score", "all", "--manifest", manifest, *given)
    assert ran.code == 0, ran.err
    figures = json.loads((out / "metrics.json").read_text())
    each = [json.loads((out / name / "metrics.json").read_text()) for name in ("a.tiff", "b.tiff")]
    counts = np.sum([one["classes"]["counts"] for one in each], axis=0)
    assert figures["classes"]["counts"] == counts.tolist()
    assert figures["per_case"]["a.tiff"] == each[0]
    low, high = figures["ci"]["macro_balanced_accuracy"]
    assert low <= figures["macro_balanced_accuracy"] <= high
    written = {name: (out / name).read_bytes() for name in ("metrics.json", "confusion.png", "summary.csv")}
    for name in written:
        (out / name).unlink()
    assert run("report", out, "--quiet").code == 0
    assert (out / "metrics.json").read_bytes() == written["metrics.json"]
    assert (out / "confusion.png").read_bytes() == written["confusion.png"]


def test_a_case_takes_classes_from_outlines_and_not_from_names(run: Run, patch_set: Path, tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", by_colour(50), THREE, 50, 8.0, transform=[TO_TENSOR])
    given = ("score", "patient", "8863", "--data", patch_set, "--model", model, "--out", tmp_path / "out", "--quiet")
    folder = tmp_path / "out" / "8863"
    assert run(*given).code == 0
    assert "label_class" not in rows_of(folder / "scores.csv")[0]
    assert "classes" not in json.loads((folder / "metrics.json").read_text())
    rows = rows_of(folder / "scores.csv")
    middle = max(int(row["minx"]) for row in rows)
    drawn = [("in-situ", 0, 0, middle, 10_000), ("Invasive", middle, 0, 10_000, 10_000)]
    assert run(*given, "--labels", outlines(tmp_path / "a.geojson", *drawn)).code == 0
    told = ["Invasive" if int(row["minx"]) >= middle else "In_situ" for row in rows]
    rows = rows_of(folder / "scores.csv")
    assert [row["label_class"] for row in rows] == told
    assert [row["label"] for row in rows] == [str(int(name == "Invasive")) for name in told]
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["classes"]["n"] == figures["n"] == len(rows)
    assert figures["macro_balanced_accuracy"] is None
    table = read_scores(folder / "scores.csv", "8863", 0.5, classes=Classes(THREE, "Invasive")).to_dataframe()
    assert table["label_class"].tolist() == told


@needs_browser
def test_the_page_shows_the_most_probable_class_as_a_layer(run: Run, tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", by_colour(64), THREE, 64, 1.0, transform=[TO_TENSOR])
    pixels = np.full((192, 192, 3), 60, np.uint8)
    for band in range(3):
        pixels[:, 64 * band : 64 * band + 64, band] = 200
    out = tmp_path / "out"
    given = ("--no-tissue-mask", "--out", out, "--quiet")
    assert run("heatmap", "slide", write_slide(tmp_path / "a.tiff", pixels, 1.0), "--model", model, *given).code == 0
    two = saved(tmp_path / "two.onnx", network(2, 64), ("Other", "Tumor"), 64, 1.0)
    assert run("heatmap", "slide", write_slide(tmp_path / "b.tiff", pixels, 1.0), "--model", two, *given).code == 0
    assert run("report", out, "--quiet").code == 0
    assert '"classes"' not in (out / "b.tiff" / "report.js").read_text()
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(out / "report.html")
        browser.show("b.tiff")
        assert browser.run("return document.getElementById('classes-row').hidden")
        browser.show("a.tiff")
        assert browser.text("#classes-key") == "Normal: 3In situ: 3Invasive: 3"
        shown = "return ['heat', 'errors', 'classes'].map((key) => document.getElementById(`layer-${key}`).checked)"
        assert browser.run(shown) == [True, False, False]
        browser.press("7")
        assert browser.run(shown) == [False, False, True]
        weight = "return [...document.querySelectorAll('.leaflet-classes-pane canvas')].map((of) => of.style.opacity)"
        assert browser.run(weight) == ["0.75"]
        browser.run("wsiIdc.viewer.view().point(1)")
        assert "most probable: In situ" in browser.text("#patch")
        assert browser.complaints() == []
        # The middle of each band has the colour of its class; every second one is hatched.
        painted = browser.run(
            "const canvas = document.querySelector('.leaflet-classes-pane canvas');"
            "return [0, 1, 2].map((band) => [...canvas.getContext('2d').getImageData("
            "Math.round((2 * band + 1) / 6 * canvas.width) - 5, 5, 10, 10).data]);"
        )
        for number, patch in enumerate(painted):
            found = {tuple(colour) for colour in np.reshape(patch, (-1, 4))[:, :3].tolist()}
            assert COLOURS[number] in found
            assert (len(found) > 1) == (number == 1)
        browser.press("2")
        assert browser.run(shown) == [True, False, False]
    finally:
        browser.driver.quit()


def test_another_class_is_called_without_scoring_again(run: Run, slide: Path, tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", network(3, 64), THREE, 64, 1.0, transform=[TO_TENSOR])
    given = ("--no-tissue-mask", "--model", model, "--out", tmp_path / "out", "--quiet", "--threshold", "0.3")
    folder = tmp_path / "out" / "a.tiff"
    assert run("score", "slide", slide, *given).code == 0
    first, before = json.loads((folder / "run.json").read_text()), rows_of(folder / "scores.csv")
    assert run("score", "slide", slide, *given, "--class", "Normal", "--context", "1").code == 0
    after = rows_of(folder / "scores.csv")
    assert [row["prob_In_situ"] for row in after] == [row["prob_In_situ"] for row in before]
    assert all(row["pred"] == str(int(float(row["prob_Normal_context"]) >= 0.3)) for row in after)
    second = json.loads((folder / "run.json").read_text())
    assert (second["key"], second["pred_follows"]) == (first["key"], "prob_Normal_context")
    assert second["model"]["positive_class"] == "Normal"
    ran = run("score", "slide", slide, *given, "--class", "Tumor")
    assert ran.code == 2
    assert "choose --class from Normal, In_situ, Invasive" in ran.err


def test_a_cohort_and_cases_that_do_not_fit(run: Run, slide: Path, patch_set: Path, tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", network(3, 64), THREE, 64, 1.0, transform=[TO_TENSOR])
    given = ("--model", model, "--out", tmp_path / "out", "--quiet")
    ran = run("score", "all", "--slides", slide.parent, "--no-tissue-mask", "--class", "In_situ", *given)
    assert ran.code == 0, ran.err
    assert "prob_In_situ" in rows_of(tmp_path / "out" / "a.tiff" / "scores.csv")[0]
    ran = run("score", "patient", "8863", "--data", patch_set, *given)
    assert ran.code == 2
    assert "holds patches of 50 px at 8 µm/px, where the model m takes 64 px at 1: choose another --model" in ran.err


def test_tables_have_a_column_for_each_class(run: Run, slide: Path, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    parquet = pytest.importorskip("pyarrow.parquet")
    model = saved(tmp_path / "m.onnx", network(3, 64), THREE, 64, 1.0, transform=[TO_TENSOR])
    other = write_slide(slide.with_name("b.tiff"), smooth_tissue(200, 200), 1.0)
    out = tmp_path / "out"
    given = ("--no-tissue-mask", "--model", model, "--out", out, "--quiet")
    assert run("score", "slide", slide, other, *given).code == 0
    columns = [f"prob_{name}" for name in THREE]
    rows = [row for name in ("a.tiff", "b.tiff") for row in rows_of(out / name / "scores.csv")]
    written = np.array([[float(row[name]) for name in columns] for row in rows])

    assert run("export", out, "--to", "parquet", "--quiet").code == 0
    table = parquet.read_table(out / "scores.parquet")
    assert table.column_names[5:10] == [*columns, "label", "pred"]
    np.testing.assert_array_equal(np.column_stack([table[name].to_numpy() for name in columns]), written)
    assert run("export", out, "--to", "anndata", "--quiet").code == 0
    observed = anndata.read_h5ad(out / "scores.h5ad")
    assert list(observed.var_names) == columns
    np.testing.assert_array_equal(observed.X, written)

    assert run("score", "slide", other, *given, "--class", "Normal").code == 0
    ran = run("export", out, "--to", "parquet", "--quiet")
    assert ran.code == 1
    assert "not the first slide's" in ran.err
    assert set(parquet.read_table(out / "scores.parquet")["slide"].to_pylist()) == {"a.tiff"}
