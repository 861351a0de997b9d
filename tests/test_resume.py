"""A run that was interrupted, in whatever way, ends as if nothing had happened."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tests.conftest import QUICK, DataFolder, Fit, curve
from vehicle_lightning.cli import INTERRUPTED
from vehicle_lightning.errors import RunError
from vehicle_lightning.files import HALF_WRITTEN
from vehicle_lightning.fit.__main__ import main
from vehicle_lightning.fit.checkpoints import AtomicCheckpointIO
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.model.load import load
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.summary import Summary

ALL_SWITCHES = ("--dropout", "0.5", "--batchnorm", "--augment", "--schedule", "onecycle")


class Killed(BaseException):
    """Leaves everything as SIGKILL would, as nothing catches it."""


def last_state(run: RunFolder) -> dict[str, Any]:
    checkpoint = torch.load(run.last_checkpoint, weights_only=True)
    return {
        "weights": checkpoint["state_dict"],
        "optimizers": [optimizer["state"] for optimizer in checkpoint["optimizer_states"]],
        "rates": [schedule["_last_lr"] for schedule in checkpoint["lr_schedulers"]],
    }


def assert_equal_runs(run: RunFolder, other: RunFolder) -> None:
    torch.testing.assert_close(last_state(run), last_state(other), rtol=0, atol=0)
    best, other_best = (load(r.best_checkpoint) for r in (run, other))
    torch.testing.assert_close(best.state_dict(), other_best.state_dict(), rtol=0, atol=0)
    assert best.epochs == other_best.epochs
    metrics = [pd.read_csv(r.metrics).drop(columns="seconds") for r in (run, other)]
    pd.testing.assert_frame_equal(*metrics)
    assert run.predictions.read_text() == other.predictions.read_text()
    for name in ("train/loss", "val/loss", "optimizer/running_loss"):
        if run.is_fold_run or other.is_fold_run:  # those write no events
            break
        assert curve(run, name) == curve(other, name)


def interrupt_in_epoch(
    epoch: int, monkeypatch: pytest.MonkeyPatch, name: signal.Signals = signal.SIGINT
) -> None:
    """Send a signal to this process in the middle of an epoch, counted from 1."""
    step = VehicleClassifier.training_step

    def interrupted(self: VehicleClassifier, batch: Any, batch_idx: int) -> Any:
        if self.current_epoch + 1 == epoch and batch_idx == 1:
            os.kill(os.getpid(), name)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(VehicleClassifier, "training_step", interrupted)


def quick(drawn: Path, log_dir: Path, *flags: str) -> list[str]:
    return [*QUICK, "--data-dir", str(drawn), "--log-dir", str(log_dir), "--name", "run", *flags]


def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(
    fit_quickly: Fit,
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = (*ALL_SWITCHES, "--epochs", "4")
    uninterrupted = fit_quickly(*flags)
    run = RunFolder(tmp_path / "other" / "run" / "0")
    with monkeypatch.context() as patch:
        interrupt_in_epoch(3, patch)
        assert main(quick(drawn, tmp_path / "other", *flags)) == 130
    output = capsys.readouterr().out
    assert f"go on   python -m vehicle_lightning.fit --resume {run.path}" in output
    assert pd.read_csv(run.metrics)["epoch"].tolist() == [1, 2]
    assert '"status": "interrupted"' in run.summary.read_text()

    assert main(["--resume", str(run.path)]) == 0
    assert '"status": "finished"' in run.summary.read_text()
    assert_equal_runs(uninterrupted, run)


def test_killed_and_resumed_is_uninterrupted_bit_for_bit(
    fit_quickly: Fit, drawn: Path, tmp_path: Path
) -> None:
    flags = (*ALL_SWITCHES, "--epochs", "6")
    uninterrupted = fit_quickly(*flags)
    run = RunFolder(tmp_path / "other" / "run" / "0")
    command = [sys.executable, "-m", "vehicle_lightning.fit"]
    process = subprocess.Popen([*command, *quick(drawn, tmp_path / "other", *flags)])
    while not (run.metrics.is_file() and len(pd.read_csv(run.metrics)) >= 2):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert main(["--resume", str(run.path)]) == 0
    assert_equal_runs(uninterrupted, run)


@pytest.mark.parametrize("epoch", [0, 2])
def test_killed_between_two_checkpoints_and_resumed_is_uninterrupted_bit_for_bit(
    fit_quickly: Fit, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    """The best one is an epoch ahead of the last one, which is half-written."""
    monkeypatch.setattr("vehicle_lightning.fit.checkpoints.WRITTEN_AFTER", 0)
    flags = (*ALL_SWITCHES, "--epochs", "4")
    uninterrupted = fit_quickly(*flags)
    run = RunFolder(tmp_path / "other" / "run" / "0")
    save = AtomicCheckpointIO.save_checkpoint

    def killed(self: Any, checkpoint: dict[str, Any], path: str, **options: Any) -> None:
        if checkpoint["epoch"] == epoch and Path(path) == run.last_checkpoint.absolute():
            raise Killed
        save(self, checkpoint, path, **options)

    half = run.checkpoints / f".last.0123{HALF_WRITTEN}.ckpt"
    with monkeypatch.context() as patch:
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", killed)
        with pytest.raises(Killed):
            main(quick(drawn, tmp_path / "other", *flags))
    half.write_bytes(b"half")
    assert run.last_checkpoint.exists() == (epoch > 0)
    assert main(["--resume", str(run.path)]) == 0
    assert_equal_runs(uninterrupted, run)
    assert not half.exists()


def test_short_epochs_write_no_files_and_lose_nothing(
    fit_quickly: Fit, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first and the last epoch write; in between a kill goes back to the first."""
    monkeypatch.setattr("vehicle_lightning.fit.checkpoints.WRITTEN_AFTER", 1e9)
    flags = (*ALL_SWITCHES, "--epochs", "4")
    uninterrupted = fit_quickly(*flags)
    with monkeypatch.context() as patch:
        interrupt_in_epoch(4, patch)
        assert main(quick(drawn, tmp_path / "other", *flags)) == INTERRUPTED
    run = RunFolder(tmp_path / "other" / "run" / "0")
    assert load(run.last_checkpoint).epochs == 1
    # What is measured at an interruption are the best weights of all its epochs.
    losses = pd.read_csv(run.metrics)["val/loss"]
    assert load(run.best_checkpoint).epochs == Summary.read(run.summary).best_epoch
    assert load(run.best_checkpoint).epochs == losses.argmin() + 1 > 1
    assert main(["--resume", str(run.path)]) == 0
    assert_equal_runs(uninterrupted, run)


