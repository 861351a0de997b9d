"""Several processes that train together: where they meet, and how all end when one of them fails.

Lightning starts the processes of one machine itself; torchrun and SLURM start those of several.
"""

import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from vehicle_lightning.config import DeviceSettings, Settings
from vehicle_lightning.errors import RunError, SettingsError, one_line
from vehicle_lightning.fit.callbacks import SIGNALS
from vehicle_lightning.runs.folder import RunFolder

DEVICES = set(DeviceSettings.model_fields) - {"compile"}  # what the Trainer is told


def device_options(settings: Settings) -> dict[str, Any]:
    """Return what the Trainer is told of devices."""
    return settings.model_dump(include=DEVICES)


@contextmanager
def refusing_devices(settings: Settings) -> Iterator[None]:
    """Turn what a Trainer complains of while it is built into one sentence.

    Raises:
        SettingsError: this machine does not have the devices, or not in that way.
    """
    try:
        yield
    except Exception as error:  # each accelerator refuses in its own way
        differing = settings.model_dump(exclude_defaults=True)
        flags = (
            f"--{name.replace('_', '-')} {differing[name]}" for name in DEVICES & set(differing)
        )
        what = " ".join(sorted(flags)) or "The default of the device flags"
        raise SettingsError(f"{what} cannot be used here: {one_line(error)}") from error


def check_devices(trainer: L.Trainer, settings: Settings) -> None:
    """Refuse what a Trainer takes without a word, but would fail or be slow with.

    Raises:
        ValueError: the devices do not fit the settings, or the processes that were started.
    """
    cores = os.cpu_count() or 1
    if trainer.strategy.root_device.type == "cpu" and trainer.num_devices > cores:
        raise ValueError(f"this machine has {cores} cores")
    if started_together() != trainer.world_size and started_together() > 1:
        raise ValueError(
            f"{started_together()} processes were started, and --devices times --num-nodes is "
            f"{trainer.world_size}"
        )
    if trainer.world_size > 1 and settings.frozen_epochs:
        raise ValueError("--frozen-epochs needs one device")


def own_environment() -> list[Any]:
    """Return what replaces Lightning's own choice of who starts the processes.

    Lightning answers SLURM's signal by a checkpoint of its own in the working directory, from where
    every later run would start; here a job is stopped and resumed like any other run.
    """
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


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


@contextmanager
def ended_by_signals(trainer: L.Trainer) -> Iterator[None]:
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


def lost_process(error: Exception, trainer: L.Trainer, run: RunFolder) -> RunError | None:
    """Return what to say where another process ended, and this one noticed by an error.

    Args:
        error: what this process stumbled on.
        trainer: what trained.
        run: to go on with.
    """
    is_connection = isinstance(error, dist.DistError) or "gloo" in str(error)
    if trainer.world_size == 1 or not is_connection:
        return None
    again = f" To go on from the last whole epoch: --resume {shlex.quote(str(run.path))}"
    return RunError(
        f"The training of {trainer.world_size} processes has ended, as another process ended or "
        f"cannot be reached." + again * trainer.is_global_zero
    )


def say_why_all_end() -> None:
    """Let Lightning say that it ends all processes as one has failed.

    It does so within seconds, also where this process hangs waiting for the one that is gone.
    """
    logger = logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("error: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
