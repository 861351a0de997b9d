"""Checkpoints: `best.ckpt` and `last.ckpt`, written whole; whether a run can go on from one."""

import math
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging

from vehicle_lightning.errors import RunError, counted
from vehicle_lightning.files import atomic_write
from vehicle_lightning.fit.other_data import Data
from vehicle_lightning.fit.start import check_same_data
from vehicle_lightning.model.load import load
from vehicle_lightning.model.network import NetworkFactory
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.settings_file import changed_settings

WRITTEN_AFTER = 20  # times as long as writing the files takes


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it, so that it is never half there."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write the checkpoint.

        Raises:
            OSError: the disk is full or the folder cannot be written to.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as temporary:
            super().save_checkpoint(checkpoint, temporary, storage_options)


class BestAndLast(Checkpoint):
    """Keeps the weights with the lowest validation loss, and the state after the last whole epoch.

    Both files are written together, the best one first: after the first epoch, the last one, and
    those in between by which twenty times as long has passed as the writing takes. So epochs that
    are shorter than that are not slowed down by it; a run that is killed trains them again, to the
    same bits. Until then the best weights wait in memory.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._lowest = math.inf
        self._waiting: dict[str, Any] = {}  # the best weights, where they are not written yet
        self._written_at = -math.inf
        self._seconds = 0.0

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Take note of the epoch, and write where it is time to."""
        loss = float(trainer.callback_metrics["val/loss"])
        if loss < self._lowest or trainer.current_epoch == 0:
            self._lowest = loss if math.isfinite(loss) else math.inf
            self._waiting = _weights_alone(trainer, module)
        is_last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        is_time = time.monotonic() - self._written_at >= WRITTEN_AFTER * self._seconds
        # The clocks of several processes differ, and all of them have to take part.
        if trainer.strategy.reduce_boolean_decision(is_last or is_time, all=False):
            self._write(trainer)

    def on_exception(self, trainer: L.Trainer, *_: Any) -> None:
        """Write the best weights, which are measured where a training is interrupted."""
        self._write_best(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return the lowest validation loss so far."""
        return {"lowest": self._lowest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._lowest = state_dict["lowest"]

    def _write(self, trainer: L.Trainer) -> None:
        started = time.monotonic()
        self._write_best(trainer)
        trainer.save_checkpoint(self._run.last_checkpoint)
        self._written_at = time.monotonic()
        self._seconds = self._written_at - started

    def _write_best(self, trainer: L.Trainer) -> None:
        if self._waiting and trainer.is_global_zero:
            weights = self._waiting["state_dict"]
            self._waiting["state_dict"] = {name: value.cpu() for name, value in weights.items()}
            AtomicCheckpointIO().save_checkpoint(self._waiting, self._run.best_checkpoint)
        self._waiting = {}


def _weights_alone(trainer: L.Trainer, module: L.LightningModule) -> dict[str, Any]:
    """Return a checkpoint without the state of the training; its weights are a copy."""
    checkpoint: dict[str, Any] = {
        "epoch": trainer.current_epoch,
        "global_step": trainer.global_step,
        "pytorch-lightning_version": L.__version__,
        "hyper_parameters": dict(module.hparams),
        "state_dict": module.state_dict(),
    }
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging):
            callback.on_save_checkpoint(trainer, module, checkpoint)
    weights = checkpoint["state_dict"]
    checkpoint["state_dict"] = {name: value.detach().clone() for name, value in weights.items()}
    checkpoint.pop("current_model_state", None)
    module.on_save_checkpoint(checkpoint)
    return checkpoint


def epochs_behind(run: RunFolder, data: Data, network: NetworkFactory | None) -> int:
    """Return how many whole epochs a run has behind it; 0 begins at the beginning.

    Args:
        run: the run to continue.
        data: the data to continue it with, and the settings.
        network: what builds the network, where that was given from Python.

    Raises:
        RunError: the checkpoint is missing or damaged, or the run had other settings or other data.
    """
    if not run.last_checkpoint.is_file():
        rows = run.metrics.read_text().splitlines()[1:] if run.metrics.exists() else []
        # The figures of the first epoch are written before its checkpoint.
        if run.summary.exists() or len(rows) > 1:
            raise RunError(f"{run.last_checkpoint} is gone; start a new run instead.")
        return 0
    settings = data.settings
    last = load(run.last_checkpoint, network=network)
    if changed := changed_settings(last.settings, settings):
        raise RunError(
            f"{run.last_checkpoint} was written with another {', '.join(changed)} than "
            f"{run.config} has; start a new run instead."
        )
    check_same_data(run, data.fingerprint, before=last.fingerprint)
    if settings.epochs < last.epochs:
        raise RunError(
            f"{run.path} has trained {counted(last.epochs, 'epoch')}; continue it with --epochs "
            f"{last.epochs} or more."
        )
    return last.epochs
