"""One training run from settings to a run folder: build, train, measure, write down."""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from vehicle_lightning.config import Settings
from vehicle_lightning.console import notice
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.errors import RunError, SettingsError
from vehicle_lightning.files import write_text
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.runs.checkpoints import WholeCheckpointIO, best_and_last, load_classifier
from vehicle_lightning.runs.early_stopping import StopWithoutProgress
from vehicle_lightning.runs.environment import write_environment
from vehicle_lightning.runs.first_batch import FirstBatch
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.history import History
from vehicle_lightning.runs.interruption import StopBetweenSteps, TrainingInterruptedError
from vehicle_lightning.runs.progress import EpochLines
from vehicle_lightning.runs.report import write_report
from vehicle_lightning.runs.summary import Summary
from vehicle_lightning.runs.tensorboard import RunLogger

# Tells the processes that Lightning starts for further devices which folder the first one made.
RUN_FOLDER_VARIABLE = "VEHICLE_LIGHTNING_RUN"


def train(settings: Settings, resume: RunFolder | None) -> tuple[RunFolder, Summary | None]:
    """Train, measure and report.

    Args:
        settings: all settings.
        resume: a run to continue; None starts a new one.

    Returns:
        The run folder, and the summary unless the run was interrupted in its first epoch.

    Raises:
        InputError: something is wrong with the data, the settings, or the run to continue.
        OSError: the disk is full.
    """
    _silence()
    _check_devices(settings)
    data = VehicleDataModule(
        settings, seed=settings.seed, train_eval_fraction=settings.train_eval_fraction
    )
    data.setup()
    L.seed_everything(settings.seed, verbose=False)
    model = _build_classifier(settings, data)
    run = resume or _new_folder(settings)
    finished_epochs = _finished_epochs(run, model)
    history = History(run)
    logger = RunLogger(run, settings, finished_epochs)
    trainer = _build_trainer(settings, run, data, history, logger)
    if trainer.is_global_zero:
        write_text(run.config, settings.to_yaml())
        write_environment(run.environment, data)
        logger.start()
        notice(_first_line(run, data, finished_epochs))

    interrupted = False
    try:
        trainer.fit(
            model,
            datamodule=data,
            ckpt_path=run.last_checkpoint if finished_epochs else None,
            weights_only=True,
        )
    except TrainingInterruptedError:
        interrupted = True
    if not trainer.is_global_zero:
        sys.exit()
    if history.frame.empty:
        return run, None
    notice("Measuring the best weights on all images.")
    measuring = L.Trainer(
        accelerator=settings.accelerator,
        devices=1,
        precision=settings.precision,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    return run, write_report(run, settings, data, history.frame, logger, measuring, interrupted)


def _silence() -> None:
    """Mute what Lightning says of itself; it cannot be acted on here."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    for message in (
        ".*does not have many workers.*",  # a batch is one look-up in a mapped file
        ".*Checkpoint directory .* exists and is not empty.*",  # as it is on --resume
        ".*No (positive|negative) samples.*",  # a class may be missing from a small sample
        ".*treespec, LeafSpec.*is deprecated.*",  # Lightning's own use of torch
    ):
        warnings.filterwarnings("ignore", message)


def _check_devices(settings: Settings) -> None:
    """Refuse what this machine does not have, before anything is read or written."""
    try:
        L.Trainer(**_devices(settings), logger=False, enable_checkpointing=False)
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        flags = " ".join(
            f"--{name.replace('_', '-')} {value}" for name, value in _devices(settings).items()
        )
        reason = " ".join(str(error).split())
        raise SettingsError(f"{flags} cannot be had here: {reason}") from error


def _build_classifier(settings: Settings, data: VehicleDataModule) -> VehicleClassifier:
    counts = data.class_counts
    return VehicleClassifier(
        settings,
        data.table.class_names,
        data.mean.tolist(),
        data.std.tolist(),
        (counts.sum() / (len(counts) * counts)).tolist() if settings.class_weights else None,
    )


def _new_folder(settings: Settings) -> RunFolder:
    made = os.environ.get(RUN_FOLDER_VARIABLE)
    if made and int(os.environ.get("LOCAL_RANK", "0")) > 0:
        return RunFolder.open(Path(made))
    run = RunFolder.create(settings.log_dir, settings.run_name)
    os.environ[RUN_FOLDER_VARIABLE] = str(run.path)
    return run


def _finished_epochs(run: RunFolder, model: VehicleClassifier) -> int:
    """Return how far the run has got; a checkpoint that cannot be continued is refused here."""
    if not run.last_checkpoint.is_file():
        return 0
    saved, epochs = load_classifier(run.last_checkpoint)
    if _shapes(saved) != _shapes(model):
        raise RunError(
            f"{run.last_checkpoint} is a checkpoint of another network than that of "
            f"{run.config}; start a new run instead."
        )
    return epochs


def _shapes(model: VehicleClassifier) -> dict[str, torch.Size]:
    return {name: values.shape for name, values in model.state_dict().items()}


def _build_trainer(
    settings: Settings,
    run: RunFolder,
    data: VehicleDataModule,
    history: History,
    logger: RunLogger,
) -> L.Trainer:
    return L.Trainer(
        **_devices(settings),
        max_epochs=settings.epochs,
        logger=logger,
        log_every_n_steps=1,  # nothing is logged by the step, and Lightning warns of more
        callbacks=[
            history,
            EpochLines(),
            FirstBatch(run, data),
            StopBetweenSteps(),
            *_patience(settings),
            *best_and_last(run),
        ],
        plugins=[WholeCheckpointIO()],
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,  # EpochLines has one for the whole training
        enable_model_summary=False,
    )


def _devices(settings: Settings) -> dict[str, Any]:
    return {
        "accelerator": settings.accelerator,
        "devices": settings.devices,
        "strategy": settings.strategy,
        "num_nodes": settings.num_nodes,
        "precision": settings.precision,
    }


def _patience(settings: Settings) -> list[L.Callback]:
    return [] if settings.patience is None else [StopWithoutProgress(settings.patience)]


def _first_line(run: RunFolder, data: VehicleDataModule, finished_epochs: int) -> str:
    rows = data.rows
    copies = f" ({data.copies} exact copies kept on one side)" if data.copies else ""
    start = f"continuing after epoch {finished_epochs}" if finished_epochs else "starting"
    return (
        f"Run {run.path}: {start}; {len(rows['train'])} training and {len(rows['val'])} "
        f"validation images{copies}, classes {', '.join(data.table.class_names)}."
    )
