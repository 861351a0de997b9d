"""Evaluate runs: `python -m vehicle_lightning.evaluate RUN --csv test.csv --image-dir images`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from vehicle_lightning.cli import parse_options, run_command
from vehicle_lightning.config import Accelerator, SettingsGroup
from vehicle_lightning.errors import DataError, RunError
from vehicle_lightning.parallel import keep_freed_memory
from vehicle_lightning.runs.fold_runs import find_checkpoints

BELOW = 1  # exit code where an accuracy is not shown to reach --fail-under


class EvaluateOptions(SettingsGroup):
    """Measure trained networks on the labelled images of a CSV.

    A run over folds or seeds counts as one model: the mean of the probabilities of its networks.
    Several runs are compared on the same images, each with the first.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders and .ckpt files."""
    csv: Path
    """CSV file with the names of the images and their labels."""
    image_dir: Path | None = None
    """Folder the names are relative to; by default images beside the CSV."""
    image_column: str | None = None
    """CSV column with the image file names; by default that of the run."""
    label_column: str | None = None
    """CSV column with the labels; by default that of the run."""
    by: str | None = None
    """CSV column, such as camera: measure the images of each of its values by themselves too."""
    calibrated: tyro.conf.FlagCreatePairsOff[bool] = False
    """Use the temperature and the threshold that `calibrate` found."""
    fail_under: float | None = Field(None, ge=0, le=1)
    """End with exit code 1 where the lower end of an accuracy's interval is below."""
    output: Path = Path("evaluation")
    """Folder of evaluation.json, predictions and pictures."""
    batch_size: int = Field(128, ge=1)
    """Images that go through the network at once."""
    accelerator: Accelerator = "auto"
    """Kind of device; one is used."""


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, evaluate, and print what came of it."""
    options = parse_options(EvaluateOptions, "evaluate", arguments)
    if not options.runs:
        raise RunError("There is no run to evaluate; give a run folder such as logs/default/0.")
    if not options.csv.is_file():
        raise DataError(f"There is no CSV file {options.csv}; name it with --csv.")
    checkpoints = [find_checkpoints([run]) for run in options.runs]
    keep_freed_memory()
    # Importing torch takes seconds; what is wrong already has been said by now.
    from vehicle_lightning.evaluate.results import evaluate, lines, write

    result = evaluate(options, checkpoints)
    files = write(result)
    print("\n".join([*lines(result), *(f"saved   {file}" for file in files)]))
    lowest = min(run.measured.interval[0] for run in result.runs)
    if options.fail_under is not None and lowest < options.fail_under:
        print(f"below   --fail-under {options.fail_under:.1%}: an interval begins at {lowest:.1%}")
        return BELOW
    return 0


if __name__ == "__main__":
    run_command(main)
