"""TorchScript models: run only with leave, and every way in which one can be wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import Ran
from tests.model.onnx_models import described
from tests.slides.test_slide import write_slide
from wsi_idc.errors import ModelError, WorkerError
from wsi_idc.model.checking import phantom_tiles
from wsi_idc.model.classifier import load_model
from wsi_idc.model.exporting import export_model
from wsi_idc.phantom import paint_slide
from wsi_idc.scoring.workers import AskedModel

torch = pytest.importorskip("torch")
keras = pytest.importorskip("wsi_idc.model.backend").keras

THREE = ("Normal", "In_situ", "Invasive")


def module(outputs: int = 3, *more: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    layers = [torch.nn.Conv2d(3, 8, 5, 4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(8, outputs), *more).eval()


def written(path: Path, network: Any, names: tuple[str, ...] = THREE, **more: Any) -> Path:
    torch.jit.save(network if isinstance(network, torch.jit.ScriptModule) else torch.jit.script(network), path)
    return described(path, names, size=64, **more)


def tiles(count: int = 21) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


def test_probabilities_are_the_programs_own(tmp_path: Path) -> None:
    network = module()
    path = written(tmp_path / "a.pt", network)
    model, patches = load_model(path, allow_code=True), tiles()
    assert model.runtime == f"torch {torch.__version__}"
    mean, std = np.array([0.7, 0.5, 0.6], np.float32), np.array([0.2, 0.25, 0.3], np.float32)
    shown = torch.from_numpy(((patches / np.float32(255) - mean) / std).astype(np.float32).transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        expected = torch.softmax(network(shown), 1).numpy()
    np.testing.assert_allclose(model.predict(patches), expected, atol=1e-5)


def test_the_same_bytes_whatever_the_batch_size_and_the_company(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pt", module())
    first, again, patches = load_model(path, allow_code=True), load_model(path, allow_code=True), tiles()
    expected = first.predict(patches)
    for size in (1, 7, 64):
        np.testing.assert_array_equal(first.predict(patches, size), expected)
    np.testing.assert_array_equal(first.predict(patches[3:]), expected[3:])
    np.testing.assert_array_equal(again.predict(patches), expected)
    assert first.predict(patches[:0]).shape == (0, 3)


def test_it_runs_only_with_leave(tmp_path: Path, run: Callable[..., Ran]) -> None:
    path = written(tmp_path / "a.pt", module(2), ("Other", "Tumor"))
    with pytest.raises(ModelError, match=r"give --allow-code \(allow_code=True\) if you trust"):
        load_model(path)
    refused = run("model", "check", path, "--quiet")
    assert (refused.code, refused.out) == (2, "")
    assert len(refused.err.splitlines()) == 1 and "--allow-code" in refused.err
    allowed = run("model", "check", path, "--quiet", "--allow-code")
    assert allowed.code == 0 and "runs with: torch" in allowed.out
    assert "it runs with your rights, as --allow-code permits" in allowed.err


def test_a_worker_runs_nothing_that_leave_was_not_given_for(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pt", module())
    asked = AskedModel.of(path, load_model(path, allow_code=True), allow_code=True)
    assert asked.load().config.sha256 == asked.sha256
    with pytest.raises(WorkerError, match="give --allow-code"):
        replace(asked, allow_code=False).load()
    # Another program in its place would say more than that when it is loaded: it gives no tensor.
    written(path, _Pair())
    with pytest.raises(WorkerError, match="has other weights"):
        asked.load()


class _Pair(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


class _Noise(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3)) + torch.rand(len(x), 3)


class _Doubles(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3)).double()


class _NaN(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3)) * float("nan")


def _traced_while_training() -> Any:
    network = module(3, torch.nn.BatchNorm1d(3)).train()
    return torch.jit.trace(network, torch.rand(8, 3, 64, 64), check_trace=False)


def _with_side(side: int) -> Any:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * side * side, 3))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (_Pair, "gives a tuple where a tensor is needed"),
        (_Noise, "does not give the same for the same patch"),
        (_traced_while_training, r"export it in evaluation mode \(model.eval\(\)\)"),
        (_Doubles, r"gives float64 \(8, 3\)"),
        (_NaN, r"gives no numbers \(NaN\)"),
        (lambda: module(5), r"gives float32 \(8, 5\) for 8 patches"),
        (lambda: torch.nn.Conv2d(3, 3, 1), r"gives float32 \(8, 3, 64, 64\)"),
        (lambda: _with_side(48), "cannot be run: .*mat1 and mat2 shapes cannot be multiplied"),
        (lambda: module().double(), "cannot be run: "),
        (lambda: torch.nn.Conv2d(4, 3, 64), "cannot be run: "),
    ],
)
def test_programs_that_are_no_classifier(tmp_path: Path, network: Callable[[], Any], reason: str) -> None:
    path = written(tmp_path / "a.pt", network())
    with pytest.raises(ModelError, match=reason) as refused:
        load_model(path, allow_code=True)
    assert "\n" not in str(refused.value)


def _state() -> bytes:
    into = io.BytesIO()
    torch.save(module().state_dict(), into)
    return into.getvalue()


def _old_state() -> bytes:
    into = io.BytesIO()
    torch.save(module().state_dict(), into, _use_new_zipfile_serialization=False)
    return into.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_state, "holds no TorchScript program, but weights or pickled objects alone"),
        (_old_state, "is not a whole TorchScript program"),
        (lambda: pickle.dumps({"a": 1}), "is not a whole TorchScript program"),
        (lambda: b"", "is not a whole TorchScript program"),
        (lambda: b"\x89HDF\r\n" * 99, "is not a whole TorchScript program"),
    ],
)
def test_files_that_hold_no_program(tmp_path: Path, content: Callable[[], bytes], reason: str) -> None:
    path = described(tmp_path / "a.pt", THREE, size=64)
    path.write_bytes(content())
    with pytest.raises(ModelError, match=reason):
        load_model(path, allow_code=True)


def test_cut_short_damaged_or_described_for_another(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pt", module())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="is not a whole TorchScript program"):
        load_model(path, allow_code=True)
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"def forward", b"fed forward"))
    with pytest.raises(ModelError, match="cannot be loaded by PyTorch"):
        load_model(path, allow_code=True)
    path.write_bytes(whole)
    described(path, THREE, size=64, sha256="0" * 64)
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_model(path, allow_code=True)


def test_frozen_programs_run(tmp_path: Path) -> None:
    frozen = torch.jit.freeze(torch.jit.script(module()))
    plain = written(tmp_path / "plain.pt", module())
    path, patches = written(tmp_path / "a.pt", frozen), tiles()
    ours = load_model(path, allow_code=True).predict(patches)
    np.testing.assert_allclose(ours, load_model(plain, allow_code=True).predict(patches), atol=1e-6)


def test_cancernet_as_torchscript(tmp_path: Path, run: Callable[..., Ran]) -> None:
    path = tmp_path / "cancernet.pt"
    assert run("model", "export", "--format", "torchscript", "--out", path).code == 0
    told, patches = json.loads(path.with_suffix(".json").read_text()), phantom_tiles(50, 8.0)
    assert [step["name"] for step in told["transform"]] == ["Resize", "ToTensor"]
    assert told["calibration"] is None and told["activation"] == "softmax"
    expected, ours = load_model(), load_model(path, allow_code=True)
    np.testing.assert_allclose(ours.predict(patches), expected.predict(patches), atol=1e-4)
    # As wsinfer runs it: pixels in 0-1, then softmax.
    shown = torch.from_numpy((patches / np.float32(255)).astype(np.float32).transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        alone = torch.softmax(torch.jit.load(path)(shown), 1).numpy()
    np.testing.assert_allclose(alone, expected.predict_normalized(patches), atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("WSINFER_PYTHON"), reason="WSINFER_PYTHON names no Python that has wsinfer")
def test_wsinfer_gives_the_same_tiles_the_same_probabilities(tmp_path: Path, run: Callable[..., Ran]) -> None:
    """On a slide of the model's own scale, so that neither resamples it, and without what only we normalize."""
    path, slides, theirs = tmp_path / "cancernet.pt", tmp_path / "slides", tmp_path / "theirs"
    assert run("model", "export", "--format", "torchscript", "--out", path).code == 0
    described = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(described | {"normalization": None}))
    slides.mkdir()
    theirs.mkdir()
    slide = write_slide(slides / "a.tiff", paint_slide("90001", 0).pixels, 8.0)
    program = Path(__file__).parents[2] / "benchmarks" / "in_wsinfer.py"
    command = [os.environ["WSINFER_PYTHON"], str(program), *map(str, (path, slides, theirs)), "0"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, capture_output=True, env=clean)
    given = ("--no-tissue-mask", "--model", path, "--allow-code", "--out", tmp_path / "ours", "--layout", "wsinfer")
    assert run("score", "slide", slide, *given, "--quiet").code == 0

    def read(folder: Path) -> dict[tuple[int, ...], list[float]]:
        (table,) = (folder / "model-outputs-csv").glob("*.csv")
        with table.open(newline="") as file:
            return {
                tuple(int(float(row[name])) for name in ("minx", "miny", "width", "height")): [
                    float(row["prob_no_idc"]), float(row["prob_idc"])
                ]
                for row in csv.DictReader(file)
            }  # fmt: skip

    ours, found = read(tmp_path / "ours"), read(theirs)
    assert len(found) > 500
    # wsinfer takes tiles of one size, also past the edge.
    whole = {box for box in found if box[0] + box[2] <= 1542 and box[1] + box[3] <= 1435}
    assert whole <= ours.keys()
    np.testing.assert_allclose([found[box] for box in whole], [ours[box] for box in whole], atol=1e-3)


