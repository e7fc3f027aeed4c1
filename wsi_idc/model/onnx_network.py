"""A network under ONNX Runtime, on the processor: models of other laboratories come as ``.onnx`` files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsi_idc.errors import ModelError, printable
from wsi_idc.model.config import file_sha256
from wsi_idc.model.fixed_batch import BATCH, FixedBatchNetwork, short
from wsi_idc.model.interface import Interface

_MOST_FIXED = 1_024


class _Input(NamedTuple):
    """The input of a network: its name, patches in a batch, and whether colours come before rows and columns."""

    name: str
    batch: int
    colours_first: bool


class OnnxNetwork(FixedBatchNetwork):
    """A `FixedBatchNetwork` that ONNX Runtime runs.

    Parameters
    ----------
    model : path
        An ``.onnx`` file.
    interface : Interface
        What its ``.json`` says.
    threads : int, optional
        By default as many as there are processors that this process may use.

    Raises
    ------
    ModelError
        Where ONNX Runtime is not installed or cannot run the model, or the model is not what its ``.json`` says.
    """

    def __init__(self, model: Path, interface: Interface, threads: int | None = None) -> None:
        _require_runtime()
        external_files(model)
        self._session = _open(model)
        self._input = _check_input(model, self._session, interface)
        super().__init__(model, interface, self._input.batch, threads)

    @cached_property
    def runtime(self) -> str:
        return f"onnxruntime {metadata.version('onnxruntime')}"

    def _forward(self, batch: NDArray[np.float32]) -> Any:
        if self._input.colours_first:
            batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
        (raw,) = self._session.run(None, {self._input.name: batch})
        return raw


def _require_runtime() -> None:
    if not (find_spec("onnxruntime") and find_spec("onnx")):
        raise ModelError("ONNX Runtime is not installed, which .onnx models need: pip install 'wsi-idc[onnx]'.")


def _open(model: Path) -> Any:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is raised as well
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        version = metadata.version("onnxruntime")
        raise ModelError(f"{model} cannot be loaded by ONNX Runtime {version}: {short(error)}") from error


def _check_input(model: Path, session: Any, interface: Interface) -> _Input:
    """The one input, ``(n, 3, height, width)`` or ``(n, height, width, 3)`` of float32."""
    counts = len(session.get_inputs()), len(session.get_outputs())
    if counts != (1, 1):
        raise ModelError(
            f"{model} has {counts[0]} inputs and {counts[1]} outputs, where one of each is needed: export it so."
        )
    taken = session.get_inputs()[0]
    shape = [side if isinstance(side, int) and side > 0 else None for side in taken.shape]
    if taken.type != "tensor(float)":
        raise ModelError(f"{model} takes {taken.type} where tensor(float) is needed: export it with a float32 input.")
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ModelError(
            f"{model} takes {_told(shape)} where (n, 3, height, width) or (n, height, width, 3) is needed: export it "
            "with three colours."
        )
    colours_first = shape[1] == 3
    sides = shape[2:] if colours_first else shape[1:3]
    if any(side not in (None, wanted) for side, wanted in zip(sides, interface.input_px, strict=True)):
        height, width = interface.input_px
        raise ModelError(
            f"{model} takes {_told(shape)} where its .json describes {height}x{width} px: correct patch_size_pixels or "
            "the transform there."
        )
    if shape[0] is not None and shape[0] > _MOST_FIXED:
        raise ModelError(f"{model} takes batches of {shape[0]:,} patches: export it with at most {_MOST_FIXED:,}.")
    return _Input(taken.name, shape[0] or BATCH, colours_first)


def _told(shape: list[int | None]) -> str:
    return f"({', '.join('?' if side is None else str(side) for side in shape)})"


def external_files(model: Path) -> tuple[Path, ...]:
    """Files beside an ``.onnx`` file that hold its weights; ModelError where one is missing, or this is no model."""
    _require_runtime()
    import onnx

    try:
        proto = onnx.load(str(model), load_external_data=False)
    except Exception as error:  # whatever protobuf raises
        raise ModelError(f"{model} is not a whole ONNX model: {short(error)}") from error
    if not proto.graph.node:
        raise ModelError(f"{model} is not a whole ONNX model: it holds no network.")
    names = sorted(set(_locations(proto.graph)))
    for name in names:
        if Path(name).name != name or name in ("", ".", ".."):
            raise ModelError(f"{model} wants weights from {printable(name)[:80]}, but only files beside it are read.")
        if not (model.parent / name).is_file():
            raise ModelError(f"{model} has its weights in {printable(name)[:80]}, which is missing: put it beside it.")
    return tuple(model.parent / name for name in names)


def _locations(graph: Any) -> Iterator[str]:
    """Names of the files that hold tensors of a graph, and of the graphs within it."""
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                yield from _locations(inner)
    for tensor in tensors:
        if tensor.data_location == tensor.EXTERNAL:
            told = {entry.key: entry.value for entry in tensor.external_data}
            yield told.get("location", "")


def onnx_sha256(model: Path) -> str:
    """SHA-256 of an ``.onnx`` file; with weights in files beside it, of the hashes of all."""
    files = external_files(model)
    own = file_sha256(model)
    if not files:
        return own
    return hashlib.sha256("".join([own, *map(file_sha256, files)]).encode()).hexdigest()
