"""Paired tests against statsmodels, scipy, simulation and worked examples."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from vehicle_lightning.runs.paired import (
    Difference,
    Outcomes,
    conclude,
    holm_adjusted,
    paired_difference,
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


def outcomes(right: np.ndarray, folds: int = 1) -> Outcomes:
    """A run from bool of shape (seeds, images); image i validates in fold i modulo folds."""
    seeds, n = right.shape
    image = np.tile(np.arange(n), seeds)
    files = np.array([f"{number:06}" for number in range(n)])
    return Outcomes(files, image, image % folds, np.repeat(np.arange(seeds), n), right.ravel())


def twice_right(right: np.ndarray) -> np.ndarray:
    return np.concatenate([right, right], axis=1)


def difference(a: np.ndarray, b: np.ndarray, folds: int = 1) -> Difference:
    found = paired_difference(outcomes(a, folds), outcomes(b, folds))
    assert found is not None
    return found


def trained(
    rng: np.random.Generator, easy: np.ndarray, seeds: int, spread: float, folds: int = 1
) -> np.ndarray:
    """Trainings of one setting: each moves all images of its fold by what its seed brings."""
    moves = rng.normal(0, spread, (seeds, folds))[:, np.arange(len(easy)) % folds]
    return rng.random((seeds, len(easy))) < 1 / (1 + np.exp(-(easy + moves)))


def one_each(better: int, worse: int, equal: int) -> Difference:
    seen = steps(better, worse, equal)
    return difference(seen[None] > 0, seen[None] < 0)


def test_the_worked_example_of_the_docs() -> None:
    """165 images; only the second run is right on 20, only the first on 9."""
    found = one_each(20, 9, 136)
    assert found.value == pytest.approx(11 / 165)
    assert found.p_networks == pytest.approx(0.0614, abs=5e-5)
    # By hand: (20 - 9) / 167 = 0.0659; sqrt((31 / 167 - 0.0659 ** 2) / 167) = 0.0330. The lower
    # bound, 0.1 points, gives way to the exact test, which does not exclude 0.
    assert found.networks_interval() == (0, pytest.approx(0.0659 + 1.96 * 0.0330, abs=2e-4))
    assert not found.is_of_settings
    (only,) = conclude([found])
    assert str(only) == "no difference shown"


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 900), st.floats(0.9, 0.9999))
def test_interval_and_p_of_two_networks_never_disagree(
    better: int, worse: int, equal: int, confidence: float
) -> None:
    found = one_each(better, worse, equal + 1)
    low, high = found.networks_interval(confidence)
    assert (low <= 0 <= high) == (found.p_networks >= 1 - confidence)


@pytest.mark.parametrize(("seeds", "folds"), [(1, 1), (2, 1), (1, 5), (3, 5)])
@pytest.mark.parametrize("known_to", [(True, True), (True, False), (False, True)])
def test_duplicates_count_once(seeds: int, folds: int, known_to: tuple[bool, bool]) -> None:
    """Every photograph there twice, in one fold: nothing is shown that was not shown before."""
    rng = np.random.default_rng(3)
    sides = [rng.random((seeds, 100)) < accuracy for accuracy in (0.9, 0.7)]
    single = difference(sides[0], sides[1], folds)
    twice = [
        replace(
            outcomes(twice_right(side), folds),
            photograph=np.tile(np.arange(100), 2) if known else None,
        )
        for side, known in zip(sides, known_to, strict=True)
    ]
    double = paired_difference(twice[0], twice[1])
    assert double is not None
    assert (double.n, double.independent) == (200, 100)
    assert double.value == pytest.approx(single.value)
    assert double.p_networks == pytest.approx(single.p_networks)
    assert double.networks_interval() == pytest.approx(single.networks_interval())
    assert double.image_error == pytest.approx(single.image_error)
    assert double.error == pytest.approx(single.error, nan_ok=True)
    assert double.smallest_shown == pytest.approx(single.smallest_shown)
    assert double.seeds_to_show == single.seeds_to_show
    assert single.images_to_show is not None
    assert double.images_to_show == 2 * single.images_to_show
    unknown = paired_difference(replace(twice[0], photograph=None), outcomes(twice_right(sides[1])))
    assert unknown is not None
    assert unknown.p_networks < single.p_networks


def test_equal_networks_are_rarely_called_different_for_their_duplicates() -> None:
    rng = np.random.default_rng(5)
    photograph = np.repeat(np.arange(200), np.tile([1, 3], 100))
    single = twice = 0
    for _ in range(300):
        easy = rng.normal(1.2, 1.5, 200)
        sides = [outcomes(trained(rng, easy, 1, 0.0)[:, photograph]) for _ in range(2)]
        by_file = paired_difference(sides[0], sides[1])
        by_photograph = paired_difference(*(replace(s, photograph=photograph) for s in sides))
        assert by_file is not None
        assert by_photograph is not None
        single += by_file.p_networks < 0.05
        twice += by_photograph.p_networks < 0.05
    assert twice / 300 <= 0.075 < single / 300


def test_the_photographs_of_predictions() -> None:
    frame = pd.DataFrame(
        {
            "file": ["c", "a", "b", "a", "c", "b"],
            "label": "1",
            "prediction": ["1", "0", "1", "1", "0", "1"],
            "seed": [0, 0, 0, 1, 1, 1],
            "photograph": [7.0, 2.0, 7.0, 2.0, 7.0, 7.0],
        }
    )
    found = Outcomes.from_predictions(frame)
    assert found.photograph is not None
    assert found.photograph.tolist() == [2, 7, 7]
    assert found.only(np.array(["a", "c"])).photograph.tolist() == [2, 7]  # type: ignore[union-attr]


@pytest.mark.parametrize(("seeds", "folds"), [((1, 1), 5), ((2, 2), 1), ((3, 3), 5), ((3, 1), 1)])
def test_the_same_settings_are_rarely_called_different(seeds: tuple[int, int], folds: int) -> None:
    rng = np.random.default_rng(7)
    false = networks = 0
    for _ in range(300):
        easy = rng.normal(1.2, 1.5, 400)
        a, b = (trained(rng, easy, count, 0.5, folds) for count in seeds)
        found = difference(a, b, folds)
        false += found.p_value < 0.05
        networks += found.p_networks < 0.05
    assert false / 300 <= 0.075  # 5 % and two standard errors
    assert networks > false


def test_a_difference_of_settings_is_found_and_covered() -> None:
    rng = np.random.default_rng(3)
    easy = rng.normal(1.0, 1.5, 600)
    truth = float((1 / (1 + np.exp(-easy - 0.8)) - 1 / (1 + np.exp(-easy))).mean())
    found = [
        difference(trained(rng, easy + 0.8, 3, 0.1, 5), trained(rng, easy, 3, 0.1, 5), 5)
        for _ in range(60)
    ]
    assert sum(one.p_value < 0.05 for one in found) >= 57
    covered = sum(low <= truth <= high for low, high in (one.interval() for one in found))
    assert covered >= 53


def test_with_one_training_a_side_nothing_is_said_of_the_settings() -> None:
    (only,) = conclude([one_each(40, 5, 100)])
    assert math.isnan(only.difference.p_value)
    assert str(only) == "better here; one training each"


def test_images_of_one_run_alone_do_not_count() -> None:
    both = outcomes(np.ones((2, 9), dtype=bool))
    other = both.only(both.files[[1, 4]])
    found = paired_difference(both, other)
    assert found is not None
    assert (found.n, found.value) == (2, 0)
    nothing = both.only(both.files[:0])
    assert paired_difference(both, nothing) is None


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=6))
@settings(max_examples=30)
def test_adjusted_test_and_interval_never_disagree(pairs: list[tuple[int, int]]) -> None:
    for one in conclude([one_each(better, worse, 5) for better, worse in pairs]):
        low, high = one.interval
        assert (one.p_adjusted < 0.05) == (not low <= 0 <= high)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    assert holm_adjusted(p_values) == pytest.approx(list(expected))


def test_holm_of_nothing_is_nothing() -> None:
    assert holm_adjusted([]) == []
