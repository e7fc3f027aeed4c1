from __future__ import annotations

import pytest

from wsi_idc.model.classifier import Classifier, load_model


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """The bundled model, loaded once."""
    return load_model()
