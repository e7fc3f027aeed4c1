"""ONNX models: of any tile, scale, classes and activation, and every way in which one can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from tests.conftest import Ran
from tests.model.onnx_models import NORMALIZE, TO_TENSOR, described, network, saved
from wsi_idc.errors import ModelError, OptionError
from wsi_idc.model.backend import keras
from wsi_idc.model.classifier import bundled_model, load_model
from wsi_idc.model.exporting import export_model
from wsi_idc.model.keras_network import load_keras

THREE = ("Normal", "In_situ", "Invasive")


def tiles(size: int, count: int = 21) -> NDArray[np.uint8]:
    rng = np.random.default_rng(size)
    base = rng.integers(60, 250, (count, 1, 1, 3))
    return (base + rng.normal(0, 20, (count, size, size, 3))).clip(0, 255).astype(np.uint8)


def softmax(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def run_alone(path: Path, shown: NDArray[np.float32]) -> NDArray[np.float32]:
    """What ONNX Runtime itself gives, patch by patch."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: one[None]})[0] for one in shown])


def normalized(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    arguments: dict[str, Any] = NORMALIZE["arguments"]  # type: ignore[assignment]
    mean, std = (np.array(arguments[name], np.float32) for name in ("mean", "std"))
    return ((patches / np.float32(255) - mean) / std).astype(np.float32)


def test_two_classes_as_the_runtime_gives_them(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.onnx", network())
    model = load_model(path)
    assert (model.config.patch.size_px, model.config.patch.mpp) == (96, 1.0)
    assert (model.config.name, model.config.threshold, model.config.classes.positive) == ("a", 0.5, "Tumor")
    patches = tiles(96)
    expected = softmax(run_alone(path, normalized(patches).transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(model.predict(patches), expected, atol=1e-5)
    for size in (1, 7, 64):
        np.testing.assert_array_equal(model.predict(patches, size), model.predict(patches))
    np.testing.assert_array_equal(model.predict(patches[3:]), model.predict(patches)[3:])
    assert model.predict(patches[:0]).shape == (0, 2)


def test_three_classes_colours_last_and_a_fixed_batch(tmp_path: Path) -> None:
    plain = network(3, 64, colours_last=True)
    (tmp_path / "plain.onnx").write_bytes(plain.SerializeToString())
    path = saved(tmp_path / "a.onnx", network(3, 64, colours_last=True, batch=4), THREE, 64, 0.5)
    patches = tiles(64)
    expected = softmax(run_alone(tmp_path / "plain.onnx", normalized(patches)))
    np.testing.assert_allclose(load_model(path).predict(patches), expected, atol=1e-5)
    chosen = load_model(path, "Normal").config
    assert (chosen.classes.index, chosen.threshold) == (0, 0.5)
    with pytest.raises(OptionError, match="no class Tumor: choose --class from Normal, In_situ, Invasive"):
        load_model(path, "Tumor")


def test_resize_and_crop_are_torchvisions(tmp_path: Path) -> None:
    steps = [
        {"name": "Resize", "arguments": {"size": 80}},
        {"name": "CenterCrop", "arguments": {"size": [64, 64]}},
        TO_TENSOR,
    ]
    path = saved(tmp_path / "a.onnx", network(2, 64), size=96, transform=steps)
    patches = tiles(96)
    small = [
        np.asarray(Image.fromarray(one).resize((80, 80), Image.Resampling.BILINEAR))[8:72, 8:72] for one in patches
    ]
    shown = (np.stack(small) / np.float32(255)).astype(np.float32).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(load_model(path).predict(patches), softmax(run_alone(path, shown)), atol=1e-5)


@pytest.mark.parametrize("names", [("tumor",), ("no_idc", "idc"), ("idc", "no_idc")], ids=str)
def test_one_output(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = saved(tmp_path / "a.onnx", network(1, bias=-2.0), names, activation="sigmoid")
    model, patches = load_model(path), tiles(96)
    raw = run_alone(path, normalized(patches).transpose(0, 3, 1, 2))[:, 0]
    probs = model.predict(patches)
    assert probs.shape == (len(patches), len(names))
    np.testing.assert_allclose(probs[:, model.config.classes.index], 1 / (1 + np.exp(-raw)), atol=1e-5)
    if len(names) == 2:
        np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)


def test_what_makes_probabilities_is_seen_from_the_outputs(tmp_path: Path) -> None:
    patches = tiles(96)
    logits = load_model(saved(tmp_path / "a.onnx", network())).predict(patches)
    probs = load_model(saved(tmp_path / "b.onnx", network(head=("Softmax",)))).predict(patches)
    np.testing.assert_allclose(logits, probs, atol=1e-6)
    one = load_model(saved(tmp_path / "c.onnx", network(1, bias=-20.0), ("tumor",))).predict(patches)
    assert 0 <= one.min() <= one.max() < 0.5


def test_weights_in_a_file_beside_it_count(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "a.onnx", save_as_external_data=True, location="a.data", size_threshold=0)
    described(tmp_path / "a.onnx")
    inline = load_model(saved(tmp_path / "b.onnx", network()))
    model = load_model(tmp_path / "a.onnx")
    np.testing.assert_array_equal(model.predict(tiles(96)), inline.predict(tiles(96)))
    content = bytearray((tmp_path / "a.data").read_bytes())
    content[2] ^= 0x10
    (tmp_path / "a.data").write_bytes(content)
    assert load_model(tmp_path / "a.onnx").config.sha256 != model.config.sha256


def test_a_keras_network_of_one_sigmoid(tmp_path: Path) -> None:
    layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, "sigmoid")]
    net = keras.Sequential([keras.Input((50, 50, 3)), *layers])
    net.save(tmp_path / "a.keras")
    described(tmp_path / "a.keras", ("no_idc", "idc"), 50, 8.0, transform=[TO_TENSOR])
    patches = tiles(50)
    expected = net.predict(patches / np.float32(255), verbose=0)[:, 0]
    np.testing.assert_allclose(load_model(tmp_path / "a.keras").predict(patches)[:, 1], expected, atol=1e-5)


def test_cancernet_as_onnx_gives_the_same_logits(tmp_path: Path) -> None:
    path = export_model(None, tmp_path / "c.onnx")
    net = load_keras(load_bundled())
    logits = keras.Model(net.inputs, net.layers[-1].input)
    if net.layers[-1].name != "softmax" and getattr(net.layers[-1], "activation", None) is not None:
        kernel, bias = net.layers[-1].get_weights()
        expected = logits.predict(shown(), verbose=0) @ kernel + bias
    else:
        expected = logits.predict(shown(), verbose=0)
    found = run_alone(path, shown().transpose(0, 3, 1, 2))
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)
    told = json.loads(path.with_suffix(".json").read_text())
    assert (told["activation"], told["num_classes"], told["spec_version"]) == ("softmax", 2, "1.0")
    patches = tiles(50)
    np.testing.assert_allclose(load_model(path).predict(patches), load_model().predict(patches), atol=1e-4)


def load_bundled() -> Path:
    from wsi_idc.model.classifier import bundled_model

    return bundled_model()


def shown() -> NDArray[np.float32]:
    return (tiles(50)[:, 1:-1, 1:-1] / np.float32(255)).astype(np.float32)


Change = Callable[[Path], object]


def model_of(*args: Any, **more: Any) -> Change:
    """Put another network there."""
    return lambda path: path.write_bytes(network(*args, **more).SerializeToString())


def told(**more: Any) -> Change:
    """Say something else of it."""
    return lambda path: described(path, **more)


def edited(change: Callable[[onnx.ModelProto], object]) -> Change:
    def apply(path: Path) -> None:
        model = onnx.load(path)
        change(model)
        path.write_bytes(model.SerializeToString())

    return apply


def cut(share: float) -> Change:
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def outside(location: str) -> Change:
    """Let its weights lie elsewhere."""

    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return edited(change)


def weights_of(value: float) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            tensor.raw_data = np.full(len(tensor.raw_data) // 4, value, np.float32).tobytes()

    return edited(change)


def two_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, None))


