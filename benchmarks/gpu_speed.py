"""An epoch of `fit` on one GPU against a bare loop over images that lie on the device.

    python benchmarks/gpu_speed.py [--data-dir DIR] [--networks article best]
        [--precisions 32-true bf16-mixed] [--rounds 2] [--epochs 40]

Same network, batches, augmentation and measuring; `graphs` is `fit --cuda-graphs`. Each way runs in
a process of its own and the rounds alternate between them; printed are the median seconds of an
epoch, the peak of the memory, and the ratio. `article` is the case study's network with dropout and
batch normalisation, `best` that of experiments/best.yaml at its full image size.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WAYS = ("bare", "fit", "graphs")
FIRST = 3  # epochs that are not counted
BEST = Path(__file__).parent.parent / "experiments" / "best.yaml"


def main() -> None:
    """Run all rows, or one way when called by itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="default: synthetic vehicles")
    parser.add_argument("--networks", nargs="+", default=["article", "best"])
    parser.add_argument("--precisions", nargs="+", default=["32-true", "bf16-mixed"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(run_way(options)))
        return
    for network in options.networks:
        for precision in options.precisions:
            compare(options, network, precision)


def compare(options: argparse.Namespace, network: str, precision: str) -> None:
    """Print one row: all ways and their ratios in each round."""
    ratios: dict[str, list[str]] = {way: [] for way in WAYS[1:]}
    for _ in range(options.rounds):
        seconds = {}
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--epochs", str(options.epochs)]
            command += ["--networks", network, "--precisions", precision]
            command += ["--data-dir", str(options.data_dir)] * (options.data_dir is not None)
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            seconds[way], peak = json.loads(done.stdout.splitlines()[-1])
            print(f"{network} {precision} {way}: {seconds[way]:.3f} s, {peak:.0f} MB", flush=True)
        for way, found in ratios.items():
            found.append(f"{seconds[way] / seconds['bare']:.2f}")
    for way, found in ratios.items():
        print(f"{network} {precision} {way}/bare: {', '.join(found)}", flush=True)


def run_way(options: argparse.Namespace) -> tuple[float, float]:
    """Return the median seconds of an epoch, and the peak of the GPU's memory in MB."""
    import torch
    from clock import EpochClock

    clock = EpochClock()
    with tempfile.TemporaryDirectory() as folder:
        settings = make_settings(options, Path(folder))
        (run_bare if options.way == "bare" else run_fit)(settings, clock)
    return statistics.median(clock.seconds[FIRST:]), torch.cuda.max_memory_allocated() / 1e6


def make_settings(options: argparse.Namespace, log_dir: Path) -> Any:
    """Return the settings of one row."""
    from vehicle_lightning import Settings
    from vehicle_lightning.settings_file import read_settings

    network = (
        read_settings(BEST).model_dump(exclude_defaults=True)
        if options.networks[0] == "best"
        else {"dropout": 0.5, "batchnorm": True}
    )
    return Settings(
        **network
        | {
            "data_dir": options.data_dir,
            "log_dir": log_dir,
            "epochs": options.epochs,
            "initial_size": None,
            "precision": options.precisions[0],
            "cuda_graphs": options.way == "graphs",
            "accelerator": "gpu",
            "devices": "1",
        }
    )


def run_fit(settings: Any, clock: Any) -> None:
    """Train as the command does."""
    from vehicle_lightning import train

    train(settings, callbacks=[clock])


def run_bare(settings: Any, clock: Any) -> None:
    """Train by hand on images that lie on the device."""
    import torch

    from vehicle_lightning import VehicleClassifier, VehicleDataModule

    data = VehicleDataModule(settings)
    data.setup()

    def on_device(loader: Any) -> tuple[torch.Tensor, torch.Tensor]:
        batches = list(loader)
        images = torch.cat([batch.images for batch in batches]).cuda()
        images = images.contiguous(memory_format=torch.channels_last)
        return images, torch.cat([batch.labels for batch in batches]).cuda()

    images, labels = on_device(data.loader("train"))
    measured = [on_device(loader) for loader in data.val_dataloader()]
    classifier = VehicleClassifier(
        settings, data.class_names, data.mean.tolist(), data.std.tolist()
    ).cuda()
    model, augment, mix = classifier.model, classifier.augment, classifier.mix
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
    optimizer = kind(model.parameters(), lr=settings.learning_rate, fused=True)
    half = torch.autocast("cuda", torch.bfloat16, enabled=settings.precision == "bf16-mixed")

    def train_epoch() -> None:
        model.train()
        for rows in torch.randperm(len(images), device="cuda").split(settings.batch_size):
            some, wanted = augment(images[rows].float()), labels[rows]
            if mix:
                some, wanted = mix(some, wanted)
            optimizer.zero_grad(set_to_none=True)
            with half:
                loss = classifier.training_loss(model(some), wanted)
            loss.backward()
            optimizer.step()

    def measure() -> None:
        model.eval()  # here the model itself averages over mirror images
        with torch.no_grad(), half:
            for some, wanted in measured:
                logits = torch.cat([model(part) for part in some.split(settings.batch_size)])
                torch.nn.functional.cross_entropy(logits, wanted).item()
                (logits.argmax(1) == wanted).float().mean().item()

    for _ in range(settings.epochs):
        clock.mark()
        train_epoch()
        measure()


if __name__ == "__main__":
    main()
