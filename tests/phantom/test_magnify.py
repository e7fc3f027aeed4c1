"""The fine picture behind a coarse one: the same where it is reduced, the same wherever it is read."""

from __future__ import annotations

from functools import cache

import dask
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_idc.phantom import paint_slide
from wsi_idc.phantom.magnify import magnify

FACTOR = 8


@cache
def tissue() -> NDArray[np.uint8]:
    """Painted tissue with glass and fat around it, which fills no whole number of cells."""
    return paint_slide("90001", 0, 200, 150).pixels


@cache
def magnified() -> NDArray[np.uint8]:
    return np.asarray(magnify(tissue(), FACTOR, 0).compute())


def means(fine: NDArray[np.uint8], factor: int) -> NDArray[np.float64]:
    height, width, _ = fine.shape
    squares = fine.reshape(height // factor, factor, width // factor, factor, 3)
    return np.asarray(squares.mean(axis=(1, 3)))


def steps(fine: NDArray[np.uint8], axis: int) -> NDArray[np.float64]:
    """Mean absolute difference between each row or column and the next."""
    return np.asarray(np.abs(np.diff(fine.astype(int), axis=axis)).mean(axis=(1 - axis, 2)))


def test_reduced_it_is_the_coarse_picture_again() -> None:
    error = means(magnified(), FACTOR) - tissue()
    assert np.abs(error).max() <= 0.5
    assert error.std() < 0.1


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([2, 4, 8, 16, 32]), st.integers(0, 9))
@example(1, 1, 8, 0)
@example(64, 65, 8, 0)
def test_means_hold_for_any_picture(height: int, width: int, factor: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice(np.array([0, 1, 128, 254, 255], dtype=np.uint8), (height, width, 3))
    fine = magnify(values, factor, seed)
    assert (fine.shape, fine.dtype) == ((height * factor, width * factor, 3), np.uint8)
    assert np.abs(means(fine.compute(), factor) - values).max() <= 0.5


def test_windows_are_parts_of_the_whole() -> None:
    fine = magnify(tissue(), FACTOR, 0)
    windows = [
        (slice(0, 1), slice(0, 1)),
        (slice(500, 530), slice(1_000, 1_100)),
        (slice(512, 1_024), slice(512, 1_024)),
        (slice(3, 1_190), slice(511, 514)),
        (slice(1_199, 1_200), slice(1_590, 1_600)),
    ]
    for window in windows:
        np.testing.assert_array_equal(fine[window].compute(), magnified()[window])
    np.testing.assert_array_equal(fine[40:50, 600:, 1].compute(), magnified()[40:50, 600:, 1])
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(fine.rechunk((300, 700, 3)).compute(), magnified())


def test_chunks_lie_within_the_writers_strips() -> None:
    fine = magnify(np.zeros((200, 1_100, 3), dtype=np.uint8), FACTOR, 0)
    assert fine.chunks == ((512, 512, 512, 64), (4_096, 4_096, 608), (3,))


def test_the_seed_decides_the_texture() -> None:
    corner = tissue()[40:90, 60:110]
    first, again, other = (magnify(corner, FACTOR, seed).compute() for seed in (7, 7, 8))
    assert first.tobytes() == again.tobytes()
    assert (first != other).mean() > 0.5


@pytest.mark.parametrize("axis", [0, 1])
def test_neither_squares_nor_cells_show(axis: int) -> None:
    step = steps(magnified(), axis)
    at_border = np.arange(len(step)) % FACTOR == FACTOR - 1
    assert step[at_border].mean() < 1.5 * step[~at_border].mean()
    # The cells' borders are borders of squares, and no more than that.
    assert step[511::512].mean() < 1.3 * step[at_border].mean()


@pytest.mark.parametrize("axis", [0, 1])
def test_texture_crosses_the_borders_of_cells(axis: int) -> None:
    """On even tissue nothing but the texture is seen, and a seam would stand out."""
    x = np.arange(140) + np.arange(70)[:, None]
    waves = np.stack([180 + 25 * np.sin(x / 3), 110 + 30 * np.sin(x / 3), 150 + 25 * np.sin(x / 3)], axis=-1)
    fine = magnify(waves.astype(np.uint8), FACTOR, 3).compute()
    step = steps(fine, axis)
    assert step[511::512].max() < 1.25 * np.median(step[FACTOR - 1 :: FACTOR])


def test_bare_glass_stays_flat() -> None:
    flat = np.full((70, 70, 3), (244, 243, 244), dtype=np.uint8)
    assert (magnify(flat, FACTOR, 0).compute() == flat[0, 0]).all()
    rng = np.random.default_rng(0)
    noisy = np.clip(np.rint(flat + rng.normal(0, 1.6, flat.shape)), 0, 255).astype(np.uint8)
    fine = magnify(noisy, FACTOR, 0).compute().astype(int)
    assert fine.std() < 1.5 * noisy.std()
    assert steps(fine.astype(np.uint8), 0).max() < 1


def test_stained_tissue_has_texture_within_squares() -> None:
    within = magnified().reshape(150, FACTOR, 200, FACTOR, 3).std(axis=(1, 3)).mean(axis=-1)
    grey = tissue().mean(axis=-1)
    assert within[grey < 150].mean() > 4
    assert within[grey < 150].mean() > 5 * within[grey > 240].mean()


@pytest.mark.parametrize("factor", [-8, 0, 1, 3, 64])
def test_other_factors_are_refused(factor: int) -> None:
    with pytest.raises(ValueError, match="power of two from 2 to 32"):
        magnify(tissue(), factor, 0)
