"""Does the learning curve's interval hold what more images really bring?

    python benchmarks/learning_curve_truth.py [--cases 12] [--linear] [--pool FOLDER]

Any number of synthetic vehicles can be drawn, so the truth is at hand. In each case a curve is
fitted to five folds of 600 of them, at shares of 1/8 to all of the 480 that train in a fold; then
three networks are trained on 480 of the 600, and with 480 and 1,440 new ones besides, and measured
on 4,000 others. All trainings take as many steps. A bare loop, as all that is asked is whether the
intervals hold; `python -m vehicle_lightning.learning_curve` fits the same curve to run folders.

With --linear the learners are ridge classifiers, of pixels or of random convolutions, which cost
next to nothing, so that there can be many cases.
"""

import argparse
import csv
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from vehicle_lightning.config import Settings
from vehicle_lightning.data.images import read_image
from vehicle_lightning.data.splits import cross_validation_fold, share_of
from vehicle_lightning.learning_curve.curve import Curve, Interval
from vehicle_lightning.model.network import ImageClassifier
from vehicle_lightning.parallel import in_threads
from vehicle_lightning.synthetic import make_vehicles

POOL, TEST, BASE = 16_000, 4_000, 600
SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)
FOLDS, BATCH, STEPS = 5, 64, 150
TRAININGS = 3  # that tell the truth of a number of images
SIZE = 16
NETWORKS = (
    {"channels": (8, 16, 32), "pooling": "average", "batchnorm": True, "learning_rate": 3e-3},
    {"channels": (8, 16), "learning_rate": 1e-3},
    {"channels": (8, 16), "batchnorm": True, "dropout": 0.3, "learning_rate": 1e-3},
)
Rows = NDArray[np.int64]
Learner = Callable[[Rows, Rows, int], float]  # rows to train on, rows to measure, seed: the error


