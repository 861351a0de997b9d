"""Paired comparison: two runs on the same images, and whether they differ by more than noise.

Of two runs on the same images only the images tell that one got right and the other wrong. The
test asks how often chance alone, which would hand each such image to either side alike, brings a
difference as large as the one seen.

Sources:
    McNemar (1947), Note on the sampling error of the difference between correlated proportions.
    Pitman (1937), Significance tests which may be applied to samples from any populations.
    Bonett and Price (2012), Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data.
    Holm (1979), A simple sequentially rejective multiple test procedure.
    Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import variance

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from vehicle_lightning.compare.records import Record, ValidatedImages


@dataclass(frozen=True)
class Difference:
    """How much more of the same images one run gets right than another.

    Attributes:
        n: images that both validated.
        value: difference of the accuracies on them, in [-1, 1].
        interval: its 95 % confidence interval.
        p_value: of the exact test that there is none.
    """

    n: int
    value: float
    interval: tuple[float, float]
    p_value: float


def paired_difference(run: Record, baseline: Record) -> Difference | None:
    """Compare two runs on the images that both validated; None where there are none.

    Where a run repeated the training with several seeds, an image counts by the fraction of the
    seeds that got it right, and the interval also holds the variance between the seeds.
    """
    here, there = _common(run.images, baseline.images)
    if len(here.files) == 0:
        return None
    scale = int(np.lcm.reduce(np.concatenate([here.trainings, there.trainings])))
    steps = here.right * (scale // here.trainings) - there.right * (scale // there.trainings)
    between_seeds = _variance_of_mean(run.seed_accuracies) + _variance_of_mean(
        baseline.seed_accuracies
    )
    return Difference(
        n=len(steps),
        value=float(steps.mean()) / scale,
        interval=difference_interval(steps / scale, between_seeds),
        p_value=sign_flip_p_value(steps),
    )


def sign_flip_p_value(steps: NDArray[np.int64]) -> float:
    """Two-sided p-value of Pitman's exact permutation test for paired samples.

    Under the null hypothesis each difference is as likely to be positive as negative. For
    differences of -1, 0 and 1, which is one training a side, it is McNemar's exact test.

    Args:
        steps: int64 of shape (N,), the difference of each image in any unit.
    """
    sizes, counts = np.unique(np.abs(steps[steps != 0]), return_counts=True)
    if len(sizes) == 0:
        return 1.0
    unit = int(np.gcd.reduce(sizes))
    sizes = sizes // unit
    largest = int((sizes * counts).sum())
    # The sum of independent signs times sizes has the characteristic function prod(cos(size t)).
    # Sums lie in -largest..largest, so that as many frequencies give their probabilities exactly.
    frequencies = 2 * np.pi * np.arange(2 * largest + 1) / (2 * largest + 1)
    transform = np.ones_like(frequencies)
    for size, count in zip(sizes, counts, strict=True):
        transform *= np.cos(size * frequencies) ** count
    probabilities = np.fft.fft(transform).real.clip(0) / (2 * largest + 1)
    seen = abs(int(steps.sum())) // unit
    sums = np.minimum(np.arange(2 * largest + 1), 2 * largest + 1 - np.arange(2 * largest + 1))
    return float(min(probabilities[sums >= seen].sum(), 1.0))


def difference_interval(
    differences: NDArray[np.float64], further_variance: float = 0.0, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the mean paired difference (Bonett and Price 2012).

    A Wald interval after adding one image in favour of each side, which keeps its coverage where
    few images or none differ.

    Args:
        differences: float of shape (N,) in [-1, 1], the difference of each image.
        further_variance: variance of the mean that does not come from the choice of the images.
        confidence: nominal coverage, in (0, 1).
    """
    n = len(differences) + 2
    mean = float(differences.sum()) / n
    of_images = (float(np.square(differences).sum()) + 2) / n - mean**2
    reach = float(ndtri((1 + confidence) / 2)) * math.sqrt(of_images / n + further_variance)
    return max(mean - reach, -1.0), min(mean + reach, 1.0)


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for being several, so that one wrong discovery among them is rare.

    Holm's step-down method: whatever the truth, the chance that any adjusted value falls below
    0.05 by luck is at most 5 %.
    """
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def _common(a: ValidatedImages, b: ValidatedImages) -> tuple[ValidatedImages, ValidatedImages]:
    if np.array_equal(a.files, b.files):
        return a, b
    _, in_a, in_b = np.intersect1d(a.files, b.files, assume_unique=True, return_indices=True)
    return _only(a, in_a), _only(b, in_b)


def _only(images: ValidatedImages, which: NDArray[np.intp]) -> ValidatedImages:
    return ValidatedImages(images.files[which], images.right[which], images.trainings[which])


def _variance_of_mean(accuracies: Sequence[float]) -> float:
    return variance(accuracies) / len(accuracies) if len(accuracies) > 1 else 0.0
