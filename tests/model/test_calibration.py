from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import tissue_like
from wsi_idc.evaluation.reliability import expected_calibration_error
from wsi_idc.metrics import compute_metrics
from wsi_idc.model.calibration import Calibration, case_weights, decide
from wsi_idc.model.classifier import Classifier, load_model


def drawn(n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the probabilities that they were drawn with."""
    rng = np.random.default_rng(0)
    prob = 1 / (1 + np.exp(-rng.normal(-1, 2, n)))
    return (rng.random(n) < prob).astype(np.int8), prob


def test_what_was_distorted_is_found_again() -> None:
    label, prob = drawn()
    distorted = Calibration(1.5, 2.0).apply(prob)
    assert expected_calibration_error(label, distorted) > 0.1
    decision = decide(label, distorted, np.repeat("9001", len(label)))
    assert decision.calibration.scale == pytest.approx(1 / 1.5, abs=0.03)
    assert decision.calibration.bias == pytest.approx(-2.0 / 1.5, abs=0.05)
    assert expected_calibration_error(label, decision.calibration.apply(distorted)) < 0.015
    calibrated = decision.calibration.apply(distorted)
    at = compute_metrics(label, calibrated, decision.threshold).balanced_accuracy
    others = (compute_metrics(label, calibrated, p).balanced_accuracy for p in np.linspace(0.01, 0.99, 99))
    assert at is not None
    assert all(at >= (other or 0) for other in others)


def test_every_case_counts_the_same() -> None:
    """A case known by a tenth of its patches leads to the decision that all of them would."""
    label, prob = drawn()
    other = Calibration(1.0, 1.0).apply(prob)
    both = np.concatenate([prob, other])
    case = np.repeat(["9001", "9002"], len(prob))
    whole = decide(np.tile(label, 2), both, case)
    kept = np.concatenate([np.arange(len(prob)), np.arange(len(prob), 2 * len(prob), 10)])
    part = decide(np.tile(label, 2)[kept], both[kept], case[kept])
    assert part.calibration.bias == pytest.approx(whole.calibration.bias, abs=0.05)
    assert part.threshold == pytest.approx(whole.threshold, abs=0.05)
    assert case_weights(np.array(["1", "2", "2", "2"])) == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3])


@pytest.mark.parametrize("prob", [[0.5, 0.5, 0.5, 0.5], [0.9, 0.8, 0.2, 0.1]])
def test_nothing_to_calibrate(prob: list[float]) -> None:
    decision = decide(np.array([0, 0, 1, 1], np.int8), prob, np.repeat("9001", 4))
    assert decision.calibration == Calibration(1.0, 0.0)


@given(st.floats(0.01, 10), st.floats(-10, 10), st.lists(st.floats(0, 1, width=32), min_size=2))
def test_the_order_stays(scale: float, bias: float, probs: list[float]) -> None:
    calibrated = Calibration(scale, bias).apply(sorted(probs))
    assert (np.diff(calibrated) >= 0).all()
    assert ((calibrated >= 0) & (calibrated <= 1)).all()


def test_the_classifier_calibrates() -> None:
    patches = np.stack([tissue_like(seed) for seed in range(20)])
    model = load_model()
    calibration = Calibration(0.5, -1.0)
    ours = Classifier(model.network, replace(model.config, calibration=calibration)).predict_normalized(patches)
    raw = model.network.predict(patches, 8)
    np.testing.assert_allclose(ours[:, 1], calibration.apply(raw[:, 1]), atol=1e-6)
    np.testing.assert_allclose(ours.sum(axis=1), 1, atol=1e-6)
    plain = Classifier(model.network, replace(model.config, calibration=None)).predict_normalized(patches)
    np.testing.assert_array_equal(plain, raw)
