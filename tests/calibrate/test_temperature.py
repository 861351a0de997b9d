"""Temperature scaling: a known temperature is found, and what it brings is measured honestly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from vehicle_lightning.calibrate.temperature import (
    best_temperature,
    fit_temperature,
    with_temperature,
)

Sample = tuple[NDArray[np.float64], NDArray[np.int64]]


def sample(temperature: float, count: int = 4000, classes: int = 3, seed: int = 0) -> Sample:
    """Labels drawn from true probabilities, and what a network says that is off by temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, classes))
    true = softmax(logits, axis=1)
    labels = (true.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return softmax(logits * temperature, axis=1), labels.astype(np.int64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    assert best_temperature(*sample(temperature)) == pytest.approx(temperature, rel=0.1)


def test_scaling_mends_loss_and_calibration_error() -> None:
    probabilities, labels = sample(4.0)
    scaling = fit_temperature(probabilities, labels, np.arange(len(labels)) % 5)
    assert scaling.loss[1] < scaling.loss[0] - 0.1
    assert scaling.error[1] < 0.03 < scaling.error[0]


def test_what_it_brings_is_measured_on_other_images() -> None:
    probabilities, labels = sample(2.0, count=40)
    scaling = fit_temperature(probabilities, labels, np.arange(40) % 4)
    fitted = with_temperature(probabilities, best_temperature(probabilities, labels))
    own_loss = -np.log(fitted[np.arange(40), labels]).mean()
    assert scaling.loss[1] > own_loss


@given(st.floats(0.05, 20), st.integers(2, 5), st.integers(0, 1000))
def test_no_prediction_changes(temperature: float, classes: int, seed: int) -> None:
    probabilities, _ = sample(1.0, 20, classes, seed)
    scaled = with_temperature(probabilities, temperature)
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    np.testing.assert_array_equal(scaled.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(with_temperature(probabilities, 1.0), probabilities)


def test_certainty_is_no_trouble() -> None:
    certain = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    scaling = fit_temperature(certain, np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1]))
    assert np.isfinite([scaling.temperature, *scaling.loss, *scaling.error]).all()
