from __future__ import annotations

import numpy as np

from wsi_idc.model.backend import keras
from wsi_idc.training.moments import refresh_moments


def small() -> keras.Sequential:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.BatchNormalization(),
            layers.Dense(3),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
        ]
    )


def test_moments_are_those_of_the_batches_and_not_of_the_start() -> None:
    network = small()
    shown = np.random.default_rng(0).normal(5, 3, (8, 64, 4)).astype(np.float32)
    refresh_moments(network, list(shown))
    first, _ = (layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization))
    np.testing.assert_allclose(np.asarray(first.moving_mean), shown.mean(axis=(0, 1)), rtol=1e-3)
    np.testing.assert_allclose(np.asarray(first.moving_variance), shown.var(axis=(0, 1)), rtol=1e-3)
    seen = np.asarray(network(shown.reshape(-1, 4), training=False))
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(seen.std(axis=0), 1, atol=0.05)


def test_without_batches_nothing_changes() -> None:
    network = small()
    before = network.get_weights()
    refresh_moments(network, [])
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
