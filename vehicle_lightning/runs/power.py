"""Power: how large a difference so many images and trainings show, and how many a difference takes.

A difference is *shown* where the two-sided test of `runs/paired.py` has a p-value below 0.05, and
everything here is about showing it in 80 % of experiments. `benchmarks/power.py` checks that by
simulation.

Sources:
    McNemar (1947), Note on the sampling error of the difference between correlated proportions.
    Connor (1987), Sample size for testing differences in proportions for the paired-sample design.
    Card et al. (2020), With little power comes great responsibility.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtr, stdtrit

POWER = 0.8
ALPHA = 0.05
MOST_IMAGES = 10_000_000
MOST_SEEDS = 1000
QUANTILES = 50  # at which the chance of an estimated spread is summed up


@dataclass(frozen=True)
class Spread:
    """What makes two trained networks differ on the same images.

    Attributes:
        discordant: share of the images that only one of two networks gets right, one of each of
            the settings.
        chance: the part of it that trainings of equal settings have too, at most `discordant`.
        training: standard deviation of the accuracy of a training from one seed to the next, less
            what that chance of single images explains.
    """

    discordant: float
    chance: float
    training: float


def networks_power(images: int, difference: float, discordant: float) -> float:
    """Return the chance that McNemar's exact test shows a difference of two trained networks.

    Args:
        images: that both predict.
        difference: of their accuracies, in (0, 1].
        discordant: share of the images that only one of the two gets right; at least `difference`.
    """
    share = max(discordant, difference)
    spread = 8 * math.sqrt(images * share * (1 - share)) + 8
    low, high = max(images * share - spread, 0), min(images * share + spread, images)
    counts = np.arange(math.floor(low), math.ceil(high) + 1)
    binom = scipy.stats.binom  # which takes half a second to load
    # Of so many discordant images, the most that the worse network may have to be called so.
    most = binom.ppf(ALPHA / 2, counts, 0.5)
    most -= binom.cdf(most, counts, 0.5) > ALPHA / 2
    worse = (share - difference) / (2 * share)
    shown = binom.cdf(most, counts, worse) + binom.sf(counts - most - 1, counts, worse)
    return float((binom.pmf(counts, images, share) * shown).sum())


def settings_power(
    images: int, difference: float, spread: Spread, *, folds: int, seeds: int
) -> float:
    """Return the chance that the test of two settings shows a difference of their accuracies.

    Args:
        images: that both validate, over all folds.
        difference: of the mean accuracies, in (0, 1].
        spread: of the images and the trainings.
        folds: 1 is a hold-out, which needs two seeds.
        seeds: trainings in each fold on both sides.

    Raises:
        ValueError: one training a side tells nothing of settings.
    """
    if folds * seeds < 2:
        raise ValueError("one training a side tells nothing of settings")
    apart = max(spread.discordant, difference) - spread.chance  # mean square over the images
    of_images = max(apart - difference**2, 0) / images
    chance = spread.chance / (images * seeds)
    of_trainings = 2 * spread.training**2 / (folds * seeds) + chance
    variance = of_images + of_trainings
    seen_images = of_images + chance + 2 / images**2
    if seeds == 1:  # the spread of the folds' differences
        squared = np.maximum(seen_images, variance * _mean_squares(folds - 1))
        freedom = np.full(QUANTILES, folds - 1.0)
    else:
        known = folds * (seeds - 1)
        sides = of_trainings / 2 * np.stack(np.meshgrid(*[_mean_squares(known)] * 2))
        seen = sides.sum(axis=0)
        squared = np.maximum(np.maximum(seen_images, seen), seen_images + seen - chance)
        freedom = squared**2 / (np.square(sides).sum(axis=0) / known).clip(1e-300)
    needed = stdtrit(np.minimum(freedom, 1e9), 1 - ALPHA / 2) * np.sqrt(squared)
    deviation = math.sqrt(variance)
    shown = ndtr((difference - needed) / deviation) + ndtr((-difference - needed) / deviation)
    return float(shown.mean())


def _mean_squares(freedom: int) -> NDArray[np.float64]:
    """Return quantiles of chi-squared over its degrees of freedom, shape (QUANTILES,)."""
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    quantiles: NDArray[np.float64] = gammaincinv(freedom / 2, levels) * 2 / freedom
    return quantiles


def smallest_shown(n: int, differing: float) -> float:
    """Return the difference of two networks that McNemar's exact test shows; 1 where none is.

    Args:
        n: images.
        differing: share of them that only one of the two networks gets right, in (0, 1].
    """
    return _smallest(lambda difference: networks_power(n, difference, differing))


def smallest_of_settings(images: int, spread: Spread, *, folds: int, seeds: int) -> float:
    """Return the difference of two settings that so many images, folds and seeds show."""
    return _smallest(
        lambda difference: settings_power(images, difference, spread, folds=folds, seeds=seeds)
    )


def images_for_networks(difference: float, discordant: float) -> int | None:
    """Return the images it takes to show a difference of two networks; None beyond ten million."""
    return _fewest(lambda images: networks_power(images, difference, discordant), MOST_IMAGES)


def images_for_settings(difference: float, spread: Spread, *, folds: int, seeds: int) -> int | None:
    """Return the images it takes to show a difference of two settings.

    None where no ten million do, as the trainings spread too much.
    """
    return _fewest(
        lambda images: settings_power(images, difference, spread, folds=folds, seeds=seeds),
        MOST_IMAGES,
        least=10 * folds,
    )


def seeds_for_settings(difference: float, spread: Spread, *, images: int, folds: int) -> int | None:
    """Return the seeds a side it takes to show a difference of two settings on these images.

    None where no thousand do, as the images are too few.
    """
    return _fewest(
        lambda seeds: settings_power(images, difference, spread, folds=folds, seeds=seeds),
        MOST_SEEDS,
        least=1 if folds > 1 else 2,
    )


def _smallest(power: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(25):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def _fewest(power: Callable[[int], float], most: int, *, least: int = 1) -> int | None:
    high = least
    while power(high) < POWER:
        if high >= most:
            return None
        least, high = high, min(2 * high, most)
    while high - least > 1:
        middle = (least + high) // 2
        least, high = (least, middle) if power(middle) >= POWER else (middle, high)
    return high
