"""The operating point: from which probability on an image counts as positive.

Half is right only where both mistakes cost the same. An ambulance that is missed costs more than a
car that is stopped.

Source:
    Elkan (2001), The foundations of cost-sensitive learning (the threshold of a cost ratio).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.runs.statistics import wilson_interval


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and what it does on images that the networks had not seen.

    Attributes:
        threshold: least probability of the positive class, in [0, 1].
        recall: share of the positive images that are found.
        recall_interval: its 95 % Wilson interval.
        precision: share of the images called positive that are; not a number where none is.
        precision_interval: its 95 % Wilson interval.
        missed: number of positive images below the threshold; with several seeds their mean.
        false_alarms: number of others above it, likewise.
    """

    threshold: float
    recall: float
    recall_interval: tuple[float, float]
    precision: float
    precision_interval: tuple[float, float]
    missed: float
    false_alarms: float


def threshold_for_recall(
    shares: NDArray[np.float64], is_positive: NDArray[np.bool_], recall: float
) -> float:
    """Return the highest threshold at which at least this share of the positive images is found.

    Args:
        shares: float of shape (N,), probability of the positive class.
        is_positive: bool of shape (N,); at least one is.
        recall: wanted, in (0, 1].
    """
    positive = np.sort(shares[is_positive])[::-1]
    return float(positive[max(math.ceil(recall * len(positive) - 1e-9), 1) - 1])


def threshold_for_cost(cost: float) -> float:
    """Return the threshold with the lowest expected cost, for calibrated probabilities.

    Args:
        cost: of a missed positive image, where a false alarm costs 1.
    """
    return 1 / (1 + cost)


def operating_point(
    shares: NDArray[np.float64], is_positive: NDArray[np.bool_], threshold: float, seeds: int = 1
) -> OperatingPoint:
    """Measure a threshold.

    Args:
        shares: float of shape (N,), probability of the positive class.
        is_positive: bool of shape (N,); at least one is.
        threshold: least probability that counts as positive.
        seeds: how often each image stands there; intervals count it once.
    """
    called = shares >= threshold
    found, wrong = int((called & is_positive).sum()) / seeds, int((called & ~is_positive).sum())
    positives, false_alarms = int(is_positive.sum()) / seeds, wrong / seeds
    return OperatingPoint(
        threshold,
        found / positives,
        _interval(found, positives),
        found / (found + false_alarms) if called.any() else math.nan,
        _interval(found, found + false_alarms),
        positives - found,
        false_alarms,
    )


def _interval(count: float, of: float) -> tuple[float, float]:
    """Wilson's interval; the whole range where there are no images to count."""
    images = round(of)
    return wilson_interval(min(count, images), images) if images else (0.0, 1.0)
