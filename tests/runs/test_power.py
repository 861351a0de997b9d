"""Power against enumeration and simulation; `benchmarks/power.py` has the long version."""

import numpy as np
import pytest
from scipy.stats import multinomial

from vehicle_lightning.runs.paired import Outcomes, paired_difference, sign_flip_p_value
from vehicle_lightning.runs.power import (
    Spread,
    images_for_networks,
    images_for_settings,
    networks_power,
    seeds_for_settings,
    settings_power,
    smallest_of_settings,
    smallest_shown,
)

SPREAD = Spread(discordant=0.12, chance=0.08, training=0.01)


@pytest.mark.parametrize(("difference", "discordant"), [(0.1, 0.3), (0.3, 0.3), (0.5, 0.1)])
def test_mcnemar_against_every_outcome(difference: float, discordant: float) -> None:
    n, share = 25, max(difference, discordant)
    better, worse = (share + difference) / 2, (share - difference) / 2
    expected = sum(
        multinomial.pmf([b, w, n - b - w], n, [better, worse, 1 - share])
        for b in range(n + 1)
        for w in range(n + 1 - b)
        if sign_flip_p_value(np.repeat([1, -1], [b, w])) < 0.05
    )
    assert networks_power(n, difference, discordant) == pytest.approx(expected, abs=1e-9)


def test_what_is_planned_for_two_networks_is_just_enough() -> None:
    images = images_for_networks(0.02, 0.12)
    assert images is not None
    assert networks_power(images, 0.02, 0.12) >= 0.8 > networks_power(images - 50, 0.02, 0.12)
    assert smallest_shown(images, 0.12) == pytest.approx(0.02, abs=2e-4)
    assert smallest_shown(4, 0.12) == 1  # which no p-value of four images can show


@pytest.mark.parametrize(("folds", "seeds"), [(4, 1), (4, 3)])
def test_two_settings_against_simulation(folds: int, seeds: int) -> None:
    rng = np.random.default_rng(0)
    n, accuracy, deviation = 400, 0.7, 0.02
    images = np.arange(n)
    files = np.sort(images.astype(str))
    # Every image is as difficult as any other, so that all discordance is chance.
    chance = 2 * accuracy * (1 - accuracy)
    spread = Spread(discordant=chance, chance=chance, training=deviation)
    difference = smallest_of_settings(n, spread, folds=folds, seeds=seeds)
    fold = images % folds
    for by, low, high in ((difference, 0.7, 0.9), (0.0, 0.0, 0.09)):
        shown = []
        for _ in range(200):
            sides = []
            for mean in (accuracy + by / 2, accuracy - by / 2):
                of_training = mean + deviation * rng.standard_normal((seeds, folds))
                right = rng.random((seeds, n)) < of_training[:, fold]
                seed = np.repeat(np.arange(seeds), n)
                image = np.tile(images, seeds)
                sides.append(Outcomes(files, image, fold[image], seed, right.ravel()))
            found = paired_difference(*sides)
            assert found is not None
            shown.append(found.p_value < 0.05)
        assert low <= np.mean(shown) <= high


def test_images_and_seeds_for_two_settings() -> None:
    images = images_for_settings(0.02, SPREAD, folds=5, seeds=3)
    assert images is not None
    assert settings_power(images, 0.02, SPREAD, folds=5, seeds=3) == pytest.approx(0.8, abs=0.01)
    assert seeds_for_settings(0.02, SPREAD, images=images, folds=5) == 3
    assert seeds_for_settings(0.02, SPREAD, images=100, folds=5) is None
    assert images_for_settings(0.01, SPREAD, folds=5, seeds=1) is None  # trainings spread too much
    with pytest.raises(ValueError, match="one training a side"):
        settings_power(100, 0.1, SPREAD, folds=1, seeds=1)


def test_the_spread_of_two_runs_is_found() -> None:
    rng = np.random.default_rng(3)
    n, folds, seeds = 4000, 5, 8
    images, fold = np.arange(n), np.arange(n) % folds
    easy = rng.random((2, n)) < 0.8  # an image is right in 9 of 10 trainings, or in 1 of 10
    sides = []
    for one in easy:
        shift = 0.03 * rng.standard_normal((seeds, folds))
        right = rng.random((seeds, n)) < np.where(one, 0.9, 0.1) + shift[:, fold]
        image = np.tile(images, seeds)
        seed = np.repeat(np.arange(seeds), n)
        files = np.sort(images.astype(str))
        sides.append(Outcomes(files, image, fold[image], seed, right.ravel()))
    found = paired_difference(*sides)
    assert found is not None
    assert found.spread.chance == pytest.approx(0.18, abs=0.01)
    assert found.spread.discordant == pytest.approx(0.18 * 0.68 + 0.82 * 0.32, abs=0.02)
    assert found.spread.training == pytest.approx(0.03, abs=0.01)
    assert (found.folds, found.seeds) == (folds, seeds)
