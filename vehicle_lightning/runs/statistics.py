"""How sure an accuracy is: a figure never stands without its n and its interval.

On 165 validation images the 95 % interval of an accuracy of 80 % is twelve points wide, so two
runs that differ by three points have not been told apart.

Sources:
    Wilson (1927), Probable inference, the law of succession, and statistical inference.
    Newcombe (1998), Interval estimation for the difference between independent proportions:
    comparison of eleven methods.
    Guo, Pleiss, Sun, Weinberger (2017), On calibration of modern neural networks.
"""

import math
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, TypeAdapter
from scipy.special import ndtri  # scipy.stats has the same and takes a second to import


def wilson_interval(correct: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds, in [0, 1], of the success probability behind `correct` of `n` (Wilson 1927).

    The score interval keeps close to its nominal coverage for small n and for proportions near
    0 and 1, where the textbook `p ± 1.96 s` does not. Neither need be whole: `correct` may be the
    mean over several models of the number of images each is right on, and n what images that are
    not independent are worth.

    Raises:
        ValueError: n < 1, `correct` outside [0, n], or `confidence` outside (0, 1).
    """
    if n < 1:
        raise ValueError(f"an interval needs at least one image, got n={n}")
    if not 0 <= correct <= n:
        raise ValueError(f"correct={correct} is not between 0 and n={n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} is not between 0 and 1")
    z = float(ndtri((1 + confidence) / 2))
    share = correct / n
    centre = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    shrink = 1 + z * z / n
    low = 0.0 if correct == 0 else (centre - reach) / shrink
    high = 1.0 if correct == n else (centre + reach) / shrink
    return low, high


def independent_images(sizes: NDArray[np.integer | np.floating]) -> float:
    """Return what images are worth where photograph i is there sizes[i] times.

    That is n^2 / (m_1^2 + m_2^2 + ...) of n images (Kish 1965, Survey sampling, section 8.2).
    """
    return float(sizes.sum()) ** 2 / float(np.square(sizes).sum())


@dataclass(frozen=True)
class Share:
    """A share of n images, in [0, 1], with its 95 % Wilson interval."""

    value: float
    interval: tuple[float, float]
    n: int

    @classmethod
    def of(
        cls,
        counted: NDArray[np.bool_ | np.floating],
        photograph: NDArray[np.integer] | None = None,
    ) -> Self | None:
        """Return the share of the images that are counted; None of no images.

        Duplicates count alike: the interval is that of `independent_images`.

        Args:
            counted: bool or float in [0, 1], shape (n,).
            photograph: int, shape (n,): which photograph it shows; by default each its own.
        """
        n, hits = len(counted), float(counted.sum(dtype=np.float64))
        if not n:
            return None
        alike = np.ones(n) if photograph is None else np.unique(photograph, return_counts=True)[1]
        independent = independent_images(alike)
        interval = wilson_interval(min(hits / n, 1.0) * independent, independent)
        return cls(hits / n, interval, n)

    def __str__(self) -> str:
        value, low, high = (100 * share for share in (self.value, *self.interval))
        return f"{value:.1f} % [{low:.1f}, {high:.1f}] (n={self.n})"


@dataclass(frozen=True)
class Measurement:
    """One model on one set of images."""

    accuracy: float
    """Fraction of the images classified correctly, in [0, 1]."""
    interval: tuple[float, float]
    """95 % Wilson interval of the accuracy, in which duplicates count once."""
    n: int
    """Number of images."""
    loss: Annotated[float, BeforeValidator(lambda loss: math.nan if loss is None else loss)]
    """Mean cross-entropy in nats; not finite where the model has diverged."""

    @classmethod
    def of(cls, accuracy: float, n: int, loss: float, *, independent: float) -> Self:
        """Return that of n images, which are worth so many independent ones, at least one."""
        worth = max(independent, 1.0)
        return cls(accuracy, wilson_interval(accuracy * worth, worth), n, loss)

    @classmethod
    def from_predictions(
        cls,
        correct: NDArray[np.bool_ | np.floating],
        losses: NDArray[np.floating],
        photograph: NDArray[np.integer] | None = None,
    ) -> Self:
        """Sum up what is known of each image.

        Where an image was predicted by several models, n still counts it once: more seeds tell
        more of the training, but not of other images. Nor do duplicates, which are right or wrong
        together: see `Share.of`.

        Args:
            correct: bool or float in [0, 1], shape (n,): whether the image was classified
                correctly, or by which fraction of the models.
            losses: float, shape (n,): its cross-entropy in nats, or the mean over the models.
            photograph: int, shape (n,): which photograph it shows; by default each its own.

        Raises:
            ValueError: no images, or the two arrays do not have the same shape (n,).
        """
        share = Share.of(correct, photograph)
        if correct.ndim != 1 or correct.shape != losses.shape or share is None:
            raise ValueError(
                f"expected two arrays of shape (n,), n > 0, got {correct.shape} and {losses.shape}"
            )
        # float64: the mean of many float32 losses should not depend on their order.
        return cls(share.value, share.interval, share.n, float(losses.mean(dtype=np.float64)))

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the measurement that `to_dict` gave.

        Raises:
            ValueError: it is none.
        """
        return TypeAdapter(cls).validate_python(content)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; a loss that is not finite is None."""
        loss = self.loss if math.isfinite(self.loss) else None
        return asdict(self) | {"interval": list(self.interval), "loss": loss}

    @property
    def independent(self) -> float:
        """How many independent images its interval is that of: Wilson's bounds solved for n."""
        low, high = self.interval
        width, variance = (high - low) ** 2 / 4, self.accuracy * (1 - self.accuracy)
        b = 2 * width - variance
        # Of x = z^2 / n: width (1 + x)^2 = x variance + x^2 / 4.
        x = 2 * width / (math.sqrt(b * b - 4 * (width - 0.25) * width) - b)
        return float(ndtri(0.975)) ** 2 / x

    @property
    def percent(self) -> str:
        """Accuracy and interval in %, as `80.1 [75.0, 84.2]`."""
        accuracy, low, high = (100 * share for share in (self.accuracy, *self.interval))
        return f"{accuracy:.1f} [{low:.1f}, {high:.1f}]"

    def __str__(self) -> str:
        return str(Share(self.accuracy, self.interval, self.n))


def difference_interval(a: Measurement, b: Measurement) -> tuple[float, float]:
    """95 % interval of `a.accuracy - b.accuracy` for two independent sets of images.

    Newcombe's hybrid score interval (1998, method 10, without continuity correction): each side
    combines the distances from the two proportions to the Wilson bounds that pull it outwards.
    Not for two models on the *same* images: those are paired.
    """
    difference = a.accuracy - b.accuracy
    (a_low, a_high), (b_low, b_high) = a.interval, b.interval
    return (
        difference - math.hypot(a.accuracy - a_low, b_high - b.accuracy),
        difference + math.hypot(a_high - a.accuracy, b.accuracy - b_low),
    )


def calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int = 15
) -> float:
    """Expected calibration error in [0, 1]: how far confidence is from accuracy.

    The images are put into bins of equal width by the probability of their likeliest class, and the
    distances of the two means in each bin averaged over the images (Guo et al. 2017).

    Args:
        probabilities: shape (N, C).
        labels: int of shape (N,), indices of the classes.
        bins: their number.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    return float(np.abs(np.bincount(place, weights=right - confidence)).sum()) / len(labels)
