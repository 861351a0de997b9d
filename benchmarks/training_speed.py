"""Training speed of `fit` against bare PyTorch loops, as ratios within one run.

    python benchmarks/training_speed.py [--data-dir DIR] [--rounds 3] [--epochs 2]

Three ways to train the default network on the same images, with the same batches and the same
measuring after each epoch (all validation images and a tenth of the training images in eval mode):

    fit     `vehicle_lightning.fit`, everything included: metrics, events, checkpoints
    bare    a loop over a float tensor in memory; channels-last, freed memory kept
    plain   the loop as usually written: contiguous NCHW, the allocator as it comes

Each way runs in a process of its own, as the allocator is set once in a process; a warm-up epoch
is not counted. The rounds alternate between the ways, since other work on the machine comes and
goes, and the ratio of a round compares epochs that ran close together.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = ("fit", "bare", "plain")
BATCH_SIZE = 128


def main() -> None:
    """Run all rounds and print the table, or run one way when called by itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="data directory; default: drawn vehicles")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="epochs timed in each round")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        seconds = run_way(options.way, options.data_dir, options.epochs)
        print(json.dumps(seconds))
    else:
        report(options)


def report(options: argparse.Namespace) -> None:
    """Alternate between the ways and print seconds and ratios."""
    print("round   " + "".join(f"{way + ' s':>10}" for way in WAYS) + "  fit/bare  fit/plain")
    ratios: dict[str, list[float]] = {"bare": [], "plain": []}
    for number in range(1, options.rounds + 1):
        seconds = {way: min(in_own_process(way, options)) for way in WAYS}
        for other, values in ratios.items():
            values.append(seconds["fit"] / seconds[other])
        cells = "".join(f"{seconds[way]:10.2f}" for way in WAYS)
        print(
            f"{number:<8}{cells}{ratios['bare'][-1]:10.3f}{ratios['plain'][-1]:11.3f}", flush=True
        )
    for other, values in ratios.items():
        print(
            f"fit/{other}: median {statistics.median(values):.3f}, "
            f"range {min(values):.3f} to {max(values):.3f} in {len(values)} rounds"
        )


def in_own_process(way: str, options: argparse.Namespace) -> list[float]:
    """Return the seconds of each timed epoch."""
    command = [sys.executable, __file__, "--way", way, "--epochs", str(options.epochs)]
    if options.data_dir:
        command += ["--data-dir", str(options.data_dir)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def run_way(way: str, data_dir: Path | None, epochs: int) -> list[float]:
    """Train a warm-up epoch and the timed ones."""
    if way == "fit":
        return run_fit(data_dir, epochs)
    from vehicle_lightning.parallel import keep_freed_memory

    if way == "bare":
        keep_freed_memory()
    return run_loop(data_dir, epochs, channels_last=way == "bare")


def run_fit(data_dir: Path | None, epochs: int) -> list[float]:
    """Time whole epochs by when their losses reach the event file."""
    from vehicle_lightning.config import Settings
    from vehicle_lightning.fit.__main__ import fit

    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data_dir=data_dir,
            epochs=epochs + 1,
            batch_size=BATCH_SIZE,
            accelerator="cpu",
            log_dir=Path(folder),
        )
        run = fit(settings).run
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(run.path))
        events.Reload()
        times = [scalar.wall_time for scalar in events.Scalars("train/running_loss")]
    return [after - before for before, after in itertools.pairwise(times)]


def run_loop(data_dir: Path | None, epochs: int, *, channels_last: bool) -> list[float]:
    """Time a loop over a float tensor in memory."""
    import torch
    from torch import nn

    from vehicle_lightning.config import Settings
    from vehicle_lightning.data.datamodule import VehicleDataModule

    layout = torch.channels_last if channels_last else torch.contiguous_format
    data = VehicleDataModule(Settings(data_dir=data_dir))
    data.setup()

    def tensors(loader: object) -> tuple[torch.Tensor, torch.Tensor]:
        batches = list(loader)  # type: ignore[call-overload]
        images = torch.cat([batch.images for batch in batches]).float() / 255
        return images.contiguous(memory_format=layout), torch.cat([b.labels for b in batches])

    images, labels = tensors(data.measured(data.rows["train"]))
    measured = [tensors(loader) for loader in data.val_dataloader()]
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 56 * 56, 2),
    ).to(memory_format=layout)
    optimizer = torch.optim.Adam(network.parameters(), lr=2.5e-4)
    loss_function = nn.CrossEntropyLoss()

    def epoch() -> None:
        network.train()
        order = torch.randperm(len(images))
        for rows in order.split(BATCH_SIZE):
            optimizer.zero_grad()
            loss_function(network(images[rows]), labels[rows]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for some_images, some_labels in measured:
                logits = torch.cat([network(part) for part in some_images.split(BATCH_SIZE)])
                loss_function(logits, some_labels).item()
                (logits.argmax(1) == some_labels).float().mean().item()

    epoch()
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        epoch()
        seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
