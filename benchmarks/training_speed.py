"""Training speed of `fit` against bare PyTorch loops, as ratios within one run.

    python benchmarks/training_speed.py [--data-dir DIR] [--rounds 3] [--epochs 2]
        [--dropout 0.5] [--batchnorm] [--precision bf16-mixed]

Ways to train the case study's network on the same images, with the same batches, switches and
measuring after each epoch (all validation images and a tenth of the training images in eval mode):

    fit       `vehicle_lightning.train`, everything included: metrics, events, checkpoints
    bare      a loop over a float tensor in memory; channels-last, freed memory kept, our dropout
    plain     the loop as usually written, in float32: contiguous NCHW, the allocator as it comes
    undropped `fit` without the dropout, where there is any

Each way runs in a process of its own, as the allocator is set once in a process; a warm-up epoch
is not counted. The rounds alternate between the ways, since other work on the machine comes and
goes, and the ratio of a round compares epochs that ran close together.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WAYS = ("fit", "bare", "plain", "undropped")
BATCH_SIZE = 128


def main() -> None:
    """Run all rounds and print the table, or run one way when called by itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="data directory; default: synthetic vehicles")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="epochs timed in each round")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--batchnorm", action="store_true")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(run_way(options)))
    else:
        report(options)


def report(options: argparse.Namespace) -> None:
    """Alternate between the ways and print seconds and ratios."""
    ways = WAYS if options.dropout else WAYS[:-1]
    print("round   " + "".join(f"{way + ' s':>13}" for way in ways))
    ratios: dict[str, list[float]] = {way: [] for way in ways[1:]}
    for number in range(1, options.rounds + 1):
        seconds = {way: min(in_own_process(way)) for way in ways}
        for other, values in ratios.items():
            values.append(seconds["fit"] / seconds[other])
        print(f"{number:<8}" + "".join(f"{seconds[way]:13.2f}" for way in ways), flush=True)
    for other, values in ratios.items():
        print(
            f"fit/{other}: median {statistics.median(values):.3f}, "
            f"range {min(values):.3f} to {max(values):.3f} in {len(values)} rounds"
        )


def in_own_process(way: str) -> list[float]:
    """Return the seconds of each timed epoch."""
    command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def run_way(options: argparse.Namespace) -> list[float]:
    """Train a warm-up epoch and the timed ones; return the seconds of the latter."""
    from clock import EpochClock

    from vehicle_lightning import Settings
    from vehicle_lightning.parallel import keep_freed_memory

    if options.way != "plain":
        keep_freed_memory()
    clock = EpochClock()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data_dir=options.data_dir,
            log_dir=Path(folder),
            accelerator="cpu",
            epochs=options.epochs + 2,  # the clock sees the beginning of epochs
            image_size=options.image_size,
            batch_size=BATCH_SIZE,
            dropout=0.0 if options.way == "undropped" else options.dropout,
            batchnorm=options.batchnorm,
            precision=options.precision,
        )
        if options.way in ("fit", "undropped"):
            from vehicle_lightning import train

            train(settings, callbacks=[clock])
        else:
            run_loop(settings, clock, is_plain=options.way == "plain")
    return clock.seconds[1:]


def run_loop(settings: Any, clock: Any, *, is_plain: bool) -> None:
    """Train by hand over a float tensor in memory."""
    import torch
    from torch import nn

    from vehicle_lightning import VehicleDataModule
    from vehicle_lightning.model.dropout import Dropout

    layout = torch.contiguous_format if is_plain else torch.channels_last
    half = settings.precision == "bf16-mixed" and not is_plain
    data = VehicleDataModule(settings)
    data.setup()

    def tensors(loader: Any) -> tuple[torch.Tensor, torch.Tensor]:
        batches = list(loader)
        images = torch.cat([batch.images for batch in batches]).float() / 255
        return images.contiguous(memory_format=layout), torch.cat([b.labels for b in batches])

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.ReLU(inplace=True),
            *([nn.BatchNorm2d(outputs)] * settings.batchnorm),
            nn.MaxPool2d(2),
            *([(nn.Dropout if is_plain else Dropout)(settings.dropout)] * (settings.dropout > 0)),
        ]

    images, labels = tensors(data.loader("train"))
    measured = [tensors(loader) for loader in data.val_dataloader()]
    width = 32 * (settings.image_size // 4) ** 2
    network = nn.Sequential(*block(3, 16), *block(16, 32), nn.Flatten(), nn.Linear(width, 2))
    network = network.to(memory_format=layout)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    loss_function = nn.CrossEntropyLoss()

    def epoch() -> None:
        network.train()
        for rows in torch.randperm(len(images)).split(BATCH_SIZE):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = loss_function(network(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            for some_images, some_labels in measured:
                logits = torch.cat([network(part) for part in some_images.split(BATCH_SIZE)])
                loss_function(logits, some_labels).item()
                (logits.argmax(1) == some_labels).float().mean().item()

    for _ in range(settings.epochs):
        clock.mark()
        epoch()


if __name__ == "__main__":
    main()
