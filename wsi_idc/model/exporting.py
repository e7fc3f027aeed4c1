"""A Keras model for other programs: as ONNX, TorchScript or a TensorFlow SavedModel, with a ``.json`` beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wsi_idc._util.files import make_folder, replacing, replacing_folder
from wsi_idc.errors import ModelError
from wsi_idc.model.backend import keras
from wsi_idc.model.classifier import find_model
from wsi_idc.model.config import ModelConfig, file_sha256
from wsi_idc.model.interface import Activation
from wsi_idc.model.keras_network import load_keras
from wsi_idc.model.torch_network import require_torch

Form = Literal["onnx", "torchscript", "savedmodel"]

_ENDINGS: dict[Form, str] = {"onnx": ".onnx", "torchscript": ".pt"}

_OPSET, _IR_VERSION = 17, 8
"""Of 2022, which every runtime of today reads."""

_CHANNELS_FIRST, _CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_NOTHING = ("InputLayer", "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout")
"""Layers that do nothing once a network is trained."""


def export_model(model: str | Path | None, out: str | Path, form: Form = "onnx") -> Path:
    """Write a ``.keras`` model for other programs.

    The ``.json`` beside it is read back by `load_model` where the form is ONNX or TorchScript. There the network gives
    what comes before softmax or sigmoid, as wsinfer wants it, and takes ``(n, 3, height, width)``. As TorchScript it
    holds what wsinfer's transforms cannot do: the crop, and the calibration of two classes.

    Parameters
    ----------
    model : path, optional
        By default the bundled one.
    out : path
        File that ends in ``.onnx`` or ``.pt``, or folder of the SavedModel. A folder that is there is replaced.
    form : {"onnx", "torchscript", "savedmodel"}

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    ModelError
        Where the model is no ``.keras`` file, `out` has another ending, a layer cannot be written so, or a package is
        missing.
    OutputError
        Where the folder cannot be written.
    """
    out = Path(out)
    path, config = find_model(model)
    if path.suffix != ".keras":
        raise ModelError(f"{path} cannot be exported: name a .keras file.")
    wanted = _ENDINGS.get(form)
    if out.suffix != wanted and (wanted or out.suffix in _ENDINGS.values()):
        raise ModelError(
            f"{out} cannot be a model of the form {form}: let a name end in .onnx for ONNX, in .pt for TorchScript, "
            "and only there."
        )
    beside = out.with_name(f"{out.name}.json") if form == "savedmodel" else out.with_suffix(".json")
    if beside.resolve() == path.with_suffix(".json").resolve() or out.resolve() == path.resolve():
        raise ModelError(f"{beside} describes the model that is exported: name another folder with --out.")
    if (
        form == "savedmodel"
        and out.exists()
        and not (out / "saved_model.pb").is_file()
        and (not out.is_dir() or any(out.iterdir()))
    ):
        raise ModelError(f"{out} is there and is no SavedModel: name another folder with --out.")
    if form == "torchscript":
        require_torch()
    network = load_keras(path, config.interface)
    make_folder(out.parent)
    if form == "savedmodel":
        with replacing_folder(out) as folder:
            network.export(folder, format="tf_saved_model", verbose=False)
        replace(config, sha256="").write(beside)
        return out
    if form == "torchscript":
        content, config = _as_torchscript(network, path, config)
        with replacing(out) as temporary:
            temporary.write_bytes(content)
        replace(config, sha256=file_sha256(out)).write(beside)
        return out
    if not find_spec("onnx"):
        raise ModelError("The package onnx is not installed, which the export needs: pip install 'wsi-idc[onnx]'.")
    graph = _Graph(path)
    activation = graph.add_network(network)
    with replacing(out) as temporary:
        temporary.write_bytes(graph.finish(network, config.name))
    activation = config.activation if config.activation not in (None, "none") else activation
    replace(config, sha256=file_sha256(out), activation=activation).write(beside)
    return out


def _as_torchscript(network: keras.Model, path: Path, config: ModelConfig) -> tuple[bytes, ModelConfig]:
    """The bytes of a ``.pt`` file, and what its ``.json`` is to say."""
    from wsi_idc.model import torch_layers

    parts: list[Any] = []
    transform = config.transform
    if transform.geometry and transform.geometry[-1][0] == "CenterCrop":
        # wsinfer knows no crop: it resizes, and the network crops.
        kept = transform.geometry[:-1]
        before = kept[-1][1:] if kept else (config.patch.size_px, config.patch.size_px)
        parts.append(torch_layers.crop(before, transform.geometry[-1][1:]))
        transform = replace(transform, geometry=kept or (("Resize", *before),))
    steps, last = _steps(network, path, "TorchScript")
    try:
        for layer, act in steps:
            parts += torch_layers.modules(layer) if _computes(layer) else []
            parts += [torch_layers.ACTIVATIONS[act]()] if act != "linear" else []
    except (KeyError, NotImplementedError) as error:
        raise _unknown(layer, path, "TorchScript") from error
    activation = config.activation if config.activation not in (None, "none") else last
    calibration = config.calibration
    if calibration is not None and activation == "softmax" and network.output_shape[-1] == 2:
        parts.append(torch_layers.calibrate(calibration, config.classes.index))
        calibration = None
    content = torch_layers.script(parts)
    return content, replace(config, transform=transform, activation=activation, calibration=calibration)


class _Graph:
    """Collects the nodes of an ONNX graph for layers that follow each other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._at = "patch"

    def add_network(self, network: keras.Model) -> Activation:
        """Add all layers but a last softmax or sigmoid, and give that."""
        steps, last = _steps(network, self._path, "ONNX")
        for layer, act in steps:
            if _computes(layer):
                self._add(layer, type(layer).__name__)
            self._activate(layer, act)
        return last

    def finish(self, network: keras.Model, name: str) -> bytes:
        """The whole model as the bytes of an ``.onnx`` file."""
        from onnx import TensorProto, checker, helper

        height, width, channels = network.input_shape[1:]
        self._node("Identity", [self._at], output="outputs")
        taken = helper.make_tensor_value_info("patch", TensorProto.FLOAT, ["n", channels, height, width])
        given = helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["n", network.output_shape[-1]])
        graph = helper.make_graph(self._nodes, name, [taken], [given], self._weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="wsi-idc")
        made.ir_version = _IR_VERSION
        checker.check_model(made)
        written: bytes = made.SerializeToString()
        return written

    def _add(self, layer: Any, kind: str) -> None:
        add = _LAYERS.get(kind)
        if add is None or getattr(layer, "data_format", None) == "channels_first":
            raise self._refuse(layer)
        add(self, layer)

    def _activate(self, layer: Any, name: str) -> None:
        kinds = {"relu": "Relu", "softmax": "Softmax", "sigmoid": "Sigmoid", "tanh": "Tanh", "elu": "Elu"}
        if name in kinds:
            self._node(kinds[name], [self._at])
        elif name != "linear":
            raise self._refuse(layer)

    def _refuse(self, layer: Any) -> ModelError:
        return _unknown(layer, self._path, "ONNX")

    def _node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> None:
        from onnx import helper

        self._at = output or f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [self._at], **attributes))

    def _weight(self, values: Any) -> str:
        from onnx import numpy_helper

        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=np.float32), name))
        return name

    def convolution(self, layer: Any) -> None:
        kernel = np.asarray(layer.kernel)
        self._convolve(layer, kernel.transpose(3, 2, 0, 1), layer.groups, layer.bias if layer.use_bias else None)

    def separable(self, layer: Any) -> None:
        depthwise, pointwise = np.asarray(layer.depthwise_kernel), np.asarray(layer.pointwise_kernel)
        rows, columns, channels, times = depthwise.shape
        each = depthwise.transpose(2, 3, 0, 1).reshape(channels * times, 1, rows, columns)
        self._convolve(layer, each, channels, None)
        inputs = [self._at, self._weight(pointwise.transpose(3, 2, 0, 1))]
        self._node("Conv", [*inputs, *([self._weight(layer.bias)] if layer.use_bias else [])])

    def _convolve(self, layer: Any, kernel: Any, groups: int, bias: Any) -> None:
        inputs = [self._at, self._weight(kernel), *([] if bias is None else [self._weight(bias)])]
        strides, dilations = list(layer.strides), list(layer.dilation_rate)
        pads = "SAME_UPPER" if layer.padding == "same" else "VALID"
        self._node("Conv", inputs, group=groups, strides=strides, dilations=dilations, auto_pad=pads)

    def normalize(self, layer: Any) -> None:
        ones = np.ones_like(np.asarray(layer.moving_mean))
        parts = [layer.gamma if layer.scale else ones, layer.beta if layer.center else 0 * ones]
        parts += [layer.moving_mean, layer.moving_variance]
        if layer.axis not in (-1, 3) and layer.axis != [-1]:
            raise self._refuse(layer)
        self._node("BatchNormalization", [self._at, *map(self._weight, parts)], epsilon=float(layer.epsilon))

    def pool(self, layer: Any) -> None:
        kind = "MaxPool" if type(layer).__name__ == "MaxPooling2D" else "AveragePool"
        pads = "SAME_UPPER" if layer.padding == "same" else "VALID"
        window, steps = list(layer.pool_size), list(layer.strides)
        self._node(kind, [self._at], auto_pad=pads, kernel_shape=window, strides=steps)

    def pool_all(self, layer: Any) -> None:
        kind = "GlobalMaxPool" if type(layer).__name__ == "GlobalMaxPooling2D" else "GlobalAveragePool"
        if layer.keepdims:
            raise self._refuse(layer)
        self._node(kind, [self._at])
        self._node("Flatten", [self._at])

    def flatten(self, layer: Any) -> None:
        if len(layer.input.shape) == 4:
            self._node("Transpose", [self._at], perm=list(_CHANNELS_LAST))
        self._node("Flatten", [self._at])

    def dense(self, layer: Any) -> None:
        if len(layer.input.shape) != 2:
            raise self._refuse(layer)
        bias = [self._weight(layer.bias)] if layer.use_bias else []
        self._node("Gemm", [self._at, self._weight(layer.kernel), *bias])

    def rescale(self, layer: Any) -> None:
        self._node("Mul", [self._at, self._weight(np.float32(layer.scale))])
        self._node("Add", [self._at, self._weight(np.float32(layer.offset))])


