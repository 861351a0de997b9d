"""What the host does in an epoch of `fit` beside the network, against less of the same.

    python benchmarks/host_share.py [--data-dir DIR] [--rounds 3] [--profile]

A network of 242 weights on images of 8 x 8 pixels costs next to nothing, so that the time of an
epoch is what the code around it takes; on a GPU just that is left of a fast epoch. Three ways:

    fit      `vehicle_lightning.train`, everything included: metrics, events, checkpoints
    trainer  Lightning's Trainer with the smallest module that logs loss and accuracy of both splits
    bare     the loop by hand over the same batches

Each way runs in a process of its own, on one thread, and the rounds alternate between them.
Printed are milliseconds an epoch: the median over the epochs by the clock, and in processor time,
which other work on the machine disturbs less. `--profile` prints where `fit` spends it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

WAYS = ("fit", "trainer", "bare")
EPOCHS = 30
FIRST = 5  # epochs that are not counted


def main() -> None:
    """Run all rounds, or one way when called by itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="default: synthetic vehicles")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="print where `fit` spends its time")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.profile:
        profile(options.data_dir)
    elif options.way:
        print(json.dumps(run_way(options.way, options.data_dir)))
    else:
        report(options)


def report(options: argparse.Namespace) -> None:
    """Alternate between the ways; print milliseconds by the clock and of the processor."""
    print("round" + "".join(f"{f'{way} ms (CPU)':>20}" for way in WAYS))
    lowest: dict[str, float] = {}
    for number in range(1, options.rounds + 1):
        cells = ""
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way]
            command += ["--data-dir", str(options.data_dir)] * (options.data_dir is not None)
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            wall, processor = json.loads(done.stdout.splitlines()[-1])
            cells += f"{f'{wall:.1f} ({processor:.1f})':>20}"
            lowest[way] = min(processor, lowest.get(way, processor))
        print(f"{number:<5}{cells}", flush=True)
    for other in WAYS[1:]:
        ratio = lowest["fit"] / lowest[other]
        print(f"fit/{other}: {ratio:.2f} in processor time, the lowest of each way")


def run_way(way: str, data_dir: Path | None) -> tuple[float, float]:
    """Return the median milliseconds of an epoch, by the clock and of the processor."""
    import torch
    from clock import EpochClock

    torch.set_num_threads(1)
    clock = EpochClock()
    with tempfile.TemporaryDirectory() as folder:
        settings = make_settings(data_dir, Path(folder))
        {"fit": run_fit, "trainer": run_trainer, "bare": run_bare}[way](settings, clock)
    counted = slice(FIRST, None)
    return (
        1e3 * statistics.median(clock.seconds[counted]),
        1e3 * statistics.median(clock.processor_seconds[counted]),
    )


def make_settings(data_dir: Path | None, log_dir: Path) -> Any:
    """Return the settings of a training that costs next to nothing."""
    from vehicle_lightning import Settings

    return Settings(
        data_dir=data_dir,
        log_dir=log_dir,
        accelerator="cpu",
        epochs=EPOCHS,
        image_size=8,
        batch_size=64,
        channels=(4,),
    )


def run_fit(settings: Any, clock: Any) -> None:
    """Train as the command does."""
    from vehicle_lightning import train

    train(settings, callbacks=[clock])


def run_trainer(settings: Any, clock: Any) -> None:
    """Train with nothing but what Lightning itself asks for."""
    import lightning as L
    import torch
    from torch.nn.functional import cross_entropy

    from vehicle_lightning import VehicleDataModule

    class Smallest(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = make_network(settings)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = cross_entropy(self.network(batch.images.float() / 255), batch.labels)
            self.log("train/running_loss", loss.detach(), on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            logits = self.network(batch.images.float() / 255)
            self.log("loss", cross_entropy(logits, batch.labels))
            self.log("accuracy", (logits.argmax(1) == batch.labels).float().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=settings.learning_rate)

    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=settings.epochs,
        logger=False,
        callbacks=[clock],
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Smallest(), datamodule=VehicleDataModule(settings))


def run_bare(settings: Any, clock: Any) -> None:
    """Train by hand over the batches of the data module."""
    import torch
    from torch.nn.functional import cross_entropy

    from vehicle_lightning import VehicleDataModule

    data = VehicleDataModule(settings)
    data.setup()
    training, measured = data.train_dataloader(), data.val_dataloader()
    network = make_network(settings)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)

    def measure(batches: Iterable[Any]) -> None:
        pairs = [(network(b.images.float() / 255), b.labels) for b in batches]
        logits, labels = (torch.cat(part) for part in zip(*pairs, strict=True))
        cross_entropy(logits, labels).item()
        (logits.argmax(1) == labels).float().mean().item()

    for _ in range(settings.epochs):
        clock.mark()
        network.train()
        for batch in training:
            optimizer.zero_grad()
            cross_entropy(network(batch.images.float() / 255), batch.labels).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for loader in measured:
                measure(loader)


def make_network(settings: Any) -> Any:
    """Return the network of the settings."""
    from vehicle_lightning.model.network import build_network

    return build_network(settings, 2)


def profile(data_dir: Path | None) -> None:
    """Print the functions in which `fit` spends most of an epoch, writing its report left out."""
    import cProfile
    import pstats

    import torch
    from clock import EpochClock

    from vehicle_lightning import train

    profiler = cProfile.Profile()

    class ProfiledClock(EpochClock):
        def on_train_epoch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.current_epoch == FIRST:
                profiler.enable()
            if trainer.current_epoch == EPOCHS - 1:
                profiler.disable()

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        train(make_settings(data_dir, Path(folder)), callbacks=[ProfiledClock()])
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(70)


if __name__ == "__main__":
    main()
