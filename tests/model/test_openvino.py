"""The model under OpenVINO: the numbers of Keras, sooner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import tissue_like
from wsi_idc._util.files import cache_folder
from wsi_idc.model.backend import keras
from wsi_idc.model.cancernet import build_cancernet
from wsi_idc.model.classifier import bundled_model, load_model
from wsi_idc.model.config import ModelConfig, file_sha256

pytest.importorskip("openvino")

from wsi_idc.model.openvino_network import OpenVinoNetwork


@pytest.fixture(scope="module")
def patches() -> NDArray[np.uint8]:
    return np.stack([tissue_like(seed) for seed in range(70)])


def bundled(threads: int | None = None) -> OpenVinoNetwork:
    return OpenVinoNetwork(bundled_model(), file_sha256(bundled_model()), threads)


def test_it_is_taken_where_no_backend_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert load_model().runtime.startswith("openvino 20")
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    assert load_model().runtime.startswith("keras-")


def test_the_numbers_are_those_of_keras(patches: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    expected = load_model().network.predict(patches, 64)
    np.testing.assert_allclose(bundled().predict(patches), expected, atol=1e-5)


def test_processors_and_company_change_no_bit(patches: NDArray[np.uint8]) -> None:
    expected = bundled(1).predict(patches)
    np.testing.assert_array_equal(bundled(3).predict(patches), expected)
    apart = [bundled(2).predict(patches[i : i + 1]) for i in range(20)]
    np.testing.assert_array_equal(np.concatenate(apart), expected[:20])


def test_the_first_predictions_may_come_from_several_threads() -> None:
    """OpenVINO looks numpy up when it first meets an array; slowed down, that halted all threads for good."""
    code = """if True:
        import threading, time
        import numpy as np
        from wsi_idc.model.classifier import load_model
        network = load_model().network
        look_up = np.lib.NumpyVersion
        np.lib.NumpyVersion = lambda *given: (time.sleep(0.5), look_up(*given))[1]
        patch = np.zeros((1, 50, 50, 3), np.uint8)
        threads = [threading.Thread(target=network.predict, args=(patch,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("done")
    """
    env = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert ran.stdout == "done\n", ran.stderr


def test_a_damaged_translation_is_made_again(patches: NDArray[np.uint8]) -> None:
    expected = bundled().predict(patches)
    (weights,) = cache_folder().glob(f"openvino/{file_sha256(bundled_model())}-*/network.bin")
    good = weights.read_bytes()
    weights.write_bytes(good[:1000] + bytes(1000) + good[2000:])
    np.testing.assert_array_equal(bundled().predict(patches), expected)
    assert weights.read_bytes() == good


def test_without_a_cache_it_is_translated_each_time(
    patches: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert bundled().predict(patches).shape == (70, 2)


def test_another_model_is_translated_apart(patches: NDArray[np.uint8], tmp_path: Path) -> None:
    network = build_cancernet()
    network.save(tmp_path / "a.keras")
    ModelConfig("other", file_sha256(tmp_path / "a.keras"), 0.5).write(tmp_path / "a.json")
    ours = load_model(tmp_path / "a.keras")
    assert ours.runtime.startswith("openvino")
    from wsi_idc.model.keras_network import predict

    np.testing.assert_allclose(ours.predict(patches), predict(network, patches), atol=1e-5)


WATCHED = """
import sys

def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        print("network:", event, args)

sys.addaudithook(watch)
import numpy as np
from wsi_idc import load_model
model = load_model()
model.predict(np.zeros((3, 50, 50, 3), np.uint8))
print(model.runtime, "keras" in sys.modules)
"""


def test_nothing_is_told_to_anybody(tmp_path: Path) -> None:
    """OpenVINO reports each import to its makers, but under CI."""
    env = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    env |= {"XDG_CACHE_HOME": str(tmp_path)}
    for needs_keras in (True, False):
        ran = subprocess.run([sys.executable, "-c", WATCHED], env=env, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stderr
        (line,) = ran.stdout.splitlines()
        assert line.startswith("openvino ")
        assert line.endswith(str(needs_keras))
