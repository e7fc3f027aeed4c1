"""Networks of three frameworks, each with tiles of its own, from a phantom slide to all files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import Ran
from tests.model.onnx_models import NORMALIZE, TO_TENSOR, described, network, saved
from tests.slides.drawings import box, collection, named
from wsi_idc import PatchSpec, open_slide
from wsi_idc.export.ome_tiff import write_tiff
from wsi_idc.model.checking import phantom_tiles
from wsi_idc.naming import PHANTOM_MARK
from wsi_idc.phantom import paint_slide
from wsi_idc.phantom.magnify import magnify

Run = Callable[..., Ran]
Pixels = NDArray[np.uint8]
Probabilities = NDArray[np.floating[Any]]

THREE = ("Normal", "In_situ", "Invasive")
MPP = 0.5


@dataclass(frozen=True)
class Made:
    """A model's file, its classes and tiles, and what its framework makes of pixels in 0-255."""

    path: Path
    names: tuple[str, ...]
    patch: PatchSpec
    own: Callable[[Pixels], Probabilities]


def softmax(raw: Probabilities) -> Probabilities:
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def normalized(pixels: Pixels) -> NDArray[np.float32]:
    """Colours first, as the transform says."""
    mean, std = (np.array(NORMALIZE["arguments"][name], np.float32) for name in ("mean", "std"))
    return np.ascontiguousarray(((pixels / np.float32(255) - mean) / std).transpose(0, 3, 1, 2), dtype=np.float32)


def torch_resnet(folder: Path) -> Made:
    """ResNet-18 of three classes, its weights drawn at random, as TorchScript."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, channels: int, filters: int, stride: int) -> None:
            super().__init__()
            self.path = nn.Sequential(
                nn.Conv2d(channels, filters, 3, stride, 1, bias=False),
                nn.BatchNorm2d(filters),
                nn.ReLU(),
                nn.Conv2d(filters, filters, 3, 1, 1, bias=False),
                nn.BatchNorm2d(filters),
            )
            shortcut = [nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)]
            self.shortcut = nn.Sequential(*shortcut if stride > 1 else [])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.path(x) + self.shortcut(x))

    torch.manual_seed(0)
    stages = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)]
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks = [Block(*sizes) for sizes in (*stages, (256, 512, 2), (512, 512, 1))]
    last = nn.Linear(512, 3)
    resnet = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last).eval()
    assert sum(weights.numel() for weights in resnet.parameters()) == 11_178_051

    def outputs(pixels: Pixels) -> Any:
        with torch.inference_mode():
            return resnet(torch.from_numpy(normalized(pixels)))

    seen = outputs(phantom_tiles(224, MPP)[:16])
    # Random weights give all tiles much the same outputs: here they come apart.
    last.weight.data /= seen.std(dim=0)[:, None]
    last.bias.data = (last.bias.data - seen.mean(dim=0)) / seen.std(dim=0)
    torch.jit.save(torch.jit.script(resnet), folder / "resnet.pt")
    described(folder / "resnet.pt", THREE, 224, MPP)
    return Made(folder / "resnet.pt", THREE, PatchSpec(224, MPP), lambda pixels: softmax(outputs(pixels).numpy()))


def onnx_of_two(folder: Path) -> Made:
    names = ("Other", "Tumor")
    path = saved(folder / "small.onnx", network(2, 96), names, 96, 1.0)
    session = onnxruntime.InferenceSession(path)
    return Made(
        path, names, PatchSpec(96, 1.0), lambda pixels: softmax(session.run(None, {"patch": normalized(pixels)})[0])
    )


def keras_of_four(folder: Path) -> Made:
    keras = pytest.importorskip("wsi_idc.model.backend").keras
    keras.utils.set_random_seed(0)
    layers = keras.layers
    made = keras.Sequential(
        [
            keras.Input((50, 50, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(4),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    made.save(folder / "own.keras")
    names = (*THREE, "Fat")
    described(folder / "own.keras", names, 50, 2.0, transform=[TO_TENSOR], positive_class="Invasive")
    return Made(
        folder / "own.keras",
        names,
        PatchSpec(50, 2.0),
        lambda pixels: made.predict(pixels / np.float32(255), verbose=0),
    )


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Painted tissue of about one by one mm, at 0.5 µm/px."""
    painted = paint_slide("90001", 0, 130, 120)
    path = tmp_path_factory.mktemp("slides") / "a.tif"
    write_tiff(path, magnify(painted.pixels, 16, 0), (MPP, MPP), description=f"{PHANTOM_MARK} case 90001")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("make", [torch_resnet, onnx_of_two, keras_of_four])
