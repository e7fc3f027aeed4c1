from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from tests.conftest import tissue_like
from wsi_idc.model.network import preprocess
from wsi_idc.training.augment import STILL, Augment, Jitter


def varied(patches: np.ndarray, shift_px: int = 0, **jitter: float) -> np.ndarray:
    layer = Augment(0, replace(STILL, **jitter), shift_px=shift_px)
    return ops.convert_to_numpy(layer(patches, training=True))


def test_without_training_it_is_the_classifiers_own_preprocessing() -> None:
    patches = np.stack([tissue_like(seed) for seed in range(3)])
    seen = ops.convert_to_numpy(Augment(0)(patches, training=False))
    np.testing.assert_allclose(seen, preprocess(patches), atol=1e-7)


def test_eight_turns_and_flips_and_nothing_else() -> None:
    patch = tissue_like(0)
    centre = preprocess(patch[None])[0]
    turns = [np.rot90(flipped, k) for flipped in (centre, centre[:, ::-1]) for k in range(4)]
    seen = varied(np.repeat(patch[None], 200, axis=0))
    which = [[i for i, turn in enumerate(turns) if np.allclose(turn, one, atol=2e-3)] for one in seen]
    assert all(len(found) == 1 for found in which)
    assert {found[0] for found in which} == set(range(8))


def test_shifts_reach_both_ends_and_mirror_at_the_edges() -> None:
    ramp = np.broadcast_to(np.arange(10, 60, dtype=np.uint8)[None, :, None], (50, 50, 3))
    seen = np.rint(varied(np.repeat(ramp[None], 300, axis=0), shift_px=6) * 255)
    along = [one if np.ptp(one[0, :, 0]) else one.transpose(1, 0, 2) for one in seen]
    steps = [np.abs(np.diff(one[0, :, 0])) for one in along]
    assert all((step == 1).all() for step in steps)
    assert {int(one.max()) for one in along} == set(range(52, 60))
    assert {int(one.min()) for one in along} == set(range(10, 18))


@pytest.mark.parametrize("kind", ["stain", "stain_offset", "mixing", "mean", "spread", "light", "grey"])
def test_each_kind_of_jitter_moves_each_patch_on_its_own_within_bounds(kind: str) -> None:
    patch = np.full((64, 50, 50, 3), (200, 150, 190), np.uint8)
    colours = varied(patch, **{kind: getattr(Jitter(), kind)})[:, 24, 24]
    assert len(np.unique(colours.round(4), axis=0)) > 50
    assert 0.005 < np.abs(colours - np.array([200, 150, 190]) / 255).max() < 0.35
    np.testing.assert_allclose(varied(patch)[:, 24, 24], np.array([[200, 150, 190]] * 64) / 255, atol=2e-3)


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_stay_finite(value: int) -> None:
    seen = varied(np.full((16, 50, 50, 3), value, np.uint8), stain=0.5, stain_offset=0.1, light=0.3, jpeg=0.5)
    assert np.isfinite(seen).all()
    assert seen.min() >= 0
    assert seen.max() <= 1


def test_glass_takes_no_stain() -> None:
    seen = varied(
        np.full((32, 50, 50, 3), 255, np.uint8), stain=0.5, stain_offset=0.1, mixing=0.2, mean=0.2, spread=0.3
    )
    np.testing.assert_allclose(seen, 1, atol=1e-5)


def test_contrast_moves_the_spread_and_not_the_mean() -> None:
    patches = np.repeat(tissue_like(1)[None], 32, axis=0)
    seen = varied(patches, contrast=0.15)
    assert np.ptp(seen.std(axis=(1, 2, 3))) > 0.02
    assert np.ptp(seen.mean(axis=(1, 2, 3))) < 0.02


def test_half_of_a_batch_loses_what_jpeg_loses() -> None:
    patches = np.repeat(tissue_like(1)[None], 16, axis=0)
    still = preprocess(patches[:1])[0]
    turns = [np.rot90(flipped, k) for flipped in (still, still[:, ::-1]) for k in range(4)]
    seen = varied(patches, jpeg=0.5)
    whole = [any(np.allclose(turn, one, atol=2e-3) for turn in turns) for one in seen]
    assert whole == [False] * 8 + [True] * 8


def test_the_layer_survives_the_round_trip() -> None:
    layer = Augment(3, replace(STILL, grey=0.1), shift_px=2)
    assert Augment.from_config(layer.get_config()).get_config() == layer.get_config()