def test_killed_before_its_settings_are_written_it_is_no_run(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr("vehicle_lightning.fit.start.write_environment", killed)
    with pytest.raises(Killed):
        main(quick(drawn, tmp_path))
    with pytest.raises(RunError, match="is no run folder"):
        RunFolder.open(tmp_path / "run" / "0")


def test_more_epochs_continue_a_finished_run(fit_quickly: Fit) -> None:
    longer = fit_quickly("--epochs", "4", "--dropout", "0.5")
    run = fit_quickly("--epochs", "2", "--dropout", "0.5")
    assert main(["--resume", str(run.path), "--epochs", "4"]) == 0
    assert_equal_runs(longer, run)


def test_curves_that_were_not_written_in_time_are_drawn_anew(fit_quickly: Fit) -> None:
    longer = fit_quickly("--epochs", "4")
    run = fit_quickly("--epochs", "2")
    for events_file in run.path.glob("events.out.tfevents.*"):
        content = events_file.read_bytes()
        events_file.write_bytes(content[: len(content) // 2])  # as a kill may leave it
    assert main(["--resume", str(run.path), "--epochs", "4"]) == 0
    assert_equal_runs(longer, run)


def test_resuming_a_finished_run_measures_it_again(fit_quickly: Fit) -> None:
    run = fit_quickly()
    before = {path: path.read_bytes() for path in (run.metrics, run.predictions, run.config)}
    run.predictions.unlink()
    assert main(["--resume", str(run.path)]) == 0
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_that_stopped_early_stays_stopped(fit_quickly: Fit) -> None:
    flags = ("--learning-rate", "50", "--epochs", "30", "--patience", "1")
    run = fit_quickly(*flags)
    history = run.metrics.read_text()
    assert len(history.splitlines()) < 30
    assert main(["--resume", str(run.path)]) == 0
    assert run.metrics.read_text() == history
    assert main(["--resume", str(run.path), "--patience", "3"]) == 0
    assert len(run.metrics.read_text().splitlines()) > len(history.splitlines())


def test_a_run_folder_may_move(fit_quickly: Fit, tmp_path: Path) -> None:
    longer = fit_quickly("--epochs", "4")
    run = fit_quickly("--epochs", "2")
    moved = RunFolder(Path(shutil.move(run.path, tmp_path / "elsewhere")))
    assert main(["--resume", str(moved.path), "--epochs", "4"]) == 0
    assert_equal_runs(longer, moved)
    assert not run.path.exists()


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_the_first_epoch(
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: signal.Signals,
) -> None:
    with monkeypatch.context() as patch:
        interrupt_in_epoch(1, patch, name)
        assert main(quick(drawn, tmp_path)) == 130
    run = RunFolder(tmp_path / "run" / "0")
    output = capsys.readouterr().out
    assert output == (
        "Interrupted before anything could be measured; "
        f"to go on: python -m vehicle_lightning.fit --resume {run.path}\n"
    )
    assert main(["--resume", str(run.path)]) == 0
    assert pd.read_csv(run.metrics)["epoch"].tolist() == [1, 2]


def test_what_begins_anew_may_have_other_data(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(shutil.copytree(drawn, tmp_path / "data"))
    with monkeypatch.context() as patch:
        interrupt_in_epoch(1, patch, signal.SIGINT)
        assert main(quick(data, tmp_path)) == 130
    run = RunFolder(tmp_path / "run" / "0")
    rows = (data / "train.csv").read_text().splitlines()
    (data / "train.csv").write_text("\n".join(rows[:-1]) + "\n")
    before = run.data_facts()
    assert main(["--resume", str(run.path)]) == 0
    assert (before["images"], run.data_facts()["images"]) == (80, 79)
    assert run.data_facts()["fingerprint"] == load(run.path).fingerprint != before["fingerprint"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dropout", "0.1"], r"--dropout cannot change .*started with 0\.5"),
        (["--seed", "3"], "--seed cannot change"),
        (["--config", "x.yaml"], "leave out --config"),
    ],
)
def test_what_makes_it_another_run_is_refused(
    dropout_run: RunFolder, flags: list[str], message: str
) -> None:
    with pytest.raises(Exception, match=message):
        main(["--resume", str(dropout_run.path), *flags])


def test_interrupted_while_measuring(
    fit_quickly: Fit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit_quickly()
    predictions = run.predictions.read_text()

    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("vehicle_lightning.fit.report.evaluate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            main(["--resume", str(run.path)])
    assert f"to measure again: --resume {run.path}" in capsys.readouterr().err
    assert main(["--resume", str(run.path)]) == 0
    assert run.predictions.read_text() == predictions


@pytest.mark.parametrize("folds", [(), ("--folds", "2")])
def test_a_run_that_another_process_trains_is_refused(
    fit_quickly: Fit, folds: tuple[str, ...]
) -> None:
    run = fit_quickly("--epochs", "1", *folds)
    before = run.config.read_text()
    with run.lock(), pytest.raises(RunError, match="is in use by another process"):
        main(["--resume", str(run.path), "--epochs", "2"])
    assert run.config.read_text() == before
    assert main(["--resume", str(run.path), "--epochs", "2"]) == 0


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=re.escape(f"{tmp_path} is no run folder")):
        main(["--resume", str(tmp_path)])


def test_the_checkpoint_of_another_network_is_refused(fit_quickly: Fit) -> None:
    run, other = fit_quickly(), fit_quickly("--channels", "4", "8")
    shutil.copy(other.last_checkpoint, run.last_checkpoint)
    with pytest.raises(Exception, match=r"last\.ckpt was written with another channels than"):
        main(["--resume", str(run.path)])


def test_other_data_is_refused(fit_quickly: Fit, colours: DataFolder) -> None:
    run = fit_quickly(data_dir=colours.path)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    colours.add("0.png", (1, 2, 3), (32, 32))
    with pytest.raises(Exception, match="images of the data have changed"):
        main(["--resume", str(run.path)])
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_a_laid_out_schedule_cannot_get_longer(fit_quickly: Fit) -> None:
    run = fit_quickly("--schedule", "cosine")
    with pytest.raises(Exception, match="--epochs cannot change"):
        main(["--resume", str(run.path), "--epochs", "4"])


def test_fewer_epochs_than_trained_are_refused(fit_quickly: Fit) -> None:
    run = fit_quickly()
    config = run.config.read_text()
    with pytest.raises(Exception, match="has trained 2 epochs"):
        main(["--resume", str(run.path), "--epochs", "1"])
    assert run.config.read_text() == config


def test_a_run_without_its_checkpoint_is_refused(fit_quickly: Fit) -> None:
    run = fit_quickly()
    run.last_checkpoint.unlink()
    with pytest.raises(Exception, match=r"last\.ckpt is gone"):
        main(["--resume", str(run.path)])


def test_the_first_start_stays_on_record(fit_quickly: Fit) -> None:
    run = fit_quickly()
    first = json.loads(run.environment.read_text())
    assert main(["--resume", str(run.path)]) == 0
    both = json.loads(run.environment.read_text())
    assert len(both.pop("resumed")) == 1
    assert both == first


@pytest.mark.parametrize("kind", ["cut", "empty", "text"])
def test_a_damaged_checkpoint_is_refused(fit_quickly: Fit, kind: str) -> None:
    run = fit_quickly("--epochs", "1")
    content = run.last_checkpoint.read_bytes()
    damaged = {"cut": content[: len(content) // 2], "empty": b"", "text": b"no checkpoint"}
    run.last_checkpoint.write_bytes(damaged[kind])
    with pytest.raises(Exception, match=r"last\.ckpt is no checkpoint of this package"):
        main(["--resume", str(run.path)])
