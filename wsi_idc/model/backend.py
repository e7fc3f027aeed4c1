"""Keras, with what has to be set before it is imported: take it from here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from wsi_idc.errors import OptionError

BACKENDS = ("tensorflow", "jax", "torch")

_asked = os.environ.get("KERAS_BACKEND")
if _asked is not None and _asked not in BACKENDS:
    raise OptionError(f"KERAS_BACKEND={_asked} cannot run the model: set it to {', '.join(BACKENDS)}, or unset it.")
if find_spec(_asked or BACKENDS[0]) is None:
    raise OptionError(
        f"KERAS_BACKEND={_asked} is not installed: install {_asked}, or unset KERAS_BACKEND."
        if _asked
        else "TensorFlow is not installed: install tensorflow, or set KERAS_BACKEND to jax or torch."
    )
os.environ.setdefault("KERAS_BACKEND", BACKENDS[0])
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A GPU is shared: take memory as it is needed, not all there is.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

try:
    import keras as keras
finally:
    if _asked is None:
        del os.environ["KERAS_BACKEND"]  # `load_model` looks there for what the user asked for


@contextmanager
def own_settings() -> Iterator[None]:
    """Build and run networks by settings of this package, whatever keras.json says; also a decorator."""
    config = keras.config
    before = config.image_data_format(), config.floatx(), config.epsilon(), config.dtype_policy()
    config.set_image_data_format("channels_last")
    config.set_floatx("float32")
    config.set_epsilon(1e-7)
    config.set_dtype_policy("float32")
    try:
        yield
    finally:
        config.set_image_data_format(before[0])
        config.set_floatx(before[1])
        config.set_epsilon(before[2])
        config.set_dtype_policy(before[3])
