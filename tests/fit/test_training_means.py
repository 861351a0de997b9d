"""Averaged weights, balanced classes and the rest: each does what it says, and resumes exactly."""

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import Fit
from tests.model.test_classifier import Batches, build, loader, trainer
from tests.test_resume import assert_equal_runs, interrupt_in_epoch, last_state, quick
from vehicle_lightning.cli import INTERRUPTED
from vehicle_lightning.data.batches import TrainingBatches
from vehicle_lightning.fit.__main__ import main
from vehicle_lightning.fit.callbacks import AverageWeights
from vehicle_lightning.runs.folder import RunFolder

EVERYTHING = (
    *("--ema", "0.9", "--trivial-augment", "--cutmix", "1", "--mixup", "0.2", "--balanced"),
    *("--focal", "2", "--warmup-epochs", "1", "--batchnorm", "--epochs", "4"),
)


def test_all_of_them_resume_to_the_same_bits(
    fit_quickly: Fit, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit_quickly(*EVERYTHING)
    with monkeypatch.context() as patch:
        interrupt_in_epoch(3, patch)
        assert main(quick(drawn, tmp_path / "other", *EVERYTHING)) == INTERRUPTED
    run = RunFolder(tmp_path / "other" / "run" / "0")
    assert main(["--resume", str(run.path)]) == 0
    assert_equal_runs(whole, run)
    last, other = (torch.load(r.last_checkpoint, weights_only=True) for r in (whole, run))
    learning = last["current_model_state"]
    torch.testing.assert_close(learning, other["current_model_state"], rtol=0, atol=0)
    averaged = last_state(whole)["weights"]
    assert any(not torch.equal(averaged[name], learning[name]) for name in averaged)
    assert "current_model_state" not in torch.load(whole.best_checkpoint, weights_only=True)


def weights(model: L.LightningModule) -> Tensor:
    return torch.cat([value.detach().flatten().double() for value in model.parameters()])


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_the_average_is_over_every_step_and_is_what_is_measured() -> None:
    model = build(batchnorm=True, learning_rate=0.01)
    after_step, measured = [], []

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object):
            after_step.append(weights(module))

        def on_validation_batch_end(
            self, trainer: L.Trainer, module: L.LightningModule, *_: object
        ):
            measured.append(weights(module))

    callbacks = [AverageWeights(0.6), Watch()]
    trainer(max_epochs=2, callbacks=callbacks).fit(model, loader(Batches(6)), loader(Batches(1)))
    expected = []
    for number, now in enumerate(after_step):
        decay = min(0.6, (1 + number) / (10 + number)) if number else 0.0
        expected.append(now if not number else decay * expected[-1] + (1 - decay) * now)
    torch.testing.assert_close(measured[0], expected[5], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(measured[1], expected[11], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(weights(model), expected[11], rtol=1e-4, atol=1e-6)


def test_classes_come_equally_often_and_each_device_has_its_share() -> None:
    rows, labels = np.arange(100, 140), np.array([0] * 34 + [1] * 6)
    for world_size in (1, 2):
        shares = [
            TrainingBatches(rows, 8, 3, r, world_size, balance=labels) for r in range(world_size)
        ]
        drawn = np.concatenate([batch for share in shares for batch in share])
        rare = drawn >= 134
        assert len(drawn) == 40
        assert abs(int(rare.sum()) - 20) <= 1
        assert set(drawn[rare]) == set(range(134, 140))
        assert len(set(drawn[~rare])) == (~rare).sum()  # none of the frequent class twice
    again = TrainingBatches(rows, 8, 3, balance=labels)
    first = np.concatenate(list(again))
    np.testing.assert_array_equal(first, np.concatenate(list(again)))
    again.set_epoch(1)
    assert not np.array_equal(first, np.concatenate(list(again)))
