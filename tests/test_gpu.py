"""What is done for a GPU: what of it can be tested without one, and the rest where there is one."""

import copy
import itertools
import json
from collections import Counter
from contextlib import nullcontext
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.conftest import Fit
from tests.test_resume import assert_equal_runs
from vehicle_lightning.config import Settings
from vehicle_lightning.data.batches import Batch
from vehicle_lightning.errors import SettingsError, UntrainableError
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.model.cuda_graphs import record
from vehicle_lightning.model.network import build_network

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


@pytest.mark.parametrize(
    ("flags", "message"),
    [((), "one CUDA GPU"), (("--accumulate-grad-batches", "2"), "cannot add up gradients")],
)
def test_cuda_graphs_that_cannot_be_are_refused(
    fit_quickly: Fit, flags: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        fit_quickly("--cuda-graphs", *flags)


def test_a_network_is_recorded_once_for_each_shape_and_freezing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Recording runs the network some times, of which nothing may be left."""
    recorded: list[torch.Size] = []

    def run_some_times(part: torch.nn.Module, images: tuple[Tensor], **_: Any) -> torch.nn.Module:
        recorded.append(images[0].shape)
        for _ in range(3):
            part(torch.rand_like(*images))
        return part

    monkeypatch.setattr(torch.cuda, "graph_pool_handle", tuple)
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", run_some_times)
    fork_rng = torch.random.fork_rng
    monkeypatch.setattr(torch.random, "fork_rng", lambda _: fork_rng([]))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    network = build_network(Settings(image_size=16, batchnorm=True), 2)
    plain = copy.deepcopy(network)
    record(network)
    large, small = torch.randn(8, 3, 16, 16), torch.randn(5, 3, 16, 16)
    for pictures in (large, small, large):
        logits = network(pictures)
        torch.testing.assert_close(logits, plain(pictures), rtol=0, atol=0)
        assert_equal_states(network, plain)
        network(torch.randn(2, 3, 16, 16))  # a second pass, of whose activations nothing is known
        plain.load_state_dict(network.state_dict())
        logits.sum().backward()
    assert recorded == [large.shape, small.shape]
    network.get_submodule("features").requires_grad_(False)
    network(large).sum().backward()
    assert recorded == [large.shape, small.shape, large.shape]
    with torch.no_grad():
        network(torch.randn(3, 3, 16, 16))
    network.eval()(torch.randn(3, 3, 16, 16))
    assert len(recorded) == 3


def assert_equal_states(network: torch.nn.Module, other: torch.nn.Module) -> None:
    torch.testing.assert_close(network.state_dict(), other.state_dict(), rtol=0, atol=0)


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
        if self.trainer.is_last_batch:  # what Lightning logs then crosses to the GPU
            return step(self, batch, batch_idx)
        torch.cuda.set_sync_debug_mode("error")
        try:
            return step(self, batch, batch_idx)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(VehicleClassifier, "training_step", watched)
    fit_quickly(*SWITCHES, *ON_GPU, "--epochs", "1")
    assert all(optimizer.defaults["fused"] for optimizer in optimizers)


@needs_gpu
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_cuda_graphs_train_alike(fit_quickly: Fit, precision: str) -> None:
    growing = ("--initial-size", "16", "--pooling", "average", "--ema", "0.5", "--epochs", "4")
    flags = (*SWITCHES, *ON_GPU, *growing, "--precision", precision)
    runs = [fit_quickly(*flags, *more) for more in ((), ("--cuda-graphs",))]
    alone, recorded = (pd.read_csv(run.metrics).drop(columns="seconds") for run in runs)
    pd.testing.assert_frame_equal(alone, recorded, rtol=0.01, atol=1e-4)


@needs_gpu
def test_a_recorded_network_has_the_same_gradients() -> None:
    """Whatever the size of the batch, whatever is frozen, and as often as it is replayed."""
    torch.manual_seed(0)
    plain = build_network(Settings(image_size=16, batchnorm=True), 2).cuda()
    recorded = copy.deepcopy(plain)
    record(recorded)
    for images, frozen in itertools.product((8, 5, 8), (True, False, True)):
        pictures = torch.randn(images, 3, 16, 16, device="cuda")
        found = []
        for network in (plain, recorded):
            network.get_submodule("features").requires_grad_(not frozen)
            network.zero_grad()
            network(pictures).square().sum().backward()
            found.append({name: weight.grad for name, weight in network.named_parameters()})
        torch.testing.assert_close(*found)
        torch.testing.assert_close(plain.state_dict(), recorded.state_dict())
    found = []
    for network in (plain, recorded):  # two passes in one step
        network.requires_grad_().zero_grad()
        logits = [network(pictures), network(pictures[:5])]
        torch.cat(logits).square().sum().backward()
        found.append({name: weight.grad for name, weight in network.named_parameters()})
    torch.testing.assert_close(*found)
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(pictures), recorded.eval()(pictures))


@needs_gpu
def test_out_of_memory_is_said_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", full)
    network = build_network(Settings(image_size=16), 2).cuda()
    record(network)
    with pytest.raises(torch.OutOfMemoryError):
        network(torch.randn(2, 3, 16, 16, device="cuda"))


@needs_gpu
def test_a_network_that_waits_for_the_gpu_cannot_be_recorded() -> None:
    class Waits(torch.nn.Linear):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * float(images.mean())

    network = Waits(4, 2).cuda()
    record(network)
    with pytest.raises(UntrainableError, match="leave out --cuda-graphs"):
        network(torch.randn(3, 4, device="cuda"))
