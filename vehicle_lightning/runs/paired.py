"""Two runs on the same images: do their settings differ, or only these trained networks?

Two questions, two tests.

*These trained networks* on other images of the kind: only the images vary. Of the images that one
got right and the other wrong, chance would hand each to either alike (McNemar 1947; with several
seeds Pitman 1937).

*These settings* when trained again: images and trainings vary. The difference of the mean
accuracies is divided by a standard error that holds both, and compared with Student's t:

-   The images' share is the variance of the paired differences over the images.
-   The trainings' share, with two seeds or more in each fold on both sides, is the variance of the
    accuracies between the seeds of a fold, pooled over the folds, with the degrees of freedom of
    Welch and Satterthwaite. What both shares hold of the same, the chance of single images between
    trainings, is taken off once, as for crossed random effects.
-   With one seed and several folds it is the spread of the folds' differences, which holds images
    and trainings alike, with one degree of freedom less than there are folds.
-   With several seeds on one side only, and no folds, the other is taken to spread alike.
-   With one training a side it is unknown. Nothing is said of the settings.

In both tests the duplicates of a photograph count once: they are right or wrong together.

`docs/statistics.md` has the rates of false conclusions on pairs of really trained runs.

Sources:
    McNemar (1947), Note on the sampling error of the difference between correlated proportions.
    Pitman (1937), Significance tests which may be applied to samples from any populations.
    Satterthwaite (1946), An approximate distribution of estimates of variance components.
    Bonett and Price (2012), Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data.
    Holm (1979), A simple sequentially rejective multiple test procedure.
    Nadeau and Bengio (2003), Inference for the generalization error.
    Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

from vehicle_lightning.runs.power import (
    Spread,
    images_for_networks,
    images_for_settings,
    seeds_for_settings,
    smallest_shown,
)
from vehicle_lightning.runs.statistics import independent_images

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Outcomes:
    """Which images the trainings of a run got right; none had been trained on them.

    Attributes:
        files: str of shape (N,), ascending, each once.
        image: int64 of shape (M,), the index of the image of each prediction.
        fold: int64 of shape (M,), the fold it validated in; 0 where there are none.
        seed: int64 of shape (M,), the seed; 0 where there is one.
        right: bool of shape (M,).
        photograph: int64 of shape (N,), which photograph each file shows; None where each shows
            another, or duplicates are not known.
    """

    files: NDArray[np.str_]
    image: NDArray[np.int64]
    fold: NDArray[np.int64]
    seed: NDArray[np.int64]
    right: NDArray[np.bool_]
    photograph: NDArray[np.int64] | None = None

    @classmethod
    def from_predictions(cls, frame: pd.DataFrame) -> "Outcomes":
        """Take `file`, `label`, `prediction`, and if given `seed`, `fold` and `photograph`."""
        files, first, image = np.unique(
            frame["file"].to_numpy(dtype=str), return_index=True, return_inverse=True
        )
        right = frame["label"].to_numpy() == frame["prediction"].to_numpy()
        fold, seed = (
            pd.to_numeric(frame[key]).fillna(0).to_numpy(dtype=np.int64)
            if key in frame
            else np.zeros(len(frame), dtype=np.int64)
            for key in ("fold", "seed")
        )
        photograph = None
        if "photograph" in frame:
            photograph = frame["photograph"].to_numpy(dtype=np.int64)[first]
        return cls(files, image, fold, seed, right, photograph)

    def only(self, files: NDArray[np.str_]) -> "Outcomes":
        """Keep these of the files."""
        kept = np.isin(self.files, files)
        rows = kept[self.image]
        image = (np.cumsum(kept) - 1)[self.image[rows]]
        photograph = None if self.photograph is None else self.photograph[kept]
        return Outcomes(
            self.files[kept],
            image,
            self.fold[rows],
            self.seed[rows],
            self.right[rows],
            photograph,
        )

    @property
    def trainings(self) -> NDArray[np.int64]:
        """How many trainings predicted each image, shape (N,)."""
        return np.bincount(self.image)

    @property
    def hits(self) -> NDArray[np.int64]:
        """How many of them were right, shape (N,)."""
        return np.bincount(self.image, weights=self.right).astype(np.int64)


@dataclass(frozen=True)
class Difference:
    """How much more of the same images one run gets right than another.

    Attributes:
        n: images that both validated.
        independent: what they are worth where duplicates count once, at most n.
        value: difference of the mean accuracies on them, in [-1, 1].
        error: standard error of it for the settings, over images and trainings; not a number where
            one training a side leaves it unknown.
        freedom: degrees of freedom of the error.
        image_error: standard error of the value for these networks on other images.
        p_networks: of the exact test that these trained networks do equally well on other images.
        better: images that only this run got right; the mean over the trainings of a side.
        worse: images that only the other run got right, likewise.
        spread: of the images and the trainings; known of the latter where `error` is.
        folds: in which the images validated; 1 where there are none.
        seeds: trainings of a fold, the mean of the two sides.
    """

    n: int
    independent: float
    value: float
    error: float
    freedom: float
    image_error: float
    p_networks: float
    better: float
    worse: float
    spread: Spread
    folds: int
    seeds: int

    @property
    def is_of_settings(self) -> bool:
        """Whether there are trainings enough to speak of the settings."""
        return not math.isnan(self.error)

    @property
    def p_value(self) -> float:
        """Of the test that the settings do equally well; not a number where it is unknown."""
        return 2 * float(stdtr(self.freedom, -abs(self.value) / self.error))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Of the difference of the settings; excludes 0 where 1 - confidence is above p_value."""
        reach = float(stdtrit(self.freedom, (1 + confidence) / 2)) * self.error
        return max(self.value - reach, -1.0), min(self.value + reach, 1.0)

    def networks_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Of the difference of two networks, after Bonett and Price (2012).

        Where the exact test says otherwise of 0, it is widened or cut to end there.
        """
        mean = self.value * self.independent / (self.independent + 2)
        reach = float(ndtri((1 + confidence) / 2)) * self.image_error
        low, high = max(mean - reach, -1.0), min(mean + reach, 1.0)
        if self.p_networks >= 1 - confidence:
            return min(low, 0.0), max(high, 0.0)
        return (max(low, 0.0), high) if mean > 0 else (low, min(high, 0.0))

    @property
    def smallest_shown(self) -> float:
        """Return the difference that would be shown with a power of 80 %.

        Where nothing can be said of the settings, it is that of the networks.
        """
        if self.is_of_settings:
            quantiles = stdtrit(self.freedom, 0.975) + stdtrit(self.freedom, 0.8)
            return float(quantiles) * self.error
        independent = int(self.independent)
        return smallest_shown(independent, max(self.spread.discordant, 1 / independent))

    @property
    def images_to_show(self) -> int | None:
        """Images that would show a difference as large as this one, with a power of 80 %.

        Of the settings with as many folds and seeds, where they can be spoken of, else of the
        networks; None where ten million would not.
        """
        value = abs(self.value)
        if not value:
            return None
        needed = (
            images_for_settings(value, self.spread, folds=self.folds, seeds=self.seeds)
            if self.is_of_settings
            else images_for_networks(value, self.spread.discordant)
        )
        return None if needed is None else round(needed * self.n / self.independent)

    @property
    def seeds_to_show(self) -> int | None:
        """Seeds a side that would, on these images; None where a thousand would not."""
        if not self.is_of_settings or not self.value:
            return None
        value, images = abs(self.value), int(self.independent)
        return seeds_for_settings(value, self.spread, images=images, folds=self.folds)


@dataclass(frozen=True)
class Conclusion:
    """What one of several differences shows.

    Attributes:
        difference: what was found.
        p_adjusted: its p-value after Holm's adjustment for the number of differences; that of the
            settings, or where nothing can be said of them that of the networks.
        interval: of the difference, adjusted alike: it excludes 0 where p_adjusted is below 0.05.
    """

    difference: Difference
    p_adjusted: float
    interval: tuple[float, float]

    @property
    def of_networks(self) -> str:
        """What it says of the networks that were compared, whatever others would be."""
        if self.p_adjusted >= SIGNIFICANCE:
            return "no difference shown"
        return "better" if self.difference.value > 0 else "worse"

    def __str__(self) -> str:
        is_open = self.p_adjusted < SIGNIFICANCE and not self.difference.is_of_settings
        return f"{self.of_networks} here; one training each" if is_open else self.of_networks


def range_in_points(shares: Sequence[float]) -> str:
    """Return shares of the images in points, from the smallest to the largest: `1.5 to 3.2`."""
    low, high = (f"{100 * min(end, 1):.1f}" for end in (min(shares), max(shares)))
    return low if low == high else f"{low} to {high}"


def conclude(differences: Sequence[Difference]) -> list[Conclusion]:
    """Adjust the tests of several differences, and their intervals with them."""
    p_values = [d.p_value if d.is_of_settings else d.p_networks for d in differences]
    conclusions = []
    for difference, p, adjusted in zip(differences, p_values, holm_adjusted(p_values), strict=True):
        # At the level that the adjustment leaves, so that test and interval never disagree.
        level = SIGNIFICANCE * p / adjusted if adjusted else SIGNIFICANCE / len(p_values)
        interval = (
            difference.interval if difference.is_of_settings else difference.networks_interval
        )
        conclusions.append(Conclusion(difference, adjusted, interval(1 - level)))
    return conclusions


class _Spread(NamedTuple):
    """Of one side: how the accuracy of a training varies with the seed."""

    of_one: float  # variance of the accuracy of one training in a fold, pooled over the folds
    freedom: int  # degrees of freedom of it; 0 where no fold has two seeds
    share: float  # what of it the variance of the mean accuracy over all images is
    chance: float  # variance of the mean accuracy if each photograph varied by itself


def paired_difference(run: Outcomes, baseline: Outcomes) -> Difference | None:
    """Compare two runs on the images that both validated; None where there are none."""
    a, b = run.only(baseline.files), baseline.only(run.files)
    n = len(a.files)
    if n == 0:
        return None
    scale = int(np.lcm.reduce(np.concatenate([a.trainings, b.trainings])))
    steps = a.hits * (scale // a.trainings) - b.hits * (scale // b.trainings)
    differences = steps / scale
    photograph = _photographs(a, b)
    sizes = np.bincount(photograph)
    together = np.bincount(photograph, weights=steps)
    folds = np.zeros(n, dtype=np.int64)
    folds[a.image] = a.fold
    sides = (_spread(a, photograph), _spread(b, photograph))
    independent = independent_images(sizes)
    images = _image_variance(together / scale, sizes)
    error, freedom = _error(images, differences, folds, sides)
    number = len(np.unique(folds))
    return Difference(
        n=n,
        independent=independent,
        value=float(steps.mean()) / scale,
        error=error,
        freedom=freedom,
        image_error=math.sqrt(images),
        p_networks=sign_flip_p_value(together.astype(np.int64)),
        better=float(steps[steps > 0].sum()) / scale,
        worse=-float(steps[steps < 0].sum()) / scale,
        spread=_spread_of_both(a, b, sides, independent, error, number),
        folds=number,
        seeds=max(1, round((len(a.image) + len(b.image)) / (2 * n))),
    )


def _photographs(a: Outcomes, b: Outcomes) -> NDArray[np.int64]:
    """Number the photographs of both from 0; the duplicates of either side are duplicates."""
    known = [side.photograph for side in (a, b) if side.photograph is not None]
    if not known:
        return np.arange(len(a.files))
    fewest = min(known, key=lambda photograph: len(np.unique(photograph)))
    return np.unique(fewest, return_inverse=True)[1]


def _image_variance(differences: NDArray[np.float64], sizes: NDArray[np.int64]) -> float:
    """Return the variance of the mean difference over the images.

    One photograph in favour of each side is added, of usual size (Bonett and Price 2012). That
    keeps it above zero where few images or none differ.

    Args:
        differences: of each photograph, summed over its duplicates.
        sizes: how many these are.
    """
    usual = float(np.square(sizes).sum() / sizes.sum())
    n = float(sizes.sum()) + 2 * usual
    mean = float(differences.sum()) / n
    squares = float(np.square(differences - sizes * mean).sum())
    return (squares + usual**2 * ((1 - mean) ** 2 + (1 + mean) ** 2)) / n**2


def _error(
    images: float,
    differences: NDArray[np.float64],
    folds: NDArray[np.int64],
    spreads: Sequence[_Spread],
) -> tuple[float, float]:
    """Return the standard error of the mean difference for the settings, and its freedom.

    `images` is the variance of the mean over the images.
    """
    n = len(differences)
    _, fold, sizes = np.unique(folds, return_inverse=True, return_counts=True)
    if all(spread.freedom for spread in spreads):
        parts = [spread.of_one * spread.share for spread in spreads]
        doubt = sum(v**2 / s.freedom for v, s in zip(parts, spreads, strict=True))
        chance = sum(spread.chance for spread in spreads)
        variance = max(images, sum(parts), images + sum(parts) - chance)
        return math.sqrt(variance), variance**2 / doubt if doubt else math.inf
    if len(sizes) > 1:
        means = np.bincount(fold, weights=differences) / sizes
        spread = np.square(sizes / n * (means - differences.mean())).sum()
        variance = float(spread) * len(sizes) / (len(sizes) - 1)
        return math.sqrt(max(images, variance)), len(sizes) - 1
    known = max(spreads, key=lambda spread: spread.freedom)
    if not known.freedom:
        return math.nan, math.nan
    trainings = known.of_one * sum(spread.share for spread in spreads)
    variance = max(images, trainings, images + trainings - known.chance)
    return math.sqrt(variance), known.freedom


def _spread_of_both(
    a: Outcomes,
    b: Outcomes,
    sides: Sequence[_Spread],
    independent: float,
    error: float,
    folds: int,
) -> Spread:
    """Estimate what single images and single trainings contribute to a difference.

    Duplicates count as one image, of which there are `independent`.
    """
    n = len(a.files)
    p, q = (side.hits / side.trainings for side in (a, b))
    discordant = float((p * (1 - q) + q * (1 - p)).mean())
    known = [(s, len(side.image)) for s, side in zip(sides, (a, b), strict=True) if s.freedom]
    if known:
        # `chance` is of the mean over the images' trainings: times all of one image in them.
        chance = 2 * float(np.mean([spread.chance * trainings for spread, trainings in known]))
        chance = min(chance * independent / n, discordant)
        variance = float(np.mean([spread.of_one for spread, _ in known]))
        variance -= chance / 2 * folds / independent
    elif folds > 1:
        # Of one image in two trainings nothing is known; that more seeds do not help it is safe.
        chance, variance = 0.0, (error**2 - discordant / independent) * folds / 2
    else:
        return Spread(discordant, 0.0, math.nan)
    return Spread(discordant, chance, math.sqrt(max(variance, 0.0)))


def _spread(side: Outcomes, photograph: NDArray[np.int64]) -> _Spread:
    n = len(side.files)
    _, fold = np.unique(side.fold, return_inverse=True)
    _, seed = np.unique(side.seed, return_inverse=True)
    cell = fold * (seed.max() + 1) + seed
    shape = (fold.max() + 1, seed.max() + 1)
    sizes = np.bincount(cell, minlength=math.prod(shape)).reshape(shape)
    hits = np.bincount(cell, weights=side.right, minlength=math.prod(shape)).reshape(shape)
    seeds = (sizes > 0).sum(axis=1)
    share = float((np.square(sizes.max(axis=1) / n) / seeds).sum())
    if seeds.min() < 2:
        return _Spread(math.nan, 0, share, 0.0)
    accuracies = np.divide(hits, sizes, out=np.full(shape, np.nan), where=sizes > 0)
    freedom = int((seeds - 1).sum())
    of_one = float((np.nanvar(accuracies, axis=1, ddof=1) * (seeds - 1)).sum()) / freedom
    # The variance between the trainings of what they get right of each photograph.
    of_fold = photograph[side.image] * shape[0] + fold
    trained, place = np.unique(of_fold * shape[1] + seed, return_inverse=True)
    right = np.bincount(place, weights=side.right)
    _, group = np.unique(trained // shape[1], return_inverse=True)
    repeats = np.bincount(group)
    squares = np.bincount(group, weights=right**2) / repeats
    varying = squares - np.square(np.bincount(group, weights=right) / repeats)
    chance = float((varying / (repeats - 1).clip(1)).sum()) / n**2
    return _Spread(of_one, freedom, share, chance)


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
