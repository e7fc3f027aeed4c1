from __future__ import annotations

import pytest

from wsi_idc.model.backend import keras


@pytest.fixture(autouse=True)
def _under_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load what is trained here under Keras: translating each network for OpenVINO takes as long as its training."""
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
