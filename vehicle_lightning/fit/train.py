"""One training run from settings to a run folder: build, train, measure, write down."""

import logging
import os
import sys
import warnings
from contextlib import ExitStack
from typing import Any

import lightning as L
import torch

from vehicle_lightning.config import DeviceSettings, Settings
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.files import write_text
from vehicle_lightning.fit.checkpoints import WholeCheckpointIO, best_and_last
from vehicle_lightning.fit.devices import (
    announce_meeting,
    ended_by_signals,
    lost_process,
    own_environment,
    say_why_all_end,
    started_together,
)
from vehicle_lightning.fit.early_stopping import StopWithoutProgress
from vehicle_lightning.fit.environment import write_environment, write_findings
from vehicle_lightning.fit.features import are_enough, find_features
from vehicle_lightning.fit.first_batch import FirstBatch
from vehicle_lightning.fit.history import History
from vehicle_lightning.fit.interruption import StopBetweenSteps, TrainingInterruptedError
from vehicle_lightning.fit.progress import EpochLines
from vehicle_lightning.fit.report import write_report
from vehicle_lightning.fit.resuming import check_continuable
from vehicle_lightning.fit.supervision import Supervision
from vehicle_lightning.fit.tensorboard import NoEvents, RunLogger
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.model.load import load_classifier, load_start
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.summary import Status, Summary


def train(
    settings: Settings,
    resume: RunFolder | None,
    *,
    data: VehicleDataModule | None = None,
    new: RunFolder | None = None,
    lines: EpochLines | None = None,
    supervision: Supervision | None = None,
) -> tuple[RunFolder, Summary | None]:
    """Train, measure and report.

    Args:
        settings: all settings, of a single training.
        resume: a run to continue; None starts a new one.
        data: the data, where they have been read already.
        new: where a new run goes; by default the next number under its name in the log dir.
        lines: what the terminal shows; by default a line an epoch.
        supervision: pauses or prunes the training, where it is one of many.

    Returns:
        The run folder, and the summary unless the run was interrupted in its first epoch.

    Raises:
        InputError: something is wrong with the data, the settings, or the run to continue.
        OSError: the disk is full.
    """
    with ExitStack() as held:
        return _train(settings, resume, data, new, lines or EpochLines(), supervision, held)


def _train(
    settings: Settings,
    resume: RunFolder | None,
    data: VehicleDataModule | None,
    new: RunFolder | None,
    lines: EpochLines,
    supervision: Supervision | None,
    held: ExitStack,
) -> tuple[RunFolder, Summary | None]:
    silence()
    is_first_process = check_devices(settings)
    if resume and is_first_process:
        held.enter_context(resume.lock())
    data = data or read_data(settings)
    settings = settings.model_copy(update=dict(data.table.found))  # what was recognised is kept
    L.seed_everything(settings.seed, verbose=False)
    model = build_classifier(settings, data)
    finished_epochs = 0 if resume is None else check_continuable(resume, settings, data.fingerprint)
    if finished_epochs == 0:
        load_start(model, data.fingerprint)
    run = resume or new or _new_folder(settings, is_first_process)
    if not resume and is_first_process:
        held.enter_context(run.lock())
    history = History(run)
    logger = NoEvents() if run.is_fold_run else RunLogger(run, settings)
    trainer = _build_trainer(settings, run, data, history, logger, lines, supervision)
    if trainer.is_global_zero:
        run.summary.unlink(missing_ok=True)  # from here on it is not finished
        write_environment(run.environment, data)
        write_text(run.config, settings.to_yaml())  # the last: it makes the run one to resume
        logger.start()
        lines.say(_first_line(run, data, finished_epochs))
        if not run.is_fold_run and (serious := write_findings(run.findings, settings, data)):
            lines.say(serious)
    if are_enough(settings):
        lines.say("Looking at all images once: the backbone is held and no image changes.")
        measuring = _build_measuring_trainer(settings, run, trainer.strategy.root_device)
        start = load_classifier(run.last_checkpoint).model if finished_epochs else model
        data.use_features(find_features(start, data, measuring))

    if meeting := announce_meeting(trainer):
        lines.say(meeting)
    status: Status = "finished"
    try:
        with ended_by_signals(trainer):
            trainer.fit(
                model,
                datamodule=data,
                ckpt_path=run.last_checkpoint if finished_epochs else None,
                weights_only=True,
            )
    except (TrainingInterruptedError, SystemExit):  # the latter is Lightning's, before any step
        status = "interrupted"
    except Exception as error:
        if lost := lost_process(error, trainer, run):
            raise lost from error
        raise
    if status == "finished" and supervision and supervision.is_pruned:
        status = "pruned"
    if not trainer.is_global_zero:
        sys.exit()
    if history.frame.empty:
        return run, None
    lines.say("Measuring the best weights on all images.")
    measuring = _build_measuring_trainer(settings, run, trainer.strategy.root_device)
    try:
        summary = write_report(run, settings, data, history.frame, logger, measuring, status=status)
    except (KeyboardInterrupt, SystemExit):
        lines.say(f"Interrupted while measuring; to measure again: --resume {run.path}")
        raise KeyboardInterrupt from None
    return run, summary


