"""A Keras model for other programs: as ONNX or a TensorFlow SavedModel, with a ``.json`` beside it."""

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
from wsi_idc.model.config import file_sha256
from wsi_idc.model.interface import Activation
from wsi_idc.model.keras_network import load_keras

Form = Literal["onnx", "savedmodel"]

_OPSET, _IR_VERSION = 17, 8
"""Of 2022, which every runtime of today reads."""

_CHANNELS_FIRST, _CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_NOTHING = ("InputLayer", "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout")
"""Layers that do nothing once a network is trained."""


def export_model(model: str | Path | None, out: str | Path, form: Form = "onnx") -> Path:
    """Write a ``.keras`` model for other programs.

    The ``.json`` beside it is read back by `load_model` where the form is ONNX. There the network gives what comes
    before softmax or sigmoid, as wsinfer wants it, and takes ``(n, 3, height, width)``.

    Parameters
    ----------
    model : path, optional
        By default the bundled one.
    out : path
        File that ends in ``.onnx``, or folder of the SavedModel. A folder that is there is replaced.
    form : {"onnx", "savedmodel"}

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    ModelError
        Where the model is no ``.keras`` file, `out` has another ending, or a layer cannot be written as ONNX.
    OutputError
        Where the folder cannot be written.
    """
    out = Path(out)
    path, config = find_model(model)
    if path.suffix != ".keras":
        raise ModelError(f"{path} cannot be exported: name a .keras file.")
    if (form == "onnx") != (out.suffix == ".onnx"):
        raise ModelError(
            f"{out} cannot be a model of the form {form}: let a name end in .onnx for ONNX, and only there."
        )
    network = load_keras(path, config.interface)
    make_folder(out.parent)
    if form == "savedmodel":
        with replacing_folder(out) as folder:
            network.export(folder, format="tf_saved_model", verbose=False)
        replace(config, sha256="").write(out.with_name(f"{out.name}.json"))
        return out
    if not find_spec("onnx"):
        raise ModelError("The package onnx is not installed, which the export needs: pip install 'wsi-idc[onnx]'.")
    graph = _Graph(path)
    activation = graph.add_network(network)
    with replacing(out) as temporary:
        temporary.write_bytes(graph.finish(network, config.name))
    activation = config.activation if config.activation not in (None, "none") else activation
    replace(config, sha256=file_sha256(out), activation=activation).write(out.with_suffix(".json"))
    return out


class _Graph:
    """Collects the nodes of an ONNX graph for layers that follow each other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._at = "patch"

    def add_network(self, network: keras.Model) -> Activation:
        """Add all layers but a last softmax or sigmoid, and give that."""
        layers = _in_a_row(network, self._path)
        last: Activation = "none"
        for i, layer in enumerate(layers):
            final = i == len(layers) - 1
            kind = type(layer).__name__
            act = "softmax" if kind == "Softmax" else _activation(layer)
            if final and act in ("softmax", "sigmoid"):
                last = "softmax" if act == "softmax" else "sigmoid"
                act = "linear"
            if kind not in (*_NOTHING, "Softmax", "Activation", "ReLU"):
                self._add(layer, kind)
            if kind == "ReLU" and (layer.max_value is not None or layer.negative_slope or layer.threshold):
                raise self._refuse(layer)
            self._activate(layer, "relu" if kind == "ReLU" else act)
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
        return ModelError(
            f"{self._path} has the layer {layer.name} ({type(layer).__name__}), which cannot be written as ONNX here: "
            "export it with tf2onnx."
        )

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
        shape: dict[str, Any] = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides)}
        self._node(kind, [self._at], auto_pad=pads, **shape)

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


def _in_a_row(network: keras.Model, path: Path) -> list[Any]:
    """Layers of a network in order; ModelError where one does not just take what the one before gives."""
    if not isinstance(network, keras.Sequential):
        for before, after in zip(network.layers, network.layers[1:], strict=False):
            if after.input is not before.output:
                raise ModelError(f"{path} has layers side by side, which cannot be written as ONNX here: use tf2onnx.")
    layers: list[Any] = []
    for layer in network.layers:
        layers += _in_a_row(layer, path) if isinstance(layer, keras.Model) else [layer]
    return layers
