"""Two machines train as one: the same losses, through torchrun's rendezvous.

    python benchmarks/two_nodes.py [--epochs 3]

On Linux, as root, the two machines are network namespaces: each has a network card and an address
of its own and reaches the other through a cable (veth) alone. Elsewhere they are two agents of
torchrun on this machine, which is said. Trains the default network on synthetic vehicles in one
process with a batch of 32, then on two machines with a batch of 16 each, and compares.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from vehicle_lightning.synthetic import make_vehicles

PORT, BATCH = 29517, 32
TOLERANCE = 1e-5  # relative, of losses


def main() -> None:
    """Train both ways and print how far they are apart; exit code 1 if more than 1e-5."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, two_machines() as machines:
        place = Path(folder)
        make_vehicles(place / "data", count=200, image_size=64, workers=1)
        one = train(place / "one", options.epochs, [[sys.executable]], BATCH)
        two = train(place / "two", options.epochs, torchrun(machines), BATCH // 2)
    losses = ["train/running_loss", "train/loss", "val/loss"]
    apart = ((two[losses] - one[losses]).abs() / one[losses]).max()
    print(pd.concat({"one": one[losses], "two": two[losses]}, axis=1).to_string())
    print("largest relative difference: " + ", ".join(f"{n} {v:.1e}" for n, v in apart.items()))
    sys.exit(1 if apart.max() > TOLERANCE else 0)


@contextmanager
def two_machines() -> Iterator[list[tuple[list[str], str]]]:
    """Give for each machine what to put before a command, and the address of the first one."""
    names, cards = ("vehicle0", "vehicle1"), ("vehicle-card0", "vehicle-card1")
    addresses = ("10.213.7.1", "10.213.7.2")
    if sys.platform != "linux" or os.geteuid() != 0 or not ip("netns", "add", names[0]):
        print("no network namespaces here: two agents on 127.0.0.1 instead")
        yield [([], "127.0.0.1")] * 2
        return
    try:
        ip("netns", "add", names[1])
        ip("link", "add", cards[0], "type", "veth", "peer", "name", cards[1])
        for name, card, address in zip(names, cards, addresses, strict=True):
            ip("link", "set", card, "netns", name)
            inside = ("-n", name)
            ip(*inside, "address", "add", f"{address}/24", "dev", card)
            ip(*inside, "link", "set", card, "up")
            ip(*inside, "link", "set", "lo", "up")
        print(f"two network namespaces, {addresses[0]} and {addresses[1]}, joined by a cable")
        # Gloo is told its card, as the names of these hosts lead nowhere.
        yield [
            (["ip", "netns", "exec", name, "env", f"GLOO_SOCKET_IFNAME={card}"], addresses[0])
            for name, card in zip(names, cards, strict=True)
        ]
    finally:
        for name in names:
            ip("netns", "delete", name)


def ip(*arguments: str) -> bool:
    """Run `ip`; return whether it did."""
    try:
        return subprocess.run(["ip", *arguments], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def torchrun(machines: list[tuple[list[str], str]]) -> list[list[str]]:
    """Return what starts Python on each machine, as one of two nodes."""
    return [
        [
            *(*before, sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"),
            *("--nproc-per-node", "1", "--node-rank", str(rank)),
            *("--master-addr", address, "--master-port", str(PORT)),
        ]
        for rank, (before, address) in enumerate(machines)
    ]


def train(place: Path, epochs: int, starts: list[list[str]], batch: int) -> pd.DataFrame:
    """Train with all that is started, and return the curves."""
    flags = [
        *("-m", "vehicle_lightning.fit", "--data-dir", str(place.parent / "data")),
        *("--cache-dir", str(place / "cache"), "--log-dir", str(place), "--name", "run"),
        *("--image-size", "64", "--batch-size", str(batch), "--epochs", str(epochs)),
        *("--accelerator", "cpu", "--devices", "1", "--num-nodes", str(len(starts))),
        *(("--strategy", "ddp") if len(starts) > 1 else ()),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [*start, *flags],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for start in starts
    ]
    said = [process.communicate(timeout=300)[1] for process in started]
    if any(process.returncode for process in started):
        sys.exit("\n".join(said))
    return pd.read_csv(place / "run" / "0" / "metrics.csv")


if __name__ == "__main__":
    main()
