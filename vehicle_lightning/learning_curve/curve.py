"""The learning curve as a power law: error(n) = a n^-b + c, fitted, doubted and extrapolated.

The measured error of a share, the mean over the folds, varies for two reasons that are kept apart,
as in an analysis of variance of shares by folds: some folds hold difficult images, alike in all
shares; and each training comes out a little different. The bootstrap draws both anew, fits again,
and reads every figure off the fits. What is said of an accuracy holds for trainings to come, so it
has their chance in it too.

-   Shares with precise errors weigh more; how the spread falls with n is smoothed over the shares.
-   Folds train on images that they have in common, so that their mean is less sure than if they
    were independent; its variance is widened as Nadeau and Bengio (2003) do.
-   Few folds say little of how much they vary: each draw is scaled as Student's t has it.

Sources:
    Hestness et al. (2017), Deep learning scaling is predictable, empirically.
    Rosenfeld et al. (2020), A constructive prediction of the generalization error across scales.
    Nadeau and Bengio (2003), Inference for the generalization error.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

DRAWS = 2000
EXPONENTS = np.geomspace(0.05, 2, 60)
SIGNIFICANCE = 0.05
FARTHEST = 4.0  # times the images there are; so far benchmarks/learning_curve_truth.py has looked
FLAT = 0.01  # accuracy; what twice as many images would have to bring to be worth a sentence
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PowerLaw:
    """error(n) = a (n / unit)^-b + c, one law a row.

    Attributes:
        unit: images.
        a: float of shape (B,), at least 0.
        b: float of shape (B,), among EXPONENTS.
        c: float of shape (B,), what no number of images brings down; at least 0.
    """

    unit: float
    a: Floats
    b: Floats
    c: Floats

    @classmethod
    def fit(cls, images: Floats, errors: Floats, variances: Floats) -> "PowerLaw":
        """Fit by weighted least squares: for each exponent a straight line, then the best one.

        Args:
            images: shape (I,).
            errors: shape (B, I), B curves.
            variances: shape (I,), of the errors.
        """
        unit = float(images.max())
        weights = 1 / variances / (1 / variances).sum()
        x = (images[None] / unit) ** -EXPONENTS[:, None]  # (E, I)
        mean_x, mean_y = x @ weights, errors @ weights
        spread = (x - mean_x[:, None]) * weights
        a = (errors @ spread.T) / (spread * x).sum(axis=1)  # (B, E)
        c = mean_y[:, None] - a * mean_x
        falls_below = (a > 0) & (c < 0)
        a = np.where(falls_below, (errors * weights) @ x.T / (x**2 @ weights), a)
        c = np.where(falls_below, 0.0, c)
        c = np.where(a < 0, mean_y[:, None].clip(0), c)
        a = a.clip(0)
        # The square of the rest, summed up without an array of shape (B, E, I).
        rest = (
            (errors**2 @ weights)[:, None]
            - 2 * a * ((errors * weights) @ x.T)
            - 2 * c * mean_y[:, None]
            + a**2 * (x**2 @ weights)
            + 2 * a * c * mean_x
            + c**2
        )
        best = rest.argmin(axis=1)
        rows = np.arange(len(errors))
        return cls(unit, a[rows, best], EXPONENTS[best], c[rows, best])

    def error(self, images: Floats | float) -> Floats:
        """Return the error of each law with so many images: shape (B,), or (I, B) for (I, 1)."""
        return self.a * (images / self.unit) ** -self.b + self.c

    def images(self, errors: Floats | float) -> Floats:
        """Return the images each law takes to come down to an error; infinite where none do."""
        left = np.broadcast_to(np.asarray(errors, dtype=np.float64) - self.c, self.c.shape)
        reached = (left > 0) & (self.a > 0)
        ratio = np.divide(left, self.a, out=np.ones_like(left), where=reached)
        with np.errstate(over="ignore"):
            needed = self.unit * ratio ** (-1 / self.b)
        return np.where(reached, needed, np.where(left > 0, 0.0, np.inf))


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval; infinite where no number is large enough."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: Floats) -> "Interval":
        """Take the quantiles of draws."""
        ordered = np.sort(draws)
        low, high = (ordered[round(q * (len(ordered) - 1))] for q in (0.025, 0.975))
        return cls(value, min(float(low), value), max(float(high), value))

    def within(self, least: float, most: float) -> "Interval":
        """Return the part of it that lies between these."""
        return Interval(*(min(max(one, least), most) for one in (self.value, self.low, self.high)))


@dataclass(frozen=True)
class Curve:
    """What was measured on shares of the training images, and the laws fitted to it.

    Attributes:
        images: shape (I,), training images of each share, ascending.
        errors: shape (I, F), of each share and fold, the mean over the seeds; in [0, 1].
        deviation: shape (I,), standard deviation of the mean error of a share, but for what all
            shares have in common.
        law: fitted to the mean errors.
        laws: fitted to draws of them.
        drawn: shape (B, I), those draws.
        noise: shape (B,), how far the mean error over the folds falls from the law.
        p_fit: of the test that the law holds (lack of fit, F test).
    """

    images: Floats
    errors: Floats
    deviation: Floats
    law: PowerLaw
    laws: PowerLaw
    drawn: Floats
    noise: Floats
    p_fit: float

    @classmethod
    def fit(cls, images: Floats, errors: Floats, seed: int = 0) -> "Curve":
        """Fit a law, and one to each of many draws of what might have been measured.

        Two curves over the same folds get the same draws of the folds, and with another seed other
        draws of the trainings, so that they can be compared draw by draw.

        Args:
            images: shape (I,), ascending; at least 4.
            errors: shape (I, F), at least 2 folds.
            seed: of the draws of the trainings.
        """
        rng = np.random.default_rng(0)
        shares, folds = errors.shape
        mean = errors.mean(axis=1)
        of_fold = errors.mean(axis=0) - mean.mean()
        rest = errors - mean[:, None] - of_fold
        freedom = (folds - 1) * (shares - 1)
        spread = _smoothed(images, (rest**2).sum(axis=1) * shares / freedom)  # variances
        overlap = 1 + (images / images.max()) / (1 - images / images.max() / folds)
        variances = spread / folds * overlap
        law = PowerLaw.fit(images, mean[None], variances)
        left = float(((mean - law.error(images[:, None])[:, 0]) ** 2 / variances).sum())
        chosen = rng.integers(0, folds, (DRAWS, folds))
        sure = np.sqrt((folds - 1) / rng.chisquare(folds - 1, DRAWS))
        common = of_fold[chosen].mean(axis=1) * np.sqrt(folds / (folds - 1)) * sure
        rng = np.random.default_rng((1, seed))
        sure = np.sqrt(freedom / rng.chisquare(freedom, DRAWS))
        own = rng.standard_normal((DRAWS, shares)) * np.sqrt(variances) * sure[:, None]
        drawn = mean + common[:, None] + own
        return cls(
            images,
            errors,
            np.sqrt(variances),
            law,
            PowerLaw.fit(images, drawn, variances),
            drawn,
            rng.standard_normal(DRAWS) * np.sqrt(variances[-1]) * sure,
            float(fdtrc(shares - 3, freedom, left / (shares - 3))),
        )

    @property
    def most(self) -> float:
        """The images of the largest share."""
        return float(self.images[-1])

    @property
    def holds(self) -> bool:
        """Whether the law fits what was measured."""
        return self.p_fit >= SIGNIFICANCE

    @property
    def falls(self) -> bool:
        """Whether the error is shown to fall from the smallest share to the largest."""
        drop = self.drawn[:, 0] - self.drawn[:, -1]
        return float(np.quantile(drop, 0.025)) > 0

    def accuracy(self, images: float) -> Interval:
        """Return the accuracy to expect of trainings on so many images, over as many folds."""
        draws = 1 - self.laws.error(images) + self.noise
        return Interval.of(1 - float(self.law.error(images)[0]), draws).within(0, 1)

    def gain(self, images: float) -> Interval:
        """Return how much more that is than the law gives with the images there are."""
        interval = self.law_gain(images)
        draws = self.laws.error(self.most) - self.laws.error(images) + self.noise
        return Interval.of(interval.value, draws)

    def law_gain(self, images: float) -> Interval:
        """Return the same of the law alone, with the chance of new trainings left out."""
        value = float((self.law.error(self.most) - self.law.error(images))[0])
        return Interval.of(value, self.laws.error(self.most) - self.laws.error(images))

    def images_for(self, accuracy: float) -> Interval:
        """Return the training images that an accuracy takes."""
        return Interval.of(float(self.law.images(1 - accuracy)[0]), self.laws.images(1 - accuracy))

    def measured(self, share: int) -> Interval:
        """Return the mean accuracy of a share as it was measured."""
        value = 1 - float(self.errors[share].mean())
        return Interval.of(value, 1 - self.drawn[:, share]).within(0, 1)


def worth(curve: Curve, other: Curve, images: float) -> Interval:
    """Return how many more training images do for one curve what the other's settings do.

    Negative where the other's settings cost as much as so many images would. The images of both
    are the same, and so are the draws of the folds.

    Args:
        curve: that the images are counted on.
        other: of the other settings.
        images: training images that both have.
    """
    value = float(curve.law.images(other.law.error(images))[0])
    interval = Interval.of(value, curve.laws.images(other.laws.error(images)))
    return Interval(*(bound - images for bound in (interval.value, interval.low, interval.high)))


def _smoothed(images: Floats, variances: Floats) -> Floats:
    """Return variances that change with the images as a power does."""
    variances = np.maximum(variances, 1e-8)  # of networks that all err alike
    logs = np.log(variances)
    x = np.log(images) - np.log(images).mean()
    slope = float(np.clip((x @ logs) / (x @ x), -1.5, 0.5))
    smooth: Floats = np.exp(slope * x)
    smooth *= variances.mean() / smooth.mean()
    return smooth
