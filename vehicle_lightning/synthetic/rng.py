"""Short words for the choices of one `numpy.random.Generator`."""

from collections.abc import Sequence
from functools import cache
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


def weighted(rng: Generator, table: str) -> str:
    """One of the names of a table such as "white 20, light blue 5": a weight after each name."""
    return pick(rng, *_parsed(table))


@cache
def _parsed(table: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    names, weights = zip(*(item.rsplit(" ", 1) for item in table.split(", ")), strict=True)
    return names, tuple(map(float, weights))
