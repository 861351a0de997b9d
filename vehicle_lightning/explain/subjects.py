"""The images to explain, and which networks have to: of a run, the one that had not seen them."""

from pathlib import Path

import pandas as pd

from vehicle_lightning.config import Settings
from vehicle_lightning.data.paths import stays_inside
from vehicle_lightning.data.table import read_table
from vehicle_lightning.errors import RunError, join_first
from vehicle_lightning.model.explanations import Subject
from vehicle_lightning.runs.fold_runs import fold_runs
from vehicle_lightning.runs.folder import RunFolder, find_checkpoint
from vehicle_lightning.runs.predictions import read_predictions
from vehicle_lightning.settings_file import read_settings


def worst_mistakes(run: RunFolder, count: int) -> list[Subject]:
    """Return the validation images that a run is most surely wrong about, the worst first.

    In a run over folds, each with the network that it validated; with several seeds, with the one
    that is most surely wrong.

    Raises:
        RunError: the run is not finished, made no mistake, or its images are gone.
        DataError: synthetic vehicles cannot be drawn where the run was on them.
    """
    settings = read_settings(run.config)
    mistakes = _read_mistakes(run).head(count)
    table = read_table(settings)
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


def _read_mistakes(run: RunFolder) -> pd.DataFrame:
    try:
        frame = read_predictions(run.predictions)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{run.predictions} is missing or damaged; finish the run.") from error
    mistakes = frame[frame["label"] != frame["prediction"]].drop_duplicates("file")
    if mistakes.empty:
        raise RunError(
            f"{run.path} made no mistake among its {len(frame)} validation predictions; "
            f"name the images to explain."
        )
    return mistakes


def _folders(run: RunFolder, settings: Settings, mistakes: pd.DataFrame) -> list[RunFolder]:
    """Return the run folder of the training that predicted each mistake."""
    if not settings.is_repeated:
        return [run] * len(mistakes)
    folder_of = {
        (fold_run.seed, -1 if fold_run.fold is None else fold_run.fold): run.fold_run(fold_run.name)
        for fold_run in fold_runs(settings)
    }
    try:
        trainings = mistakes[["seed", "fold"]].fillna(-1).astype(int)
        return [folder_of[seed, fold] for seed, fold in trainings.itertuples(index=False)]
    except (KeyError, ValueError) as error:
        raise RunError(f"{run.predictions} names trainings that {run.path} has not.") from error
