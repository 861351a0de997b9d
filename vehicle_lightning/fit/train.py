"""Train: settings in, a run folder out. All else hangs on the Trainer as callbacks."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import lightning as L
import numpy as np
from lightning.pytorch.loggers import Logger

from vehicle_lightning.config import Settings
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.fit.callbacks import EpochLines, FirstBatch, History, PruningCallback
from vehicle_lightning.fit.checkpoints import epochs_behind
from vehicle_lightning.fit.devices import announce_meeting, fit_until_stopped
from vehicle_lightning.fit.loggers import build_loggers, log_summary
from vehicle_lightning.fit.other_data import Data, OtherData
from vehicle_lightning.fit.report import write_report
from vehicle_lightning.fit.start import check_same_class, run_folder, write_start
from vehicle_lightning.fit.trainer import build_trainer, check_limits, with_precision
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.model.evaluation import compute_features, features_suffice
from vehicle_lightning.model.load import load, load_start
from vehicle_lightning.model.network import NetworkFactory
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.summary import Summary


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

    @property
    def pruning(self) -> PruningCallback | None:
        """What may end the training early, where a search gave one."""
        return next((c for c in self.callbacks if isinstance(c, PruningCallback)), None)


def train(
    settings: Settings,
    run: RunFolder | Path | str | None = None,
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
        run: a run to go on with from its last whole epoch, or a `RunFolder` that is still empty. By
            default the next number under the run's name in the log dir.
        network: what builds the network, from the settings and the number of classes.
        data: the images, in the place of those that the settings name; see `OtherData`.
        classifier: the Lightning module, with another loss, say.
        callbacks: to hang on the Trainer beside those of a run; copied for each fold run.
        loggers: to write to beside TensorBoard.

    Raises:
        InputError: something is wrong with the data, the settings together, or the run to continue.
        OSError: the disk is full.
    """
    if isinstance(run, str | Path):
        run = RunFolder.open(Path(run))
    settings = with_precision(settings, run)
    if classifier.forward is not VehicleClassifier.forward:
        raise SettingsError(
            f"{classifier.__name__} overrides forward, of which predict, evaluate and export would "
            f"know nothing; put that into a network: train(settings, network=...)."
        )
    parts = Parts(network, data, classifier, callbacks, loggers)
    if settings.fast_dev_run:
        if settings.is_repeated or run is not None:
            raise SettingsError(
                "--fast-dev-run tries one training and keeps nothing; leave out --folds, --seeds "
                "and the run."
            )
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
    with run_folder(settings, run) as run:
        history, lines = History(run), EpochLines(title or getattr(parts.pruning, "title", ""))
        loggers = [] if settings.fast_dev_run else build_loggers(run, settings)
        loggers += parts.loggers
        callbacks = [history, lines, FirstBatch(run), *parts.callbacks]
        trainer = build_trainer(settings, run, callbacks, loggers)
        check_same_class(run, parts.classifier)
        data = read_data(settings, parts.data)
        model = build_classifier(data, parts)
        epochs = epochs_behind(run, data, parts.network)
        checkpoint = run.last_checkpoint if epochs else None
        if checkpoint is None:
            load_start(model.model, data.fingerprint, network=parts.network)
        if trainer.is_global_zero:
            for sentence in write_start(
                run, data.settings, data, loggers, parts.classifier, epochs
            ):
                lines.say(sentence)
        if meeting := announce_meeting(trainer):
            lines.say(meeting)
        device = trainer.strategy.root_device
        is_frozen = model.backbone is not None and features_suffice(data.settings)
        if is_frozen and isinstance(data, VehicleDataModule):
            lines.say("Computing the features of all images once: the backbone stays frozen.")
            start = load(checkpoint, network=parts.network) if checkpoint else model.model
            data.use_features(compute_features(start, data.predict_dataloader(), device))

        status = fit_until_stopped(trainer, model, data, checkpoint)
        if not trainer.is_global_zero:
            sys.exit()
        if history.frame.empty or settings.fast_dev_run:
            return TrainResult(run, None)
        best = load(run.best_checkpoint, network=parts.network)
        if best.epochs > len(history.frame):  # interrupted twice, the second time before the first
            return TrainResult(run, None)
        lines.say("Measuring the best weights on all images.")
        try:
            summary = write_report(run, data, history.frame, best, device, status)
        except KeyboardInterrupt:
            lines.say(f"Interrupted while measuring; to measure again: --resume {run.quoted}")
            raise
        for logger in loggers:
            log_summary(logger, summary)
        return TrainResult(run, summary)


def read_data(settings: Settings, data: L.LightningDataModule | None = None) -> Data:
    """Read and split the data; their `settings` have what was recognised of them.

    Raises:
        DataError: something is wrong with the data, or with a folder to write to.
        SettingsError: the settings do not go with the data.
    """
    if data is None:
        data = VehicleDataModule(settings)
    elif not isinstance(data, VehicleDataModule):
        data = OtherData(data, settings)
    else:
        data = data.take(settings)
    data.setup()
    check_limits(data)
    return data


def build_classifier(data: Data, parts: Parts) -> VehicleClassifier:
    """Build the classifier for these data, its weights at random by the seed."""
    L.seed_everything(data.settings.seed, verbose=False)
    weights = None
    if data.settings.class_weights:
        counts = np.asarray(data.class_counts).clip(1)  # few batches may lack a class
        weights = (counts.sum() / (len(counts) * counts)).tolist()
    mean, std = (np.asarray(values).tolist() for values in (data.mean, data.std))
    return parts.classifier(data.settings, data.class_names, mean, std, weights, parts.network)
