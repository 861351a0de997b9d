"""What a training loses when it is killed: counts, and `lost` must be 0.

    python benchmarks/kill_stress.py [--kills 20] [--seed 0]

Trains a small network, with every switch on that draws random numbers, on synthetic vehicles:

    SIGKILL   at random moments, a third of them while the cache is being written and a third while
              a checkpoint is; resumed after each until the run ends; then another run, until all
              kills are spent
    SIGTERM   the same with a signal that can be answered: exit code 130, and nothing half-written
    at once   four runs of one name, started together on an empty cache: four folders, one cache
    cores     a run killed half-way and resumed with another number of threads: how far its figures
              are from those of the run left alone

Every run but the last must end with the weights, metrics, curves and predictions of the run left
alone, bit for bit; otherwise the exit code is 1. Each training is a process of its own, forked from
one that has imported everything, so that the moments fall into the training, and takes 0.03 s to
rename a file, so that moments fall in between. POSIX only.
"""

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vehicle_lightning.cli import INTERRUPTED, run_command
from vehicle_lightning.fit.__main__ import main as fit
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.synthetic import make_vehicles

IMAGES, SIZE, EPOCHS = 240, 64, 8
SWITCHES = ("--dropout", "0.5", "--batchnorm", "--augment", "--schedule", "onecycle")
MOMENTS = ("cache", "cache", "checkpoint", "any", "checkpoint", "any")  # of the kills of one run
CURVES = {
    "train": ("loss", "accuracy"),
    "val": ("loss", "accuracy"),
    "": ("optimizer/running_loss",),
}
SLOWER = 0.03  # seconds between a file being written and being renamed, long enough to be hit
PATIENCE = 120  # seconds until a process counts as hanging

processes = multiprocessing.get_context("forkserver")


def main() -> None:
    """Run all four parts and print their counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    processes.set_forkserver_preload(
        ["vehicle_lightning.fit.__main__", "vehicle_lightning.fit.train"]
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make_vehicles(place / "data", count=IMAGES, image_size=SIZE, workers=1)
        alone = Training(place / "alone", place / "data")
        alone.end()  # what is read and imported for the first time takes its time
        start = time.perf_counter()
        Training(place / "timed", place / "data").end()
        seconds = time.perf_counter() - start
        print(f"one run left alone: {EPOCHS} epochs of {IMAGES} images, {seconds:.1f} s")
        lost = stopped(signal.SIGKILL, options.kills, place, alone, seconds, rng)
        lost += stopped(signal.SIGTERM, max(options.kills // 4, 1), place, alone, seconds, rng)
        lost += at_once(place, alone)
        other_threads(place, alone)
    sys.exit(1 if lost else 0)


class Training:
    """One run with a log dir and a cache of its own, in as many processes as it takes."""

    def __init__(self, place: Path, data: Path, cache: Path | None = None) -> None:
        self._log_dir = place / "logs"
        self._output = place / "output.txt"
        self.cache = cache or place / "cache"
        self._data = data
        place.mkdir(exist_ok=True)

    @property
    def run(self) -> RunFolder | None:
        """The run folder, once there is something to resume."""
        return next((RunFolder(p.parent) for p in self._log_dir.glob("run/*/config.yaml")), None)

    def start(self, threads: int = 1) -> Any:
        """Start the run, or resume it."""
        command = (
            ["--resume", str(self.run.path)]
            if self.run
            else [
                *("--data-dir", str(self._data), "--cache-dir", str(self.cache), *SWITCHES),
                *("--log-dir", str(self._log_dir), "--name", "run", "--accelerator", "cpu"),
                *("--image-size", str(SIZE), "--batch-size", "32", "--epochs", str(EPOCHS)),
            ]
        )
        process = processes.Process(target=train, args=(command, self._output, threads))
        process.start()
        return process

    def end(self, threads: int = 1) -> None:
        """Let it go on to its end."""
        process = self.start(threads)
        process.join(PATIENCE)
        if process.exitcode != 0:
            process.kill()
            sys.exit(f"exit code {process.exitcode}:\n{self._output.read_text()}")

    def half_written(self) -> set[Path]:
        """Files under a temporary name."""
        hidden = {p for folder in (self.cache, self._log_dir) for p in folder.rglob(".*")}
        return {path for path in hidden if path.name != ".lock"}


def train(command: list[str], output: Path, threads: int) -> None:
    """Be a process of `vehicle_lightning.fit`."""
    with output.open("a") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    torch.set_num_threads(threads)
    rename = Path.replace

    def rename_slowly(path: Path, target: Path) -> Path:
        time.sleep(SLOWER)
        return rename(path, target)

    Path.replace = rename_slowly
    sys.argv = ["fit", *command]
    run_command(fit)


def stopped(
    name: signal.Signals,
    signals: int,
    place: Path,
    alone: Training,
    seconds: float,
    rng: random.Random,
) -> int:
    """Send the signals, and resume after each; return how many of them lost something."""
    sent: Counter[str] = Counter()
    lost, runs = 0, 0
    while sent.total() < signals:
        training = Training(place / f"{name.name}{runs}", place / "data")
        moments = MOMENTS[: signals - sent.total()]
        hits = Counter(stop(training, name, moment, seconds, rng) for moment in moments)
        del hits["it had ended"]
        training.end()
        if wrong := differences(training, alone):
            print(f"  {training.run}: {', '.join(wrong)}")
            lost += hits.total()
        sent, runs = sent + hits, runs + 1
    hit = ", ".join(f"{count} {what}" for what, count in sorted(sent.items()))
    print(
        f"{name.name}: tried {sent.total()}, survived {sent.total() - lost}, lost {lost} "
        f"({runs} runs; {hit})"
    )
    return lost


def stop(
    training: Training, name: signal.Signals, moment: str, seconds: float, rng: random.Random
) -> str:
    """Go on with the run until the moment, and stop it; return what was hit."""
    before = training.half_written()
    process = training.start()
    match moment:
        case "cache":
            waiting = appears(training.cache, "-pixels.", set())
        case "checkpoint":
            waiting = checkpoints(training, rng.randint(2, 4))
        case _:
            waiting = passes(rng.uniform(0, seconds / 2))
    for _ in waiting:
        if not process.is_alive():
            return "it had ended"
    os.kill(process.pid, name)
    process.join(PATIENCE)
    left = training.half_written() - before
    if name == signal.SIGTERM and (process.exitcode != INTERRUPTED or left):
        return f"exit code {process.exitcode}, left {left}"
    if any(path.parent == training.cache for path in left):
        return "while writing the cache"
    if any(path.parent.name == "checkpoints" for path in left):
        return "while writing a checkpoint"
    return "while writing another file" if left else "between two files"


def checkpoints(training: Training, count: int) -> Iterator[None]:
    """Wait until so many checkpoints have begun to be written."""
    while training.run is None:
        yield
    seen: set[str] = set()
    for _ in range(count):
        yield from appears(training.run.checkpoints, ".ckpt", seen)


def appears(folder: Path, name: str, seen: set[str]) -> Iterator[None]:
    """Wait for a temporary file that has this in its name, and remember it as seen."""
    while True:
        names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208, as it must be fast
        if new := [n for n in names if n.startswith(".") and name in n and n not in seen]:
            seen.update(new)
            return
        yield


def passes(seconds: float) -> Iterator[None]:
    """Wait so long."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        yield


