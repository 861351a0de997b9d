"""How much a split flatters that puts copies of one photograph on both sides.

    python benchmarks/leaky_split.py --data-dir photos [--image-size 64] [--epochs 25] [--seeds 3]

Trains the network with batch normalisation over five folds, once with all copies of a photograph on
one side, as `fit` always does, and once with every image on its own. Printed is the share of
validation images that are told rightly: of all, of those that have a copy, and of the others.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd

from vehicle_lightning.config import Settings
from vehicle_lightning.data.duplicates import Duplicates
from vehicle_lightning.fit.train import read_data, train
from vehicle_lightning.runs.predictions import read_predictions


def main() -> None:
    """Train both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            **vars(options), batchnorm=True, folds=5, log_dir=Path(folder), name="grouped"
        )
        copied = names_with_a_copy(settings)
        grouped = predictions(settings)
        with patch("vehicle_lightning.data.reading.group_images", each_alone):
            alone = predictions(settings.model_copy(update={"name": "alone"}))
    print(f"{'':24}copies on one side  each on its own")
    for title, chosen in (
        ("all images", lambda names: names.notna()),
        ("those with a copy", lambda names: names.isin(copied)),
        ("the others", lambda names: ~names.isin(copied)),
    ):
        shares = [right(p[chosen(p["file"])]) for p in (grouped, alone)]
        images = int(chosen(grouped["file"]).sum()) // options.seeds
        print(f"{title:20}{images:4}{shares[0]:19.1%}{shares[1]:17.1%}")


def names_with_a_copy(settings: Settings) -> set[str]:
    """Return the names of images that share their group with another."""
    data = read_data(settings.model_copy(update={"fold": 0}))
    groups = data.duplicates.of_image
    shared = np.bincount(groups)[groups] > 1
    return {name for name, is_shared in zip(data.table.names, shared, strict=True) if is_shared}


def predictions(settings: Settings) -> pd.DataFrame:
    """Train over the folds and return the predictions for the images that each did not see."""
    return read_predictions(train(settings).run.predictions)


def each_alone(digests: Sequence[bytes], *_: object) -> Duplicates:
    """Put every image into a group of its own."""
    every = np.arange(len(digests))
    return Duplicates(every, 0, 0, (), every)


def right(table: pd.DataFrame) -> float:
    """Return the share of images that are told rightly."""
    return float((table["label"] == table["prediction"]).mean())


if __name__ == "__main__":
    main()
