"""Show what a network looked at: `python -m vehicle_lightning.explain logs/combined/0`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from vehicle_lightning.cli import parse_options, run_command
from vehicle_lightning.config import SettingsGroup
from vehicle_lightning.errors import DataError, SettingsError
from vehicle_lightning.runs.fold_runs import find_checkpoints
from vehicle_lightning.runs.folder import RunFolder

if TYPE_CHECKING:
    from vehicle_lightning.model.explanations import ExplainResult

SHEET = "explanations"
SHOWN = 16  # mistakes
MOST = 64  # files on one sheet


class ExplainOptions(SettingsGroup):
    """Draw what in the worst mistakes of a run spoke for the wrong class.

    The sheet explanations.png in the run folder shows each picture and a heat map over it. How far
    to trust the maps is checked by masking what they call hot.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Image files to explain instead of the worst mistakes, by all networks of the run."""


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, explain, and print the occlusion check."""
    options = parse_options(ExplainOptions, "explain", arguments)
    print(_text(explain(options.run, options.files)))
    return 0


def explain(path: Path, files: Sequence[Path] = ()) -> "ExplainResult":
    """Draw what in files, or in the worst validation mistakes of a run, spoke for its prediction.

    Raises:
        SettingsError: there are too many files for a sheet.
        RunError: there is no such run, it is not finished, or its images are gone.
        DataError: a file is missing or no image.
        OSError: the sheet cannot be written.
    """
    run = RunFolder.open(path)
    if len(files) > MOST:
        raise SettingsError(f"{len(files)} files are more than the {MOST} that one sheet holds.")
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise DataError(f"There is no image file {missing}.")
    from vehicle_lightning.explain.subjects import worst_mistakes
    from vehicle_lightning.model.explanations import Subject, explain_subjects
    from vehicle_lightning.model.load import read_checkpoint
    from vehicle_lightning.runs.tensorboard import add_picture

    if files:
        checkpoints = tuple(find_checkpoints([path]))
        subjects = [Subject(file, file.name, checkpoints) for file in files]
    else:
        subjects = worst_mistakes(run, SHOWN)
    result = explain_subjects(subjects, run.picture(SHEET), title=run.label)
    if not run.is_fold_run:  # such write no events
        epochs = read_checkpoint(subjects[0].checkpoints[0]).epochs
        add_picture(run, SHEET, result.sheet, epochs)
    return result


def _text(result: "ExplainResult") -> str:
    return (
        f"saved   {result.sheet}\n"
        f"check   masking the hottest quarter of each picture moves the probability by "
        f"{100 * result.hottest:+.1f} points, the coldest by {100 * result.coldest:+.1f} "
        f"(mean, n={result.images})"
    )


if __name__ == "__main__":
    run_command(main)