def at_once(place: Path, alone: Training) -> int:
    """Start four runs together; return how many are not what they should be."""
    cache, logs = place / "shared_cache", place / "at_once"
    together = [Training(logs, place / "data", cache) for _ in range(4)]
    started = [training.start() for training in together]
    for process in started:
        process.join(PATIENCE)
    runs = sorted((logs / "logs" / "run").iterdir())
    good = sum(not compared(RunFolder(path), alone.run) for path in runs)
    caches = len(list(cache.glob("*-pixels.npy")))
    is_right = [path.name for path in runs] == ["0", "1", "2", "3"] and caches == 1
    codes = [process.exitcode for process in started]
    print(
        f"at once: tried 4, survived {good}, lost {4 - good} ({caches} cache, exit codes {codes})"
    )
    return 4 - good + (not is_right)


def other_threads(place: Path, alone: Training) -> None:
    """Kill a run half-way, resume it with two threads, and print how far it went astray."""
    training = Training(place / "cores", place / "data")
    process = training.start()
    while not (training.run and training.run.metrics.is_file()):
        time.sleep(0.01)
    while len(pd.read_csv(training.run.metrics)) < EPOCHS // 2:
        time.sleep(0.01)
    process.kill()
    process.join()
    training.end(threads=2)
    one, other = (pd.read_csv(t.run.metrics).drop(columns="seconds") for t in (alone, training))
    astray = ((one - other).abs() / one.abs().clip(lower=1e-9))[["train/loss", "val/loss"]]
    print(
        f"cores: resumed with 2 threads instead of 1, losses differ by {astray.max().max():.1e} "
        f"(relative, largest of the last {EPOCHS // 2} epochs)"
    )


def differences(training: Training, alone: Training) -> list[str]:
    """Return what is not as in the run left alone."""
    if training.run is None:
        return ["there is no run"]
    return compared(training.run, alone.run)


def compared(run: RunFolder, other: RunFolder) -> list[str]:
    """Return in what two runs differ."""
    facts = [contents(each) for each in (run, other)]
    return [name for name, value in facts[0].items() if not same(value, facts[1][name])]


def contents(run: RunFolder) -> dict[str, Any]:
    """Return all that must be equal."""
    last, best = (
        torch.load(path, weights_only=True) for path in (run.last_checkpoint, run.best_checkpoint)
    )
    return {
        "weights": last["state_dict"],
        "optimizer": last["optimizer_states"],
        "best weights": best["state_dict"],
        "metrics": pd.read_csv(run.metrics).drop(columns="seconds").to_csv(),
        "curves": {place: curves(run.path / place, names) for place, names in CURVES.items()},
        "predictions": run.predictions.read_text(),
    }


def curves(folder: Path, names: tuple[str, ...]) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard shows of a folder of events."""
    events = EventAccumulator(str(folder)).Reload()
    return {name: [(s.step, s.value) for s in events.Scalars(name)] for name in names}


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal to the last bit."""
    try:
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    except AssertionError:
        return False
    except TypeError:  # not tensors
        return bool(one == other)
    return True


if __name__ == "__main__":
    main()
