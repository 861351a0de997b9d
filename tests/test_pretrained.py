"""Starting from the weights of another run."""

from pathlib import Path

import pytest
import torch

from tests.conftest import DataFolder, Fit
from tests.test_resume import assert_equal_runs, interrupt_in_epoch, quick
from vehicle_lightning.cli import INTERRUPTED
from vehicle_lightning.errors import RunError, UntrainableError
from vehicle_lightning.fit.__main__ import main
from vehicle_lightning.model.load import load
from vehicle_lightning.runs.folder import RunFolder


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return dict(load(run.best_checkpoint).state_dict())


def test_weights_are_taken_but_not_the_normalisation(fit_quickly: Fit, colours: DataFolder) -> None:
    drawn = fit_quickly("--name", "drawn")
    still = ("--learning-rate", "1e-30", "--epochs", "1")
    started = fit_quickly("--pretrained", str(drawn.path), *still, data_dir=colours.path)
    before, after = weights(drawn), weights(started)
    for name in before:
        if name.startswith("normalize."):
            assert not torch.equal(before[name], after[name])
        else:
            torch.testing.assert_close(before[name], after[name])


def test_a_checkpoint_file_will_do(fit_quickly: Fit) -> None:
    first = fit_quickly("--name", "first", "--epochs", "1")
    fit_quickly("--pretrained", str(first.last_checkpoint), "--epochs", "1")


def test_the_last_layer_stays_new_for_another_number_of_classes(
    fit_quickly: Fit, data_folder: DataFolder
) -> None:
    for number in range(30):
        data_folder.add(f"{number}.png", (8 * number, 90, 120), (32, 32))
    data_folder.write_csv([(f"{number}.png", "abc"[number % 3]) for number in range(30)])
    first = fit_quickly("--name", "first", "--epochs", "1")
    run = fit_quickly(
        "--pretrained", str(first.path), "--val-fraction", "0.3", data_dir=data_folder.path
    )
    assert list(weights(run).values())[-1].shape == (3,)


@pytest.mark.parametrize(
    "flags",
    [("--channels", "4", "4"), ("--hidden", "8"), ("--batchnorm",), ("--image-size", "16")],
)
def test_other_layers_are_refused(fit_quickly: Fit, tmp_path: Path, flags: tuple[str, ...]) -> None:
    plain = fit_quickly("--name", "plain", "--epochs", "1")
    with pytest.raises(UntrainableError, match="other layers"):
        fit_quickly("--pretrained", str(plain.path), *flags)
    assert not list(tmp_path.glob("logs/pretrained*"))


def test_a_missing_checkpoint_is_named(fit_quickly: Fit, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no run folder or checkpoint"):
        fit_quickly("--pretrained", str(tmp_path / "nowhere"))


def test_an_interrupted_run_does_not_take_them_twice(
    fit_quickly: Fit, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fit_quickly("--name", "first", "--epochs", "1")
    flags = ("--pretrained", str(first.path), "--epochs", "2")
    whole = fit_quickly(*flags)
    for epoch in (1, 2):  # before and after there is a checkpoint
        with monkeypatch.context() as patch:
            interrupt_in_epoch(epoch, patch)
            assert main(quick(drawn, tmp_path / str(epoch), *flags)) == INTERRUPTED
        stopped = RunFolder(tmp_path / str(epoch) / "run" / "0")
        assert main(["--resume", str(stopped.path)]) == 0
        assert_equal_runs(stopped, whole)
