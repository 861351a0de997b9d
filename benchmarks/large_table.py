"""A table of a million rows against one of 1,646: time and memory for each image.

    python benchmarks/large_table.py [--rows 100000] [--distinct 5000] [--rounds 3]

Draws vehicles of 32 x 32 pixels and writes a CSV whose rows name them over and over, each row a
file name of its own (hard links, so that a million rows take little room). Each table is read in
processes of their own, with the cache and with `--cache none`:

    first s    until the first training batch, nothing being cached
    again s    the same, everything being cached
    read/s     images a second out of shuffled training batches
    trained/s  images a second through training steps of the default network on such batches
    MB         memory of the process at the end, without pages of mapped files

and what each further million rows adds to time and memory. All is written to a temporary folder
(in `--place`) and removed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vehicle_lightning.data.batches import Batch
    from vehicle_lightning.data.datamodule import VehicleDataModule

SMALL = 1646  # rows
SIZE = 32
BATCHES, TRAINED = 400, 100  # batches timed
LARGEST_FOLDER = 10_000  # files


def main() -> None:
    """Measure both tables and print them side by side, or one when called by itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--distinct", type=int, default=5000, help="pictures that differ")
    parser.add_argument("--rounds", type=int, default=3, help="of reading what is cached")
    parser.add_argument("--place", type=Path, help="folder to write to; default: the system's")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        data, cache, kind = options.measure
        print(json.dumps(measure(Path(data), Path(cache), kind)))
        return
    with tempfile.TemporaryDirectory(dir=options.place) as folder:
        report(Path(folder), options.rows, min(options.distinct, options.rows), options.rounds)


def report(place: Path, rows: int, distinct: int, rounds: int) -> None:
    """Make both tables, measure each cold and warm, and print the figures and their ratios."""
    tables = {SMALL: place / "small", rows: place / "large"}
    for count, folder in tables.items():
        start = time.perf_counter()
        make_table(place / "drawn", folder, count, distinct)
        print(f"made {count:,} rows in {time.perf_counter() - start:.0f} s", flush=True)
    print("      rows cache    first s   again s      read/s trained/s      MB")
    for kind in ("disk", "none"):
        found = {}
        for count, folder in tables.items():
            cache = place / f"cache-{kind}-{count}"
            first = in_own_process(folder, cache, kind)["seconds"]
            later = [in_own_process(folder, cache, kind) for _ in range(rounds)]
            again = min(each["seconds"] for each in later)
            read, trained = (max(each[name] for each in later) for name in ("read", "trained"))
            memory = max(each["memory"] for each in later)
            found[count] = first, again, read, trained, memory
            print(
                f"{count:>10,} {kind} {first:>12.2f} {again:>9.2f} {read:>11,.0f} "
                f"{trained:>9,.0f} {memory:>7.0f}",
                flush=True,
            )
        small, large = found[SMALL], found[rows]
        added = [(b - a) / (rows - SMALL) * 1e6 for a, b in zip(small, large, strict=True)]
        print(
            f"{kind}: an image of the large table costs {small[2] / large[2]:.2f} times as much to "
            f"read and {small[3] / large[3]:.2f} to train on; each further million rows costs "
            f"{added[0]:.0f} s the first time, {added[1]:.0f} s again, and {added[4]:.0f} MB"
        )


def make_table(drawn: Path, folder: Path, rows: int, distinct: int) -> None:
    """Write a CSV of so many rows, and a hard link for each to one of the pictures."""
    from vehicle_lightning.synthetic import make_vehicles

    make_vehicles(drawn, count=distinct, image_size=SIZE)
    pictures = [line.split(",") for line in (drawn / "train.csv").read_text().split()[1:]]
    with_header = ["image_names,emergency_or_not"]
    for row in range(rows):
        name, label = pictures[row % distinct]
        link = f"{row // LARGEST_FOLDER}/{row}.jpg"
        target = folder / "images" / link
        if row % LARGEST_FOLDER == 0:
            target.parent.mkdir(parents=True)
        os.link(drawn / "images" / name, target)
        with_header.append(f"{link},{label}")
    (folder / "train.csv").write_text("\n".join(with_header) + "\n")


def in_own_process(data: Path, cache: Path, kind: str) -> dict[str, float]:
    """Measure in a process that has nothing in memory yet."""
    command = [sys.executable, __file__, "--measure", str(data), str(cache), kind]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(data: Path, cache: Path, kind: str) -> dict[str, float]:
    """Read a table to its first batch, then some hundred batches."""
    from vehicle_lightning.config import Settings
    from vehicle_lightning.data.datamodule import VehicleDataModule
    from vehicle_lightning.parallel import keep_freed_memory

    keep_freed_memory()  # as `fit` does
    settings = Settings.model_validate(
        {"data_dir": data, "cache_dir": cache, "cache": kind, "image_size": SIZE}
    )
    start = time.perf_counter()
    module = VehicleDataModule(settings)
    module.setup()
    next(iter(module.train_dataloader()))
    seconds = time.perf_counter() - start

    for _ in islice(epochs(module), BATCHES):  # the mapped file comes into memory
        pass
    step = training_step()
    return {
        "seconds": seconds,
        "read": rate(islice(epochs(module), BATCHES), lambda _: None),
        "trained": rate(islice(epochs(module), TRAINED), step),
        "memory": own_memory(),
    }


def training_step() -> Callable[["Batch"], None]:
    """Return what trains the default network on a batch."""
    import torch
    from torch.nn.functional import cross_entropy

    from vehicle_lightning.config import Settings
    from vehicle_lightning.model.network import ImageClassifier

    network = ImageClassifier(Settings(image_size=SIZE), ("0", "1"), [0.5] * 3, [0.3] * 3)
    optimizer = torch.optim.Adam(network.parameters())

    def step(batch: "Batch") -> None:
        optimizer.zero_grad()
        cross_entropy(network(batch.images), batch.labels).backward()
        optimizer.step()

    return step


def rate(batches: Iterable["Batch"], use: Callable[["Batch"], None]) -> float:
    """Return images a second."""
    start, images = time.perf_counter(), 0
    for batch in batches:
        use(batch)
        images += len(batch.labels)
    return images / (time.perf_counter() - start)


def epochs(module: "VehicleDataModule") -> Iterator["Batch"]:
    """Give batch after batch, in a new order after each pass."""
    loader = module.train_dataloader()
    for epoch in range(1_000_000):
        loader.sampler.set_epoch(epoch)
        yield from loader


def own_memory() -> float:
    """Return the memory of this process in MB, without the pages of mapped files."""
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1e3


if __name__ == "__main__":
    main()
