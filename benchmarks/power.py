"""Does a planned difference get shown as often as planned, and is none shown where there is none?

    python benchmarks/power.py [--experiments 2000]

Experiments are made up: images of unequal difficulty, on the logit scale; two settings, of which
one is better by the difference that `runs/power.py` says is shown in 80 % of experiments; and
trainings, each of which shifts all images a little. Every one goes through the test of `compare`.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from vehicle_lightning.runs.paired import (
    SIGNIFICANCE,
    Outcomes,
    paired_difference,
    sign_flip_p_value,
)
from vehicle_lightning.runs.power import (
    Spread,
    images_for_networks,
    smallest_of_settings,
    smallest_shown,
)

POPULATION = 100_000
SHIFTS = np.sqrt(2) * np.polynomial.hermite.hermgauss(15)[0]  # nodes of a standard normal
WEIGHTS = np.polynomial.hermite.hermgauss(15)[1] / np.sqrt(np.pi)


@dataclass(frozen=True)
class World:
    """Images of unequal difficulty, and trainings that differ by so much.

    Attributes:
        easy: logit of an image of middle difficulty.
        unequal: standard deviation of the images' logits.
        taste: standard deviation of what the two settings find difficult differently.
        shift: standard deviation of what a training adds to all images.
    """

    easy: float
    unequal: float
    taste: float
    shift: float

    def logits(self, images: int, rng: Generator) -> NDArray[np.float64]:
        """Return those of two settings that do equally well: shape (2, N)."""
        both = self.easy + self.unequal * rng.standard_normal(images)
        return both + self.taste * rng.standard_normal((2, images))

    def better_by(self, difference: float) -> float:
        """Return the logit that makes the first setting so much better."""
        logits = self.logits(POPULATION, np.random.default_rng(1))

        def excess(logit: float) -> float:
            first, second = (self._right(side).mean() for side in (logits[0] + logit, logits[1]))
            return float(first - second) - difference

        return float(brentq(excess, -5, 20)) if difference else 0.0

    def spread(self, difference: float) -> Spread:
        """Return the truth about discordant images and trainings."""
        logits = self.logits(POPULATION, np.random.default_rng(1))
        logits[0] += self.better_by(difference)
        p, q = (self._right(side) for side in logits)
        means = np.array([[expit(side + self.shift * s).mean() for s in SHIFTS] for side in logits])
        variance = (means**2 @ WEIGHTS - (means @ WEIGHTS) ** 2).mean()
        return Spread(
            discordant=float((p * (1 - q) + q * (1 - p)).mean()),
            chance=float((p * (1 - p) + q * (1 - q)).mean()),
            training=float(np.sqrt(max(variance, 0))),
        )

    def _right(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        chances = [w * expit(logits + self.shift * s) for s, w in zip(SHIFTS, WEIGHTS, strict=True)]
        return np.asarray(np.sum(chances, axis=0), dtype=np.float64)

    def p_value(self, images: int, folds: int, seeds: int, better: float, rng: Generator) -> float:
        """Make one experiment and test it."""
        logits = self.logits(images, rng)
        logits[0] += better
        fold = np.arange(images) % folds
        files = np.arange(images).astype(str)
        image, seed = np.tile(np.arange(images), seeds), np.repeat(np.arange(seeds), images)
        order = np.argsort(files)
        sides = []
        for side in logits:
            shifts = self.shift * rng.standard_normal((seeds, folds))
            right = rng.random((seeds, images)) < expit(side + shifts[:, fold])
            sides.append(Outcomes(files[order], image, fold[image], seed, right.ravel()))
        difference = paired_difference(sides[0], sides[1])
        assert difference is not None
        return difference.p_value if folds * seeds > 1 else difference.p_networks


def share_shown(
    world: World, images: int, folds: int, seeds: int, difference: float, experiments: int
) -> float:
    """Return the share of experiments whose p-value is below 0.05."""
    rng = np.random.default_rng(0)
    better = world.better_by(difference)
    p = [world.p_value(images, folds, seeds, better, rng) for _ in range(experiments)]
    return float(np.mean(np.array(p) < SIGNIFICANCE))


def networks_shown(images: int, difference: float, discordant: float, experiments: int) -> float:
    """Return the share of pairs of networks that McNemar's test tells apart."""
    rng = np.random.default_rng(0)
    better = (discordant + difference) / 2
    steps = rng.multinomial(images, [better, discordant - better, 1 - discordant], experiments)
    counts, repeats = np.unique(steps[:, :2], axis=0, return_counts=True)
    p = [sign_flip_p_value(np.repeat([1, -1], pair)) for pair in counts]
    return float(repeats[np.array(p) < SIGNIFICANCE].sum()) / experiments


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=2000)
    experiments = parser.parse_args().experiments

    print("| discordant | difference | images | shown | falsely |\n| --- | --- | --- | --- | --- |")
    for discordant in (0.05, 0.12, 0.2):
        by_images = [(smallest_shown(images, discordant), images) for images in (165, 1646)]
        for difference, images in [*by_images, (0.02, images_for_networks(0.02, discordant) or 0)]:
            share = max(discordant, difference)
            shown = networks_shown(images, difference, share, experiments)
            falsely = networks_shown(images, 0, share, experiments)
            print(
                f"| {discordant:.0%} | {100 * difference:.1f} | {images:,} | {shown:.1%} "
                f"| {falsely:.1%} |",
                flush=True,
            )

    print(
        "\n| trainings' sd | folds | seeds | difference | images | shown | falsely |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for shift in (0.0, 0.1, 0.25):
        world = World(easy=3, unequal=2.5, taste=0.7, shift=shift)
        for folds, seeds in ((5, 1), (5, 2), (5, 3), (5, 5), (1, 3)):
            planned, images = 0.02, 1646
            for _ in range(3):  # the spread is that of settings which differ so much
                spread = world.spread(planned)
                planned = smallest_of_settings(images, spread, folds=folds, seeds=seeds)
            arguments = (world, images, folds, seeds)
            shown = share_shown(*arguments, planned, experiments)
            falsely = share_shown(*arguments, 0.0, experiments)
            print(
                f"| {100 * spread.training:.1f} | {folds} | {seeds} | {100 * planned:.1f} "
                f"| {images:,} | {shown:.1%} | {falsely:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
