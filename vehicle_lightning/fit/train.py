"""Train: settings in, a run folder out. All else hangs on the Trainer as callbacks."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler

from vehicle_lightning.config import Settings
from vehicle_lightning.console import ignore_harmless_warnings, is_first_process
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.fit import devices
from vehicle_lightning.fit.callbacks import (
    EpochLines,
    FirstBatch,
    History,
    PruningCallback,
    StopBetweenSteps,
    StopWithoutProgress,
    TrainingInterruptedError,
)
from vehicle_lightning.fit.checkpoints import AtomicCheckpointIO, BestAndLast, epochs_behind
from vehicle_lightning.fit.other_data import OtherData
from vehicle_lightning.fit.report import Data, write_report
from vehicle_lightning.fit.start import write_start
from vehicle_lightning.fit.tensorboard import RunLogger, log_summary
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.model.evaluation import compute_features
from vehicle_lightning.model.load import load_start, read_checkpoint
from vehicle_lightning.model.network import NetworkFactory
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.summary import Status, Summary

PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


@dataclass(frozen=True)
class TrainResult:
    """Where a run lies and what it came to; no summary where no epoch was finished."""

    run: RunFolder
    summary: Summary | None


@dataclass(frozen=True)
class Parts:
    """What `train` was given in the place of what the settings describe."""

    network: NetworkFactory | None = None
    data: L.LightningDataModule | None = None
    classifier: type[VehicleClassifier] = VehicleClassifier
    callbacks: Sequence[L.Callback] = ()
    loggers: Sequence[Logger] = ()


def train(
    settings: Settings,
    run: RunFolder | None = None,
    *,
    network: NetworkFactory | None = None,
    data: L.LightningDataModule | None = None,
    classifier: type[VehicleClassifier] = VehicleClassifier,
    callbacks: Sequence[L.Callback] = (),
    loggers: Sequence[Logger] = (),
) -> TrainResult:
    """Train as the settings say, and write everything into a run folder.

    With `folds` or `seeds`, one network for each fold and seed is trained, and all are pooled.

    Args:
        settings: all settings.
        run: the folder to train in; where it holds a training already, that one goes on from its
            last whole epoch. By default the next number under the run's name in the log dir.
        network: what builds the network, from the settings and the number of classes.
        data: the images, in the place of those that the settings name; see `OtherData`.
        classifier: the Lightning module, with another loss, say.
        callbacks: to hang on the Trainer beside those of a run; copied for each fold run.
        loggers: to write to beside TensorBoard.

    Raises:
        InputError: something is wrong with the data, the settings together, or the run to continue.
        OSError: the disk is full.
    """
    parts = Parts(network, data, classifier, callbacks, loggers)
    if settings.fast_dev_run:
        if settings.is_repeated:
            raise SettingsError("--fast-dev-run tries one training; leave out --folds and --seeds.")
        with TemporaryDirectory() as folder:
            return train_once(settings, RunFolder(Path(folder)), parts)
    if settings.is_repeated:
        from vehicle_lightning.fit.folds import train_folds

        return train_folds(settings, run, parts)
    return train_once(settings, run, parts)


def train_once(
    settings: Settings, run: RunFolder | None, parts: Parts, *, title: str = ""
) -> TrainResult:
    """Train a single network; `title` says which of several runs this is."""
    quiet_lightning()
    with run_folder(settings, run) as run:
        pruning = next((c for c in parts.callbacks if isinstance(c, PruningCallback)), None)
        history, lines = History(run), EpochLines(title or getattr(pruning, "title", ""))
        loggers = [*([] if run.is_fold_run else [RunLogger(run, settings)]), *parts.loggers]
        callbacks = [history, lines, FirstBatch(run), *parts.callbacks]
        trainer = build_trainer(settings, run, callbacks, loggers)
        data = read_data(settings, parts.data)
        if isinstance(data, VehicleDataModule):
            settings = data.settings  # with what was recognised of the data
        check_limits(settings, data)
        model = build_classifier(settings, data, parts)
        epochs = epochs_behind(run, settings, data.fingerprint, parts.network)
        checkpoint = run.last_checkpoint if epochs else None
        if checkpoint is None:
            load_start(model.model, data.fingerprint)
        if trainer.is_global_zero:
            for sentence in write_start(run, settings, data, loggers, epochs):
                lines.say(sentence)
        if meeting := devices.announce_meeting(trainer):
            lines.say(meeting)
        device = trainer.strategy.root_device
        if isinstance(data, VehicleDataModule) and features_suffice(settings):
            lines.say("Computing the features of all images once: the backbone stays frozen.")
            start = read_checkpoint(checkpoint).classifier if checkpoint else model.model
            data.use_features(compute_features(start, data.predict_dataloader(), device))
            model.train()  # looking put it into eval mode

        status = fit_until_stopped(trainer, model, data, run, checkpoint)
        if not trainer.is_global_zero:
            sys.exit()
        if history.frame.empty or settings.fast_dev_run:
            return TrainResult(run, None)
        lines.say("Measuring the best weights on all images.")
        best = read_checkpoint(run.best_checkpoint, network=parts.network)
        try:
            summary = write_report(
                run, settings, data, history.frame, best, device=device, status=status
            )
        except KeyboardInterrupt:
            lines.say(f"Interrupted while measuring; to measure again: --resume {run.quoted}")
            raise
        for logger in loggers:
            log_summary(logger, summary)
        return TrainResult(run, summary)


@contextmanager
def run_folder(settings: Settings, run: RunFolder | None) -> Iterator[RunFolder]:
    """Give the folder to train in, a new one where None is given, and keep other processes out.

    Of several processes that train together only the first one makes and fills it. What was made in
    vain, as the data turned out to be wrong, is removed.
    """
    if not is_first_process():
        yield run or RunFolder(settings.log_dir / settings.run_name / "unused")
        return
    was_there = settings.log_dir.exists()
    run = run or RunFolder.create(settings.log_dir, settings.run_name)
    try:
        with run.lock():
            yield run
    finally:
        with suppress(OSError):  # what is not empty stays
            for folder in (run.path, run.path.parent, *([] if was_there else [settings.log_dir])):
                folder.rmdir()


def build_trainer(
    settings: Settings,
    run: RunFolder,
    callbacks: Sequence[L.Callback],
    loggers: Sequence[Logger],
) -> L.Trainer:
    """Build the Trainer.

    Raises:
        SettingsError: this machine has no such devices.
    """
    patience = settings.patience
    with devices.refusing_devices(settings):
        trainer = L.Trainer(
            **devices.device_options(settings),
            **trainer_options(settings, run),
            max_epochs=settings.epochs,
            logger=list(loggers),
            log_every_n_steps=1,  # nothing is logged by the step, and Lightning warns of more
            callbacks=[
                *callbacks,
                StopBetweenSteps(),
                *([] if patience is None else [StopWithoutProgress(patience)]),
                # Lightning's own for max_time stops within an epoch, which cannot be resumed.
                *([Timer(settings.max_time, "epoch", verbose=False)] if settings.max_time else []),
                BestAndLast(run),
            ],
            plugins=[AtomicCheckpointIO(), *devices.own_environment()],
            default_root_dir=run.path,  # under SLURM, Lightning starts from what it finds there
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            sync_batchnorm=torch.cuda.is_available(),  # takes effect with several GPUs
            enable_progress_bar=False,  # EpochLines has one for the whole training
            enable_model_summary=False,
        )
        devices.check_devices(trainer, settings)
    return trainer


def trainer_options(settings: Settings, run: RunFolder) -> dict[str, Any]:
    """Return the switches that the Trainer has under the same names."""
    profiler = settings.profiler and PROFILERS[settings.profiler](run.path, "profile")
    return {
        "gradient_clip_val": settings.gradient_clip_val,
        "accumulate_grad_batches": settings.accumulate_grad_batches,
        "limit_train_batches": settings.limit_train_batches,
        "limit_val_batches": settings.limit_val_batches,
        "overfit_batches": settings.overfit_batches or 0,
        "fast_dev_run": settings.fast_dev_run,
        "deterministic": settings.deterministic or None,
        "profiler": profiler,
    }


def check_limits(settings: Settings, data: Data) -> None:
    """Refuse a fraction of the batches that is none.

    Raises:
        SettingsError: it is.
    """
    for name in ("limit_train_batches", "limit_val_batches", "overfit_batches"):
        share = getattr(settings, name)
        if isinstance(share, float):
            loaders = [] if name == "limit_val_batches" else [data.train_dataloader()]
            loaders += [] if name == "limit_train_batches" else data.val_dataloader()
            batches = min(map(len, loaders))
            if int(share * batches) == 0:
                raise SettingsError(
                    f"--{name.replace('_', '-')} {share:g} of {batches} batches is none; give a "
                    f"number of batches, or a larger fraction."
                )


def read_data(settings: Settings, data: L.LightningDataModule | None = None) -> Data:
    """Read and split the data.

    Raises:
        DataError: something is wrong with the data, or with a folder to write to.
    """
    if data is None:
        data = VehicleDataModule(settings)
    elif not isinstance(data, VehicleDataModule):
        data = OtherData(data)
    elif not data.is_ready:
        data.settings = settings
    data.setup()
    return data


def build_classifier(settings: Settings, data: Data, parts: Parts) -> VehicleClassifier:
    """Build the classifier for these data, its weights at random by the seed."""
    L.seed_everything(settings.seed, verbose=False)
    weights = None
    if settings.class_weights:
        counts = np.asarray(data.class_counts)
        weights = (counts.sum() / (len(counts) * counts)).tolist()
    mean, std = (np.asarray(values).tolist() for values in (data.mean, data.std))
    return parts.classifier(settings, data.class_names, mean, std, weights, parts.network)


def fit_until_stopped(
    trainer: L.Trainer,
    model: VehicleClassifier,
    data: Data,
    run: RunFolder,
    checkpoint: Path | None,
) -> Status:
    """Fit; a signal, another process that failed, or a search may end it before its time.

    Raises:
        RunError: another process was lost.
    """
    try:
        with devices.ended_by_signals(trainer):
            trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except (TrainingInterruptedError, SystemExit):  # the latter is Lightning's, before any step
        return "interrupted"
    except Exception as error:
        if lost := devices.lost_process(error, trainer, run):
            raise lost from error
        raise
    callbacks: list[L.Callback] = getattr(trainer, "callbacks")  # noqa: B009  # untyped
    is_pruned = any(isinstance(c, PruningCallback) and c.is_pruned for c in callbacks)
    return "pruned" if is_pruned else "finished"


def features_suffice(settings: Settings) -> bool:
    """Whether a backbone sees the same in every epoch: it never learns, and no image changes."""
    changes = settings.augment or settings.mixup or settings.initial_size or settings.flip_averaging
    is_frozen = settings.backbone is not None and settings.frozen_epochs >= settings.epochs
    return is_frozen and not changes


def quiet_lightning() -> None:
    """Mute what Lightning says of itself and what cannot be acted on; its errors stay."""
    ignore_harmless_warnings()
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    devices.say_why_all_end()
