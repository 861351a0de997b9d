"""Small helpers around one `numpy.random.Generator`, so that choices read as sentences."""

from collections.abc import Sequence
from typing import TypeVar

from numpy.random import Generator

Option = TypeVar("Option")


def happens(rng: Generator, probability: float) -> bool:
    """True with the given probability."""
    return rng.random() < probability


def between(rng: Generator, low: float, high: float) -> float:
    """A number drawn evenly from [low, high)."""
    return low + (high - low) * rng.random()


def pick(rng: Generator, options: Sequence[Option], weights: Sequence[float] = ()) -> Option:
    """One of the options; without weights each is equally likely."""
    if not weights:
        return options[int(rng.integers(len(options)))]
    threshold = rng.random() * sum(weights)
    for option, weight in zip(options, weights, strict=True):
        threshold -= weight
        if threshold < 0:
            return option
    return options[-1]
