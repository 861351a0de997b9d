"""TensorBoard: curves by epoch, one chart for both sides, settings beside final figures."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from numpy.typing import NDArray
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard.summary import hparams

from vehicle_lightning.config import NetworkSettings, Settings
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

FIRST_COLUMNS = {"augment", "epochs", "learning_rate", *NetworkSettings.model_fields}

CHARTS = {
    "train and validation": {
        "loss": ["Multiline", ["train/loss", "val/loss"]],
        "accuracy": ["Multiline", ["train/accuracy", "val/accuracy"]],
    }
}

# Of a run over several folds or seeds: the mean, and what lies between the lowest and highest of
# its trainings.
SPREAD_CURVES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")
SPREAD = {
    "spread over the trainings": {
        name: ["Margin", [name, f"{name}_lowest", f"{name}_highest"]] for name in SPREAD_CURVES
    }
}


class NoEvents(DummyLogger):
    """Writes nothing: of several trainings only the run that pools them shows in TensorBoard.

    Dozens of curves a run would hide what they have in common, and TensorBoard draws none by itself
    where there are more than forty.
    """

    def start(self) -> None:
        """Write nothing."""

    def finish(
        self, figures: Mapping[str, float], verdict: str, pictures: Mapping[str, Path]
    ) -> None:
        """Write nothing."""


class RunLogger(TensorBoardLogger):
    """Writes event files straight into the run folder."""

    def __init__(self, run: RunFolder, settings: Settings) -> None:
        """Set up what to write.

        Args:
            run: where to write.
            settings: shown in the HPARAMS tab.
        """
        super().__init__(
            str(run.path),
            name="",
            version="",
            default_hp_metric=False,
            purge_step=1,  # a TensorBoard that has read the events of an earlier start drops them
        )
        self._run = run
        self._settings = settings
        self._is_pooled = settings.is_repeated

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write scalars, less the epoch number that Lightning adds: it is the x-axis."""
        super().log_metrics({k: v for k, v in metrics.items() if k != "epoch"}, step)

    def save(self) -> None:
        """Flush the events; the settings stand in the run folder already."""
        self.experiment.flush()

    def start(self) -> None:
        """Write the settings and the layout of the charts, in place of what an earlier start wrote.

        Its events may lack the last epochs before it was killed, and of two settings of one run
        TensorBoard shows the first; all of its curves are in the history.
        """
        for earlier in self._run.path.glob("events.out.tfevents.*"):
            earlier.unlink()
        self._log_final({})
        self.experiment.add_custom_scalars(SPREAD | CHARTS if self._is_pooled else CHARTS)

    def finish(
        self, figures: Mapping[str, float], verdict: str, pictures: Mapping[str, Path]
    ) -> None:
        """Write the final figures beside the settings, the verdict, and the pictures."""
        self._log_final(figures)
        epochs = int(figures["epochs"])
        self.experiment.add_text("verdict", verdict, epochs)
        for name, path in pictures.items():
            self.experiment.add_image(name, _pixels(path), epochs, dataformats="HWC")
        self.finalize("success")

    def _log_final(self, figures: Mapping[str, float]) -> None:
        values = {f"hp/{name}": figures.get(name, math.nan) for name in FINAL_FIGURES}
        experiment, start, end = hparams(_flat(self._settings), values)
        writer = self.experiment._get_file_writer()
        for summary in (_with_columns_in_order(experiment), start, end):
            writer.add_summary(summary)
        self.log_metrics(values, int(figures.get("epochs", 0)))


def _with_columns_in_order(experiment: Summary) -> Summary:
    """Mark the remedies as differing: TensorBoard shows those first, and five without asking."""
    plugin_data = experiment.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin_data.content)
    for info in content.experiment.hparam_infos:
        info.differs = info.name in FIRST_COLUMNS
    plugin_data.content = content.SerializeToString()
    return experiment


def _flat(settings: Settings) -> dict[str, float | str]:
    """Return every setting as a number or text: one type for each, never None."""
    return {name: _plain(value, _is_optional(name)) for name, value in settings}


def _is_optional(name: str) -> bool:
    return type(None) in get_args(Settings.model_fields[name].annotation)


def _plain(value: Any, is_optional: bool) -> float | str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float) and not is_optional:
        return float(value)
    if isinstance(value, tuple):
        return "-".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
