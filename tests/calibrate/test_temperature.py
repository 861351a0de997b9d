"""Temperature scaling: a known temperature is found, and what it brings is measured honestly."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from torchmetrics.functional.classification import multiclass_calibration_error

from vehicle_lightning.calibrate.temperature import (
    best_temperature,
    calibration_error,
    fit_temperature,
    mean_with_temperature,
)

Sample = tuple[NDArray[np.float64], NDArray[np.int64]]


def sample(temperature: float, count: int = 4000, classes: int = 3, seed: int = 0) -> Sample:
    """Labels drawn from true probabilities, and what a network says that is off by temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, classes))
    true = softmax(logits, axis=1)
    labels = (true.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return softmax(logits * temperature, axis=1)[None], labels.astype(np.int64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    assert best_temperature(*sample(temperature)) == pytest.approx(temperature, rel=0.1)


def test_scaling_mends_loss_and_calibration_error() -> None:
    probabilities, labels = sample(4.0)
    scaling, _ = fit_temperature(probabilities, labels, np.arange(len(labels)) % 5)
    assert scaling.loss[1] < scaling.loss[0] - 0.1
    assert scaling.error[1] < 0.03 < scaling.error[0]
    assert scaling.error_by_chance == pytest.approx(scaling.error[1], abs=0.01)


def test_the_error_is_that_of_torchmetrics() -> None:
    probabilities, labels = sample(3.0, 500)
    expected = multiclass_calibration_error(
        torch.tensor(probabilities[0]), torch.tensor(labels), 3, n_bins=15, norm="l1"
    )
    assert calibration_error(probabilities[0], labels) == pytest.approx(float(expected), abs=1e-6)


def test_a_mean_of_networks_needs_less_than_each_of_them() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (3000, 2))
    true = softmax(logits, axis=1)
    labels = (rng.random(3000) < true[:, 1]).astype(np.int64)
    networks = softmax(1.3 * (logits + rng.normal(0, 1.5, (5, 3000, 2))), axis=2)
    together = best_temperature(networks, labels)
    alone = best_temperature(networks.reshape(1, -1, 2), np.tile(labels, 5))
    assert together < 0.7 * alone
    scaling, _ = fit_temperature(networks, labels, np.arange(3000) % 5)
    assert scaling.loss[1] <= scaling.loss[0]


def test_what_it_brings_is_measured_on_other_images() -> None:
    probabilities, labels = sample(2.0, count=40)
    scaling, _ = fit_temperature(probabilities, labels, np.arange(40) % 4)
    fitted = mean_with_temperature(probabilities, best_temperature(probabilities, labels))
    own_loss = -np.log(fitted[np.arange(40), labels]).mean()
    assert scaling.loss[1] > own_loss


@given(st.floats(0.05, 20), st.integers(2, 5), st.integers(0, 1000))
def test_no_prediction_changes(temperature: float, classes: int, seed: int) -> None:
    probabilities, _ = sample(1.0, 20, classes, seed)
    scaled = mean_with_temperature(probabilities, temperature)
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    np.testing.assert_array_equal(scaled.argmax(axis=1), probabilities[0].argmax(axis=1))
    np.testing.assert_allclose(mean_with_temperature(probabilities, 1.0), probabilities[0])


def test_no_mistake_tells_no_temperature() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    sure = rng.uniform(0.6, 0.99, 60)
    right = np.where(np.arange(2) == labels[:, None], sure[:, None], 1 - sure[:, None])
    scaling, scaled = fit_temperature(right[None], labels, np.arange(60) % 2)
    assert scaling.temperature == 1
    assert scaled == pytest.approx(right)


def test_certainty_is_no_trouble() -> None:
    certain = np.array([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]])
    scaling, _ = fit_temperature(certain, np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1]))
    assert np.isfinite([scaling.temperature, *scaling.loss, *scaling.error]).all()
