from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wsi_idc.errors import ModelError
from wsi_idc.model.config import ModelConfig, read_config
from wsi_idc.model.stain import Normalization, Stain, estimate_stain, even_sample, normalize

TARGET = Normalization()


def slide(seed: int = 0, n: int = 60, glass: float = 243.0, strength: float = 1.0) -> np.ndarray:
    """Patches of two tissues and glass, in two stains; shape (n, 50, 50, 3) uint8."""
    rng = np.random.default_rng(seed)
    vectors = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    tissue = rng.uniform(0.2, 1.2, (n, 1, 1, 2)) * strength
    amounts = tissue * rng.gamma(2, 0.4, (n, 50, 50, 2)) * (rng.random((n, 50, 50, 1)) > 0.3)
    return np.rint(glass * np.exp(-amounts @ vectors)).clip(0, 255).astype(np.uint8)


def moments(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    density = -np.log((pixels.reshape(-1, 3).astype(float) + 1) / 256)
    stained = density[density.mean(axis=1) > TARGET.density]
    return stained.mean(axis=0), stained.std(axis=0)


def test_two_stainings_of_one_tissue_become_one() -> None:
    plain, other = slide(), slide(strength=0.6, glass=225)
    shown = [normalize(pixels, estimate_stain(pixels, TARGET), TARGET) for pixels in (plain, other)]
    apart = np.abs(plain.astype(float) - other).mean()
    assert np.abs(shown[0].astype(float) - shown[1]).mean() < 0.5 * apart
    for pixels in shown:
        means, spreads = moments(pixels)
        np.testing.assert_allclose(means, TARGET.means, atol=0.12)
        np.testing.assert_allclose(spreads, TARGET.spreads, atol=0.1)


@pytest.mark.parametrize("glass", [215.0, 243.0, 254.0])
def test_glass_is_found_and_brought_to_one_light(glass: float) -> None:
    pixels = slide(glass=glass)
    stain = estimate_stain(pixels, TARGET)
    np.testing.assert_allclose(stain.glass, glass, atol=2)
    assert not stain.cautions()
    seen = normalize(np.full((1, 50, 50, 3), round(glass), np.uint8), stain, TARGET)
    assert abs(int(seen[0, 0, 0, 0]) - TARGET.glass) < 6


def test_without_glass_it_is_guessed_within_bounds_and_said() -> None:
    pixels = np.full((40, 50, 50, 3), (190, 120, 170), np.uint8)
    stain = estimate_stain(pixels, TARGET)
    assert stain.glass_share == 0
    assert all(223 <= value <= 255 for value in stain.glass)
    assert "glass-unknown" in dict(stain.cautions())


def test_few_patches_and_one_tissue_are_drawn_to_the_prior_and_said() -> None:
    many = slide(n=60)
    whole, one = (estimate_stain(pixels, TARGET) for pixels in (many, many[:1]))
    assert whole.prior < 0.1 < 0.4 < one.prior
    assert "stain-unknown" in dict(one.cautions())
    alike = estimate_stain(np.repeat(many[:1], 60, axis=0), TARGET)
    assert alike.prior > 0.3
    nothing = estimate_stain(many[:0], TARGET)
    assert (nothing.prior, nothing.pixels, nothing.means) == (1.0, 0, TARGET.usual_means)
    glass_only = estimate_stain(np.full((5, 50, 50, 3), 240, np.uint8), TARGET)
    assert (glass_only.prior, glass_only.pixels) == (1.0, 0)


def test_padding_is_no_glass() -> None:
    pixels = slide(glass=220)
    pixels[:5, 38:] = 255
    np.testing.assert_allclose(estimate_stain(pixels, TARGET).glass, 220, atol=2)


def test_padding_is_no_glass_where_every_patch_is_cut() -> None:
    """A slide smaller than a tile, whose tissue leaves no glass to see."""
    content = np.random.default_rng(1).normal((190, 120, 180), 15, (1, 30, 26, 3)).clip(1, 254).astype(np.uint8)
    cut = np.full((1, 50, 50, 3), 255, np.uint8)
    cut[:, :30, :26] = content
    stain = estimate_stain(cut, TARGET)
    assert stain.glass_share == 0
    assert stain.glass[0] < 255
    white = np.full((3, 50, 50, 3), 255, np.uint8)
    assert estimate_stain(white, TARGET).pixels == 0


def test_a_pixel_depends_on_itself_alone() -> None:
    pixels = slide(n=40)
    stain = estimate_stain(pixels, TARGET)
    whole = normalize(pixels, stain, TARGET)
    parts = np.concatenate([normalize(pixels[i : i + 7], stain, TARGET) for i in range(0, 40, 7)])
    np.testing.assert_array_equal(whole, parts)
    assert whole.dtype == np.uint8
    assert normalize(pixels[:0], stain, TARGET).shape == (0, 50, 50, 3)


@pytest.mark.parametrize(("count", "patches"), [(0, 0), (1, 1), (256, 256), (257, 256), (100_000, 256)])
def test_the_sample_is_even_and_within_the_slide(count: int, patches: int) -> None:
    runs = even_sample(count)
    assert sum(stop - start for start, stop in runs) == patches
    assert all(0 <= start < stop <= count for start, stop in runs)
    if count:
        assert (runs[0][0], runs[-1][1]) == (0, count)


@pytest.mark.parametrize(
    "wrong", [{"spreads": [0, 0.2, 0.2]}, {"sharpness_patches": -6}, {"means": [1e300, 0, 0]}, {"pixels": -1}]
)
def test_a_stain_that_cannot_be_is_not_read(wrong: dict[str, object]) -> None:
    written = estimate_stain(slide(), TARGET).as_dict()
    written["stain"] |= wrong
    with pytest.raises(ValueError, match="cannot be"):
        Stain.from_dict(written)


def test_what_is_written_is_read_back(tmp_path) -> None:  # type: ignore[no-untyped-def]
    stain = estimate_stain(slide(), TARGET)
    assert Stain.from_dict(stain.as_dict()) == stain
    config = ModelConfig("m", "0" * 64, 0.5, normalization=replace(TARGET, glass=240.0))
    config.write(tmp_path / "m.json")
    assert read_config(tmp_path / "m.json") == config
    ModelConfig("m", "0" * 64, 0.5).write(tmp_path / "plain.json")
    assert read_config(tmp_path / "plain.json").normalization is None
    text = (tmp_path / "m.json").read_text().replace("glass+od", "other")
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ModelError, match="normalization"):
        read_config(tmp_path / "m.json")
