"""What a model learns from corrected patches, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Ran
from tests.training.test_fitting import RECIPE, easy_patches, weights
from wsi_idc.datasets.labelled import LabelledPatches, load_patches
from wsi_idc.datasets.opening import open_case, open_dataset
from wsi_idc.errors import TrainingError
from wsi_idc.evaluation.evaluate import evaluate
from wsi_idc.metrics import compute_metrics
from wsi_idc.model.backend import keras
from wsi_idc.model.case_stains import CaseStains, StainedPatches
from wsi_idc.model.classifier import bundled_model, load_model
from wsi_idc.naming import PHANTOM_CASES
from wsi_idc.scoring.corrections import Correction, corrected_boxes, read_corrections, write_corrections
from wsi_idc.scoring.results import score_into
from wsi_idc.scoring.score import score
from wsi_idc.training.fitting import train
from wsi_idc.training.mixing import SHARE, corrections_told, mix_in, rows_apart
from wsi_idc.training.recipe import StartingModel
from wsi_idc.training.tuning import train_on_corrections

Run = Callable[..., Ran]
NEW, *OTHERS = (str(PHANTOM_CASES[i]) for i in range(3))


def without_stain(patches: LabelledPatches) -> StainedPatches:
    return StainedPatches(patches, CaseStains(None, {}))


def some(count: int = 8) -> StainedPatches:
    """Patches of slide 9003, of both classes, all of one colour that no other patch has."""
    pixels = np.full((count, 50, 50, 3), 77, np.uint8)
    label = (np.arange(count) % 2).astype(np.int8)
    position = np.column_stack([np.arange(count) * 50, np.zeros(count, np.int64)])
    return without_stain(LabelledPatches(pixels, label, np.full(count, "9003"), position, "f" * 64))


@pytest.mark.slow
@pytest.mark.usefixtures("demo")
def test_twenty_corrected_patches_change_the_map_there_and_cost_other_cases_little(run: Run, tmp_path: Path) -> None:
    old = load_model()
    before = score_into(open_case(NEW, "demo"), old, tmp_path / "before").scores
    wrong = np.flatnonzero(before.labelled & (before.pred != (before.label == 1)))
    assert len(wrong) >= 20
    sides = (before.minx, before.miny, before.width, before.height)
    # Of both classes alike, so that not all calls only move to one side.
    chosen = np.concatenate([wrong[before.label[wrong] == label][:10] for label in (0, 1)])
    said = [Correction(*(int(side[i]) for side in sides), bool(before.label[i])) for i in chosen]
    write_corrections(tmp_path / "before" / NEW, said)
    args = ("--from", bundled_model(), "--corrections", tmp_path / "before", "--out", tmp_path / "model")
    ran = run("train", *args)
    path = tmp_path / "model" / "cancernet.keras"
    assert (ran.code, ran.out) == (0, f"{path}\n")
    assert f"{len(chosen)} corrected patches of 1 slide" in ran.err
    assert (tmp_path / "model" / "history.png").is_file()
    new = load_model(path)

    after = score(open_case(NEW, "demo"), new).scores
    toward = np.where(before.label[chosen] == 1, 1, -1) * (after.prob - before.prob)[chosen]
    assert toward.mean() > 0.005, "the map does not change"
    agreed = [int((of.pred[chosen] == (of.label[chosen] == 1)).sum()) for of in (before, after)]
    assert agreed[0] == 0 < agreed[1]

    with open_dataset("demo") as dataset:
        others = load_patches(dataset, OTHERS)
    aucs = [evaluate(others, model).metrics.auc for model in (old, new)]
    assert aucs[0] is not None and aucs[1] is not None
    assert aucs[1] > aucs[0] - 0.01

    assert (new.config.threshold, new.config.calibration) == (old.config.threshold, old.config.calibration)
    assert new.config.sha256 != old.config.sha256
    training = new.config.training
    assert training["start"] == old.config.sha256
    assert training["corrections"]["patches"] == len(chosen)
    assert training["corrections"]["slides"] == [NEW]
    assert set(new.config.trained_on) == {*old.config.trained_on, NEW}
    assert training["split"] == old.config.training["split"]
    assert corrected_boxes(read_corrections(tmp_path / "before" / NEW)) == {one.box: one.is_idc for one in said}


def test_corrections_of_one_class_alone_are_refused(tmp_path: Path) -> None:
    start = StartingModel.read(bundled_model())
    patches = some().patches
    one_class = without_stain(replace(patches, label=np.zeros(8, np.int8)))
    with pytest.raises(TrainingError, match="all of one class"):
        train_on_corrections(one_class, replace(RECIPE, start=start, normalization=None), tmp_path)
    with pytest.raises(TrainingError, match="--from"):
        train_on_corrections(some(), RECIPE, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_keeps_its_moments_where_there_are_only_corrections(tmp_path: Path) -> None:
    """Twenty patches of one slide are no sample of what the network is shown."""
    start = StartingModel.read(bundled_model())
    trained = train_on_corrections(some(), replace(RECIPE, start=start, normalization=None, epochs=1), tmp_path)
    old, new = weights(bundled_model()), weights(trained.model)
    assert [one.shape for one in old] == [one.shape for one in new]
    assert any((one != other).any() for one, other in zip(old, new, strict=True))
    kinds = [
        (layer.moving_mean.numpy(), layer.moving_variance.numpy())
        for path in (bundled_model(), trained.model)
        for layer in keras.models.load_model(path, compile=False).layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    half = len(kinds) // 2
    assert half
    for before, after in zip(kinds[:half], kinds[half:], strict=True):
        # But for rounding, as the weights that count are a running mean.
        np.testing.assert_allclose(before, after, rtol=1e-5)


def test_a_quarter_of_each_batch_is_corrected_patches() -> None:
    pixels, label = np.zeros((64, 50, 50, 3), np.uint8), np.full(64, 5, np.int8)
    places = []
    for seed in range(5):
        mixed, told = mix_in(pixels, label, some(), np.random.default_rng(seed))
        new = (mixed == 77).all(axis=(1, 2, 3))
        assert new.sum() == SHARE * 64
        assert set(told[new].tolist()) == {0, 1} and set(told[~new].tolist()) == {5}
        places.append(tuple(np.flatnonzero(new)))
    assert len(set(places)) == 5
    assert not pixels.any() and (label == 5).all(), "the data are changed in place"
    assert mix_in(pixels, label, None, np.random.default_rng(0))[0] is pixels


def test_corrected_slides_neither_tune_nor_test_and_doubted_labels_do_not_train() -> None:
    data = easy_patches()
    data = replace(data, position=np.column_stack([np.arange(160) * 50, np.zeros(160, np.int64)]))
    rows = np.arange(160)
    of_slide = np.flatnonzero(data.case == "9003")
    corrected = some(1)
    here = replace(corrected.patches, position=data.position[of_slide[:1]])
    found = rows_apart(data, rows, "train", without_stain(here))
    assert set(rows) - set(found) == {of_slide[0]}
    for part in ("val", "test"):
        assert set(rows) - set(rows_apart(data, rows, part, corrected)) == set(of_slide)
    assert rows_apart(data, rows, "val", None) is rows
    assert len(rows_apart(data, rows[:0], "train", corrected)) == 0


@pytest.mark.slow
def test_mixed_into_training_data(tmp_path: Path) -> None:
    """What the corrected patches show is found nowhere else, and is learned; the rest is kept."""
    data = easy_patches()
    recipe = replace(RECIPE, epochs=3, normalization=None)
    corrected = without_stain(
        LabelledPatches(
            np.tile(np.array([250, 60, 60], np.uint8), (10, 50, 50, 1)),
            np.ones(10, np.int8),
            np.full(10, "deep/a.svs"),
            np.zeros((10, 2), np.int64),
            "e" * 64,
        )
    )
    plain = train(data, recipe, tmp_path / "plain")
    taught = train(data, recipe, tmp_path / "taught", corrected=corrected)
    models = [load_model(trained.model) for trained in (plain, taught)]
    red = [float(model.network.predict(corrected.patches.pixels)[:, 1].mean()) for model in models]
    # Few steps on a colour that the moments of batch normalization do not know: the odds rise, not yet to a call.
    assert red[1] > 20 * red[0]
    metrics = compute_metrics(data.label, models[1].network.predict(data.pixels)[:, 1], 0.5)
    assert metrics.auc is not None and metrics.auc > 0.9
    training = models[1].config.training
    assert training["corrections"]["patches"] == 10
    assert "deep/a.svs" in models[1].config.trained_on
    assert "corrections" not in models[0].config.training
    with pytest.raises(TrainingError, match="other data or options"):
        train(data, recipe, tmp_path / "taught", resume=True)


def test_corrections_upon_corrections_are_remembered() -> None:
    told = corrections_told({"cases_train": ["1"]}, some())
    again = corrections_told(told, without_stain(replace(some().patches, case=np.full(8, "other"))))
    assert again["cases_train"] == ["1", "9003", "other"]
    assert corrections_told({"a": 1}, None) == {"a": 1}


def test_options_that_do_not_go_together(run: Run, tmp_path: Path) -> None:
    assert "is for --from" in run("train", "--corrections", tmp_path, "--data", "demo").err
    both = ("train", "--from", bundled_model(), "--corrections", tmp_path)
    assert "--folds" in run(*both, "--folds", 3).err
    assert "need --data" in run(*both, "--new-head").err
    assert "need --data" in run(*both, "--dropout", 0.2).err
    ran = run(*both)
    assert ran.code == 2 and "No patch is corrected" in ran.err
