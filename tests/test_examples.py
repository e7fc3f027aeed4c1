from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image
from tifffile import TiffFile

from tests.conftest import Ran
from tests.model.test_classifier import save
from tests.slides.test_slide import smooth_tissue, write_slide
from wsi_idc import load_model
from wsi_idc.model.backend import keras
from wsi_idc.model.classifier import bundled_model
from wsi_idc.scoring.file_names import MOSAIC_ZARR, PROBABILITY_ZARR

EXAMPLES = Path(__file__).parent.parent / "examples"

Example = Callable[..., str]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Example:
    """Run an example as a user does, and give what it prints."""

    def call(name: str, *args: object) -> str:
        monkeypatch.setattr("sys.argv", [name, *map(str, args)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return call


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.iterdir() if path.is_file() and f'"{path.name}"' not in text] == []


@pytest.mark.usefixtures("demo")
def test_one_case(example: Example, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert "patches" in example("one_case.py", 90001, "demo", out)
    with Image.open(out) as sheet:
        assert sheet.width > sheet.height > 1000


def test_raw_slide(example: Example, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.tiff", smooth_tissue(1_200, 1_200), 2.0)
    assert "tiles with tissue" in example("raw_slide.py", slide, tmp_path / "out")
    with TiffFile(tmp_path / "out" / "mosaic.ome.tif") as tiff:
        assert tiff.series[0].levels[0].shape == (300, 300, 3)


def test_cohort(example: Example, patch_set: Path, tmp_path: Path) -> None:
    for damaged in (patch_set / "9022").rglob("*.png"):
        damaged.write_bytes(b"no PNG")
    shown = example("cohort.py", patch_set, tmp_path / "out").splitlines()
    assert shown[0].split() == ["slide", "status", "patches", "tissue_mm2", "idc_mm2", "balanced_accuracy", "auc"]
    assert {tuple(row.split()[:3]) for row in shown[1:]} == {("8863", "ok", "12"), ("9022", "partial", "12")}
    assert (tmp_path / "out" / "metrics.json").is_file()


@pytest.mark.usefixtures("demo")
def test_own_model(example: Example, tmp_path: Path) -> None:
    path = tmp_path / "models" / "mine.keras"
    auc = example("own_model.py", path, "demo").split("AUC ")[1].split(",")[0]
    assert float(auc) > 0.75
    model = load_model(path).config
    assert (model.name, model.architecture, model.has_seen) == ("mine", "small", {"90002", "90003"})


@pytest.mark.usefixtures("demo")
def test_compare_models(example: Example, tmp_path: Path) -> None:
    same = keras.layers.Dense(2, activation="softmax", kernel_initializer="zeros")
    network = keras.Sequential([keras.Input((48, 48, 3)), keras.layers.GlobalAveragePooling2D(), same])
    undecided = save(network, tmp_path / "undecided.keras")
    shown = example("compare_models.py", undecided, bundled_model(), "demo")
    assert "2,385 patches of 3 cases" in shown
    chance, bundled = (float(line.split()[1][:-1]) for line in shown.splitlines() if "  auc" in line)
    assert chance == 0.5 < bundled
    low, high = shown.split("(")[-1].rstrip(")\n").split(" to ")
    assert 0 < float(low) < float(high)
    assert example("compare_models.py", undecided, undecided, "demo").endswith("+0.000 (+0.000 to +0.000)\n")


def test_open_in_napari(run: Callable[..., Ran], patch_set: Path) -> None:
    pytest.importorskip("napari_ome_zarr")
    components = pytest.importorskip("napari.components")
    assert run("mosaic", "patient", "8863", "--data", patch_set, "--format", "ome-zarr").code == 0
    assert run("heatmap", "patient", "8863", "--data", patch_set, "--ome", "zarr", "--dpi", "72").code == 0
    folder = Path("wsi-idc-results/8863")
    assert (folder / MOSAIC_ZARR).is_dir()
    assert (folder / PROBABILITY_ZARR).is_dir()
    viewer = components.ViewerModel()  # what a window shows, without the window
    runpy.run_path(str(EXAMPLES / "open_in_napari.py"))["add_layers"](viewer, folder)
    slide, probability = viewer.layers
    assert (slide.name, slide.rgb, probability.colormap.name) == ("8863", True, "cividis")
    np.testing.assert_array_equal(slide.extent.world, probability.extent.world)
    assert list(probability.contrast_limits) == [0, 1]


def test_notebook_from_a_clean_kernel(tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in codes), "clear its outputs before it is committed"
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    shown = [{kind for output in cell.outputs for kind in output.get("data", ())} for cell in codes]
    assert any("image/png" in kinds for kinds in shown)
    assert sum("text/html" in kinds for kinds in shown) == 3
    text = str([output for cell in codes for output in cell.outputs])
    assert all(case in text for case in ("90001", "90002", "90003"))
    assert list(tmp_path.iterdir()) == [], "it writes into the folder of its user"
