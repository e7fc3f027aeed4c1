"""Models whose layers would take all memory, or hours, are refused before they run."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from wsi_idc.errors import ModelError
from wsi_idc.model.keras_network import load_keras


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([keras.layers.UpSampling2D(3000), keras.layers.GlobalAveragePooling2D()], "numbers a patch"),
        ([keras.layers.ZeroPadding2D(60000), keras.layers.GlobalAveragePooling2D()], "numbers a patch"),
    ],
    ids=["upsampling", "padding"],
)
def test_networks_without_measure(tmp_path: Path, layers: list[keras.Layer], said: str) -> None:
    network = keras.Sequential([keras.Input((48, 48, 3)), *layers, keras.layers.Dense(2, activation="softmax")])
    network.save(tmp_path / "a.keras")
    with pytest.raises(ModelError, match=said):
        load_keras(tmp_path / "a.keras")
