"""Lightning's Trainer as a run has it: devices, switches, callbacks, checkpoints."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler

from vehicle_lightning.config import DeviceSettings, Settings, limited
from vehicle_lightning.console import quiet_lightning
from vehicle_lightning.errors import SettingsError, UntrainableError, counted, one_line
from vehicle_lightning.fit.callbacks import AverageWeights, StopBetweenSteps, StopWithoutProgress
from vehicle_lightning.fit.checkpoints import AtomicCheckpointIO, BestAndLast
from vehicle_lightning.fit.devices import started_together
from vehicle_lightning.fit.other_data import Data
from vehicle_lightning.model.cuda_graphs import check_recordable
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.settings_file import read_settings

PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
DEVICES = set(DeviceSettings.model_fields) - {"cuda_graphs"}
# The Trainer has them under the same names; of the others None is its default.
SWITCHES = {"gradient_clip_val", "accumulate_grad_batches", "limit_train_batches"} | {
    *("limit_val_batches", "fast_dev_run")
}


def with_precision(settings: Settings, run: RunFolder | None = None) -> Settings:
    """Return the settings with a precision that Lightning knows, where it was left to the device.

    That of the run, where one goes on; else bf16-mixed on GPUs and on CPUs (AMX or avx512_bf16)
    that have instructions for it.
    """
    if settings.precision != "auto":
        return settings
    if run is not None and run.config.is_file():
        return settings.model_copy(update={"precision": read_settings(run.config).precision})
    if settings.accelerator != "cpu" and torch.cuda.is_available():
        is_fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Of older releases of torch it cannot be learnt.
        can: Mapping[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        is_fast = can.get("amx_bf16", False) or can.get("avx512_bf16", False)
    return settings.model_copy(update={"precision": "bf16-mixed" if is_fast else "32-true"})


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
    quiet_lightning()
    patience = settings.patience
    try:
        trainer = L.Trainer(
            **settings.model_dump(include=DEVICES | SWITCHES),
            overfit_batches=settings.overfit_batches or 0,
            deterministic=settings.deterministic or None,
            profiler=settings.profiler and PROFILERS[settings.profiler](run.path, "profile"),
            max_epochs=settings.epochs,
            logger=list(loggers),
            log_every_n_steps=1,  # nothing is logged by the step, and Lightning warns of more
            callbacks=[
                *callbacks,
                StopBetweenSteps(),
                *([] if patience is None else [StopWithoutProgress(patience)]),
                # Lightning's own for max_time stops within an epoch, which cannot be resumed.
                *([Timer(settings.max_time, "epoch", verbose=False)] if settings.max_time else []),
                *([AverageWeights(settings.ema)] if settings.ema else []),
                BestAndLast(run),
            ],
            # Lightning answers SLURM's signal by a checkpoint of its own in the working directory,
            # from where every later run would start; here a job is resumed like any other run.
            plugins=[
                AtomicCheckpointIO(),
                *([SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []),
            ],
            default_root_dir=run.path,  # under SLURM, Lightning starts from what it finds there
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            sync_batchnorm=torch.cuda.is_available(),  # takes effect with several GPUs
            enable_progress_bar=False,  # EpochLines has one for the whole training
            enable_model_summary=False,
        )
        if settings.overfit_batches is not None:  # by which Lightning would limit these too
            trainer.limit_val_batches = settings.limit_val_batches or 1.0
        _check_devices(trainer)
    except Exception as error:  # each accelerator refuses in its own way
        differing = settings.model_dump(exclude_defaults=True, include=DEVICES)
        flags = (f"--{name.replace('_', '-')} {value}" for name, value in differing.items())
        what = " ".join(sorted(flags)) or "Such a Trainer"
        raise SettingsError(f"{what} cannot be used here: {one_line(error)}") from error
    if settings.frozen_epochs and trainer.world_size > 1:
        raise SettingsError("--frozen-epochs needs one device.")
    if settings.cuda_graphs:
        check_recordable(trainer)
    return trainer


def _check_devices(trainer: L.Trainer) -> None:
    """Refuse what a Trainer takes without a word, but would fail or be slow with."""
    cores = os.cpu_count() or 1
    if trainer.strategy.root_device.type == "cpu" and trainer.num_devices > cores:
        raise ValueError(f"this machine has {cores} cores")
    if started_together() != trainer.world_size and started_together() > 1:
        raise ValueError(
            f"{started_together()} processes were started, and --devices times --num-nodes is "
            f"{trainer.world_size}"
        )


def check_limits(data: Data) -> None:
    """Refuse a fraction of the batches that is none.

    Raises:
        UntrainableError: it is.
    """
    for name in ("limit_train_batches", "limit_val_batches", "overfit_batches"):
        share = getattr(data.settings, name)
        if isinstance(share, float):
            is_val = name == "limit_val_batches"
            loaders: list[Any] = data.val_dataloader() if is_val else [data.train_dataloader()]
            batches = min(map(len, loaders))
            if limited(batches, share) == 0:
                raise UntrainableError(
                    f"--{name.replace('_', '-')} {share:g} of {counted(batches, 'batch')} is none; "
                    f"give a number of batches, or a larger fraction."
                )
