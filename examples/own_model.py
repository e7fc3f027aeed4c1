"""Bring your own Keras model: ``python examples/own_model.py [OUT.keras [DATA]]``.

Any Keras network will do that takes ``(n, 48, 48, 3)`` in 0-1 and gives ``(n, 2)``: no IDC, IDC.
"""

from __future__ import annotations

import sys

from wsi_idc import load_model, load_patches, open_case, open_dataset, preprocess, save_model, score
from wsi_idc.model.backend import keras


def main(out: str = "mine.keras", data: str = "demo") -> None:
    """Train a small network on all cases but two, tune it on the second, score the first."""
    with open_dataset(data) as dataset:
        test, tune, *train = dataset.cases
        patches, held = load_patches(dataset, train), load_patches(dataset, [tune])
    keras.utils.set_random_seed(0)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((48, 48, 3)),
            layers.Conv2D(16, 5, strides=2, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(preprocess(patches.pixels), patches.label, epochs=3, verbose=0)
    save_model(network, out, tuned_on=held, trained_on=train, architecture="small")
    scores = score(open_case(test, data), load_model(out)).scores
    print(f"case {test}: {scores.pred.sum()} of {len(scores)} patches called IDC")
    print(f"AUC {scores.metrics.auc:.3f}, balanced accuracy {scores.metrics.balanced_accuracy:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
