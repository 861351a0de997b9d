"""TensorBoard: both splits in one chart, the settings beside the final figures."""

import math
from collections.abc import Mapping
from typing import Any, get_args

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from vehicle_lightning.config import Settings
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.summary import Summary
from vehicle_lightning.runs.tensorboard import picture_record

SPLITS = ("train", "val")
CURVES = ("loss", "accuracy")  # one chart each, with a line for each split
FIRST_COLUMNS = ("dropout", "batchnorm", "augment", "learning_rate", "epochs")
PICTURES = ("curves", "confusion_matrix", "mistakes", "train_batch")
FINAL_FIGURES = (
    "val_accuracy",
    "val_loss",
    "test_accuracy",  # where there are test images
    "train_accuracy",
    "train_loss",
    "gap",
    "best_epoch",
    "epochs",
    "seconds",
)


class RunLogger(TensorBoardLogger):
    """Writes event files straight into the run folder, those of the curves into one for each split.

    TensorBoard takes these two folders for runs: the same tag in both makes one chart of two lines.
    So does any metric that is logged of both. All other tags have a group's name in front, and so
    stand behind.
    """

    def __init__(self, run: RunFolder, settings: Settings) -> None:
        # A TensorBoard that has read the events of an earlier start drops them.
        super().__init__(str(run.path), name="", version="", default_hp_metric=False, purge_step=1)
        self._run = run
        self._settings = settings
        self._writers: dict[str, SummaryWriter] = {}

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Write the settings of the run, in place of what an earlier start wrote.

        Its events may lack the last epochs before it was killed, and of two settings of one run
        TensorBoard shows the first; all of its curves are in the history.
        """
        for place in (self._run.path, *(self._run.path / split for split in SPLITS)):
            for earlier in place.glob("events.out.tfevents.*"):
                earlier.unlink()
        self._write_settings()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write scalars, less the epoch number that Lightning adds: it is the x-axis."""
        others = {}
        for name, value in metrics.items():
            split, _, figure = name.partition("/")
            is_curve = figure.removeprefix("spread/").startswith(CURVES)
            is_of_both = all(f"{one}/{figure}" in metrics for one in SPLITS)
            if split in SPLITS and (is_curve or is_of_both):
                tag = figure if is_curve else f"metrics/{figure}"
                self._writer(split).add_scalar(tag, value, step)
            elif name != "epoch":
                others[_tag(name)] = value
        super().log_metrics(others, step)

    def finish(self, summary: Summary) -> None:
        """Write the final figures beside the settings, the verdict, and the pictures."""
        self._write_settings()
        figures = {f"summary/{name}": value for name, value in summary.figures().items()}
        self.log_metrics(figures, summary.epochs)
        self.experiment.add_text("summary/verdict", str(summary), summary.epochs)
        for name in PICTURES:
            if (file := self._run.picture(name)).is_file():
                record = picture_record(f"pictures/{name}", file)
                self.experiment._get_file_writer().add_summary(record, summary.epochs)
        self.finalize("success")

    def save(self) -> None:
        """Flush the events; the settings stand in the run folder already."""
        for writer in (self.experiment, *self._writers.values()):
            writer.flush()

    def finalize(self, status: str) -> None:
        """Close the files."""
        super().finalize(status)
        for writer in self._writers.values():
            writer.close()

    def _writer(self, split: str) -> SummaryWriter:
        if split not in self._writers:
            self._writers[split] = SummaryWriter(str(self._run.path / split), purge_step=1)
        return self._writers[split]

    def _write_settings(self) -> None:
        figures = {f"summary/{name}": math.nan for name in FINAL_FIGURES}
        writer = self.experiment._get_file_writer()
        experiment, start, end = hparams(_flat(self._settings), figures)
        # What people vary is marked as differing: TensorBoard shows five such without asking.
        plugin_data = experiment.value[0].metadata.plugin_data
        content = HParamsPluginData.FromString(plugin_data.content)
        for info in content.experiment.hparam_infos:
            info.differs = info.name in FIRST_COLUMNS
        plugin_data.content = content.SerializeToString()
        for record in (experiment, start, end):
            writer.add_summary(record)


def _tag(name: str) -> str:
    """Return the tag of a figure that is no curve of both splits."""
    if name in ("learning_rate", "train/running_loss", "seconds"):
        return f"optimizer/{name.rpartition('/')[2]}"
    return f"metrics/{name.removeprefix('val/')}" if name.startswith("val/") else name


def _flat(settings: Settings) -> dict[str, float | str]:
    """Return every setting as a number or text: one type for each, never None."""
    plain = {name: _plain(name, value) for name, value in settings}
    return {name: plain[name] for name in FIRST_COLUMNS} | plain


def _plain(name: str, value: Any) -> float | str:
    if isinstance(value, bool):
        return "on" if value else "off"
    is_optional = type(None) in get_args(Settings.model_fields[name].annotation)
    if isinstance(value, int | float) and not is_optional:
        return float(value)
    if isinstance(value, tuple):
        return "-".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