class Vehicles:
    """All images and labels, in memory."""

    def __init__(self, folder: Path) -> None:
        with (folder / "train.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        paths = [folder / "images" / row["image_names"] for row in rows]
        pixels = np.stack(list(in_threads(lambda path: read_image(path, SIZE), paths)))
        self.images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        self.labels = torch.tensor([int(row["emergency_or_not"]) for row in rows])

    def features(self, seed: int) -> NDArray[np.float32]:
        """Return random convolutions of all images, pooled to 4 x 4: shape (N, 16 x 32)."""
        torch.manual_seed(seed)
        layer = torch.nn.Conv2d(3, 32, 5)
        with torch.inference_mode():
            parts = [
                F.adaptive_avg_pool2d(layer(some.float() / 64 - 2).relu(), 4).flatten(1)
                for some in torch.split(self.images, 1000)
            ]
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)

    def linear_error(
        self, features: NDArray[np.float32], alpha: float, train: Rows, measured: Rows, _: int
    ) -> float:
        """Return the same of a ridge classifier; `alpha` for each image."""
        labels = 2 * self.labels.numpy().astype(np.float32) - 1
        mean, std = features[train].mean(axis=0), features[train].std(axis=0) + 1e-6
        x, y = (features[train] - mean) / std, labels[train] - labels[train].mean()
        weights = x.T @ np.linalg.solve(x @ x.T + alpha * len(x) * np.eye(len(x)), y)
        guess = (features[measured] - mean) / std @ weights + labels[train].mean()
        return float(((guess > 0) != (labels[measured] > 0)).mean())

    def error(self, settings: Settings, train: Rows, measured: Rows, seed: int) -> float:
        """Train on some rows and return the share of others that the network gets wrong."""
        torch.manual_seed(seed)
        pixels = self.images[train].float() / 255
        mean, std = pixels.mean((0, 2, 3)).tolist(), pixels.std((0, 2, 3)).tolist()
        model = ImageClassifier(settings, ("0", "1"), mean, std, None)
        optimizer = torch.optim.Adam(model.parameters(), settings.learning_rate)
        left = np.zeros(0, dtype=np.int64)
        rng = np.random.default_rng(seed)
        model.train()
        for step in range(STEPS):
            for group in optimizer.param_groups:  # a half cosine down to 0
                group["lr"] = settings.learning_rate * (1 + np.cos(np.pi * step / STEPS)) / 2
            if len(left) < BATCH:
                left = np.concatenate([left, rng.permutation(train)])
            batch, left = left[:BATCH], left[BATCH:]
            loss = F.cross_entropy(model(self.images[batch]), self.labels[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            parts = [
                model(self.images[some]).argmax(1) != self.labels[some]
                for some in np.array_split(measured, max(1, len(measured) // 512))
            ]
        return float(torch.cat(parts).float().mean())


def curve_of(vehicles: Vehicles, learner: Learner, base: Rows, seed: int) -> Curve:
    """Measure the shares over the folds, and fit."""
    labels, groups = vehicles.labels.numpy()[base], np.arange(len(base))
    errors, images = np.zeros((len(SHARES), FOLDS)), np.zeros(len(SHARES))
    for fold in range(FOLDS):
        train, val = cross_validation_fold(labels, groups, FOLDS, fold, seed, names=("0", "1"))
        for place, share in enumerate(SHARES):
            part = train[share_of(labels[train], groups[train], share, (seed, fold))]
            images[place] += len(part) / FOLDS
            errors[place, fold] = learner(base[part], base[val], seed)
    return Curve.fit(images, errors)


def truth(learner: Learner, drawn: Rows, times: int, seed: int) -> float:
    """Return the accuracy that so many times the images of a fold bring, the mean of TRAININGS."""
    own = BASE - BASE // FOLDS
    test = np.arange(POOL, POOL + TEST)
    base, more = drawn[:BASE], drawn[BASE:]
    errors = []
    for training in range(TRAININGS):
        rng = np.random.default_rng((seed, training))
        chosen = np.concatenate(
            [rng.permutation(base)[:own], rng.permutation(more)[: (times - 1) * own]]
        )
        errors.append(learner(chosen, test, 1000 * seed + training))
    return 1 - float(np.mean(errors))


def main() -> None:
    """Print a row a case, and how often the intervals hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--linear", action="store_true")
    parser.add_argument("--pool", type=Path, default=Path(tempfile.gettempdir()) / "vehicles-20000")
    options = parser.parse_args()
    torch.set_num_threads(1)
    make_vehicles(options.pool, count=POOL + TEST, image_size=64, seed=1000)
    vehicles = Vehicles(options.pool)
    learners: list[Learner] = [
        partial(vehicles.error, Settings.model_validate({"image_size": SIZE, **network}))
        for network in NETWORKS
    ]
    if options.linear:
        pixels = vehicles.images.flatten(1).numpy().astype(np.float32)
        learners = [
            partial(vehicles.linear_error, features, alpha)
            for features in (pixels, vehicles.features(0))
            for alpha in (0.3, 3.0)
        ]
    print(
        "| case | law fits, p | measured | 2 x: interval | truth | gain | truth "
        "| 4 x: interval | truth | gain | truth |"
    )
    print("| --- " * 11 + "|")
    held: list[bool] = []
    for case in range(options.cases):
        learner = learners[case % len(learners)]
        drawn = np.random.default_rng(case).permutation(POOL)
        curve = curve_of(vehicles, learner, drawn[:BASE], case)
        found = {times: truth(learner, drawn, times, case) for times in (1, 2, 4)}
        cells = [
            f"{case}",
            f"{curve.p_fit:.2f}",
            f"{1 - curve.errors[-1].mean():.1%} ({found[1]:.1%})",
        ]
        for times in (2, 4):
            accuracy, gain = curve.accuracy(times * curve.most), curve.gain(times * curve.most)
            more = found[times] - found[1]
            cells += [_shown(accuracy), f"{found[times]:.1%}", _shown(gain), f"{more:+.1%}"]
            if curve.holds:
                held += [
                    accuracy.low <= found[times] <= accuracy.high,
                    gain.low <= more <= gain.high,
                ]
        print("| " + " | ".join(cells) + " |", flush=True)
    shares = np.array(held).reshape(-1, 4)
    for name, column in zip(("2 x", "2 x, gain", "4 x", "4 x, gain"), shares.T, strict=True):
        print(f"{name}: {column.sum()} of {len(column)} intervals hold the truth")


def _shown(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


if __name__ == "__main__":
    main()