def test_a_phantom_slide_through_any_model(make: Callable[[Path], Made], run: Run, slide: Path, tmp_path: Path) -> None:
    made, out = make(tmp_path), tmp_path / "out"
    thirds = [named(name, box(700 * i, 0, 700 * i + 700, 1920)) for i, name in enumerate(made.names)]
    (tmp_path / "a.geojson").write_text(json.dumps(collection(*thirds)))
    ran = run(
        *("heatmap", "slide", slide, "--model", made.path, "--allow-code", "--no-tissue-mask", "--out", out, "--quiet"),
        *("--layout", "wsinfer", "--ome", "tiff", "--geojson", "tiles", "--labels", tmp_path / "a.geojson"),
    )
    assert ran.code == 0, ran.err
    folder = out / "a.tif"
    with (folder / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = [f"prob_{name}" for name in made.names]
    written = np.array([[float(row[name]) for name in columns] for row in rows])

    with open_slide(slide, patch=made.patch, tissue_mask=False) as source:
        assert len(source.patches) == len(rows) > 30
        pixels, boxes = source.read(0, len(rows)).pixels, source.patches.boxes
    assert pixels.shape[1:] == (made.patch.size_px, made.patch.size_px, 3)
    np.testing.assert_allclose(written, made.own(pixels), atol=1e-4)
    positive = made.names.index(json.loads((folder / "run.json").read_text())["model"]["positive_class"])
    assert written[:, positive].std() > 0.01

    tiles = json.loads((folder / "scores.geojson").read_text())["features"]
    for tile, probs, corner in zip(tiles, written, boxes, strict=True):
        told = tile["properties"]["measurements"]
        shown = dict(zip(columns, probs, strict=True)) if len(columns) > 2 else {columns[positive]: probs[positive]}
        assert {name: told[name] for name in shown} == pytest.approx(shown)
        assert np.min(tile["geometry"]["coordinates"][0], axis=0).tolist() == corner[:2].tolist()
    (table,) = (out / "model-outputs-csv").iterdir()
    with table.open(newline="") as file:
        assert [[float(row[name]) for name in columns] for row in csv.DictReader(file)] == written.tolist()
    image = tifffile.imread(folder / "probability.ome.tif")
    side = round(made.patch.um / MPP)
    row, column = (np.rint(boxes[:, axis] / side).astype(int) for axis in (1, 0))
    np.testing.assert_allclose(image[row, column], written[:, positive], atol=1e-6)

    several = len(columns) > 2
    figures = json.loads((folder / "metrics.json").read_text())
    assert (folder / "classes.png").exists() == several == ("classes" in figures)
    if several:
        labelled = [row["label_class"] for row in rows]
        called = np.array(made.names)[written.argmax(axis=1)]
        counts = [[sum((labelled == np.array(a)) & (called == b)) for b in made.names] for a in made.names]
        assert figures["classes"]["counts"] == [[int(of) for of in row] for row in counts]
        assert figures["classes"]["n"] == sum(bool(name) for name in labelled) > 20
    sheet = np.asarray(Image.open(folder / "heatmap.png").convert("RGB"))
    assert sheet.shape[1] > 2_000
    assert len(np.unique(sheet.reshape(-1, 3)[::7], axis=0)) > 1_000
    assert run("report", out, "--quiet").code == 0
    page = (out / "report.html").read_text()
    assert f"Called {made.names[positive]}" in page
    assert ('"classes":[' in page) == several
