"""Keras, with what has to be set before it is imported: take it from here."""

from __future__ import annotations

import os

_asked = "KERAS_BACKEND" in os.environ
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A GPU is shared: take memory as it is needed, not all there is.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import keras as keras  # noqa: E402

if not _asked:
    del os.environ["KERAS_BACKEND"]  # `load_model` looks there for what the user asked for
