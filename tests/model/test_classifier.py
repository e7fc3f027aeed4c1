from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import tissue_like
from wsi_idc.errors import ModelError
from wsi_idc.geometry import IDC_PATCH
from wsi_idc.model.backend import keras
from wsi_idc.model.calibration import Calibration
from wsi_idc.model.cancernet import build_cancernet
from wsi_idc.model.classifier import bundled_model, load_model
from wsi_idc.model.config import ModelConfig, file_sha256, read_config
from wsi_idc.model.keras_network import load_keras, predict
from wsi_idc.model.network import preprocess
from wsi_idc.splits import official_parts


def save(network: keras.Model, path: Path) -> Path:
    network.save(path)
    ModelConfig("test", file_sha256(path), 0.5).write(path.with_suffix(".json"))
    return path


def test_cancernet_has_the_published_number_of_parameters() -> None:
    assert build_cancernet().count_params() == 1_235_133


def test_dropout_of_the_blocks_is_half_of_that_of_the_dense_layer() -> None:
    rates = [layer.rate for layer in build_cancernet(0.2).layers if hasattr(layer, "rate")]
    assert rates == [0.1, 0.1, 0.1, 0.2]


def test_bundled_model_loads_and_never_saw_the_demonstration_cases() -> None:
    model = load_model()
    assert load_keras(bundled_model()).count_params() == 1_235_133
    training = model.config.training
    used = {*training["cases_train"], *training["cases_val"]}
    assert used.isdisjoint({"8863", "14082"})
    assert used.isdisjoint(case for case, part in official_parts().items() if part == "test")
    judged = {case for case, part in official_parts().items() if part == "val"}
    assert judged == set(training["cases_val"])
    assert judged.isdisjoint(training["cases_train"])
    assert training["cases_test"] == []
    assert training["metrics_val"]["auc"] >= 0.95
    assert training["metrics_val"]["balanced_accuracy"] > 0.88
    assert model.config.normalization is not None
    assert model.config.patch == IDC_PATCH
    assert model.config.calibration is not None


def test_batch_size_does_not_change_what_is_written() -> None:
    patches = np.stack([tissue_like(seed) for seed in range(70)])
    model = load_model()
    probs = [model.predict(patches, size).round(6) for size in (1, 32, 70, 256)]
    for other in probs[1:]:
        np.testing.assert_array_equal(probs[0], other)
    np.testing.assert_allclose(probs[0].sum(axis=1), 1, atol=1e-5)


def test_no_patches() -> None:
    assert load_model().predict(np.empty((0, 50, 50, 3), np.uint8)).shape == (0, 2)


def test_config_survives_the_round_trip(tmp_path: Path) -> None:
    config = ModelConfig(
        "mine", "ab" * 32, 0.25, "1.0", calibration=Calibration(0.75, -1.5), training={"cases_train": ["8865"]}
    )
    config.write(tmp_path / "a.json")
    assert read_config(tmp_path / "a.json") == config
    assert config.trained_on == ("8865",)


def test_files_that_are_no_model(tmp_path: Path) -> None:
    good = bundled_model()
    with pytest.raises(ModelError, match="no model at"):
        load_model(tmp_path / "none.keras")
    path = Path(shutil.copy(good, tmp_path / "a.keras"))
    with pytest.raises(ModelError, match=r"a\.json is missing"):
        load_model(path)
    shutil.copy(good.with_suffix(".json"), tmp_path / "a.json")
    assert load_model(path).config.name == "CancerNet"
    path.write_bytes(good.read_bytes()[:-1])
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_model(path)
    path.write_text("not a zip")
    ModelConfig("test", file_sha256(path), 0.5).write(tmp_path / "a.json")
    with pytest.raises(ModelError, match="not a Keras model"):
        load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 1.5},
        {"threshold": "high"},
        {"class_names": ["a", "b", "c"]},
        {"patch_size_pixels": 40},
        {"spacing_um_px": 0.01},
        {"sha256": None, "threshold": None},
    ],
)
def test_configurations_of_something_else(tmp_path: Path, change: dict[str, object]) -> None:
    raw = json.loads(bundled_model().with_suffix(".json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(raw | change))
    with pytest.raises(ModelError):
        read_config(tmp_path / "a.json")


def test_a_model_with_code_is_refused(tmp_path: Path) -> None:
    network = keras.Sequential(
        [keras.Input((48, 48, 3)), keras.layers.Lambda(lambda x: x), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    with pytest.raises(ModelError, match="safely"):
        load_model(save(network, tmp_path / "a.keras"))


def test_a_network_of_other_shape_is_refused(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((96, 96, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(ModelError, match="96, 96"):
        load_model(save(network, tmp_path / "a.keras"))


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    network = build_cancernet()
    network.set_weights([np.full_like(weights, np.nan) for weights in network.get_weights()])
    with pytest.raises(ModelError, match="not finite"):
        load_model(save(network, tmp_path / "a.keras"))


@pytest.mark.filterwarnings("ignore:Skipping variable loading")
def test_a_network_that_was_compiled_and_fitted(tmp_path: Path) -> None:
    """As whoever trains with Keras alone saves it: with the optimizer's state."""
    inner = keras.Sequential([keras.Input((48, 48, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    network = keras.Sequential([keras.Input((48, 48, 3)), inner, keras.layers.Softmax()])
    for model in (inner, network):
        model.compile("adam", "sparse_categorical_crossentropy")
    patches = np.stack([tissue_like(seed) for seed in range(8)])
    network.fit(preprocess(patches), np.arange(8) % 2, verbose=0)
    path = save(network, tmp_path / "a.keras")
    np.testing.assert_array_equal(predict(load_keras(path), patches), predict(network, patches))
