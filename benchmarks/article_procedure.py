"""The article's procedure, with a switch for each of its two faults.

    python benchmarks/article_procedure.py [--data-dir DIR] [--setting baseline ...]

The article trained four settings of one network on 1,646 photographs and reported one training
and one validation accuracy each. Two faults hide in its code as it circulates:

    layout    arrays of shape (H, W, C) were reshaped to (C, H, W), not transposed, which scrambles
              every picture: it becomes nine small, grey, striped copies of itself
    eval      accuracies were taken without `eval()`: dropout was on, and batch normalisation used
              the statistics of the batch at hand

Every setting is trained twice, with and without the first fault; each network is measured twice,
with and without the second. Split (scikit-learn's, a tenth, stratified, random_state=13), network,
Adam, learning rates, epochs, batch size and seed are the article's; images are in [0, 1].

The loops are written out here and use nothing of the package but its data reading and its setting
of the allocator, as a second account of the same experiment.
"""

import argparse
import copy
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from vehicle_lightning.config import DataSettings
from vehicle_lightning.data.cache import cache_folder
from vehicle_lightning.data.table import read_table
from vehicle_lightning.parallel import keep_freed_memory
from vehicle_lightning.synthetic import VERSION, make_vehicles

BATCH_SIZE = 128


@dataclass(frozen=True)
class Setting:
    """One of the article's four, and the accuracies it published, in %."""

    name: str
    dropout: float
    batchnorm: bool
    learning_rate: float
    epochs: int
    published: str


SETTINGS = (
    Setting("baseline", 0.0, False, 1e-4, 25, "87.80 / 69.72"),
    Setting("dropout", 0.5, False, 1e-4, 25, "73.56 / 70.29"),
    Setting("batchnorm", 0.0, True, 5e-5, 5, "about 91 / 63"),
    Setting("combined", 0.5, True, 2.5e-4, 10, "- / about 73"),
)


@dataclass(frozen=True)
class Outcome:
    """Accuracies in % as training / validation, and the mean batch loss of the last epoch."""

    without_eval: tuple[float, float]
    with_eval: tuple[float, float]
    last_loss: float


def main() -> None:
    """Train all settings in both layouts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="data directory; default: synthetic vehicles")
    parser.add_argument(
        "--setting", nargs="+", choices=[s.name for s in SETTINGS], help="default: all four"
    )
    parser.add_argument("--epochs", type=int, help="instead of the article's, to try it out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    keep_freed_memory()
    images, labels = read(options.data_dir)
    training, validating = train_test_split(
        np.arange(len(labels)), test_size=0.1, random_state=13, stratify=labels
    )
    rows = []
    for setting in SETTINGS:
        if options.setting and setting.name not in options.setting:
            continue
        outcomes = []
        for scrambled in (True, False):
            torch.manual_seed(options.seed)
            started = time.monotonic()
            outcome = run(
                setting, options.epochs or setting.epochs, images, labels, training, validating,
                scrambled=scrambled,
            )  # fmt: skip
            outcomes.append(outcome)
            layout = "scrambled" if scrambled else "right"
            print(
                f"{setting.name}, layout {layout}: without eval {cell(outcome.without_eval)}, "
                f"with eval {cell(outcome.with_eval)}, last loss {outcome.last_loss:.3f} "
                f"({time.monotonic() - started:.0f} s)",
                file=sys.stderr,
                flush=True,
            )
        rows.append(row(setting, *outcomes))
    print_table(rows)


def read(data_dir: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return images, uint8 (N, H, W, 3), and labels, int64 (N,), in the order of the CSV."""
    if data_dir is None:
        data_dir = make_vehicles(cache_folder(DataSettings()) / f"synthetic_vehicles_{VERSION}")
    table = read_table(DataSettings(data_dir=data_dir))
    pixels = []
    for path in table.paths:
        with Image.open(path) as image:
            pixels.append(np.asarray(image.convert("RGB")))
    return np.stack(pixels), table.labels


def run(
    setting: Setting,
    epochs: int,
    images: np.ndarray,
    labels: np.ndarray,
    training: np.ndarray,
    validating: np.ndarray,
    *,
    scrambled: bool,
) -> Outcome:
    """Train one setting and measure it in both ways."""
    count, height, width, channels = images.shape
    shaped = (
        images.reshape(count, channels, height, width)
        if scrambled
        else images.transpose(0, 3, 1, 2)
    )
    sides = [
        (
            # Only faster in memory so; the values and their places are the same.
            torch.from_numpy(shaped[rows]).contiguous(memory_format=torch.channels_last),
            torch.from_numpy(labels[rows]),
        )
        for rows in (training, validating)
    ]
    network = build(setting, height, width, int(labels.max()) + 1)
    last_loss = train(network, *sides[0], setting.learning_rate, epochs)
    without = copy.deepcopy(network).train()  # measuring would change its running statistics
    return Outcome(
        tuple(accuracy(without, *side) for side in sides),
        tuple(accuracy(network.eval(), *side) for side in sides),
        last_loss,
    )


def build(setting: Setting, height: int, width: int, classes: int) -> nn.Sequential:
    """Conv - ReLU [- BatchNorm] - MaxPool [- Dropout], twice, and one linear layer."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.ReLU(inplace=True),
            *([nn.BatchNorm2d(outputs)] if setting.batchnorm else []),
            nn.MaxPool2d(2),
            *([nn.Dropout(setting.dropout)] if setting.dropout else []),
        ]

    head = nn.Linear(32 * (height // 4) * (width // 4), classes)
    layers = [*block(3, 16), *block(16, 32), nn.Flatten(), head]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def train(
    network: nn.Module, images: Tensor, labels: Tensor, learning_rate: float, epochs: int
) -> float:
    """Return the mean batch loss of the last epoch."""
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    loss_function = nn.CrossEntropyLoss()
    network.train()
    for _ in range(epochs):
        losses = []
        for rows in torch.randperm(len(images)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss = loss_function(network(images[rows].float() / 255), labels[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return float(np.mean(losses))


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the accuracy in %, in whatever mode the network is."""
    order = torch.randperm(len(images))
    correct = sum(
        int((network(images[rows].float() / 255).argmax(1) == labels[rows]).sum())
        for rows in order.split(BATCH_SIZE)
    )
    return 100 * correct / len(images)


def row(setting: Setting, scrambled: Outcome, right: Outcome) -> list[str]:
    """Return one line of the table."""
    return [
        setting.name,
        setting.published,
        cell(scrambled.without_eval),
        cell(right.without_eval),
        cell(scrambled.with_eval),
        cell(right.with_eval),
        f"{scrambled.last_loss:.3f}",
        f"{right.last_loss:.3f}",
    ]


def cell(accuracies: tuple[float, ...]) -> str:
    """Return training / validation accuracy."""
    return " / ".join(f"{value:.1f}" for value in accuracies)


def print_table(rows: list[list[str]]) -> None:
    """Print Markdown."""
    header = [
        "setting",
        "published",
        "both faults",
        "layout right",
        "eval right",
        "both right",
        "last loss, scrambled",
        "last loss, right",
    ]
    for line in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
