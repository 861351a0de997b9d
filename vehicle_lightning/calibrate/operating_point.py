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

from vehicle_lightning.runs.statistics import Share


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and what one chosen alike does on images that neither it nor the networks saw.

    Attributes:
        threshold: least probability of the positive class, in [0, 1].
        recall: share of the positive images that are found.
        precision: share of the images called positive that are; None where none is called so.
        missed: number of positive images below the threshold.
        false_alarms: number of others above it.
    """

    threshold: float
    recall: Share
    precision: Share | None
    missed: int
    false_alarms: int


def threshold_for_recall(
    shares: NDArray[np.float64], is_positive: NDArray[np.bool_], recall: float
) -> float:
    """Return a threshold at which at least this share of the positive images is found.

    It lies halfway between the last image that it takes and the next lower one.

    Args:
        shares: float of shape (N,), probability of the positive class.
        is_positive: bool of shape (N,); at least one is.
        recall: wanted, in (0, 1].
    """
    positive = np.sort(shares[is_positive])[::-1]
    lowest = positive[max(math.ceil(recall * len(positive) - 1e-9), 1) - 1]
    # There no rounding of a device loses the image.
    return float(lowest + shares[shares < lowest].max(initial=0.0)) / 2


def threshold_for_cost(cost: float) -> float:
    """Return the threshold with the lowest expected cost, for calibrated probabilities.

    The cost is that of a missed positive image, where a false alarm costs 1.
    """
    return 1 / (1 + cost)


def operating_point(
    threshold: float,
    called: NDArray[np.bool_],
    is_positive: NDArray[np.bool_],
    photograph: NDArray[np.int64] | None = None,
) -> OperatingPoint:
    """Count what a threshold does.

    Args:
        threshold: least probability that counts as positive.
        called: bool of shape (N,), which images count as positive; each by a threshold that was
            chosen on others.
        is_positive: bool of shape (N,); at least one is.
        photograph: int64 of shape (N,), which photograph each image shows, whose duplicates count
            once in the intervals; by default each its own.
    """
    if photograph is None:
        photograph = np.arange(len(called))
    recall = Share.of(called[is_positive], photograph[is_positive])
    assert recall is not None
    precision = Share.of(is_positive[called], photograph[called])
    missed, alarms = (int(wrong.sum()) for wrong in (~called & is_positive, called & ~is_positive))
    return OperatingPoint(threshold, recall, precision, missed, alarms)
