"""Small ONNX models with a description as wsinfer's zoo has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

NORMALIZE = {"name": "Normalize", "arguments": {"mean": [0.7, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}}
TO_TENSOR = {"name": "ToTensor"}


def network(
    outputs: int = 2,
    size: int | str = 96,
    *,
    batch: int | str = "n",
    colours_last: bool = False,
    colours: int = 3,
    opset: int = 17,
    head: tuple[str, ...] = (),
    bias: float = 0.0,
    kind: int = TensorProto.FLOAT,
) -> ModelProto:
    """A convolution, the mean over the patch, and a layer of outputs."""
    rng = np.random.default_rng(outputs)
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.3, (8, colours, 5, 5)).astype(np.float32), "kernel"),
        numpy_helper.from_array(rng.normal(0, 0.5, (8, outputs)).astype(np.float32), "last"),
        numpy_helper.from_array(np.full(outputs, bias, np.float32), "bias"),
    ]
    nodes, at = [], "patch"
    if kind != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [at], ["floats"], to=TensorProto.FLOAT))
        at = "floats"
    if colours_last:
        nodes.append(helper.make_node("Transpose", [at], ["turned"], perm=[0, 3, 1, 2]))
        at = "turned"
    nodes += [
        helper.make_node("Conv", [at, "kernel"], ["c"], strides=[4, 4]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "last", "bias"], ["y"]),
    ]
    at = "y"
    for op in head:
        nodes.append(helper.make_node(op, [at], [f"{at}h"]))
        at += "h"
    shape = [batch, size, size, colours] if colours_last else [batch, colours, size, size]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("patch", kind, shape)],
        [helper.make_tensor_value_info(at, TensorProto.FLOAT, None)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def by_colour(size: int) -> ModelProto:
    """Of three classes the one whose colour, red, green or blue, a patch has most of."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["patch"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["colours"]),
        helper.make_node("Mul", ["colours", "steep"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "by_colour",
        [helper.make_tensor_value_info("patch", TensorProto.FLOAT, ["n", 3, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.array(12, np.float32), "steep")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def described(
    path: Path, names: tuple[str, ...] = ("Other", "Tumor"), size: int = 96, mpp: float = 1.0, **more: Any
) -> Path:
    """Write the ``.json`` beside a model."""
    config = {
        "spec_version": "1.0",
        "architecture": "small",
        "num_classes": len(names),
        "class_names": list(names),
        "patch_size_pixels": size,
        "spacing_um_px": mpp,
        "transform": [{"name": "Resize", "arguments": {"size": size}}, TO_TENSOR, NORMALIZE],
    }
    path.with_suffix(".json").write_text(json.dumps({k: v for k, v in (config | more).items() if v is not None}))
    return path


def saved(path: Path, model: ModelProto, *args: Any, **more: Any) -> Path:
    """Write a model and its ``.json``."""
    path.write_bytes(model.SerializeToString())
    return described(path, *args, **more)
