"""Images a second of `predict`, against its two parts measured alone and against a plain loop.

    python benchmarks/prediction_speed.py [--images 2000] [--side 224] [--rounds 3]

Draws JPEG files and predicts them by the default network, in four ways:

    predict  the command from its first image to its last row, models loaded already
    decode   the files to pixels as the command does it, in threads on all cores, nothing else
    forward  the network as the command calls it, on pixels in memory, on all cores, nothing else
    plain    the loop as usually written: Pillow, one file after the other; float tensors; the
             network in batches; contiguous NCHW, the allocator as it comes

What could be reached at best follows from the parts. On a GPU decoding and network run beside one
another on different hardware, so the slower one decides: ideal = min(decode, forward). On a CPU
both take all cores: each image costs the sum of the two times, however they overlap, so
ideal = 1 / (1 / decode + 1 / forward).

Each way runs in a process of its own, as the allocator is set once in a process; a warm-up of four
batches is not counted. The rounds alternate between the ways, since other work on the machine comes
and goes, and the ratio of a round compares what ran close together.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from checking_speed import draw

WAYS = ("predict", "decode", "forward", "plain")
MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
WARM_UP = 4  # batches


def main() -> None:
    """Run all rounds and print the table, or run one way when called by itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=224, help="of the drawn pictures, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(run_way(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.data = Path(folder)
        (options.data / "images").mkdir()
        with ProcessPoolExecutor() as pool:
            count = options.images
            list(pool.map(draw, range(count), [options.data] * count, [options.side] * count))
        report(options)


def report(options: argparse.Namespace) -> None:
    """Alternate between the ways and print images a second and ratios."""
    print(
        "round " + "".join(f"{way + '/s':>11}" for way in WAYS) + "    ideal/s  of ideal  of plain"
    )
    of_ideal, of_plain = [], []
    for number in range(1, options.rounds + 1):
        measured = {way: in_own_process(way, options) for way in WAYS}
        rate = {way: rate for way, (rate, _) in measured.items()}
        shared = measured["predict"][1] == "cpu"
        ideal = (
            1 / (1 / rate["decode"] + 1 / rate["forward"])
            if shared
            else min(rate["decode"], rate["forward"])
        )
        of_ideal.append(rate["predict"] / ideal)
        of_plain.append(rate["predict"] / rate["plain"])
        cells = "".join(f"{rate[way]:11.0f}" for way in WAYS)
        print(
            f"{number:<6}{cells}{ideal:11.0f}{of_ideal[-1]:10.2f}{of_plain[-1]:10.2f}", flush=True
        )
    for name, values in (("ideal", of_ideal), ("plain", of_plain)):
        print(
            f"predict/{name}: median {statistics.median(values):.2f}, "
            f"range {min(values):.2f} to {max(values):.2f} in {len(values)} rounds"
        )


def in_own_process(way: str, options: argparse.Namespace) -> tuple[float, str]:
    """Return images a second and the kind of device."""
    flags = {
        "--way": way,
        "--data": options.data,
        "--batch-size": options.batch_size,
        "--accelerator": options.accelerator,
    }
    command = [sys.executable, __file__, *(str(part) for flag in flags.items() for part in flag)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    rate, device = json.loads(done.stdout.splitlines()[-1])
    return rate, device


def run_way(options: argparse.Namespace) -> tuple[float, str]:
    """Return images a second and the kind of device."""
    from vehicle_lightning.parallel import keep_freed_memory

    if options.way != "plain":
        keep_freed_memory()
    from lightning.fabric import Fabric

    device = Fabric(accelerator=options.accelerator, devices=1).device
    ways = {"predict": by_command, "decode": decoding, "forward": forward, "plain": plain}
    files = sorted((options.data / "images").iterdir())
    work = ways[options.way](options, device)
    work(files[: WARM_UP * options.batch_size])
    started = time.perf_counter()
    work(files)
    return len(files) / (time.perf_counter() - started), device.type


Work = Callable[[list[Path]], None]


def by_command(options: argparse.Namespace, device: object) -> Work:
    """Stream the images as the command does, into a CSV file."""
    from vehicle_lightning.data.paths import ImageFile
    from vehicle_lightning.predict.output import write_predictions
    from vehicle_lightning.runs.calibration import UNCALIBRATED

    ensemble = make_ensemble(device)

    def work(files: list[Path]) -> None:
        images = [ImageFile(str(file)) for file in files]
        predicted = ensemble.predict(images, options.batch_size)
        output = options.data / "out.csv"
        rows = write_predictions(output, predicted, ensemble.class_names, UNCALIBRATED)
        assert not any(rows["error"])

    return work


def decoding(*_: object) -> Work:
    """Decode every file, in as many threads as there are cores."""
    from vehicle_lightning.config import Settings
    from vehicle_lightning.data.images import read_or_fault
    from vehicle_lightning.parallel import in_threads

    size = Settings().image_size

    def work(files: list[Path]) -> None:
        for _ in in_threads(lambda file: read_or_fault(file, size), files):
            pass

    return work


def forward(options: argparse.Namespace, device: object) -> Work:
    """Predict as many images as there are files, from pixels in memory."""
    import torch

    ensemble = make_ensemble(device)
    (size,) = ensemble.image_sizes
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (options.batch_size, size, size, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def work(files: list[Path]) -> None:
        for start in range(0, len(files), options.batch_size):
            ensemble.probabilities({size: images[: len(files) - start]})

    return work


def plain(options: argparse.Namespace, device: object) -> Work:
    """Predict in a loop as it is usually written."""
    import torch
    from PIL import Image, ImageOps

    ensemble = make_ensemble(device)
    (size,) = ensemble.image_sizes
    network = ensemble._models[0].network.to(memory_format=torch.contiguous_format)
    mean, std = (torch.tensor(figures).view(3, 1, 1) for figures in (MEAN, STD))

    def read(file: Path) -> np.ndarray:
        with Image.open(file) as image:
            return np.asarray(ImageOps.fit(image.convert("RGB"), (size, size)))

    def work(files: list[Path]) -> None:
        with torch.no_grad():
            for start in range(0, len(files), options.batch_size):
                part = files[start : start + options.batch_size]
                pixels = torch.from_numpy(np.stack([read(file) for file in part]))
                images = pixels.permute(0, 3, 1, 2).contiguous().to(device).float() / 255
                network((images - mean.to(device)) / std.to(device)).softmax(1).cpu()

    return work


def make_ensemble(device: object):  # type: ignore[no-untyped-def]
    """Return the default network, its weights at random."""
    from vehicle_lightning.config import Settings
    from vehicle_lightning.model.ensemble import Ensemble
    from vehicle_lightning.model.network import ImageClassifier

    return Ensemble([ImageClassifier(Settings(), ["0", "1"], MEAN, STD).eval()], [1], device)


if __name__ == "__main__":
    main()