def read_data(settings: Settings) -> VehicleDataModule:
    """Read and split the data.

    Raises:
        DataError: something is wrong with the data, or with a folder to write to.
    """
    data = VehicleDataModule(settings)
    data.setup()
    return data


def silence() -> None:
    """Mute what Lightning says of itself; it cannot be acted on here."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    say_why_all_end()
    for message in (
        ".*does not have many workers.*",  # a batch is one look-up in a mapped file
        ".*Checkpoint directory .* exists and is not empty.*",  # as it is on --resume
        ".*No (positive|negative) samples.*",  # a class may be missing from a small sample
        "Image size .* exceeds limit",  # a large photograph is read all the same
        ".*Corrupt EXIF data.*",  # so is one with damaged metadata
        ".*treespec, LeafSpec.*is deprecated.*",  # Lightning's own use of torch
    ):
        warnings.filterwarnings("ignore", message)


def check_devices(settings: Settings) -> bool:
    """Refuse what this machine does not have, before anything is read or written.

    Returns whether this is the first of all processes that train together.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # the real trainer will say it again
            trainer = L.Trainer(
                **_devices(settings),
                plugins=own_environment(),
                logger=False,
                enable_checkpointing=False,
            )
        if trainer.strategy.root_device.type == "cpu":
            if settings.precision == "16-mixed":
                raise ValueError("a CPU has no 16-mixed, take bf16-mixed")
            if trainer.num_devices > (os.cpu_count() or 1):
                raise ValueError(f"this machine has {os.cpu_count()} cores")
        if started_together() != trainer.world_size and started_together() > 1:
            raise ValueError(
                f"{started_together()} processes were started, and --devices times --num-nodes is "
                f"{trainer.world_size}"
            )
        if trainer.world_size > 1 and settings.frozen_epochs:
            raise ValueError("--frozen-epochs needs one device")
    except Exception as error:  # each accelerator refuses in its own way
        flags = " ".join(
            f"--{name.replace('_', '-')} {value}" for name, value in _devices(settings).items()
        )
        reason = " ".join(str(error).split())
        raise SettingsError(f"{flags} cannot be had here: {reason}") from error
    return bool(trainer.is_global_zero)


def build_classifier(settings: Settings, data: VehicleDataModule) -> VehicleClassifier:
    """Build the classifier for these data, its weights at random."""
    counts = data.class_counts
    return VehicleClassifier(
        settings,
        data.table.class_names,
        data.mean.tolist(),
        data.std.tolist(),
        (counts.sum() / (len(counts) * counts)).tolist() if settings.class_weights else None,
    )


def _new_folder(settings: Settings, is_first_process: bool) -> RunFolder:
    """Make the run folder; of several processes, only the first one makes and fills one."""
    if is_first_process:
        return RunFolder.create(settings.log_dir, settings.run_name)
    return RunFolder(settings.log_dir / settings.run_name / "unused")


def _build_trainer(
    settings: Settings,
    run: RunFolder,
    data: VehicleDataModule,
    history: History,
    logger: RunLogger | NoEvents,
    lines: EpochLines,
    supervision: Supervision | None,
) -> L.Trainer:
    return L.Trainer(
        **_devices(settings),
        max_epochs=settings.epochs,
        logger=logger,
        log_every_n_steps=1,  # nothing is logged by the step, and Lightning warns of more
        callbacks=[
            history,
            lines,
            FirstBatch(run, data),
            StopBetweenSteps(),
            *([] if supervision is None else [supervision]),
            *_patience(settings),
            *best_and_last(run),
        ],
        plugins=[WholeCheckpointIO(), *own_environment()],
        default_root_dir=run.path,  # under SLURM, Lightning starts from what it finds there
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        sync_batchnorm=torch.cuda.is_available(),  # takes effect with several GPUs
        enable_progress_bar=False,  # EpochLines has one for the whole training
        enable_model_summary=False,
    )


def _build_measuring_trainer(settings: Settings, run: RunFolder, device: torch.device) -> L.Trainer:
    return L.Trainer(
        accelerator=settings.accelerator,
        devices=1 if device.index is None else [device.index],
        precision=settings.precision,
        plugins=own_environment(),
        default_root_dir=run.path,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )


def _devices(settings: Settings) -> dict[str, Any]:
    return settings.model_dump(include=set(DeviceSettings.model_fields) - {"compile"})


def _patience(settings: Settings) -> list[L.Callback]:
    return [] if settings.patience is None else [StopWithoutProgress(settings.patience)]


def _first_line(run: RunFolder, data: VehicleDataModule, finished_epochs: int) -> str:
    rows = data.rows
    duplicates = (
        f" ({data.exact_duplicates} exact and {data.near_duplicates} near duplicates, each in the "
        f"split of its like)"
        if data.exact_duplicates or data.near_duplicates
        else ""
    )
    if data.left_out:
        duplicates += f", {data.left_out} left out as duplicates of images in another split"
    test = f", {len(rows['test'])} test" if "test" in rows else ""
    start = f"continuing after epoch {finished_epochs}" if finished_epochs else "starting"
    return (
        f"Run {run.path}: {start}; {len(rows['train'])} training and {len(rows['val'])} "
        f"validation images{test}{duplicates}, classes {', '.join(data.table.class_names)}."
    )
