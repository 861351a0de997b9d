"""What is done for a GPU: what of it can be tested without one, and the rest where there is one."""

import json
from collections import Counter
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.conftest import Fit
from tests.test_resume import assert_equal_runs
from vehicle_lightning.data.batches import Batch
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.model.load import load

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
ON_GPU = ("--accelerator", "gpu", "--devices", "1")
SWITCHES = ("--augment", "--batchnorm", "--dropout", "0.5", "--class-weights")


def test_pixels_on_the_device_and_from_the_cache_train_alike(
    fit_quickly: Fit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--augment", "--dropout", "0.5")
    mapped = fit_quickly(*flags)
    monkeypatch.setattr("vehicle_lightning.data.datamodule.fits_on", lambda *_: True)
    resident = fit_quickly(*flags)
    assert capsys.readouterr().err.count("All images lie in the memory of cpu (0 MB).") == 1
    assert_equal_runs(mapped, resident)


def test_the_host_waits_for_no_step(fit_quickly: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads a number off the device does so as often for many steps as for few.

    Left out is what does so on a CPU alone: Adam, and torchmetrics, which looks at probabilities.
    """
    asked: Counter[str] = Counter()
    measuring: list[Batch] = []
    validation_step = VehicleClassifier.validation_step

    def unwatched(self: VehicleClassifier, batch: Batch, *numbers: int) -> None:
        measuring.append(batch)
        validation_step(self, batch, *numbers)
        measuring.clear()

    monkeypatch.setattr(VehicleClassifier, "validation_step", unwatched)

    def count(name: str) -> None:
        own = getattr(Tensor, name)

        def counted(self: Tensor, *arguments: Any, **options: Any) -> Any:
            asked[name] += not measuring
            return own(self, *arguments, **options)

        monkeypatch.setattr(Tensor, name, counted)

    waiting = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "nonzero")
    for name in waiting:
        count(name)
    flags = (*SWITCHES, "--optimizer", "sgd", "--epochs", "1", "--batch-size")
    found = []
    for batch_size in ("24", "4"):  # 3 and 18 steps
        asked.clear()
        fit_quickly(*flags, batch_size)
        found.append(dict(asked))
    assert found[0] == found[1]
    assert found[0]["__float__"] > 0


def test_layers_are_compiled_for_training_alone(
    fit_quickly: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__)
    )
    run = fit_quickly("--epochs", "1", "--compile")
    assert compiled == ["Network"]
    load(run.best_checkpoint)
    assert len(compiled) == 1


@needs_gpu
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_every_switch_trains_on_a_gpu(fit_quickly: Fit, precision: str) -> None:
    run = fit_quickly(*SWITCHES, *ON_GPU, "--precision", precision)
    history = pd.read_csv(run.metrics)
    assert history["epoch"].tolist() == [1, 2]
    assert history.notna().all(axis=None)


@needs_gpu
def test_a_gpu_and_a_cpu_measure_alike(fit_quickly: Fit) -> None:
    runs = [
        fit_quickly("--accelerator", "cpu", "--epochs", "1"),
        fit_quickly(*ON_GPU, "--epochs", "1"),
    ]
    losses = [json.loads(run.summary.read_text())["val"]["loss"] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


@needs_gpu
@pytest.mark.parametrize("resident", [True, False])
def test_no_step_waits_for_a_gpu(
    fit_quickly: Fit, monkeypatch: pytest.MonkeyPatch, resident: bool
) -> None:
    monkeypatch.setattr("vehicle_lightning.data.datamodule.fits_on", lambda *_: resident)
    step, optimizers = VehicleClassifier.training_step, []

    def watched(self: VehicleClassifier, batch: Batch, batch_idx: int) -> Tensor:
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        optimizers.append(self.trainer.optimizers[0])
        torch.cuda.set_sync_debug_mode("error")
        try:
            return step(self, batch, batch_idx)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(VehicleClassifier, "training_step", watched)
    fit_quickly(*SWITCHES, *ON_GPU, "--epochs", "1")
    assert all(optimizer.defaults["fused"] for optimizer in optimizers)


@needs_gpu
def test_compiled_layers_train_alike(fit_quickly: Fit) -> None:
    runs = [fit_quickly(*ON_GPU, *flags) for flags in ((), ("--compile",))]
    losses = [pd.read_csv(run.metrics)["train/loss"] for run in runs]
    pd.testing.assert_series_equal(*losses, rtol=0.01)
