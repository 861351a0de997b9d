"""Short words for the choices of one `numpy.random.Generator`."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from numpy.random import Generator

Option = TypeVar("Option")


def happens(rng: Generator, probability: float) -> bool:
    """True with the given probability."""
    return rng.random() < probability


def between(rng: Generator, low: float, high: float) -> float:
    """A number drawn evenly from [low, high)."""
    return low + (high - low) * rng.random()


def pick(rng: Generator, options: Sequence[Option]) -> Option:
    """One of the options, each equally likely."""
    return options[int(rng.integers(len(options)))]


def weighted(rng: Generator, weights: Mapping[str, float]) -> str:
    """One of the names, each as likely as its weight says."""
    threshold = rng.random() * sum(weights.values())
    for name, weight in weights.items():
        threshold -= weight
        if threshold < 0:
            return name
    return name
