from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.conftest import tissue_like
from wsi_idc.errors import TrainingError
from wsi_idc.model.classifier import load_model
from wsi_idc.model.training import (
    CHECKPOINT_FILE,
    Epoch,
    Recipe,
    class_weights,
    read_history,
    train,
    write_history,
)
from wsi_idc.sources.labelled import LabelledPatches


class InterruptionError(Exception):
    pass


def easy_patches(n: int = 160, cases: int = 8, positive: float = 0.5) -> LabelledPatches:
    """Patches whose class is their darkness, spread evenly over the cases."""
    pixels = np.stack([tissue_like(seed) for seed in range(n)])
    label = (np.arange(n) // cases < n / cases * positive).astype(np.int8)
    pixels[label == 1] //= 2
    case = np.array([str(9000 + i % cases) for i in range(n)])
    return LabelledPatches(
        pixels, label, case, np.zeros((n, 2), np.int64), hashlib.sha256(pixels.tobytes()).hexdigest()
    )


RECIPE = Recipe(seed=3, epochs=2, batch_size=16)


def weights(path: Path) -> list[np.ndarray]:
    return keras.models.load_model(path, compile=False).get_weights()


def test_an_interrupted_training_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    data = easy_patches()

    def stop(row: Epoch) -> None:
        raise InterruptionError

    whole = train(data, RECIPE, tmp_path / "whole")
    with pytest.raises(InterruptionError):
        train(data, RECIPE, tmp_path / "broken", on_epoch=stop)
    assert len(read_history(tmp_path / "broken" / "history.csv")) == 1
    broken = train(data, RECIPE, tmp_path / "broken", resume=True)
    for one, other in zip(weights(whole.model), weights(broken.model), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(
        weights(whole.model.with_name(CHECKPOINT_FILE)), weights(broken.model.with_name(CHECKPOINT_FILE)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert [replace(row, seconds=0) for row in whole.history] == [replace(row, seconds=0) for row in broken.history]
    with pytest.raises(TrainingError, match="other data or options"):
        train(data, replace(RECIPE, seed=4), tmp_path / "broken", resume=True)


def test_what_is_written_beside_the_weights(tmp_path: Path) -> None:
    data = easy_patches()
    trained = train(data, RECIPE, tmp_path)
    model = load_model(trained.model)
    training = model.config.training
    sides = [set(training[f"cases_{part}"]) for part in ("train", "val", "test")]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 8
    assert training["fingerprint"] == data.fingerprint
    assert (training["seed"], training["epochs"], training["split"]) == (3, 2, "patient")
    assert training["metrics_val"]["threshold"] == model.config.threshold
    assert training["best_epoch"] == max(trained.history, key=lambda row: row.val_auc).epoch
    assert read_history(tmp_path / "history.csv") == list(trained.history)


def test_class_weights_take_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one patch in ten is positive, the weights alone make a hardly trained network call positives as often."""
    data = easy_patches(positive=0.1)
    assert class_weights(data.label) == pytest.approx({0: 160 / 288, 1: 5.0})

    def mean_probability(folder: str) -> float:
        trained = train(data, replace(RECIPE, epochs=1), tmp_path / folder)
        return float(load_model(trained.model).predict(data.pixels)[:, 1].mean())

    weighted = mean_probability("weighted")
    monkeypatch.setattr("wsi_idc.model.training.class_weights", lambda label: {0: 1.0, 1: 1.0})
    assert weighted > mean_probability("unweighted") + 0.1


@pytest.mark.parametrize("label", [0, 1])
def test_training_needs_both_classes(tmp_path: Path, label: int) -> None:
    data = replace(easy_patches(), label=np.full(160, label, np.int8))
    with pytest.raises(TrainingError, match="needs both"):
        train(data, RECIPE, tmp_path)


def test_early_stopping(tmp_path: Path) -> None:
    data = easy_patches()
    noise = replace(data, label=np.random.default_rng(0).integers(0, 2, 160).astype(np.int8))
    trained = train(noise, replace(RECIPE, epochs=30, patience=1), tmp_path)
    assert len(trained.history) < 30
    best = max(trained.history, key=lambda row: row.val_auc)
    assert len(trained.history) == best.epoch + 1


def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    train(easy_patches(), replace(RECIPE, epochs=1), tmp_path)
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"half")
    with pytest.raises(TrainingError, match="damaged"):
        train(easy_patches(), replace(RECIPE, epochs=1), tmp_path, resume=True)


def test_history_survives_the_round_trip(tmp_path: Path) -> None:
    rows = [Epoch(1, 0.5, 0.75, 0.625, float("nan"), 0.5, 1.5)]
    write_history(tmp_path / "history.csv", rows)
    assert repr(read_history(tmp_path / "history.csv")) == repr(rows)
