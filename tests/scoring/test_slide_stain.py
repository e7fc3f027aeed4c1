from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wsi_idc.cohort import score_cohort
from wsi_idc.datasets.case import LoadedCase
from wsi_idc.model.classifier import Classifier, bundled_model, load_model
from wsi_idc.model.config import read_config
from wsi_idc.model.stain import Normalization, even_sample
from wsi_idc.scoring.results import score_into
from wsi_idc.scoring.score import score
from wsi_idc.scoring.slide_stain import measure_stain
from wsi_idc.source import Patch, Problem

TARGET = Normalization()


def tissue(seed: int, n: int, strength: float = 1.0) -> np.ndarray:
    """Patches of haematoxylin and eosin on glass, shape (n, 50, 50, 3)."""
    rng = np.random.default_rng(seed)
    vectors = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    amounts = rng.uniform(0.2, 1.2, (n, 1, 1, 2)) * rng.gamma(2, 0.4, (n, 50, 50, 2)) * strength
    amounts *= rng.random((n, 50, 50, 1)) > 0.3
    return np.rint(243 * np.exp(-amounts @ vectors)).astype(np.uint8)


def case_of(pixels: np.ndarray, unreadable: tuple[int, ...] = ()) -> LoadedCase:
    patches = [Patch(50 * (i % 20), 50 * (i // 20), 50, 50, i % 2) for i in range(len(pixels))]
    wrong = {i: Problem(f"patch {i}", "damaged") for i in unreadable}
    return LoadedCase("9001", "here", patches, pixels, "f" * 64, unreadable=wrong)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled weights, with glass and stain to be taken out."""
    path = tmp_path_factory.mktemp("model") / "normalizing.keras"
    shutil.copy(bundled_model(), path)
    config = read_config(bundled_model().with_suffix(".json"))
    replace(config, normalization=TARGET).write(path.with_suffix(".json"))
    return path


@pytest.fixture(scope="module")
def classifier(model: Path) -> Classifier:
    return load_model(model)


def test_nothing_is_measured_where_the_model_wants_nothing() -> None:
    assert measure_stain(case_of(tissue(0, 3)), None) is None


def test_unreadable_patches_are_left_out() -> None:
    pixels = tissue(0, 40)
    damaged = pixels.copy()
    damaged[[3, 7]] = 255
    kept = measure_stain(case_of(np.delete(pixels, [3, 7], axis=0)), TARGET)
    assert measure_stain(case_of(damaged, (3, 7)), TARGET) == kept


def test_probabilities_depend_on_the_slide_and_not_on_the_batch(classifier: Classifier) -> None:
    case = case_of(tissue(1, 300))
    probs = [score(case, classifier, batch_size=size).scores.prob_idc for size in (8, 64, 256)]
    np.testing.assert_array_equal(probs[0], probs[1])
    np.testing.assert_array_equal(probs[0], probs[2])
    assert len(even_sample(300)) > 1


def test_a_paler_slide_gets_nearer_to_the_same_probabilities(classifier: Classifier) -> None:
    plain, pale = (case_of(tissue(2, 64, strength)) for strength in (1.0, 0.6))
    as_it_is = replace(classifier, config=replace(classifier.config, normalization=None))

    def apart(one: Classifier) -> float:
        return float(np.abs(score(plain, one).scores.prob_idc - score(pale, one).scores.prob_idc).mean())

    assert apart(classifier) < 0.7 * apart(as_it_is)


def test_what_was_taken_out_is_written_and_read_back(classifier: Classifier, tmp_path: Path) -> None:
    case = case_of(tissue(3, 40))
    first = score_into(case, classifier, tmp_path)
    run = json.loads((tmp_path / "9001" / "run.json").read_text())
    assert first.stain is not None
    assert {"glass": run["glass"], "stain": run["stain"]} == first.stain.as_dict()
    assert score_into(case, classifier, tmp_path).stain == first.stain
    plain = replace(classifier, config=replace(classifier.config, normalization=None))
    score_into(case, plain, tmp_path)
    other = json.loads((tmp_path / "9001" / "run.json").read_text())
    assert other["key"] != run["key"]
    assert (other["glass"], other["stain"]) == (None, None)


def test_a_cohort_takes_out_what_a_single_slide_does(model: Path, classifier: Classifier, tmp_path: Path) -> None:
    from wsi_idc.datasets.opening import open_dataset
    from wsi_idc.datasets.packing import write_patches

    write_patches(tmp_path / "data", [case_of(tissue(4, 60))])
    score_cohort(data=tmp_path / "data", model=model, out=tmp_path / "all")
    with open_dataset(tmp_path / "data") as dataset:
        score_into(dataset.case("9001"), classifier, tmp_path / "one")
    for name in ("scores.csv", "metrics.json"):
        assert (tmp_path / "all/9001" / name).read_bytes() == (tmp_path / "one/9001" / name).read_bytes()
    runs = [json.loads((tmp_path / folder / "9001/run.json").read_text()) for folder in ("all", "one")]
    assert [runs[0][name] for name in ("glass", "stain", "key")] == [
        runs[1][name] for name in ("glass", "stain", "key")
    ]
