"""Moments of batch normalization, estimated anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from wsi_idc.model.backend import keras

ops = keras.ops


def refresh_moments(network: keras.Sequential, batches: Iterable[Any]) -> None:
    """Set the moving mean and variance of every batch normalization to those of the batches.

    Training only lets them follow slowly from 0 and 1, and weights that are averages have none of their own. Dropout is
    off meanwhile, as it is whenever the network is used.

    Parameters
    ----------
    network : keras.Sequential
    batches : iterable of tensor
        What the network is shown in training, all of one size. Without any, nothing changes.
    """
    normalizing = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    found: dict[str, list[Any]] = {layer.name: [] for layer in normalizing}
    for shown in batches:
        seen = shown
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                axes = tuple(range(len(seen.shape) - 1))
                mean, variance = ops.moments(seen, axes)
                found[layer.name].append([ops.convert_to_numpy(mean), ops.convert_to_numpy(variance)])
                # As in training: by the batch's own moments.
                gain = layer.gamma / ops.sqrt(variance + layer.epsilon)
                seen = (seen - mean) * gain + layer.beta
            else:
                seen = layer(seen, training=False)
    for layer in normalizing:
        if found[layer.name]:
            mean, variance = np.array(found[layer.name], dtype=np.float64).transpose(1, 0, 2)
            layer.moving_mean.assign(mean.mean(axis=0).astype(np.float32))
            layer.moving_variance.assign((variance + mean**2).mean(axis=0) - mean.mean(axis=0) ** 2)
