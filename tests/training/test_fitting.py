from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import tissue_like
from wsi_idc.datasets.labelled import LabelledPatches
from wsi_idc.errors import ModelError, TrainingError
from wsi_idc.model.backend import keras
from wsi_idc.model.case_stains import CaseStains
from wsi_idc.model.classifier import load_model
from wsi_idc.model.keras_network import predict
from wsi_idc.model.saving import save_model
from wsi_idc.training.fitting import Trained, doubts, fit, kept_predictions, train
from wsi_idc.training.history import HISTORY_FILE, Epoch, read_history, write_history
from wsi_idc.training.recipe import Recipe, StartingModel
from wsi_idc.training.run import CHECKPOINT_FILE, MODEL_FILE, class_weights


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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A training by `RECIPE`, which no test changes."""
    return train(easy_patches(), RECIPE, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A training by `RECIPE` without normalization, which no test changes."""
    return train(easy_patches(), replace(RECIPE, normalization=None), tmp_path_factory.mktemp("raw"))


def weights(path: Path) -> list[np.ndarray]:
    return keras.models.load_model(path, compile=False).get_weights()


def state(trained: Trained) -> list[np.ndarray]:
    """What the checkpoint holds, but for the average."""
    with np.load(trained.model.with_name(CHECKPOINT_FILE)) as checkpoint:
        return [checkpoint[name] for name in checkpoint.files if not name.startswith("average")]


