"""Records: what finished runs have written down, read back without torch and without training."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object

from vehicle_lightning.config import Settings
from vehicle_lightning.errors import InputError, RunError
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.paired import Outcomes
from vehicle_lightning.runs.predictions import read_predictions
from vehicle_lightning.runs.summary import Summary
from vehicle_lightning.settings_file import read_settings


@dataclass(frozen=True)
class Record:
    """One measured run, over one training or over several folds and seeds.

    Attributes:
        run: its folder.
        name: `<name>/<n>`, or the whole path where another run is called the same.
        settings: all of its settings.
        fingerprint: hash of the names, labels and images of its data.
        summary: its final figures and its verdict.
        curves: one row an epoch, as in `metrics.csv`; over several trainings, their mean.
        outcomes: which of the validation images it got right.
        started: when, as ISO 8601 text; empty where it is not known.
    """

    run: RunFolder
    name: str
    settings: Settings
    fingerprint: str
    summary: Summary
    curves: pd.DataFrame
    outcomes: Outcomes
    started: str

    @property
    def is_finished(self) -> bool:
        """Whether the training went to its end."""
        return self.summary.status == "finished"

    def figure(self, metric: str) -> float:
        """Return a final figure: one of the summary's, or any of the curves at the best epoch.

        Args:
            metric: `val/accuracy`, `gap`, `seconds`, or a column of `metrics.csv`.

        Raises:
            RunError: there is no such figure.
        """
        summary = self.summary
        figures = {
            "val/accuracy": summary.val.accuracy,
            "val/loss": summary.val.loss,
            "train/accuracy": summary.train.accuracy,
            "train/loss": summary.train.loss,
            "gap": summary.gap,
            "best_epoch": float(summary.best_epoch),
            "epochs": float(summary.epochs),
            "seconds": summary.seconds,
            "parameters": float(summary.parameters),
        }
        if metric in figures:
            return figures[metric]
        if metric in self.curves.columns:
            at_best = self.curves["epoch"] == summary.best_epoch
            return float(self.curves.loc[at_best, metric].mean())
        raise RunError(
            f"{self.run.path} has no figure {metric}; --metric takes {', '.join(figures)}, or a "
            f"column of its {self.run.metrics.name}."
        )

    def epochs_to(self, loss: float) -> int | None:
        """Return the first epoch whose training loss, in eval mode, is at most this; or None."""
        reached = np.flatnonzero(self.curves["train/loss"].to_numpy() <= loss)
        return int(self.curves["epoch"].to_numpy()[reached[0]]) if len(reached) else None


@dataclass(frozen=True)
class LeftOut:
    """A run that is not compared, and why."""

    name: str
    reason: str


def read_records(paths: Sequence[Path]) -> tuple[list[Record], list[LeftOut]]:
    """Read all runs at or below the paths, in the order of the paths and then of their names.

    The trainings inside a run over folds or seeds are part of it and do not stand by themselves,
    unless their folder is given. A run that is found twice counts once.

    Returns:
        The runs that have been measured, and those that have not or cannot be read.

    Raises:
        RunError: a path does not exist, or there is no run at all.
    """
    folders = [folder for path in paths for folder in _run_folders(path)]
    if not folders:
        raise RunError(
            f"There is no run folder in {', '.join(map(str, paths))}; one is made by "
            f"python -m vehicle_lightning.fit."
        )
    folders = list({folder.path.resolve(): folder for folder in reversed(folders)}.values())[::-1]
    called = Counter(folder.label for folder in folders)
    records, left_out = [], []
    for folder in folders:
        name = folder.label if called[folder.label] == 1 else str(folder.path)
        try:
            records.append(_read(folder, name))
        except InputError as error:
            left_out.append(LeftOut(name, str(error).rstrip(".")))
    return records, left_out


def _run_folders(path: Path) -> list[RunFolder]:
    if not path.is_dir():
        raise RunError(f"There is no folder {path}.")
    found = []
    for place, folders, files in os.walk(path):
        folders.sort(key=_natural)
        if RunFolder(Path(place)).config.name in files:
            found.append(RunFolder(Path(place)))
            folders.clear()
    return found


def _natural(name: str) -> tuple[bool, int, str]:
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)


def _read(folder: RunFolder, name: str) -> Record:
    if not folder.summary.is_file():
        raise RunError("it has not been measured")
    with _reading(folder.environment):
        environment = json.loads(folder.environment.read_bytes())
        fingerprint, started = environment["data"]["fingerprint"], environment.get("started", "")
    with _reading(folder.metrics):
        curves = pd.read_csv(folder.metrics).astype(float)
    if curves.empty or not {"epoch", "train/loss", "val/loss", "val/accuracy"} <= set(curves):
        raise RunError(f"{folder.metrics.name} lacks epochs or figures")
    with _reading(folder.predictions):
        predictions = read_predictions(folder.predictions)
        outcomes = Outcomes.from_predictions(predictions)
    if not fingerprint:  # of a data module of one's own: by the labels of what was validated
        listed = predictions[["file", "label"]].drop_duplicates().sort_values("file")
        fingerprint = f"labels {hash_pandas_object(listed, index=False).sum()}"
    return Record(
        folder,
        name,
        read_settings(folder.config),
        str(fingerprint),
        Summary.read(folder.summary),
        curves,
        outcomes,
        str(started),
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path.name} is missing or damaged") from error
