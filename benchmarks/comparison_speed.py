"""How long `compare` takes over many runs, and what a run costs against starting Python.

    python benchmarks/comparison_speed.py [--runs 400] [--images 165] [--epochs 25]

Makes run folders without training, compares them in a process of its own, as a person would, and
prints the seconds beside those of a start with a single pair of runs.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.compare.made_runs import make_run


def main() -> None:
    """Make the runs, compare them, and print seconds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--images", type=int, default=165)
    parser.add_argument("--epochs", type=int, default=25)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    losses = list(np.linspace(0.7, 0.2, options.epochs))
    with tempfile.TemporaryDirectory() as folder:
        few, many = Path(folder) / "few", Path(folder) / "many"
        for log_dir, count in ((few, 2), (many, options.runs)):
            for number in range(count):
                right = rng.random(options.images) < 0.75
                make_run(log_dir, f"run{number}", right, losses=losses, seed=number)
        seconds = [min(timed(log_dir) for _ in range(3)) for log_dir in (few, many)]
    print(
        f"2 runs {seconds[0]:.2f} s, {options.runs} runs {seconds[1]:.2f} s "
        f"(best of 3): ratio {seconds[1] / seconds[0]:.2f}"
    )


def timed(log_dir: Path) -> float:
    """Return the seconds of one comparison, start of Python included."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "vehicle_lightning.compare", str(log_dir)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
