"""Records: what finished runs have written down, read back without torch and without training."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vehicle_lightning.config import Settings
from vehicle_lightning.errors import InputError, RunError
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.paired import Outcomes
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.settings_file import read_settings

# Keys of summary.json that hold one number each.
NUMBERS = ("best_epoch", "epochs", "seconds", "parameters")


@dataclass(frozen=True)
class Record:
    """One measured run, over one training or over several folds and seeds.

    Attributes:
        run: its folder.
        name: `<name>/<n>`, or the whole path where another run is called the same.
        settings: all of its settings.
        fingerprint: hash of the names, labels and images of its data.
        train: the best weights on all training images.
        val: the best weights on all validation images.
        test: the best weights on all test images; None where there are none.
        summary: the content of its `summary.json`.
        curves: one row an epoch, as in `metrics.csv`; over several trainings, their mean.
        outcomes: which of the validation images it got right.
        started: when, as ISO 8601 text; empty where it is not known.
    """

    run: RunFolder
    name: str
    settings: Settings
    fingerprint: str
    train: Measurement
    val: Measurement
    test: Measurement | None
    summary: dict[str, Any]
    curves: pd.DataFrame
    outcomes: Outcomes
    started: str

    @property
    def gap(self) -> float:
        """Training less validation accuracy, as a fraction."""
        return self.train.accuracy - self.val.accuracy

    @property
    def verdict(self) -> str:
        """What the run suffers from."""
        return str(self.summary["verdict"]["kind"])

    @property
    def is_finished(self) -> bool:
        """Whether the training went to its end."""
        return bool(self.summary["status"] == "finished")

    def figure(self, metric: str) -> float:
        """Return a final figure: one of the summary's, or any of the curves at the best epoch.

        Args:
            metric: `val/accuracy`, `gap`, `seconds`, or a column of `metrics.csv`.

        Raises:
            RunError: there is no such figure.
        """
        figures = {
            "val/accuracy": self.val.accuracy,
            "val/loss": self.val.loss,
            "train/accuracy": self.train.accuracy,
            "train/loss": self.train.loss,
            "gap": self.gap,
            **{key: float(self.summary[key]) for key in NUMBERS},
        }
        if metric in figures:
            return figures[metric]
        if metric in self.curves.columns:
            at_best = self.curves["epoch"] == self.summary["best_epoch"]
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
    summary, environment = _read_json(folder.summary), _read_json(folder.environment)
    try:
        train, val = (Measurement.from_dict(summary[side]) for side in ("train", "val"))
        test = Measurement.from_dict(summary["test"]) if summary.get("test") else None
        for key in NUMBERS:
            float(summary[key])
        str(summary["verdict"]["kind"]), str(summary["status"])
        fingerprint = str(environment["data"]["fingerprint"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError("its summary.json or environment.json is damaged") from error
    return Record(
        folder,
        name,
        read_settings(folder.config),
        fingerprint,
        train,
        val,
        test,
        summary,
        _read_curves(folder.metrics),
        _read_outcomes(folder.predictions),
        str(environment.get("started", "")),
    )


def _read_curves(path: Path) -> pd.DataFrame:
    curves = _read_csv(path)
    needed = {"epoch", "train/loss", "val/loss", "val/accuracy"}
    if not needed <= set(curves.columns) or curves.empty:
        raise RunError(f"{path.name} lacks epochs or figures")
    return curves


def _read_outcomes(path: Path) -> Outcomes:
    # As text: a class may be called 01 or None.
    needed = {"file", "label", "prediction", "seed", "fold"}
    frame = _read_csv(path, usecols=needed.__contains__, dtype=str, keep_default_na=False)
    try:
        return Outcomes.from_predictions(frame)
    except (KeyError, ValueError) as error:
        raise RunError(f"{path.name} is missing or damaged") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{path.name} is damaged") from error
    return content


def _read_csv(path: Path, **options: Any) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pd.read_csv(path, **options)
    except (OSError, ValueError) as error:
        raise RunError(f"{path.name} is missing or damaged") from error
    return frame
