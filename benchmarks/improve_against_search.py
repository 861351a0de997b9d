"""Does the walk of `improve` find better settings than a search does in the same time?

    python benchmarks/improve_against_search.py [--data-dir FOLDER] [--minutes 15] [--seeds 3]
        [--ways walk tpe]

For each seed, which also chooses the test images and the split, the ways start at once, each a
process of one thread, and have so many minutes: the walk, which trains every step over five folds,
and Optuna's TPE and its random search, by `sweep` over the space `everything`, each trial on one
hold-out as large as a fold. All start from or search around the defaults, at 32 pixels. What each
ends with, the walk's last step that was kept and the search's trial of the lowest validation loss,
is measured on the test images by five networks, one a fold; for the searches these are trained when
the time is up. The processor time of each way is printed too: equal shares of a machine are what
makes the comparison fair. Without --data-dir: synthetic vehicles.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from vehicle_lightning.improve.state import Walk
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.summary import Summary
from vehicle_lightning.sweep.space import SHIPPED

# TPE samples its first trials at random: here all of them.
RANDOM = """\
import functools, sys
from optuna.samplers import TPESampler
TPESampler.__init__ = functools.partialmethod(TPESampler.__init__, n_startup_trials=10**6)
from vehicle_lightning.cli import run_command
from vehicle_lightning.sweep.__main__ import main
run_command(main)
"""
PYTHON = [sys.executable, "-m", "vehicle_lightning"]
WAYS = ("walk", "tpe", "random")
SWEEP = ["--trials", "100000", "--val-fraction", "0.16", "--test-fraction", "0.2"]


def main() -> None:
    """Run all ways for every seed and print what each came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--minutes", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print("seed  way     trainings  processor min   val %  test %")
    tests: dict[str, list[float]] = {way: [] for way in options.ways}
    verdicts: list[int] = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            sizes = "image_size: {values: [32, 48]}\n"
            (folder / "space.yaml").write_text(sizes + (SHIPPED / "everything.yaml").read_text())
            same = ["--seed", str(seed), "--split-seed", str(seed), "--log-dir", str(folder)]
            same += ["--accelerator", "cpu"]
            same += [] if options.data_dir is None else ["--data-dir", str(options.data_dir)]
            seconds = run_all(folder, options.minutes, options.ways, same)
            for way, accuracies in tests.items():
                if way == "walk":
                    walk = Walk.read(folder / "improve")
                    verdicts += verdict_outcomes(walk)
                    count, best = walked(walk)
                else:
                    count, best = searched(folder, way, same)
                assert best.test is not None
                accuracies.append(best.test.accuracy)
                val, test = (100 * one.accuracy for one in (best.val, best.test))
                used = f"{count:9}  {seconds[way] / 60:13.1f}"
                print(f"{seed:4}  {way:8}{used}  {val:6.1f}  {test:6.1f}", flush=True)
    for way, accuracies in tests.items():
        print(f"mean  {way:8}{'':32}{100 * fmean(accuracies):6.1f}")
    if not verdicts:
        return
    helped = [verdicts.count(place) for place in (1, 2, 3, 0)]
    print(f"verdicts: the first proposal helped in {helped[0]} of {len(verdicts)}, the second in")
    print(f"{helped[1]}, the third in {helped[2]}, none in {helped[3]}")


def verdict_outcomes(walk: Walk) -> list[int]:
    """Return for each verdict whose proposals were tried which of them helped.

    That is the place of the one that was kept, from 1, or 0 where none was.
    """
    found: dict[int, int] = {}
    for step in walk.steps:
        if step.proposal is not None and step.base is not None and step.status != "running":
            found.setdefault(step.base, 0)
            if step.is_kept:
                found[step.base] = step.proposal
    return list(found.values())


def run_all(
    folder: Path, minutes: int, wanted: Sequence[str], same: Sequence[str]
) -> dict[str, float]:
    """Run the ways at once, with the same flags; return the processor seconds of each."""
    space = ["--space", str(folder / "space.yaml"), "--timeout", f"{minutes}m", *SWEEP]
    commands = {
        "walk": [*PYTHON, "improve", "--image-size", "32", "--budget", f"{minutes}m"],
        "tpe": [*PYTHON, "sweep", "--study", "tpe", *space],
        "random": [sys.executable, "-c", RANDOM, "--study", "random", *space],
    }
    ways = {}
    for way in wanted:
        with (folder / f"{way}.txt").open("w") as said:
            process = subprocess.Popen([*commands[way], *same], stdout=said, stderr=said)
        ways[process.pid] = way
    seconds = {}
    while ways:
        pid, status, used = os.wait4(-1, 0)
        way = ways.pop(pid)
        seconds[way] = used.ru_utime + used.ru_stime
        if status:
            for other in ways:
                os.kill(other, signal.SIGTERM)
                os.waitpid(other, 0)  # it writes where the temporary folder is deleted next
            sys.exit((folder / f"{way}.txt").read_text())
    return seconds


def walked(walk: Walk) -> tuple[int, Summary]:
    """Return how many trainings the walk finished, and what its best came to."""
    finished = sum(step.status == "finished" for step in walk.steps)
    return finished, walk.summary_of(walk.best)


def searched(folder: Path, way: str, same: Sequence[str]) -> tuple[int, Summary]:
    """Return how many trainings the search finished, and what its best comes to over five folds."""
    files = [RunFolder(run).summary for run in (folder / way).iterdir() if run.is_dir()]
    summaries = [Summary.read(file) for file in files if file.is_file()]
    finished = sum(summary.status == "finished" for summary in summaries)
    best = ["--config", str(folder / way / "best.yaml"), "--name", f"{way}-best"]
    over_folds = ["--folds", "5", "--test-fraction", "0.2", "--val-fraction", "0.1"]
    with (folder / f"{way}.txt").open("a") as said:
        subprocess.run(
            [*PYTHON, "fit", *best, *over_folds, *same], check=True, stdout=said, stderr=said
        )
    return finished, Summary.read(RunFolder(folder / f"{way}-best" / "0").summary)


if __name__ == "__main__":
    main()
