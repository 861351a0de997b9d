"""Intervals against published tables, closed forms and scipy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from torchmetrics.functional.classification import multiclass_calibration_error

from vehicle_lightning.runs.statistics import (
    Measurement,
    Share,
    calibration_error,
    difference_interval,
    wilson_interval,
)


def measured(correct: int, n: int) -> Measurement:
    return Measurement.from_predictions(np.arange(n) < correct, np.zeros(n))


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    n = draw(st.integers(1, 500))
    return measured(draw(st.integers(0, n)), n)


@pytest.mark.parametrize(
    ("correct", "n", "expected"),
    [
        # Newcombe (1998), Two-sided confidence intervals for the single proportion, table I.
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_interval_agrees_with_the_published_table(
    correct: int, n: int, expected: tuple[float, float]
) -> None:
    assert wilson_interval(correct, n) == pytest.approx(expected, abs=5e-5)


@given(st.data(), st.integers(1, 10_000), st.floats(0.5, 0.999))
def test_wilson_bounds_solve_the_score_equation(
    data: st.DataObject, n: int, confidence: float
) -> None:
    """A bound b is where (p - b)² = z² b (1 - b) / n."""
    p = (correct := data.draw(st.integers(0, n))) / n
    z = norm.ppf((1 + confidence) / 2)
    low, high = wilson_interval(correct, n, confidence)
    assert 0 <= low <= p <= high <= 1
    for bound in (low, high):
        assert (p - bound) ** 2 == pytest.approx(z**2 * bound * (1 - bound) / n, abs=1e-9)


@given(st.data(), st.integers(1, 1000))
def test_wilson_interval_mirrors_and_widens_with_confidence(data: st.DataObject, n: int) -> None:
    correct = data.draw(st.integers(0, n))
    low, high = wilson_interval(correct, n)
    assert wilson_interval(n - correct, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    wide_low, wide_high = wilson_interval(correct, n, 0.99)
    assert wide_low <= low
    assert high <= wide_high


@pytest.mark.parametrize(
    ("correct", "n", "confidence", "message"),
    [
        (0, 0, 0.95, "at least one image"),
        (-1, 5, 0.95, "between 0 and n=5"),
        (6, 5, 0.95, "between 0 and n=5"),
        (3, 5, 0.0, "confidence"),
        (3, 5, 95.0, "confidence"),
        (3, 5, math.nan, "confidence"),
    ],
)
def test_wilson_interval_refuses_bad_input(
    correct: int, n: int, confidence: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        wilson_interval(correct, n, confidence)


def test_measurement_counts_and_averages() -> None:
    correct = np.array([True, False, True, True])
    measurement = Measurement.from_predictions(correct, np.array([0.1, 2.0, 0.3, 0.4], np.float32))
    assert measurement.accuracy == 0.75
    assert measurement.n == 4
    assert measurement.loss == pytest.approx(0.7)
    assert measurement.interval == wilson_interval(3, 4)


def test_measurement_keeps_the_loss_of_a_diverged_model() -> None:
    measurement = Measurement.from_predictions(np.zeros(3, bool), np.array([1.0, math.nan, 2.0]))
    assert math.isnan(measurement.loss)


def test_measurement_prints_accuracy_interval_and_n() -> None:
    assert str(measured(131, 165)) == "79.4 % [72.6, 84.9] (n=165)"
    assert str(measured(5, 5)) == "100.0 % [56.6, 100.0] (n=5)"


@pytest.mark.parametrize(
    ("correct", "losses"),
    [
        (np.zeros(0, bool), np.zeros(0)),
        (np.zeros(3, bool), np.zeros(4)),
        (np.zeros((2, 2), bool), np.zeros((2, 2))),
    ],
)
def test_measurement_refuses_arrays_that_do_not_fit(
    correct: np.ndarray, losses: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=r"at least one image|shape \(n,\)"):
        Measurement.from_predictions(correct, losses)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        # Newcombe (1998), ... difference between independent proportions, table II, method 10.
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((6, 7), (2, 7), (0.0582, 0.8062)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
        ((0, 10), (0, 10), (-0.2775, 0.2775)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ],
)
def test_difference_interval_agrees_with_the_published_table(
    a: tuple[int, int], b: tuple[int, int], expected: tuple[float, float]
) -> None:
    assert difference_interval(measured(*a), measured(*b)) == pytest.approx(expected, abs=5e-5)


@given(measurements(), measurements())
def test_difference_interval_is_antisymmetric_and_stays_in_range(
    a: Measurement, b: Measurement
) -> None:
    low, high = difference_interval(a, b)
    assert -1 - 1e-12 <= low <= a.accuracy - b.accuracy <= high <= 1 + 1e-12
    assert difference_interval(b, a) == pytest.approx((-high, -low), abs=1e-12)


def test_the_calibration_error_is_that_of_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.5, 0.5, 0.5], 500)
    labels = rng.integers(0, 3, 500)
    expected = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(labels), 3, n_bins=15, norm="l1"
    )
    assert calibration_error(probabilities, labels) == pytest.approx(float(expected), abs=1e-6)


def test_duplicates_count_once_in_the_interval() -> None:
    right = np.repeat([True, True, True, False], 2)
    loss = np.zeros(8)
    twice = Measurement.from_predictions(right, loss, np.repeat(np.arange(4), 2))
    assert (twice.accuracy, twice.n) == (0.75, 8)
    assert twice.interval == Measurement.from_predictions(right[::2], loss[::2]).interval
    assert Measurement.from_predictions(right, loss, np.arange(8)).interval == (
        Measurement.from_predictions(right, loss).interval
    )


@given(st.integers(1, 3000), st.floats(0, 1), st.integers(1, 6))
def test_an_interval_tells_how_many_images_it_is_of(images: int, share: float, copies: int) -> None:
    right = np.arange(images) < round(share * images)
    found = Measurement.from_predictions(
        np.repeat(right, copies), np.zeros(images * copies), np.repeat(np.arange(images), copies)
    )
    assert found.n == images * copies
    assert found.independent == pytest.approx(images, rel=1e-6)


@pytest.mark.parametrize("copies", [1, 49, 98, 103])
def test_all_images_may_be_of_one_photograph(copies: int) -> None:
    share = Share.of(np.ones(copies, dtype=bool), np.zeros(copies, dtype=np.int64))
    assert share is not None
    assert share.interval == pytest.approx(wilson_interval(1, 1))
