"""Several processes that train together: where they meet, and how all end when one of them fails.

Lightning starts the processes of one machine itself; torchrun and SLURM start those of several.
"""

import os
import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from vehicle_lightning.errors import RunError
from vehicle_lightning.fit.callbacks import (
    SIGNALS,
    PruningCallback,
    StopBetweenSteps,
    TrainingInterruptedError,
)
from vehicle_lightning.fit.other_data import Data
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.runs.summary import Status


def started_together() -> int:
    """How many processes a launcher such as torchrun or srun started for this training."""
    by_slurm = os.environ["SLURM_NTASKS"] if SLURMEnvironment.detect() else "1"
    return int(os.environ.get("WORLD_SIZE", by_slurm))


def announce_meeting(trainer: L.Trainer) -> str | None:
    """Return what the first process will wait for, where it takes more than one machine."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if trainer.num_nodes == 1 or environment is None:
        return None
    sentence = (
        f"Waiting for {trainer.world_size} processes on {trainer.num_nodes} machines to meet at "
        f"{environment.main_address}:{environment.main_port}."
    )
    if not isinstance(environment, LightningEnvironment):
        return sentence
    return (
        f"{sentence} Start this command on the others too, with NODE_RANK=1 (2, ...), MASTER_ADDR "
        f"and MASTER_PORT set, or start all by torchrun or srun."
    )


def fit_until_stopped(
    trainer: L.Trainer, model: VehicleClassifier, data: Data, checkpoint: Path | None
) -> Status:
    """Fit; a signal, another process that failed, or a search may end it before its time.

    Raises:
        RunError: another process was lost.
    """
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    try:
        with _ended_by_signals(trainer):
            trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except TrainingInterruptedError:
        return "interrupted"
    except SystemExit:  # Lightning's, of Ctrl-C before any step, or a second time
        if any(isinstance(c, StopBetweenSteps) and c.received for c in callbacks):
            raise KeyboardInterrupt from None
        return "interrupted"
    except Exception as error:
        if lost := lost_process(error, trainer):
            raise lost from error
        raise
    is_pruned = any(isinstance(c, PruningCallback) and c.is_pruned for c in callbacks)
    return "pruned" if is_pruned else "finished"


@contextmanager
def _ended_by_signals(trainer: L.Trainer) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end a process that waits for other machines.

    No handler written in Python would run meanwhile. Once the training has begun,
    `StopBetweenSteps` answers them; before that there is nothing to lose.
    """
    if trainer.num_nodes == 1 or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.signal(name, signal.SIG_DFL) for name in SIGNALS}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def lost_process(error: Exception, trainer: L.Trainer) -> RunError | None:
    """Return what to say where another process ended, and this one noticed by this error."""
    is_connection = isinstance(error, dist.DistError) or "gloo" in str(error)
    if trainer.world_size == 1 or not is_connection:
        return None
    run = shlex.quote(trainer.default_root_dir)
    again = f" To go on from the last whole epoch: --resume {run}"
    return RunError(
        f"The training of {trainer.world_size} processes has ended, as another process ended or "
        f"cannot be reached." + again * trainer.is_global_zero
    )
