"""Before any training: the images, folds and seeds it takes to show a difference."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vehicle_lightning.compare.ranking import choose_baseline, why_not_comparable
from vehicle_lightning.compare.records import read_records
from vehicle_lightning.console import aligned
from vehicle_lightning.errors import RunError
from vehicle_lightning.runs.paired import paired_difference
from vehicle_lightning.runs.power import (
    Spread,
    images_for_networks,
    images_for_settings,
    seeds_for_settings,
    smallest_of_settings,
    smallest_shown,
)

# Of 60 trainings on 1,646 photographs with 78 % accuracy; better networks vary less.
ASSUMED = Spread(discordant=0.2, chance=0.19, training=0.02)
SEEDS = (1, 2, 3, 5, 10)


def plan(runs: Sequence[Path], difference: float, images: int | None, folds: int) -> str:
    """Return in words what it takes to show a difference with a power of 80 %.

    Args:
        runs: run folders, or folders that hold some, which say how much images and trainings vary;
            without any, `ASSUMED` does.
        difference: of two accuracies, in (0, 1).
        images: that there are, over all folds; None where that is what is asked.
        folds: 1 is a hold-out.

    Raises:
        RunError: the runs cannot be compared with one another.
    """
    spread, source = (
        (ASSUMED, "Assumed, as of photographs and 78 % accuracy") if not runs else _spread_of(runs)
    )
    seeds = [seed for seed in SEEDS if folds * seed > 1]
    needed = [images_for_settings(difference, spread, folds=folds, seeds=seed) for seed in seeds]
    rows = [
        ["seeds a side", *map(str, seeds)],
        ["images", *("-" if n is None else f"{n:,}" for n in needed)],
    ]
    if images is not None:
        shown = [smallest_of_settings(images, spread, folds=folds, seeds=seed) for seed in seeds]
        rows.append(
            [
                f"shown by {images:,}",
                *("-" if one >= 1 else f"{100 * one:.1f} points" for one in shown),
            ]
        )
    points = f"{100 * difference:.1f} points"
    by_networks = ""
    if images is not None:
        smallest = smallest_shown(images, spread.discordant)
        by_networks = f"; {images:,} show " + (
            "nothing" if smallest >= 1 else f"{100 * smallest:.1f} points"
        )
    lines = [
        f"To show a difference of {points} with a power of 80 % (two-sided, p < 0.05):",
        f"  two trained networks: {_many(images_for_networks(difference, spread.discordant))}, "
        f"which both predict (McNemar's exact test){by_networks}",
        f"  two settings, {'hold-out' if folds == 1 else f'{folds} folds'}:",
        *(f"    {line}" for line in aligned(rows)),
        "    With one seed a side, how much trainings vary is told by the differences of the folds "
        "alone, and large ones only are shown; from two on, by the seeds of each fold."
        if folds > 1
        else "    With one seed a side, a hold-out tells nothing of settings.",
    ]
    if None in needed:
        lines.append("    -: no number of images makes up for how much trainings vary.")
    if images is not None:
        enough = seeds_for_settings(difference, spread, images=images, folds=folds)
        lines.append(
            f"    {images:,} images show {points} with "
            + (f"{enough} seeds a side." if enough else "no number of seeds; take more images.")
        )
    return "\n".join([*lines, f"{source}: {_in_words(spread)}."])


def _spread_of(paths: Sequence[Path]) -> tuple[Spread, str]:
    """Return how much images and trainings vary in runs, on average, and in which."""
    records, _ = read_records(paths)
    baseline = choose_baseline(records) if records else None
    found = [
        found
        for record in records
        if baseline and record is not baseline and why_not_comparable(record, baseline) is None
        if (found := paired_difference(record.outcomes, baseline.outcomes)) is not None
    ]
    if not found:
        raise RunError(
            "How much images and trainings vary takes two runs on the same images and split; give "
            "them, or none at all."
        )
    known = [one.spread for one in found if one.is_of_settings]
    source = f"Found in {len(found) + 1} runs"
    if not known:
        discordant = float(np.mean([one.spread.discordant for one in found]))
        source += " of one training each, the chance and the spread of trainings assumed"
        return Spread(discordant, min(discordant, ASSUMED.chance), ASSUMED.training), source
    return Spread(
        float(np.mean([spread.discordant for spread in known])),
        float(np.mean([spread.chance for spread in known])),
        math.sqrt(np.mean([spread.training**2 for spread in known])),
    ), source


def _in_words(spread: Spread) -> str:
    return (
        f"one of two networks alone gets {100 * spread.discordant:.1f} % of the images right, "
        f"{100 * spread.chance:.1f} % by the chance of trainings of equal settings; their accuracy "
        f"spreads by {100 * spread.training:.1f} points (standard deviation) beyond that"
    )


def _many(images: int | None) -> str:
    return "more than ten million images" if images is None else f"{images:,} images"
