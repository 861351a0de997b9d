"""Whether a search survives its workers: 16 trials by 4 workers, of which 2 are killed on the way.

    python benchmarks/sweep_workers.py [--trials 16] [--workers 4] [--killed 2]

Makes a few small synthetic vehicles, starts the workers on one SQLite file, and kills some of them
(SIGKILL) in the middle of a training. The others are to go on with what those left, once their
heartbeats have been missing for as long as `sweep/study.py` says. Printed are the trials begun,
finished, repeated (brought to an end more than once) and lost (begun, never finished), and how many
were continued from a checkpoint of a killed worker. The exit code is 1 unless all is well.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import optuna
import pandas as pd

from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.synthetic import make_vehicles

SPACE = """\
image_size: 32
batch_size: 16
epochs: 8
accelerator: cpu
channels: {values: [[4], [4, 8]]}
dropout: {low: 0, high: 0.6}
learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
"""


def main() -> int:
    """Run the search, kill workers, count, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--killed", type=int, default=2)
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ |= {"OMP_NUM_THREADS": "1", "VEHICLE_LIGHTNING_CACHE": str(folder / "cache")}
        make_vehicles(folder / "drawn", count=160, image_size=32)
        (folder / "small.yaml").write_text(SPACE)
        workers = [start(folder, options.trials) for _ in range(options.workers)]
        study = folder / "logs" / "small"
        killed = kill_in_training(workers, study, options.killed)
        said = [worker.communicate()[1] for worker in workers]
        codes = [worker.returncode for worker in workers]
        ended = Counter(int(n) for text in said for n in re.findall(r"^Trial (\d+): ", text, re.M))
        trials = begun_trials(study)
        runs = [RunFolder(study / trial.user_attrs["run"]) for trial in trials]
        finished = [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")]
        repeated = [number for number, times in ended.items() if times > 1]
        continued = [run for run in runs if "resumed" in json.loads(run.environment.read_text())]
        gaps = [run for run in runs if not has_every_epoch_once(run)]
    print(
        f"{len(workers)} workers, {killed} killed: {len(trials)} trials begun, {len(finished)} "
        f"finished, {len(repeated)} repeated, {len(trials) - len(finished)} lost; {len(continued)} "
        f"continued by another worker, {len(gaps)} with epochs missing or twice; "
        f"{time.monotonic() - started:.0f} s"
    )
    others_ended_well = sorted(codes) == [-9] * killed + [0] * (len(codes) - killed)
    is_well = (
        len(trials) == len(finished) == len(ended) == options.trials
        and not (repeated or gaps)
        and killed == options.killed
        and others_ended_well
    )
    return 0 if is_well else 1


def begun_trials(study: Path) -> list[optuna.trial.FrozenTrial]:
    """Return the trials of the study; of one that was retried, the last."""
    database = f"sqlite:///{study / 'study.db'}"
    trials = optuna.load_study(study_name=study.name, storage=database).get_trials()
    return [trial for trial in trials if trial.state != optuna.trial.TrialState.FAIL]


def start(folder: Path, trials: int) -> subprocess.Popen[str]:
    """Start one worker."""
    flags = ["--trials", str(trials), "--space", "small.yaml", "--data-dir", "drawn"]
    return subprocess.Popen(
        [sys.executable, "-m", "vehicle_lightning.sweep", *flags],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )


def kill_in_training(workers: list[subprocess.Popen[str]], study: Path, count: int) -> int:
    """Kill so many workers, each while a training of its own has some epochs behind it."""
    killed: set[int] = set()
    while len(killed) < count and any(worker.poll() is None for worker in workers):
        time.sleep(0.05)
        for run in map(RunFolder, study.glob("[0-9]*")):
            if run.summary.is_file() or not run.last_checkpoint.is_file():
                continue
            trainer = process_of(run)
            victims = [w for w in workers if w.pid == trainer and w.pid not in killed]
            for worker in victims[:1]:
                worker.kill()
                killed.add(worker.pid)
            if victims:
                break
    return len(killed)


def process_of(run: RunFolder) -> int | None:
    """Return the process that writes the events of a run: its number stands in their names."""
    for events in run.path.glob("events.out.tfevents.*"):
        match = re.search(r"\.(\d+)\.\d+$", events.name)
        if match:
            return int(match[1])
    return None


def has_every_epoch_once(run: RunFolder) -> bool:
    """Return whether the curves of a run go from the first epoch to its last without a gap."""
    epochs = list(pd.read_csv(run.metrics)["epoch"])
    summary = json.loads(run.summary.read_text())
    return epochs == list(range(1, summary["epochs"] + 1))


if __name__ == "__main__":
    sys.exit(main())
