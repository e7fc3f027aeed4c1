from __future__ import annotations

import pytest

from tests.damage.exposure import Exposure, expose
from wsi_idc.model.classifier import Classifier, load_model


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """The bundled model, loaded once."""
    return load_model()


@pytest.fixture(scope="session")
def exposure(tmp_path_factory: pytest.TempPathFactory) -> Exposure:
    """All commands, once."""
    return expose(tmp_path_factory.mktemp("exposure"))
