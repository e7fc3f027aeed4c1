"""The domain: slides like those it was learned from lie near, blurred and otherwise lit ones beyond the limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from wsi_idc.errors import ModelError
from wsi_idc.model.classifier import bundled_model
from wsi_idc.model.config import ModelConfig, read_config
from wsi_idc.model.domain import Domain, fit_domain
from wsi_idc.model.sharpness import measure_sharpness
from wsi_idc.model.stain import Normalization, Stain, estimate_stain

TARGET = Normalization()
DENSITY = np.stack([-np.log((np.arange(256) + 1) / 256)] * 3)


def slide(seed: int, n: int = 40) -> NDArray[np.uint8]:
    """Patches of grainy tissue in front of glass, each slide with a stain of its own."""
    rng = np.random.default_rng(seed)
    haematoxylin = gaussian_filter(rng.random((n, 50, 50)), (0, 1.2, 1.2))
    haematoxylin = np.clip((haematoxylin - 0.5) / haematoxylin.std(), 0, None) * rng.uniform(0.3, 0.5)
    eosin = gaussian_filter(rng.random((n, 50, 50)), (0, 5, 5)) * rng.uniform(0.6, 1.0)
    eosin[:, :10] = haematoxylin[:, :10] = 0
    stains = rng.normal([[0.65, 0.7, 0.3], [0.1, 0.95, 0.3]], 0.03)
    density = haematoxylin[..., None] * stains[0] + eosin[..., None] * stains[1]
    return np.clip(256 * np.exp(-density) - 12, 0, 255).astype(np.uint8)


def of(pixels: NDArray[np.uint8]) -> Stain:
    return estimate_stain(pixels, TARGET)


@pytest.fixture(scope="module")
def learned() -> Domain:
    domain = fit_domain([of(slide(seed)) for seed in range(60)])
    assert domain is not None
    return domain


def test_slides_of_the_same_kind_lie_within_the_limit(learned: Domain) -> None:
    distances = [learned.distance(of(slide(seed))) for seed in range(100, 120)]
    assert np.median(distances) < 1.3
    assert np.mean([distance > learned.limit for distance in distances]) <= 0.1


@pytest.mark.parametrize(
    ("what", "fault"),
    [
        ("sharpness", lambda pixels: gaussian_filter(pixels, (0, 1.5, 1.5, 0))),
        ("colours", lambda pixels: 255 - pixels),
        ("colours", lambda pixels: pixels[..., ::-1]),
    ],
)
def test_a_slide_of_another_kind_gets_one_caution_that_says_why(learned, what, fault) -> None:  # type: ignore[no-untyped-def]
    for seed in range(100, 105):
        [(code, sentence)] = learned.cautions(of(fault(slide(seed))))
        assert code == "unlike-training"
        assert f"most of all in its {what}" in sentence
        assert not learned.cautions(of(slide(seed)))


def test_one_patch_says_less_than_many(learned: Domain) -> None:
    blurred = gaussian_filter(slide(100), (0, 1.5, 1.5, 0))
    assert learned.distance(of(blurred[:1])) < learned.distance(of(blurred)) / 2


def test_forty_cases_are_needed() -> None:
    stains = [of(slide(seed, 4)) for seed in range(40)]
    assert fit_domain(stains[:39]) is None
    assert fit_domain(stains) is not None


def test_cases_that_are_all_alike_have_a_domain_too() -> None:
    stain = of(slide(0))
    domain = fit_domain([stain] * 50)
    assert domain is not None
    assert domain.distance(stain) == pytest.approx(0, abs=1e-3)


def test_sharpness_falls_with_blur_and_not_with_stain() -> None:
    pixels = slide(0)
    sharp, count = measure_sharpness(pixels, DENSITY)
    blurred, _ = measure_sharpness(gaussian_filter(pixels, (0, 1, 1, 0)), DENSITY)
    paler, _ = measure_sharpness(pixels, DENSITY * 0.8)
    assert count == 32
    assert all(before > after for before, after in zip(sharp, blurred, strict=True))
    assert np.allclose(sharp, paler, atol=0.1)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_patches_that_show_nothing_have_no_sharpness(size: int) -> None:
    assert measure_sharpness(np.full((3, size, size, 3), 240, np.uint8), DENSITY) == ((0, 0, 0), 0)
    assert measure_sharpness(np.empty((0, size, size, 3), np.uint8), DENSITY) == ((0, 0, 0), 0)
    noise = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    assert measure_sharpness(noise, DENSITY) == ((0, 0, 0), 0)


def test_the_configuration_keeps_it(learned: Domain, tmp_path: Path) -> None:
    config = ModelConfig("m", "0" * 64, 0.5, normalization=TARGET, domain=learned)
    config.write(tmp_path / "m.json")
    assert read_config(tmp_path / "m.json") == config


@pytest.mark.parametrize(
    "wrong",
    [
        {"means": (0.0,) * 8},
        {"covariance": ((0.0,) * 9,) * 9},
        {"covariance": ((1.0, 0.5, *(0.0,) * 7), *((0.0,) * 9,) * 8)},
        {"means": ("far",) * 9},
        {"limit": 0.0},
        {"cases": "many"},
    ],
)
def test_a_domain_that_cannot_be_is_refused(learned: Domain, wrong: dict[str, object], tmp_path: Path) -> None:
    ModelConfig("m", "0" * 64, 0.5, domain=replace(learned, **wrong)).write(tmp_path / "m.json")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="domain"):
        read_config(tmp_path / "m.json")


def test_the_bundled_model_knows_its_own() -> None:
    domain = read_config(bundled_model().with_suffix(".json")).domain
    assert domain is not None
    assert domain.cases == 197
