"""TensorBoard: curves by epoch, one chart for both sides, settings beside final figures."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from vehicle_lightning.config import Settings
from vehicle_lightning.runs.folder import RunFolder

# Written with every run, at its start without a value: the HPARAMS tab takes its columns from one
# run, so all must have the same.
FINAL_FIGURES = (
    "val_accuracy",
    "val_loss",
    "train_accuracy",
    "train_loss",
    "gap",
    "best_epoch",
    "epochs",
    "seconds",
)

CHARTS = {
    "train and validation": {
        "loss": ["Multiline", ["train/loss", "val/loss"]],
        "accuracy": ["Multiline", ["train/accuracy", "val/accuracy"]],
    }
}


class RunLogger(TensorBoardLogger):
    """Writes event files straight into the run folder."""

    def __init__(self, run: RunFolder, settings: Settings, finished_epochs: int = 0) -> None:
        """Open the event files.

        Args:
            run: where to write.
            settings: shown in the HPARAMS tab.
            finished_epochs: of a resumed run; curves that stand beyond them are taken back.
        """
        super().__init__(
            str(run.path),
            name="",
            version="",
            default_hp_metric=False,
            purge_step=finished_epochs + 1 if finished_epochs else None,
        )
        self._settings = settings

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write scalars, less the epoch number that Lightning adds: it is the x-axis."""
        super().log_metrics({k: v for k, v in metrics.items() if k != "epoch"}, step)

    def save(self) -> None:
        """Flush the events; the settings stand in the run folder already."""
        self.experiment.flush()

    def start(self) -> None:
        """Write the settings, and the layout of the charts."""
        self._log_final({})
        self.experiment.add_custom_scalars(CHARTS)

    def finish(
        self, figures: Mapping[str, float], verdict: str, pictures: Mapping[str, Path]
    ) -> None:
        """Write the final figures beside the settings, the verdict, and the pictures."""
        self._log_final(figures)
        self.experiment.add_text("verdict", verdict)
        for name, path in pictures.items():
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            self.experiment.add_image(name, pixels, dataformats="HWC")
        self.finalize("success")

    def _log_final(self, figures: Mapping[str, float]) -> None:
        values = {f"hp/{name}": figures.get(name, math.nan) for name in FINAL_FIGURES}
        self.log_hyperparams(_flat(self._settings), values, step=int(figures.get("epochs", 0)))


def _flat(settings: Settings) -> dict[str, float | str]:
    """Return every setting as a number or text: one type for each, never None."""
    return {name: _plain(value) for name, value in settings}


def _plain(value: Any) -> float | str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, tuple):
        return "-".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
