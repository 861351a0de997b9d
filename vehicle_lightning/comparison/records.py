"""Records: what finished runs have written down, read back without torch and without training."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vehicle_lightning.config import Settings, read_settings
from vehicle_lightning.errors import InputError, RunError
from vehicle_lightning.runs.folder import RunFolder


@dataclass(frozen=True)
class ValidatedImages:
    """Which images a run validated.

    Attributes:
        files: str of shape (N,), in ascending order, each once.
        right: int64 of shape (N,), how many of the trainings were right on each.
        trainings: int64 of shape (N,), how many validated it.
    """

    files: NDArray[np.str_]
    right: NDArray[np.int64]
    trainings: NDArray[np.int64]


@dataclass(frozen=True)
class Record:
    """One finished run, over one training or over several folds and seeds.

    Attributes:
        run: its folder.
        settings: all of its settings.
        summary: the content of its `summary.json`.
        fingerprint: hash of the names, labels and images of its data.
        curves: one row an epoch, as in `metrics.csv`; over several trainings, their mean.
        images: what it validated.
    """

    run: RunFolder
    settings: Settings
    summary: dict[str, Any]
    fingerprint: str
    curves: pd.DataFrame
    images: ValidatedImages

    @property
    def name(self) -> str:
        """`<name>/<n>`."""
        return self.run.label

    @property
    def split(self) -> tuple[object, ...]:
        """What decides which images train and which validate; equal for an equal split."""
        s = self.settings
        how = s.val_fraction if s.folds is None else (s.folds, s.fold)
        return (s.split_seed, s.skip_unreadable, how)

    @property
    def seed_accuracies(self) -> list[float]:
        """Validation accuracy of each seed, in [0, 1]."""
        accuracies: dict[str, float] = self.summary.get("seed_accuracies", {})
        return list(accuracies.values()) or [self.summary["val"]["accuracy"]]

    def figure(self, metric: str) -> float:
        """Return a final figure: one of the summary's, or any of the curves at the best epoch.

        Args:
            metric: `val/accuracy`, `gap`, `seconds`, or a column of `metrics.csv`.

        Raises:
            RunError: there is no such figure.
        """
        side, _, quantity = metric.partition("/")
        if side in ("train", "val") and quantity in ("accuracy", "loss"):
            value = self.summary[side][quantity]
        elif metric in ("gap", "seconds", "parameters", "best_epoch", "epochs"):
            value = self.summary[metric]
        elif metric in self.curves.columns:
            at_best = self.curves["epoch"] == self.summary["best_epoch"]
            value = self.curves.loc[at_best, metric].mean()
        else:
            raise RunError(
                f"{self.run.path} has no figure {metric}; --metric takes val/accuracy, val/loss, "
                f"train/accuracy, train/loss, gap, seconds, or a column of its metrics.csv."
            )
        return float("nan") if value is None else float(value)

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
    unless their folder is given.

    Returns:
        The runs that have been measured, and those that have not.

    Raises:
        RunError: a path does not exist, or there is no run at all.
    """
    folders = [folder for path in paths for folder in _run_folders(path)]
    if not folders:
        raise RunError(
            f"There is no run folder in {', '.join(map(str, paths))}; one is made by "
            f"python -m vehicle_lightning.fit."
        )
    records, left_out = [], []
    for folder in dict.fromkeys(folders):
        if not folder.summary.is_file():
            left_out.append(LeftOut(folder.label, "it has not been measured"))
            continue
        try:
            records.append(_read(folder))
        except InputError as error:
            left_out.append(LeftOut(folder.label, str(error).rstrip(".")))
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


def _read(folder: RunFolder) -> Record:
    summary, environment = _read_json(folder.summary), _read_json(folder.environment)
    try:
        fingerprint = str(environment["data"]["fingerprint"])
        for side in ("train", "val"):
            float(summary[side]["accuracy"]), tuple(summary[side]["interval"]), summary[side]["n"]
        for key in ("gap", "best_epoch", "epochs", "seconds", "parameters", "verdict", "status"):
            summary[key]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"its summary.json or environment.json lacks {error}") from error
    return Record(
        folder,
        read_settings(folder.config),
        summary,
        fingerprint,
        _read_curves(folder.metrics),
        _read_images(folder.predictions),
    )


def _read_curves(path: Path) -> pd.DataFrame:
    curves = _read_csv(path)
    needed = {"epoch", "train/loss", "val/loss", "val/accuracy"}
    if not needed <= set(curves.columns) or curves.empty:
        raise RunError(f"{path.name} lacks epochs or figures")
    return curves


def _read_images(path: Path) -> ValidatedImages:
    # As text: a class may be called 01 or None.
    frame = _read_csv(
        path, usecols=["file", "label", "prediction"], dtype=str, keep_default_na=False
    )
    right = frame["label"].to_numpy() == frame["prediction"].to_numpy()
    files, image = np.unique(frame["file"].to_numpy(dtype=str), return_inverse=True)
    return ValidatedImages(
        files, np.bincount(image, weights=right).astype(np.int64), np.bincount(image)
    )


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