def two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, [1]))


def flat(model: onnx.ModelProto) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[3]


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type, model.graph.node[1].domain = "Mish", "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def picture_out(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "r"


BROKEN: dict[str, tuple[Change, str]] = {
    "empty": (lambda path: path.write_bytes(b""), "holds no network"),
    "text": (lambda path: path.write_text("<html>no model</html>"), "is not a whole ONNX model"),
    "cut": (cut(0.5), "is not a whole ONNX model"),
    "cut at the end": (cut(0.98), "is not a whole ONNX model|cannot be loaded by ONNX Runtime"),
    "larger input": (model_of(2, 224), r"takes \(\?, 3, 224, 224\) where its .json describes 96x96 px"),
    "grey": (model_of(colours=1), "export it with three colours"),
    "four colours": (model_of(colours=4), "export it with three colours"),
    "three dimensions": (edited(flat), "cannot be loaded by ONNX Runtime"),
    "uint8": (model_of(kind=TensorProto.UINT8), r"takes tensor\(uint8\) where tensor\(float\) is needed"),
    "half precision": (model_of(kind=TensorProto.FLOAT16), r"takes tensor\(float16\)"),
    "batches of 5,000": (model_of(batch=5_000), "takes batches of 5,000 patches"),
    "two outputs": (edited(two_outputs), "has 1 inputs and 2 outputs"),
    "two inputs": (edited(two_inputs), "has 2 inputs and 1 outputs"),
    "another operator": (edited(unknown_operator), "cannot be loaded by ONNX Runtime"),
    "opset of the future": (model_of(opset=99), "cannot be loaded by ONNX Runtime .*opset"),
    "pictures": (edited(picture_out), r"gives float32 \(8, 8, 23, 23\) for 8 patches"),
    "three outputs for two classes": (model_of(3), r"gives float32 \(8, 3\) for 8 patches"),
    "one output for three classes": (
        lambda path: (model_of(1)(path), described(path, THREE)),
        r"gives float32 \(8, 1\) for 8 patches",
    ),
    "NaN": (weights_of(np.nan), r"gives no numbers \(NaN\)"),
    "one output in 0 to 1": (
        lambda path: (model_of(1, head=("Sigmoid",))(path), described(path, ("tumor",))),
        'set "activation" in its .json',
    ),
    "weights elsewhere": (outside("../weights.bin"), "only files beside it are read"),
    "weights anywhere": (outside("/etc/passwd"), "only files beside it are read"),
    "weights missing": (outside("weights.bin"), "weights.bin, which is missing"),
    "no description": (lambda path: path.with_suffix(".json").unlink(), "a.json is missing"),
    "count of classes": (told(num_classes=3), "num_classes is 3, and class_names has 2"),
    "transform unknown": (told(transform=[{"name": "GaussianBlur"}, TO_TENSOR]), "its transform has 'GaussianBlur'"),
    "transform of no numbers": (told(transform=[{"name": "Resize", "arguments": {"size": 96}}]), "has no ToTensor"),
    "transform out of order": (told(transform=[NORMALIZE, TO_TENSOR]), "its transform has 'Normalize'"),
    "transform of two channels": (
        told(transform=[TO_TENSOR, {"name": "Normalize", "arguments": {"mean": [0.5, 0.5], "std": [1, 1]}}]),
        "the mean of Normalize in its transform is not three numbers",
    ),
    "deviation of 0": (
        told(transform=[TO_TENSOR, {"name": "Normalize", "arguments": {"mean": [0] * 3, "std": [1, 0, 1]}}]),
        "the std of Normalize in its transform is not above 0",
    ),
    "crop that is larger": (
        told(transform=[{"name": "CenterCrop", "arguments": {"size": 128}}, TO_TENSOR]),
        "crops 128x128 px out of 96x96",
    ),
    "resize to a text": (
        told(transform=[{"name": "Resize", "arguments": {"size": "96"}}, TO_TENSOR]),
        "size of Resize",
    ),
    "scale of a telescope": (told(mpp=1000.0), "patches of 96 pixels at 1000 µm/px cannot be"),
    "another model's description": (told(sha256="ab" * 32), "SHA-256 differs"),
    "positive class unknown": (told(positive_class="cancer"), "its positive_class is not among its class_names"),
}


