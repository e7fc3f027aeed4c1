"""CancerNet: the layers."""

from __future__ import annotations

from typing import Any

from wsi_idc.geometry import INPUT_PX
from wsi_idc.model.backend import keras, own_settings

layers = keras.layers


DROPOUT = 0.5
"""Share of the dense layer that is left out while training; half as much of each block."""


@own_settings()
def build_cancernet(dropout: float = DROPOUT) -> keras.Model:
    """Build CancerNet with fresh weights.

    Three blocks of separable 3x3 convolutions (32; 64, 64; 128, 128, 128 filters), each block closed by
    2x2 max-pooling and dropout, then a dense layer of 256 and a softmax over (no IDC, IDC).

    Parameters
    ----------
    dropout : float
        Share of the dense layer, 0-1, that is left out while training; half of that share of each block.

    Returns
    -------
    keras.Model
        Input ``(n, 48, 48, 3)`` float32 in 0-1, output ``(n, 2)`` probabilities; 1,235,133 parameters.

    References
    ----------
    A. Rosebrock, "Breast cancer classification with Keras and Deep Learning", 2019.
    """
    net: list[Any] = [keras.Input((INPUT_PX, INPUT_PX, 3), name="patch")]
    for filters, depth in ((32, 1), (64, 2), (128, 3)):
        for _ in range(depth):
            net += [
                layers.SeparableConv2D(filters, 3, padding="same", activation="relu"),
                layers.BatchNormalization(),
            ]
        net += [layers.MaxPooling2D(2), layers.Dropout(dropout / 2)]
    net += [
        layers.Flatten(),
        layers.Dense(256, activation="relu"),
        layers.BatchNormalization(),
        layers.Dropout(dropout),
        layers.Dense(2, activation="softmax", dtype="float32"),
    ]
    return keras.Sequential(net, name="cancernet")
