"""How often runs of the same settings are called different, and how often a difference is found.

    python benchmarks/null_pairs.py RUN... [--draws 1000]

Each RUN is over many seeds, and may be over folds; `docs/statistics.md` names those of its table.
Its trainings are dealt out anew as two runs, each with seeds of its own in every fold: runs of the
same settings, in which all conclusions are false. For the power one of the two gets better: each
of its mistakes is turned right with the chance that brings the difference asked for. In a family,
four runs are compared with a fifth, and one false conclusion makes it a false family.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vehicle_lightning.runs.paired import (
    Difference,
    Outcomes,
    holm_adjusted,
    paired_difference,
)
from vehicle_lightning.runs.predictions import read_predictions

SIGNIFICANCE = 0.05
DIFFERENCES = (0.02, 0.03, 0.05)
PValue = Callable[[Difference], float]


class Trainings:
    """All trainings of one run, to deal out."""

    def __init__(self, run: Path) -> None:
        outcomes = Outcomes.from_predictions(read_predictions(run / "predictions_val.csv"))
        self.files = outcomes.files
        self.seeds = len(np.unique(outcomes.seed))
        seed = np.unique(outcomes.seed, return_inverse=True)[1]
        self.right = np.zeros((self.seeds, len(self.files)), dtype=bool)
        self.right[seed, outcomes.image] = outcomes.right
        folds = np.zeros(len(self.files), dtype=np.int64)
        folds[outcomes.image] = outcomes.fold
        self.fold = np.unique(folds, return_inverse=True)[1]
        self.folds = int(self.fold.max()) + 1

    def deal(self, rng: Generator, sizes: tuple[int, ...]) -> list[NDArray[np.bool_]]:
        """Return runs of so many seeds, each bool of shape (seeds, images)."""
        order = np.stack([rng.permutation(self.seeds) for _ in range(self.folds)])
        ends = np.cumsum(sizes)
        mine = [
            order[:, end - size : end][self.fold].T for end, size in zip(ends, sizes, strict=True)
        ]
        return [np.take_along_axis(self.right, seeds, axis=0) for seeds in mine]

    def outcomes(self, right: NDArray[np.bool_]) -> Outcomes:
        """Return these as a run."""
        seeds, n = right.shape
        image = np.tile(np.arange(n), seeds)
        return Outcomes(
            self.files,
            image,
            self.fold[image],
            np.repeat(np.arange(seeds), n),
            right.ravel(),
        )

    def compared(self, a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Difference:
        """Return how much better a is."""
        difference = paired_difference(self.outcomes(a), self.outcomes(b))
        assert difference is not None
        return difference


def improved(right: NDArray[np.bool_], by: float, rng: Generator) -> NDArray[np.bool_]:
    """Turn mistakes right."""
    turned: NDArray[np.bool_] = rng.random(right.shape) < by / (1 - right.mean())
    return right | turned


def rates(
    trainings: Trainings, sizes: tuple[int, int], draws: int, rng: Generator, p: PValue
) -> list[float]:
    """Return the share of false conclusions, and of those found at each difference."""
    shares = []
    for by in (0.0, *DIFFERENCES):
        found = 0
        for _ in range(draws):
            a, b = trainings.deal(rng, sizes)
            a = improved(a, by, rng) if by else a
            found += p(trainings.compared(a, b)) < SIGNIFICANCE
        shares.append(found / draws)
    return shares


def families(
    trainings: Trainings, size: int, draws: int, rng: Generator, p: PValue
) -> float | None:
    """Return the share of families of five runs with a false conclusion."""
    if 5 * size > trainings.seeds:
        return None
    false = 0
    for _ in range(draws):
        first, *others = trainings.deal(rng, (size,) * 5)
        p_values = [p(trainings.compared(other, first)) for other in others]
        false += min(holm_adjusted(p_values)) < SIGNIFICANCE
    return false / draws


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--draws", type=int, default=1000)
    options = parser.parse_args()
    print("run, seeds a side | test | false % | found % at 2, 3, 5 points | false families %")
    for run in options.runs:
        trainings = Trainings(run)
        for sizes in ((1, 1), (2, 2), (3, 3), (3, 1), (5, 5)):
            if sum(sizes) > trainings.seeds:
                continue
            for test, p in (
                ("networks", lambda d: d.p_networks),
                ("settings", lambda d: d.p_value),
            ):
                rng = np.random.default_rng(0)
                false, *found = rates(trainings, sizes, options.draws, rng, p)
                family = (
                    families(trainings, sizes[0], options.draws // 2, rng, p)
                    if sizes[0] == sizes[1]
                    else None
                )
                print(
                    f"{run.parent.name}, {sizes[0]}:{sizes[1]} | {test} | {100 * false:.1f} | "
                    + " ".join(f"{100 * share:.0f}" for share in found)
                    + f" | {'' if family is None else f'{100 * family:.1f}'}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
