"""Loggers beside TensorBoard: Lightning's own for a CSV file, MLflow and Weights & Biases.

Curves come to them from the Trainer. A run over folds or seeds is one run with a child for each
training in MLflow, and one group of runs in Weights & Biases.
"""

import json
import os
from pathlib import Path
from uuid import uuid4

import pandas as pd
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, WandbLogger

from vehicle_lightning.config import Settings
from vehicle_lightning.console import is_first_process
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.files import write_text
from vehicle_lightning.fit.tensorboard import RunLogger
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.summary import Summary

PROJECT = "vehicle_lightning"  # what MLflow calls an experiment; WANDB_PROJECT names another


def build_loggers(run: RunFolder, settings: Settings) -> list[Logger]:
    """Return the loggers of a run that is about to begin or to go on.

    TensorBoard has none of a fold run: the run that it is part of draws the mean of all.

    Raises:
        SettingsError: the package of one is not installed.
    """
    loggers: list[Logger] = [] if run.is_fold_run else [RunLogger(run, settings)]
    for kind in settings.logger:
        try:
            loggers.append(BUILD[kind](run))
        except ModuleNotFoundError as error:
            raise SettingsError(
                f'--logger {kind} needs the package {kind}: pip install -e ".[{kind}]".'
            ) from error
    return loggers


def _mlflow(run: RunFolder) -> Logger:
    parent = _ids(run.path.parent).get("mlflow") if run.is_fold_run else None
    logger = MLFlowLogger(
        PROJECT,
        run_name=run.label,
        # In a file of the working directory, as MLflow itself has it; of Lightning's default it
        # has given up.
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"),
        run_id=_ids(run.path).get("mlflow"),
        tags=None if parent is None else {"mlflow.parentRunId": parent},
    )
    _remember(run, "mlflow", logger.run_id)
    return logger


def _wandb(run: RunFolder) -> Logger:
    name = _ids(run.path).get("wandb", uuid4().hex[:8])
    group = RunFolder(run.path.parent).label if run.is_fold_run else None
    logger = WandbLogger(run.label, run.path, version=name, group=group)
    _remember(run, "wandb", name)
    return logger


BUILD = {
    "csv": lambda run: CSVLogger(run.path, name="csv", version=""),
    "mlflow": _mlflow,
    "wandb": _wandb,
}


def _ids(folder: Path) -> dict[str, str]:
    """Return under what a run goes on elsewhere: logger -> its name of the run."""
    file = folder / "loggers.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _remember(run: RunFolder, kind: str, name: str | None) -> None:
    if is_first_process() and name is not None:
        write_text(run.path / "loggers.json", json.dumps(_ids(run.path) | {kind: name}) + "\n")


def log_summary(logger: Logger, summary: Summary) -> None:
    """Tell a logger of the final figures, the last thing it hears of the run."""
    if isinstance(logger, RunLogger):
        logger.finish(summary)
        return
    figures = {f"summary/{name}": value for name, value in summary.figures().items()}
    logger.log_metrics(figures, summary.epochs)
    logger.save()
    logger.finalize("success")
    if isinstance(logger, WandbLogger):
        logger.experiment.finish()  # the next run of this process is another one there


def log_curves(logger: Logger, curves: pd.DataFrame) -> None:
    """Write curves that were drawn elsewhere: one row an epoch, with the column `epoch`."""
    for row in curves.to_dict("records"):
        epoch = int(row.pop("epoch"))
        logger.log_metrics({str(name): value for name, value in row.items()}, epoch)
