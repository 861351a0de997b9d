"""What a calibration is worth on images that neither training nor calibration has seen.

    python benchmarks/calibration_unseen.py RUN...

Each RUN is over folds and seeds with `--test-fraction`, one RUN for each split. Temperatures are
fitted on validation images as `calibrate` does, and measured on the test images, as `predict` uses
them:

    hold-out  one network, with the temperature of its own validation images
    single    one network, with `single_temperature`, of the validation images of all folds
    seeds     the mean of the seeds of one fold, with a temperature for their mean
    folds     the mean of all networks, with none, which is what `calibrate` gives such a run
    by-single the same, each network with `single_temperature`, as an earlier version had it

Printed are log loss in nats and expected calibration error in %, each as the networks are and
calibrated, and how much log loss the calibration saves with its standard error over the images.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.calibrate.calibration import PARTS
from vehicle_lightning.calibrate.temperature import (
    best_temperature,
    fit_temperature,
    mean_with_temperature,
)
from vehicle_lightning.runs.predictions import read_predictions
from vehicle_lightning.runs.statistics import calibration_error

Probabilities = NDArray[np.float64]
KINDS = ("hold-out", "single", "seeds", "folds", "by-single")


def by_training(run: Path, split: str) -> dict[tuple[int, int], tuple[Probabilities, NDArray]]:
    """Return probabilities (N, C) and labels (N,) of each fold and seed of a run."""
    predictions = read_predictions(run / f"predictions_{split}.csv")
    columns = [name for name in predictions if str(name).startswith("p_")]
    names = [str(name).removeprefix("p_") for name in columns]
    return {
        (int(fold), int(seed)): (
            own.sort_values("file")[columns].to_numpy(dtype=float),
            own.sort_values("file")["label"].map(names.index).to_numpy(),
        )
        for (fold, seed), own in predictions.groupby(["fold", "seed"])
    }


def losses(probabilities: Probabilities, labels: NDArray) -> NDArray[np.float64]:
    """Return the cross-entropy of each image."""
    return -np.log(probabilities[np.arange(len(labels)), labels].clip(1e-12))


def fitted(*networks: tuple[Probabilities, NDArray]) -> float:
    """Return the temperature of networks of one hold-out, from what each has predicted of it."""
    labels = networks[0][1]
    unseen = np.stack([probabilities for probabilities, _ in networks])
    return fit_temperature(unseen, labels, np.arange(len(labels)) % PARTS)[0].temperature


def measured(run: Path) -> dict[str, list[tuple[NDArray, NDArray, float, float]]]:
    """Return of each kind losses as they are and calibrated, and both calibration errors."""
    val, test = by_training(run, "val"), by_training(run, "test")
    folds = sorted({fold for fold, _ in val})
    seeds = sorted({seed for _, seed in val})
    labels = test[folds[0], seeds[0]][1]
    every = np.concatenate([probabilities for probabilities, _ in val.values()])
    single = best_temperature(every[None], np.concatenate([own for _, own in val.values()]))

    def compare(networks: Sequence[Probabilities], temperature: float) -> tuple:
        raw = np.mean(networks, axis=0)
        scaled = mean_with_temperature(np.stack(networks), temperature)
        return (
            losses(raw, labels),
            losses(scaled, labels),
            calibration_error(raw, labels),
            calibration_error(scaled, labels),
        )

    found: dict[str, list] = {kind: [] for kind in KINDS}
    for key, (probabilities, _) in test.items():
        found["single"].append(compare([probabilities], single))
        found["hold-out"].append(compare([probabilities], fitted(val[key])))
    for fold in folds:
        temperature = fitted(*(val[fold, seed] for seed in seeds))
        found["seeds"].append(compare([test[fold, s][0] for s in seeds], temperature))
    networks = [probabilities for probabilities, _ in test.values()]
    found["folds"].append(compare(networks, 1.0))
    found["by-single"].append(compare(networks, single))
    return found


def main() -> None:
    """Print a row for each run and kind, and one over all runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    runs = parser.parse_args().runs
    print("run | networks | log loss | calibrated | saved | calibration error | calibrated")
    saved: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number, run in enumerate(runs, start=1):
        for kind, rows in measured(run).items():
            before, after = (np.mean([row[i] for row in rows], axis=0) for i in (0, 1))
            errors = [100 * float(np.mean([row[i] for row in rows])) for i in (2, 3)]
            difference = before - after
            spread = difference.std(ddof=1) / len(difference) ** 0.5
            saved[kind].append(float(difference.mean()))
            print(
                f"{number} | {kind} | {before.mean():.3f} | {after.mean():.3f} | "
                f"{difference.mean():+.3f} ± {spread:.3f} | {errors[0]:.1f} | {errors[1]:.1f}"
            )
    for kind, values in saved.items():
        print(f"all | {kind} | saved {np.mean(values):+.3f}, at worst {min(values):+.3f}")


if __name__ == "__main__":
    main()
