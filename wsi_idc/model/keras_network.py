"""A network under Keras, on whatever backend ``KERAS_BACKEND`` asks for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_idc.errors import ModelError
from wsi_idc.geometry import INPUT_PX
from wsi_idc.model.backend import keras
from wsi_idc.model.config import CLASS_NAMES, DEFAULT_BATCH
from wsi_idc.model.network import preprocess

MIN_BATCH = 8
"""A batch of fewer takes other code in TensorFlow and differs in the last bit."""


@dataclass(frozen=True)
class KerasNetwork:
    """A `Network` that Keras runs."""

    model: keras.Model

    def predict(self, patches: NDArray[np.uint8], batch_size: int = DEFAULT_BATCH) -> NDArray[np.float32]:
        return predict(self.model, patches, batch_size)

    @cached_property
    def runtime(self) -> str:
        backend = keras.backend.backend()
        return f"keras-{backend} {metadata.version(backend)}"

    @cached_property
    def device(self) -> str:
        """Where the weights lie: ``cpu`` or ``gpu``."""
        return "cpu" if "cpu" in str(self.model.weights[0].value.device).lower() else "gpu"


def predict(model: keras.Model, patches: NDArray[np.uint8], batch_size: int = DEFAULT_BATCH) -> NDArray[np.float32]:
    """Probabilities ``(n, 2)`` of uint8 patches ``(n, 50, 50, 3)``, in batches padded to one fixed shape."""
    size = max(batch_size, MIN_BATCH)
    probs = np.empty((len(patches), len(CLASS_NAMES)), dtype=np.float32)
    batch = np.zeros((size, INPUT_PX, INPUT_PX, 3), dtype=np.float32)
    for start in range(0, len(patches), size):
        part = preprocess(patches[start : start + size])
        batch[: len(part)] = part
        probs[start : start + len(part)] = model.predict_on_batch(batch)[: len(part)]
    return probs


def load_keras(path: Path) -> keras.Model:
    """Load a ``.keras`` file; ModelError where it cannot be loaded safely, or is no network for IDC patches."""
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parts raise
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} is not a Keras model that can be loaded safely: {reason}") from error
    if model.input_shape != (None, INPUT_PX, INPUT_PX, 3) or model.output_shape != (None, len(CLASS_NAMES)):
        raise ModelError(
            f"{path} takes {model.input_shape} and gives {model.output_shape}, where "
            f"(None, {INPUT_PX}, {INPUT_PX}, 3) and (None, {len(CLASS_NAMES)}) are needed."
        )
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise ModelError(f"{path} has weights that are not finite numbers.")
    return model
