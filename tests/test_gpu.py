"""The same promises on a GPU, where there is one."""

import json

import pandas as pd
import pytest
import torch

from tests.conftest import Fit

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_every_switch_trains_on_a_gpu(fit_quickly: Fit, precision: str) -> None:
    flags = ("--augment", "--batchnorm", "--dropout", "0.5", "--class-weights")
    run = fit_quickly(*flags, "--accelerator", "gpu", "--devices", "1", "--precision", precision)
    history = pd.read_csv(run.metrics)
    assert history["epoch"].tolist() == [1, 2]
    assert history.notna().all(axis=None)


def test_a_gpu_and_a_cpu_measure_alike(fit_quickly: Fit) -> None:
    runs = [
        fit_quickly("--accelerator", "cpu", "--epochs", "1"),
        fit_quickly("--accelerator", "gpu", "--devices", "1", "--epochs", "1"),
    ]
    losses = [json.loads(run.summary.read_text())["val"]["loss"] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
