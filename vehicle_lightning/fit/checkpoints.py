"""Checkpoints: `best.ckpt` and `last.ckpt`, written whole; whether a run can go on from one."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from vehicle_lightning.config import Settings, changed_settings
from vehicle_lightning.errors import RunError
from vehicle_lightning.files import atomic_write
from vehicle_lightning.model.load import read_checkpoint
from vehicle_lightning.model.network import NetworkFactory
from vehicle_lightning.runs.folder import RunFolder


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


class OneFile(ModelCheckpoint):
    """Keeps one checkpoint under one name, replaced after an epoch."""

    def __init__(self, path: Path, monitor: str | None = None) -> None:
        """Choose when to replace the file.

        Args:
            path: the file.
            monitor: a figure; replace the file where it is the lowest so far. None: always.
        """
        super().__init__(
            path.parent,
            filename=path.stem,
            monitor=monitor,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self._path = str(path.resolve())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; the run folder may have moved since it was written."""
        scores = state_dict["best_k_models"].values()
        moved = {
            "dirpath": self.dirpath,
            "best_model_path": self._path,
            "kth_best_model_path": self._path if scores else "",
            "best_k_models": dict.fromkeys([self._path], *scores) if scores else {},
        }
        super().load_state_dict(state_dict | moved)


def best_and_last(run: RunFolder) -> list[ModelCheckpoint]:
    """Return the callbacks that keep the lowest validation loss, and the last whole epoch.

    The last one is written after the best one, and so knows of it.
    """
    return [OneFile(run.best_checkpoint, "val/loss"), OneFile(run.last_checkpoint)]


def epochs_behind(
    run: RunFolder, settings: Settings, fingerprint: str, network: NetworkFactory | None
) -> int:
    """Return how many whole epochs a run has behind it; 0 begins at the beginning.

    Args:
        run: the run to continue.
        settings: the settings to continue it with.
        fingerprint: that of the data to continue it with.
        network: what builds the network, where that was given from Python.

    Raises:
        RunError: the checkpoint is missing or damaged, or the run had other settings or other data.
    """
    if not run.last_checkpoint.is_file():
        # The figures of the first epoch are written before its checkpoint.
        if run.summary.exists() or _epochs_told(run) > 1:
            raise RunError(f"{run.last_checkpoint} is gone; start a new run instead.")
        return 0
    last = read_checkpoint(run.last_checkpoint, network=network)
    if changed := changed_settings(last.classifier.settings, settings):
        raise RunError(
            f"{run.last_checkpoint} was written with another {', '.join(changed)} than "
            f"{run.config} has; start a new run instead."
        )
    if last.fingerprint != fingerprint:
        raise RunError(
            f"The names, labels or images of the data have changed since {run.path} was started, "
            f"so its validation images may be training images now; start a new run instead."
        )
    if settings.epochs < last.epochs:
        raise RunError(
            f"{run.path} has trained {last.epochs} epochs; continue it with --epochs "
            f"{last.epochs} or more."
        )
    return last.epochs


def _epochs_told(run: RunFolder) -> int:
    """How many epochs have their row in the metrics."""
    return len(run.metrics.read_text().splitlines()) - 1 if run.metrics.exists() else 0
