"""A network under Keras, on whatever backend ``KERAS_BACKEND`` asks for."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator
from functools import cached_property
from importlib import metadata
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc.errors import ModelError, printable
from wsi_idc.model.backend import keras, own_settings
from wsi_idc.model.config import DEFAULT_BATCH
from wsi_idc.model.interface import CANCERNET, Interface, check_shapes

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = {_CONFIG, _WEIGHTS, "metadata.json"}
"""What Keras puts into a file. Whatever else is there it would unpack into a temporary folder."""

_MOST_PACKED = 4
"""Weights hardly get smaller by packing."""

_LEAST_BYTES = 2
"""Of a weight: half precision."""

_MOST_LAYERS = 1_000
"""Before any is looked at, which takes about ten milliseconds each. EfficientNet-B7 has 813."""

_MOST_ACTIVATIONS = 1 << 21
"""Numbers that a layer may give for one patch: 2 GB for a batch of 256. CancerNet gives 74 thousand at most."""

_MOST_BATCH_PX = 1 << 23
"""Pixels of a batch: what networks of large patches make of more would fill the memory."""

MIN_BATCH = 8
"""A batch of fewer takes other code in TensorFlow and differs in the last bit."""


class KerasNetwork:
    """A `Network` that Keras runs, for one thread after another: each call takes all processors, or the GPU."""

    def __init__(self, model: keras.Model, interface: Interface = CANCERNET) -> None:
        self.model, self.interface = model, interface
        self._running = Lock()

    def predict(self, patches: NDArray[np.uint8], batch_size: int = DEFAULT_BATCH) -> NDArray[np.float32]:
        with self._running:
            return predict(self.model, patches, batch_size, self.interface)

    @cached_property
    def runtime(self) -> str:
        backend = keras.backend.backend()
        return f"keras-{backend} {metadata.version(backend)}"

    @cached_property
    def device(self) -> str:
        """Where the weights lie: ``cpu`` or ``gpu``."""
        return "cpu" if "cpu" in str(self.model.weights[0].value.device).lower() else "gpu"


@own_settings()
def predict(
    model: keras.Model,
    patches: NDArray[np.uint8],
    batch_size: int = DEFAULT_BATCH,
    interface: Interface = CANCERNET,
) -> NDArray[np.float32]:
    """Probabilities ``(n, classes)`` of uint8 patches ``(n, size, size, 3)``, in batches padded to one fixed shape."""
    height, width = interface.input_px
    size = max(min(batch_size, _MOST_BATCH_PX // (height * width)), MIN_BATCH)
    raw = np.empty((len(patches), model.output_shape[-1]), dtype=np.float32)
    batch = np.zeros((size, height, width, 3), dtype=np.float32)
    for start in range(0, len(patches), size):
        part = interface.transform(patches[start : start + size])
        batch[: len(part)] = part
        raw[start : start + len(part)] = model.predict_on_batch(batch)[: len(part)]
    return interface.probabilities(raw, interface.activation)


@own_settings()
def load_keras(path: Path, interface: Interface = CANCERNET) -> keras.Model:
    """Load a ``.keras`` file; ModelError where it cannot be loaded safely, or takes or gives something else."""
    try:
        _check_archive(path)
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parts raise
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} is not a Keras model that can be loaded safely: {reason}") from error
    shapes = model.input_shape, model.output_shape
    if not all(isinstance(shape, tuple) for shape in shapes):
        raise ModelError(f"{path} has several inputs or outputs, where one of each is needed: save it with one.")
    check_shapes(path, *shapes, interface)
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise ModelError(f"{path} has weights that are not finite numbers.")
    return model


def _check_archive(path: Path) -> None:
    """ValueError where a ``.keras`` file wants more memory, or more files, than its weights need.

    The network is described before any of its weights is made: to look at what a layer declares costs nothing. So is
    what its layers give, which needs memory only when it runs.
    """
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        others = sorted(sizes.keys() - _MEMBERS)
        if others:
            raise ValueError(f"it holds {printable(others[0])}, which a network of plain layers does not need")
        if sum(sizes.values()) > _MOST_PACKED * path.stat().st_size:
            raise ValueError(f"it unpacks to {sum(sizes.values()):,} bytes")
        config = json.loads(archive.read(_CONFIG), object_hook=_without_optimizer)
        layers = _count_layers(config)
        if layers > _MOST_LAYERS:
            raise ValueError(f"it has {layers:,} layers, more than {_MOST_LAYERS:,}")
        with keras.StatelessScope(initialize_variables=False):
            sketch = keras.saving.deserialize_keras_object(config, safe_mode=True)
        if sketch.count_params() * _LEAST_BYTES > sizes.get(_WEIGHTS, 0):
            raise ValueError(f"it declares {sketch.count_params():,} weights, more than it holds")

    largest, name = max(_activations(sketch), default=(0, ""))
    if largest > _MOST_ACTIVATIONS:
        raise ValueError(f"its layer {printable(name)} gives {largest:,} numbers a patch, over {_MOST_ACTIVATIONS:,}")


def _count_layers(config: object) -> int:
    """Objects that a network's description names."""
    count, left = 0, [config]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            count += "class_name" in part and "config" in part
            left.extend(part.values())
        elif isinstance(part, list):
            left.extend(part)
    return count


def _activations(network: keras.Model) -> Iterator[tuple[int, str]]:
    """How many numbers each layer or operation gives for one patch, of those within others, too."""
    left: list[Any] = [network]
    while left:
        part = left.pop()
        for inner in (*getattr(part, "operations", ()), *getattr(part, "layers", ()), getattr(part, "layer", None)):
            if inner is not None and inner is not part:
                left.append(inner)
        for node in getattr(part, "_inbound_nodes", ()):
            for tensor in node.output_tensors:
                sizes = tensor.shape[1:]
                if None in sizes:
                    raise ValueError(f"its layer {printable(part.name)} gives {tensor.shape}, of no certain size")
                yield math.prod(sizes), part.name


def _without_optimizer(config: dict[str, Any]) -> dict[str, Any]:
    """A model as it was before it was compiled: an optimizer makes variables at once, and none is needed."""
    return {key: value for key, value in config.items() if key != "compile_config"}