_LAYERS: dict[str, Callable[[_Graph, Any], None]] = {
    "Conv2D": _Graph.convolution,
    "SeparableConv2D": _Graph.separable,
    "BatchNormalization": _Graph.normalize,
    "MaxPooling2D": _Graph.pool,
    "AveragePooling2D": _Graph.pool,
    "GlobalAveragePooling2D": _Graph.pool_all,
    "GlobalMaxPooling2D": _Graph.pool_all,
    "Flatten": _Graph.flatten,
    "Dense": _Graph.dense,
    "Rescaling": _Graph.rescale,
}


def _activation(layer: Any) -> str:
    """Name of what a layer applies at its end."""
    function = getattr(layer, "activation", None)
    return "linear" if function is None else str(getattr(function, "__name__", function))


def _steps(network: keras.Model, path: Path, form: str) -> tuple[list[tuple[Any, str]], Activation]:
    """Layers with what each applies at its end, but for a last softmax or sigmoid, which is given apart."""
    steps: list[tuple[Any, str]] = []
    for layer in _in_a_row(network, path, form):
        kind = type(layer).__name__
        if kind == "ReLU" and (layer.max_value is not None or layer.negative_slope or layer.threshold):
            raise _unknown(layer, path, form)
        steps.append((layer, {"Softmax": "softmax", "ReLU": "relu"}.get(kind) or _activation(layer)))
    layer, act = steps[-1]
    if act not in ("softmax", "sigmoid"):
        return steps, "none"
    return [*steps[:-1], (layer, "linear")], "softmax" if act == "softmax" else "sigmoid"


def _computes(layer: Any) -> bool:
    """Whether a layer does more than to apply an activation, once the network is trained."""
    return type(layer).__name__ not in (*_NOTHING, "Softmax", "Activation", "ReLU")


def _unknown(layer: Any, path: Path, form: str) -> ModelError:
    return ModelError(
        f"{path} has the layer {layer.name} ({type(layer).__name__}), which cannot be written as {form} here: "
        "export it with tf2onnx."
    )


def _in_a_row(network: keras.Model, path: Path, form: str) -> list[Any]:
    """Layers of a network in order; ModelError where one does not just take what the one before gives."""
    if not isinstance(network, keras.Sequential):
        for before, after in zip(network.layers, network.layers[1:], strict=False):
            if after.input is not before.output:
                raise ModelError(
                    f"{path} has layers side by side, which cannot be written as {form} here: use tf2onnx."
                )
    layers: list[Any] = []
    for layer in network.layers:
        layers += _in_a_row(layer, path, form) if isinstance(layer, keras.Model) else [layer]
    return layers
