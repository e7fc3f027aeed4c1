"""A loaded model that turns patches into probabilities."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata, resources
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # the two settings above only count before this
import numpy as np
from numpy.typing import NDArray

from wsi_idc.errors import ModelError
from wsi_idc.geometry import INPUT_PX
from wsi_idc.model.cancernet import preprocess
from wsi_idc.model.config import CLASS_NAMES, DEFAULT_BATCH, ModelConfig, file_sha256, read_config

MIN_BATCH = 8
"""A batch of fewer takes other code in TensorFlow and differs in the last bit."""


@dataclass(frozen=True)
class Classifier:
    """CancerNet, or a network of the same input and output, with its configuration."""

    network: keras.Model
    config: ModelConfig

    def predict(self, patches: NDArray[np.uint8], batch_size: int = DEFAULT_BATCH) -> NDArray[np.float32]:
        """Probabilities ``(n, 2)`` of (no IDC, IDC) for uint8 patches ``(n, 50, 50, 3)``, calibrated."""
        raw = predict(self.network, patches, batch_size)
        if self.config.calibration is None:
            return raw
        idc = self.config.calibration.apply(raw[:, 1])
        return np.column_stack([1 - idc, idc]).astype(np.float32)

    @cached_property
    def runtime(self) -> str:
        """Name and version of what runs the network, like ``keras-tensorflow 2.21.0``."""
        backend = keras.backend.backend()
        return f"keras-{backend} {metadata.version(backend)}"

    @cached_property
    def device(self) -> str:
        """Where the weights lie: ``cpu`` or ``gpu``."""
        return "cpu" if "cpu" in str(self.network.weights[0].value.device).lower() else "gpu"


def predict(network: keras.Model, patches: NDArray[np.uint8], batch_size: int = DEFAULT_BATCH) -> NDArray[np.float32]:
    """The network's own probabilities ``(n, 2)`` of uint8 patches, in batches padded to one fixed shape."""
    size = max(batch_size, MIN_BATCH)
    probs = np.empty((len(patches), len(CLASS_NAMES)), dtype=np.float32)
    batch = np.zeros((size, INPUT_PX, INPUT_PX, 3), dtype=np.float32)
    for start in range(0, len(patches), size):
        part = preprocess(patches[start : start + size])
        batch[: len(part)] = part
        probs[start : start + len(part)] = network.predict_on_batch(batch)[: len(part)]
    return probs


def bundled_model() -> Path:
    """Where the model that comes with the package lies."""
    return Path(str(resources.files("wsi_idc.model").joinpath("cancernet.keras")))


def load_model(path: str | Path | None = None) -> Classifier:
    """Load a model.

    Parameters
    ----------
    path : path, optional
        A ``.keras`` file with its ``.json`` beside it; by default the bundled CancerNet.

    Raises
    ------
    ModelError
        Where the file is missing, is no Keras model, carries code, has another input or output than 48x48x3 and
        two classes, has weights that are not finite, or does not belong to the ``.json``.
    """
    path = bundled_model() if path is None else Path(path)
    if not path.is_file() or path.suffix != ".keras":
        raise ModelError(f"There is no model at {path}: name a .keras file with its .json beside it.")
    config = read_config(path.with_suffix(".json"))
    if config.sha256 != file_sha256(path):
        raise ModelError(f"{path} is not the model that {path.with_suffix('.json').name} describes (SHA-256 differs).")
    try:
        network = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parts raise
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} is not a Keras model that can be loaded safely: {reason}") from error
    if network.input_shape != (None, INPUT_PX, INPUT_PX, 3) or network.output_shape != (None, len(CLASS_NAMES)):
        raise ModelError(
            f"{path} takes {network.input_shape} and gives {network.output_shape}, where "
            f"(None, {INPUT_PX}, {INPUT_PX}, 3) and (None, {len(CLASS_NAMES)}) are needed."
        )
    if not all(np.isfinite(weights).all() for weights in network.get_weights()):
        raise ModelError(f"{path} has weights that are not finite numbers.")
    return Classifier(network, config)
