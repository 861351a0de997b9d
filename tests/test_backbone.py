"""Training with a pretrained backbone, through the command line."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torchvision import models

from tests.conftest import Fit
from tests.test_resume import assert_equal_runs, interrupt_in_epoch, quick
from vehicle_lightning.cli import INTERRUPTED, parse_fit
from vehicle_lightning.fit.__main__ import main
from vehicle_lightning.model.backbone import Backbone
from vehicle_lightning.model.evaluation import features_suffice
from vehicle_lightning.model.load import load
from vehicle_lightning.runs.folder import RunFolder

SMALL = "shufflenet_v2_x0_5"


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    file = tmp_path / "weights.pth"
    torch.save(models.get_model(SMALL, weights=None).state_dict(), file)
    return file


def test_the_head_learns_first_then_all(fit_quickly: Fit, weights_file: Path) -> None:
    flags = ("--backbone", SMALL, "--weights", str(weights_file))
    held = fit_quickly(*flags, "--frozen-epochs", "2", "--epochs", "2", "--name", "held")
    free = fit_quickly(*flags, "--frozen-epochs", "1", "--epochs", "2", "--name", "free")
    given = torch.load(weights_file, weights_only=True)["conv1.0.weight"]
    name = "model.network.features.body.conv1.0.weight"
    for run, is_held in ((held, True), (free, False)):
        state = torch.load(run.last_checkpoint, weights_only=True)["state_dict"]
        assert torch.equal(state[name], given) == is_held
    first = [pd.read_csv(run.metrics)["train/running_loss"][0] for run in (held, free)]
    assert first[0] == first[1]


def test_a_checkpoint_needs_no_weights_file(fit_quickly: Fit, weights_file: Path) -> None:
    run = fit_quickly("--backbone", SMALL, "--weights", str(weights_file), "--epochs", "1")
    weights_file.unlink()
    assert load(run.best_checkpoint).network.features
    assert main(["--resume", str(run.path), "--epochs", "2"]) == 0


def test_interrupted_while_held_and_resumed_is_uninterrupted_bit_for_bit(
    fit_quickly: Fit,
    drawn: Path,
    tmp_path: Path,
    weights_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags = ["--backbone", SMALL, "--weights", str(weights_file), "--frozen-epochs", "2"]
    flags += ["--epochs", "3", "--schedule", "onecycle", "--augment"]
    whole = fit_quickly(*flags)
    with monkeypatch.context() as patch:
        interrupt_in_epoch(2, patch)
        assert main(quick(drawn, tmp_path / "other", *flags)) == INTERRUPTED
    run = RunFolder(tmp_path / "other" / "run" / "0")
    assert main(["--resume", str(run.path)]) == 0
    assert_equal_runs(whole, run)


def test_features_found_once_train_the_same_head(
    fit_quickly: Fit, weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--backbone", SMALL, "--weights", str(weights_file), "--frozen-epochs", "4"]
    flags += ["--epochs", "4", "--dropout", "0.5", "--learning-rate", "1e-2"]
    with monkeypatch.context() as patch:
        patch.setattr("vehicle_lightning.fit.train.features_suffice", lambda _: False)
        usual = fit_quickly(*flags, "--name", "usual")

    looked = 0
    forward = Backbone.forward

    def counted(self: Backbone, images: torch.Tensor) -> torch.Tensor:
        nonlocal looked
        looked += len(images) if len(images) > 1 else 0  # a checkpoint is tried on one picture
        return forward(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "forward", counted)
        found_once = fit_quickly(*flags, "--name", "once")
    assert looked == 80
    columns = ["train/loss", "val/loss", "train/running_loss"]
    one, other = (pd.read_csv(run.metrics)[columns] for run in (usual, found_once))
    pd.testing.assert_frame_equal(one, other, rtol=1e-3)

    longer = fit_quickly(*flags[:-6], "--epochs", "2", *flags[-4:], "--name", "longer")
    weights_file.unlink()
    assert main(["--resume", str(longer.path), "--epochs", "4"]) == 0
    assert_equal_runs(found_once, longer)


@pytest.mark.parametrize("changing", ["--augment", "--flip-averaging", "--mixup 0.1"])
def test_features_are_not_enough_where_images_change(changing: str) -> None:
    flags = ["--backbone", SMALL, "--frozen-epochs", "3", "--epochs", "3", *changing.split()]
    assert not features_suffice(parse_fit(flags).settings)
    assert features_suffice(parse_fit(flags[:6]).settings)
    assert not features_suffice(parse_fit([*flags[:5], "4"]).settings)