@pytest.mark.parametrize(("change", "said"), BROKEN.values(), ids=BROKEN)
def test_broken_models(tmp_path: Path, change: Change, said: str) -> None:
    path = saved(tmp_path / "a.onnx", network())
    load_model(path)
    change(path)
    with pytest.raises(ModelError, match=said) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_outputs_that_are_no_probabilities(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.onnx", network(bias=7.0), activation="none")
    with pytest.raises(ModelError, match='which are no probabilities: set "activation"'):
        load_model(path).predict(tiles(96))


@pytest.mark.parametrize("ending", [".pth", ".ckpt", ".safetensors"])
def test_weights_without_a_network(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.")
    with pytest.raises(ModelError, match="holds weights without their network: export it to ONNX"):
        load_model(path)


def test_check_and_export_on_the_command_line(run: Callable[..., Ran], tmp_path: Path) -> None:
    path = saved(tmp_path / "a.onnx", network(3), THREE)
    ran = run("model", "check", path, "--quiet")
    assert ran.code == 0
    assert "classes: Normal, In_situ, Invasive (positive)" in ran.out
    assert "tiles: 96 px at 1 µm/px, 96 µm wide" in ran.out
    assert 'has no "activation": softmax is applied' in ran.err
    described(path)
    assert run("model", "check", path, "--quiet").code == 2
    assert run("model", "export", "--model", path, "--out", tmp_path / "b.onnx").code == 2
    assert run("model", "export", "--out", tmp_path / "b.txt", "--quiet").code == 2


def test_an_export_destroys_nothing(tmp_path: Path) -> None:
    own = tmp_path / "net.keras"
    for ending in (".keras", ".json"):
        own.with_suffix(ending).write_bytes(bundled_model().with_suffix(ending).read_bytes())
    with pytest.raises(ModelError, match="another folder"):
        export_model(own, tmp_path / "net.onnx")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "scores.csv").touch()
    with pytest.raises(ModelError, match="no SavedModel"):
        export_model(own, tmp_path / "results", "savedmodel")
    assert load_model(own).config.name == "CancerNet"
    assert (tmp_path / "results" / "scores.csv").exists()
