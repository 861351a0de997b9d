"""Tests and intervals of paired differences against statsmodels, scipy and worked examples."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from vehicle_lightning.compare.paired import (
    difference_interval,
    holm_adjusted,
    sign_flip_p_value,
)


def steps(better: int, worse: int, equal: int) -> np.ndarray:
    return np.repeat([1, -1, 0], [better, worse, equal])


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 20))
def test_one_training_a_side_is_the_exact_test_of_mcnemar(
    better: int, worse: int, equal: int
) -> None:
    expected = mcnemar([[equal, better], [worse, 0]], exact=True).pvalue
    assert sign_flip_p_value(steps(better, worse, equal)) == pytest.approx(
        min(expected, 1.0), rel=1e-6, abs=1e-12
    )


@given(st.lists(st.integers(-4, 4), min_size=2, max_size=9))
@settings(max_examples=25)
def test_several_seeds_are_the_exact_permutation_test_of_scipy(values: list[int]) -> None:
    differences = np.array(values)
    expected = permutation_test(
        (differences,),
        lambda x, axis: np.abs(np.sum(x, axis=axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    ).pvalue
    assert sign_flip_p_value(differences) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=10))
def test_the_p_value_counts_sign_patterns(values: list[int]) -> None:
    seen = abs(sum(values))
    patterns = list(itertools.product((-1, 1), repeat=len(values)))
    as_large = sum(
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) >= seen for signs in patterns
    )
    assert sign_flip_p_value(np.array(values)) == pytest.approx(as_large / len(patterns))


def test_the_unit_of_the_differences_does_not_matter() -> None:
    assert sign_flip_p_value(3 * steps(12, 3, 9)) == pytest.approx(
        sign_flip_p_value(steps(12, 3, 9))
    )


def test_at_the_size_of_a_large_data_set() -> None:
    rng = np.random.default_rng(0)
    differences = rng.integers(-3, 4, 100_000)
    p_value = sign_flip_p_value(differences)
    z = differences.sum() / math.sqrt(np.square(differences).sum())
    assert p_value == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), rel=0.02)


def test_the_worked_example_of_the_readme() -> None:
    """165 images; only the second run is right on 20, only the first on 9."""
    differences = steps(20, 9, 136)
    assert sign_flip_p_value(differences) == pytest.approx(0.0614, abs=5e-5)
    low, high = difference_interval(differences)
    # By hand: (20 - 9) / 167 = 0.0659; sqrt((31 / 167 - 0.0659 ** 2) / 167) = 0.0330.
    assert low == pytest.approx(0.0659 - 1.96 * 0.0330, abs=2e-4)
    assert high == pytest.approx(0.0659 + 1.96 * 0.0330, abs=2e-4)
    # The interval just excludes zero where the exact test, which is stricter, just does not.
    assert 0 < low < 0.002


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_the_interval_holds_the_published_formula(better: int, worse: int, equal: int) -> None:
    """Bonett and Price (2012), with p12 = (b + 1) / (n + 2) and p21 = (c + 1) / (n + 2)."""
    n = better + worse + equal
    p12, p21 = (better + 1) / (n + 2), (worse + 1) / (n + 2)
    reach = 1.959964 * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    low, high = difference_interval(steps(better, worse, equal))
    assert low == pytest.approx(max(p12 - p21 - reach, -1), abs=1e-6)
    assert high == pytest.approx(min(p12 - p21 + reach, 1), abs=1e-6)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    truth = 0.12 - 0.05
    covered = 0
    for _ in range(2000):
        low, high = difference_interval(rng.choice([1, -1, 0], 165, p=[0.12, 0.05, 0.83]))
        covered += low <= truth <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)


def test_variance_between_seeds_widens_the_interval() -> None:
    low, high = difference_interval(steps(20, 9, 136))
    wider_low, wider_high = difference_interval(steps(20, 9, 136), 0.01**2)
    assert wider_low < low
    assert wider_high > high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    assert holm_adjusted(p_values) == pytest.approx(list(expected))


def test_holm_of_nothing_is_nothing() -> None:
    assert holm_adjusted([]) == []
