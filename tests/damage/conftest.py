from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from filelock import FileLock

from tests.damage.exposure import Exposure, expose
from wsi_idc.model.classifier import Classifier, load_model


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """The bundled model, loaded once."""
    return load_model()


@pytest.fixture(scope="session")
def exposure(session_cache: Path) -> Exposure:
    """All commands, once, whichever process asks first; its files are not to be changed."""
    session_cache.mkdir(exist_ok=True)
    folder, kept = (session_cache.parent / name for name in ("exposure", "exposure.pickle"))
    with FileLock(session_cache / "exposure.lock"):
        if not kept.is_file():
            folder.mkdir()
            kept.write_bytes(pickle.dumps(expose(folder)))
        found: Exposure = pickle.loads(kept.read_bytes())
    return found
