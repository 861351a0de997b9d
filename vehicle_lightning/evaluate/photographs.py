"""Which images show the same photograph: those to evaluate, and those a run was trained on."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.console import notice
from vehicle_lightning.data.facts import examine_all, file_states
from vehicle_lightning.data.reading import group_examined
from vehicle_lightning.data.table import Table, table_of
from vehicle_lightning.errors import InputError
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.predictions import read_predictions
from vehicle_lightning.settings_file import read_settings


def find_photographs(table: Table, runs: Sequence[RunFolder]) -> NDArray[np.int64]:
    """Number the photographs of images to evaluate, and say which of them a run has seen.

    Duplicates are found as `fit` finds them, and have one number. Where the images of a run are
    still there, those it had for training and validation are compared too.

    Returns:
        int64 of shape (N,): which photograph each of the N images shows.
    """
    known = [_decided(run) for run in runs]
    paths = [os.path.realpath(path) for path in table.paths]
    distinct = list(dict.fromkeys([*paths, *(path for own in known for path in own)]))
    photograph = dict(zip(distinct, _photographs(list(map(Path, distinct))).tolist(), strict=True))
    for run, own in zip(runs, known, strict=True):
        theirs = {photograph[path] for path in own}
        if seen := sum(photograph[path] in theirs for path in paths):
            notice(
                f"{seen} of {len(table)} images are among those that {run.path} had for training "
                f"and validation, or duplicates of them, so its figures flatter."
            )
    return np.array([photograph[path] for path in paths], dtype=np.int64)


def _decided(run: RunFolder) -> list[str]:
    """Return the files that a run was trained or chosen on, where its data are still there."""
    if run.path.is_file():  # a checkpoint in a run folder, or anywhere
        run = RunFolder(run.path.parent.parent)
    if not run.config.is_file():
        return []
    settings = read_settings(run.config)
    if settings.data_dir is None:
        return []  # synthetic vehicles, or images given from Python
    facts = (run.read_environment() or {}).get("data") or {}
    if (folder := facts.get("folder")) and Path(folder).is_dir():
        settings = settings.model_copy(update={"data_dir": Path(folder)})
    try:
        own = table_of(settings)
    except InputError:  # its data are elsewhere by now
        notice(
            f"Whether images are among those that {run.path} had for training cannot be told, as "
            f"these are no longer in {settings.data_dir}."
        )
        return []
    tests = run.test_predictions
    decided_nothing = set(read_predictions(tests)["file"]) if tests.is_file() else set()
    pairs = zip(own.names, own.paths, strict=True)
    return [os.path.realpath(path) for name, path in pairs if name not in decided_nothing]


def _photographs(paths: Sequence[Path]) -> NDArray[np.int64]:
    """Number the photographs of files; one that cannot be read is alone."""
    with TemporaryDirectory() as folder:  # what is found is not kept
        facts, pictures, _ = examine_all(paths, file_states(paths, None), Path(folder))
        return group_examined(facts, pictures, Path(folder)).certain
