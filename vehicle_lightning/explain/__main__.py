"""Show what a network looked at: `python -m vehicle_lightning.explain logs/combined/0`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from vehicle_lightning.cli import parse_options, run_command
from vehicle_lightning.config import Settings, SettingsGroup
from vehicle_lightning.data.paths import stays_inside
from vehicle_lightning.data.table import table_of
from vehicle_lightning.errors import DataError, RunError, SettingsError, join_first, one_line
from vehicle_lightning.runs.fold_runs import find_checkpoints, fold_runs
from vehicle_lightning.runs.folder import RunFolder, find_checkpoint
from vehicle_lightning.settings_file import read_settings

if TYPE_CHECKING:
    import pandas as pd

    from vehicle_lightning.model.explanations import ExplainResult, Subject

SHEET = "explanations"
SHOWN = 16  # mistakes
MOST = 64  # files on one sheet
MOST_CORRECTED = 0.25  # of the labels, since the run; more are those of other images


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
    from vehicle_lightning.model.explanations import Subject, explain_subjects
    from vehicle_lightning.model.load import load
    from vehicle_lightning.runs.tensorboard import write_events

    if files:
        checkpoints = tuple(find_checkpoints([path]))
        subjects = [Subject(file, file.name, checkpoints) for file in files]
    else:
        subjects = worst_mistakes(run, SHOWN)
    result = explain_subjects(subjects, run.picture(SHEET), title=run.label)
    if not run.is_fold_run:  # such write no events
        epochs = load(subjects[0].checkpoints[0]).epochs
        write_events(run.path, SHEET, [(f"pictures/{SHEET}", result.sheet, epochs)])
    return result


def worst_mistakes(run: RunFolder, count: int) -> list["Subject"]:
    """Return the validation images that a run is most surely wrong about, the worst first.

    In a run over folds, each with the network that it validated; with several seeds, with the one
    that is most surely wrong.

    Raises:
        RunError: the run is not finished, made no mistake, or its images are gone.
        DataError: synthetic vehicles cannot be drawn where the run was on them.
    """
    from vehicle_lightning.model.explanations import Subject  # torch takes seconds
    from vehicle_lightning.runs.predictions import read_predictions  # scipy takes one

    settings = read_settings(run.config)
    try:
        table = table_of(settings)
    except DataError as error:
        raise RunError(
            f"The images of {run.path} cannot be found ({one_line(error).rstrip('.')}); name the "
            f"images to explain, or correct data_dir in {run.config}."
        ) from error
    predictions = read_predictions(run.predictions)
    label_of = {
        name: table.class_names[code] for name, code in zip(table.names, table.labels, strict=True)
    }
    now = predictions["file"].map(label_of)
    differing = int((now.notna() & (now != predictions["label"])).sum())
    if differing > MOST_CORRECTED * len(predictions):
        raise RunError(
            f"{differing} of {len(predictions)} labels that {run.path} validated on are others in "
            f"{table.source}, so these may be other images of the same names; name the images to "
            f"explain."
        )
    mistakes = _worst(run, predictions).head(count)
    # Only what the data list is opened, whatever stands in the file of predictions.
    path_of = dict(zip(table.names, table.paths, strict=True))
    names = list(mistakes["file"])
    is_inside = stays_inside(table.image_dir) if table.image_dir else Path.is_file
    missing = [
        name
        for name in names
        if name not in path_of or not path_of[name].is_file() or not is_inside(path_of[name])
    ]
    if missing:
        raise RunError(
            f"{len(missing)} of the {len(names)} worst mistakes of {run.path} are no longer in "
            f"{table.source}: {join_first(missing)}; put them there, or name the images to explain."
        )
    checkpoints = [find_checkpoint(folder.path) for folder in _folders(run, settings, mistakes)]
    return [
        Subject(path_of[name], name, (checkpoint,), label)
        for name, label, checkpoint in zip(names, mistakes["label"], checkpoints, strict=True)
    ]


def _worst(run: RunFolder, frame: "pd.DataFrame") -> "pd.DataFrame":
    mistakes = frame[frame["label"] != frame["prediction"]]
    mistakes = mistakes.drop_duplicates("photograph" if "photograph" in frame else "file")
    if mistakes.empty:
        raise RunError(
            f"{run.path} made no mistake among its {len(frame)} validation predictions; "
            f"name the images to explain."
        )
    return mistakes


def _folders(run: RunFolder, settings: Settings, mistakes: "pd.DataFrame") -> list[RunFolder]:
    """Return the run folder of the training that predicted each mistake."""
    if not settings.is_repeated:
        return [run] * len(mistakes)
    folder_of = {
        (own.seed, -1 if own.fold is None else own.fold): run.fold_run(name)
        for name, own in fold_runs(settings).items()
    }
    try:
        trainings = mistakes[["seed", "fold"]].fillna(-1).astype(int)
        return [folder_of[seed, fold] for seed, fold in trainings.itertuples(index=False)]
    except (KeyError, ValueError) as error:
        raise RunError(f"{run.predictions} names trainings that {run.path} has not.") from error


def _text(result: "ExplainResult") -> str:
    return (
        f"saved   {result.sheet}\n"
        f"check   masking the hottest quarter of each picture moves the probability by "
        f"{100 * result.hottest:+.1f} points, the coldest by {100 * result.coldest:+.1f} "
        f"(mean, n={result.images})"
    )


if __name__ == "__main__":
    run_command(main)