@pytest.mark.slow
def test_an_interrupted_training_ends_like_an_unbroken_one(whole: Trained, tmp_path: Path) -> None:
    data = easy_patches()

    def stop(row: Epoch) -> None:
        raise InterruptionError

    with pytest.raises(InterruptionError):
        train(data, RECIPE, tmp_path / "broken", on_epoch=stop)
    assert len(read_history(tmp_path / "broken" / "history.csv")) == 1
    broken = train(data, RECIPE, tmp_path / "broken", resume=True)
    for one, other in zip(weights(whole.model), weights(broken.model), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(state(whole), state(broken), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [replace(row, seconds=0) for row in whole.history] == [replace(row, seconds=0) for row in broken.history]
    with pytest.raises(TrainingError, match="other data or options"):
        train(data, replace(RECIPE, seed=4), tmp_path / "broken", resume=True)


def test_what_is_written_beside_the_weights(whole: Trained) -> None:
    model = load_model(whole.model)
    training = model.config.training
    sides = [set(training[f"cases_{part}"]) for part in ("train", "val", "test")]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 8
    assert training["fingerprint"] == easy_patches().fingerprint
    assert (training["seed"], training["epochs"], training["split"]) == (3, 2, "patient")
    assert training["metrics_val"]["threshold"] == model.config.threshold
    assert training["best_epoch"] == max(whole.history, key=lambda row: row.val_auc).epoch
    assert read_history(whole.model.with_name(HISTORY_FILE)) == list(whole.history)


@pytest.mark.slow
def test_training_goes_on_from_given_weights(raw: Trained, tmp_path: Path) -> None:
    """At a rate of next to nothing the weights stay; another head, or other layers, are said."""
    data = easy_patches()
    first = shutil.copytree(raw.model.parent, tmp_path / "first") / MODEL_FILE
    start = StartingModel.read(first)
    gentle = replace(RECIPE, epochs=1, learning_rate=1e-12, normalization=start.normalization, start=start)
    second = train(data, gentle, tmp_path / "second")
    trained = [keras.models.load_model(path, compile=False).trainable_variables for path in (first, second.model)]
    assert all(np.abs(old - new).max() < 1e-6 for old, new in zip(*trained, strict=True))
    config = load_model(second.model).config
    assert config.normalization is None
    assert config.training["start"] == start.sha256
    other = train(data, replace(gentle, new_head=True), tmp_path / "third")
    heads = [weights(model)[-2] for model in (first, other.model)]
    assert np.abs(heads[0] - heads[1]).max() > 0.01
    first.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match="json"):
        StartingModel.read(first)


def test_training_goes_on_from_no_other_network(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((48, 48, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    path = tmp_path / "other.keras"
    save_model(network, path)
    with pytest.raises(ModelError, match="other layers than CancerNet"):
        train(easy_patches(), replace(RECIPE, start=StartingModel.read(path)), tmp_path / "out")


@pytest.mark.slow
def test_class_weights_take_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be learned and one patch in ten is positive, the weights alone let the mean rise above it."""
    easy = easy_patches(positive=0.1)
    data = replace(easy, pixels=np.stack([tissue_like(seed) for seed in range(160)]))
    assert class_weights(data.label, np.ones(160)) == pytest.approx({0: 160 / 288, 1: 5.0})

    def mean_probability(folder: str) -> float:
        trained = train(data, replace(RECIPE, epochs=1), tmp_path / folder)
        return float(load_model(trained.model).network.predict(data.pixels)[:, 1].mean())  # not calibrated

    weighted = mean_probability("weighted")
    monkeypatch.setattr("wsi_idc.training.run.class_weights", lambda *_: {0: 1.0, 1: 1.0})
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


def test_a_damaged_checkpoint_is_one_sentence(whole: Trained, tmp_path: Path) -> None:
    folder = shutil.copytree(whole.model.parent, tmp_path / "damaged")
    (folder / CHECKPOINT_FILE).write_bytes(b"half")
    with pytest.raises(TrainingError, match="damaged"):
        train(easy_patches(), RECIPE, folder, resume=True)


def test_history_survives_the_round_trip(tmp_path: Path) -> None:
    rows = [Epoch(1, 0.5, 0.75, 0.625, float("nan"), 0.5, 1.5)]
    write_history(tmp_path / "history.csv", rows)
    assert repr(read_history(tmp_path / "history.csv")) == repr(rows)


def test_a_large_case_does_not_outweigh_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = easy_patches(n=320)
    uneven = replace(data, case=np.where(np.arange(320) < 200, "9000", data.case))
    row_of = {patch.tobytes(): row for row, patch in enumerate(uneven.pixels)}
    drawn: list[list[int]] = []
    train_on_batch = keras.Sequential.train_on_batch

    def note(self: keras.Model, x: np.ndarray, y: np.ndarray, **options: object) -> object:
        drawn.append([row_of[patch.tobytes()] for patch in x])
        return train_on_batch(self, x, y, **options)

    monkeypatch.setattr(keras.Sequential, "train_on_batch", note)
    rows = np.arange(320)
    fit(uneven, replace(RECIPE, patches_per_case=10, normalization=None), tmp_path, rows, rows)
    of_large = [row for batch in drawn for row in batch if uneven.case[row] == "9000"]
    cases = len(set(uneven.case.tolist()))
    assert len(of_large) / sum(map(len, drawn)) == pytest.approx(1 / cases, abs=0.05)
    assert len(set(of_large)) > 10, "each epoch draws anew"


@pytest.mark.slow
def test_the_weights_that_count_are_averages(tmp_path: Path) -> None:
    data = easy_patches()
    averaged = train(data, replace(RECIPE, epochs=1, averaging=3.0), tmp_path / "averaged")
    last = train(data, replace(RECIPE, epochs=1, averaging=0.0), tmp_path / "last")
    for one, other in zip(state(averaged), state(last), strict=True):
        np.testing.assert_array_equal(one, other, err_msg="averaging disturbs the training")
    kept = [weights(trained.model) for trained in (averaged, last)]
    assert max(np.abs(one - other).max() for one, other in zip(*kept, strict=True)) > 1e-4


def test_the_last_epoch_is_kept_where_nothing_watches(tmp_path: Path) -> None:
    data = easy_patches()
    rows = np.arange(len(data))
    trained = fit(data, replace(RECIPE, epochs=3, patience=1), tmp_path, rows, rows[:0], keep_last=True)
    assert [row.epoch for row in trained.history] == [1, 2, 3]
    assert all(np.isnan(row.val_auc) for row in trained.history)
    network = keras.models.load_model(trained.model, compile=False)
    stains = CaseStains.measure(data, RECIPE.normalization)
    shown = stains.pixels(data, rows)
    assert kept_predictions(trained, data, rows, stains).tolist() == predict(network, shown)[:, 1].tolist()


def test_few_steps_give_figures_of_the_weights_and_not_of_moments_that_lag_behind(raw: Trained) -> None:
    """The moving moments start from 0 and 1 and need some 500 steps, so after twenty all patches looked alike."""
    assert raw.history[-1].auc > 0.9
    assert raw.history[-1].val_auc > 0.9


def test_figures_that_can_only_be_a_fault_are_said() -> None:
    assert doubts(0.9, 0.4) == ()
    assert ["AUC" in sentence for sentence in doubts(0.5, 0.4)] == [True]
    assert ["threshold" in sentence for sentence in doubts(0.9, 0.999)] == [True]
    assert len(doubts(0.5, 0.001)) == 2