def test_every_layer_as_torchscript(tmp_path: Path) -> None:
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((48, 48, 3)),
            layers.Rescaling(2.0, -1.0),
            layers.Conv2D(6, 4, strides=3, padding="same", use_bias=False),
            layers.ReLU(),
            layers.BatchNormalization(scale=False),
            layers.SeparableConv2D(4, 3, dilation_rate=2, depth_multiplier=2, activation="tanh"),
            layers.MaxPooling2D(3, 2, padding="same"),
            layers.AveragePooling2D(2),
            layers.Conv2D(8, 3, groups=2, padding="same", activation="elu"),
            layers.Flatten(),
            layers.Dense(5, activation="sigmoid", use_bias=False),
            layers.Dropout(0.5),
            layers.Dense(2),
            layers.Activation("softmax"),
        ]
    )
    rng = np.random.default_rng(0)
    network.set_weights([np.abs(rng.normal(0.3, 0.3, one.shape)) for one in network.get_weights()])
    path = tmp_path / "a.keras"
    network.save(path)
    described(path, ("no_idc", "idc"), 50, 8.0, transform=[
        {"name": "CenterCrop", "arguments": {"size": 48}}, {"name": "ToTensor"}
    ])  # fmt: skip
    export_model(path, tmp_path / "b.pt", "torchscript")
    patches = phantom_tiles(50, 8.0)
    ours = load_model(tmp_path / "b.pt", allow_code=True).predict(patches)
    np.testing.assert_allclose(ours, load_model(path).predict(patches), atol=1e-4)
    assert np.ptp(ours) > 1e-3


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"in \.pt for TorchScript, and only there"):
        export_model(None, tmp_path / "a.onnx", "torchscript")
    network = keras.Sequential([keras.Input((48, 48, 3)), keras.layers.AveragePooling2D(5, padding="same")])
    network.add(keras.layers.Flatten())
    network.add(keras.layers.Dense(2))
    path = described(tmp_path / "a.keras", ("no_idc", "idc"), 48, 8.0, transform=[{"name": "ToTensor"}])
    network.save(path)
    with pytest.raises(ModelError, match=r"\(AveragePooling2D\), which cannot be written as TorchScript"):
        export_model(path, tmp_path / "b.pt", "torchscript")
