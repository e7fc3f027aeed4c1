"""A network under ONNX Runtime, on the processor: models of other laboratories come as ``.onnx`` files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.cpu_count import processors
from wsi_idc.errors import ModelError, printable
from wsi_idc.model.config import DEFAULT_BATCH, file_sha256
from wsi_idc.model.interface import Activation, Interface

_BATCH = 8
"""Patches given to a processor at once, where the model leaves it open: more are no faster."""

_MOST_FIXED = 1_024
_LONGEST_REASON = 200
_PROBES = 8
"""Patches of noise that a network is shown when it is loaded."""

_SUM_TOLERANCE = 1e-3


class _Input(NamedTuple):
    """The input of a network: its name, patches in a batch, and whether colours come before rows and columns."""

    name: str
    batch: int
    colours_first: bool


class OnnxNetwork:
    """A `Network` that ONNX Runtime runs, in float32, on the processor.

    Every batch has the same size and is computed by one thread, so neither the number of processors nor the size of
    batches changes a bit of the outcome.

    Without an `activation` in the ``.json``, outputs that are no probabilities go through softmax, a single one through
    sigmoid, as in wsinfer.

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

    device = "cpu"

    def __init__(self, model: Path, interface: Interface, threads: int | None = None) -> None:
        _require_runtime()
        external_files(model)
        self._model, self._interface = model, interface
        self._session = _open(model)
        self._input = _check_input(model, self._session, interface)
        self._pool = ThreadPoolExecutor(threads or processors())
        self.activation: Activation = self._find_activation()
        """What makes probabilities of the outputs."""

    @cached_property
    def runtime(self) -> str:
        return f"onnxruntime {metadata.version('onnxruntime')}"

    def predict(self, patches: NDArray[np.uint8], batch_size: int = DEFAULT_BATCH) -> NDArray[np.float32]:
        return self._interface.probabilities(self.outputs(patches), self.activation)

    def outputs(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the network itself gives, shape (n, outputs)."""
        step = self._input.batch
        starts = range(0, len(patches), step)
        shown = self._interface.transform
        parts = list(self._pool.map(lambda start: self._run(shown(patches[start : start + step])), starts))
        return np.concatenate(parts) if parts else np.empty((0, len(self._interface.classes.names)), np.float32)

    def _run(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs of at most a batch of inputs ``(n, height, width, 3)``."""
        height, width = self._interface.input_px
        batch = np.zeros((self._input.batch, height, width, 3), dtype=np.float32)
        batch[: len(part)] = part
        if self._input.colours_first:
            batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
        try:
            (raw,) = self._session.run(None, {self._input.name: batch})
        except Exception as error:  # ONNX Runtime raises classes of its own, which share no base but this
            raise ModelError(f"{self._model} cannot be run: {_short(error)}") from error
        raw = np.asarray(raw)
        if raw.ndim == 1:
            raw = raw[:, None]
        outputs = raw.shape[1] if raw.ndim == 2 else 0
        if raw.dtype != np.float32 or raw.ndim != 2 or len(raw) != len(batch) or not self._interface.takes(outputs):
            raise ModelError(
                f"{self._model} gives {raw.dtype} {raw.shape} for {len(batch)} patches, where float32 ({len(batch)}, "
                f"{len(self._interface.classes.names)}) is what its .json describes: correct class_names there, or "
                "export the model again."
            )
        return raw[: len(part)]

    def _find_activation(self) -> Activation:
        """What the ``.json`` says, or what the outputs for some noise look like."""
        rng, step = np.random.default_rng(0), min(_PROBES, self._input.batch)
        noise = rng.random((_PROBES, *self._interface.input_px, 3), dtype=np.float32)
        raw = np.concatenate([self._run(noise[start : start + step]) for start in range(0, _PROBES, step)])
        if np.isnan(raw).any():
            raise ModelError(f"{self._model} gives no numbers (NaN) for plain noise: export it again, in float32.")
        if self._interface.activation is not None:
            return self._interface.activation
        within = bool(((raw >= 0) & (raw <= 1)).all())
        if raw.shape[1] > 1:
            sums_to_one = np.abs(raw.sum(axis=1) - 1).max() < _SUM_TOLERANCE
            return "none" if within and sums_to_one else "softmax"
        if within:
            raise ModelError(
                f'{self._model} has one output, and whether that is a probability cannot be told: set "activation" in '
                'its .json to "none" where it is, or to "sigmoid".'
            )
        return "sigmoid"


def _require_runtime() -> None:
    if not (find_spec("onnxruntime") and find_spec("onnx")):
        raise ModelError("ONNX Runtime is not installed, which .onnx models need: pip install 'wsi-idc[onnx]'.")


def _short(error: Exception) -> str:
    """The reason in one line, without ONNX Runtime's own numbers in front."""
    text = printable(" ".join(str(error).split()))
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text[:_LONGEST_REASON].rstrip(". ") + "."


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
        raise ModelError(f"{model} cannot be loaded by ONNX Runtime {version}: {_short(error)}") from error


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
    return _Input(taken.name, shape[0] or _BATCH, colours_first)


def _told(shape: list[int | None]) -> str:
    return f"({', '.join('?' if side is None else str(side) for side in shape)})"


def external_files(model: Path) -> tuple[Path, ...]:
    """Files beside an ``.onnx`` file that hold its weights; ModelError where one is missing, or this is no model."""
    _require_runtime()
    import onnx

    try:
        proto = onnx.load(str(model), load_external_data=False)
    except Exception as error:  # whatever protobuf raises
        raise ModelError(f"{model} is not a whole ONNX model: {_short(error)}") from error
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
