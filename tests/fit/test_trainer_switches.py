"""Lightning's switches: each reaches the Trainer, and trains, resumes and reports."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.profilers import SimpleProfiler

from tests.conftest import QUICK, Fit
from vehicle_lightning.config import Settings, TrainerSettings
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.fit.__main__ import main
from vehicle_lightning.fit.trainer import build_trainer, with_precision
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.settings_file import read_settings


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def duration(trainer: L.Trainer) -> float | None:
    (timer,) = (c for c in trainer.callbacks if isinstance(c, Timer))  # type: ignore[attr-defined]
    return timer.time_remaining()


REACHED: dict[str, tuple[Any, Callable[[Any], Any], Any]] = {
    "gradient_clip_val": (0.5, lambda t: t.gradient_clip_val, 0.5),
    "accumulate_grad_batches": (3, lambda t: t.accumulate_grad_batches, 3),
    "max_time": ("01:00:00:30", duration, 24 * 3600 + 30),
    "limit_train_batches": (7, lambda t: t.limit_train_batches, 7),
    "limit_val_batches": (0.5, lambda t: t.limit_val_batches, 0.5),
    "overfit_batches": (2, lambda t: (t.limit_train_batches, t.limit_val_batches), (2, 1.0)),
    "fast_dev_run": (True, lambda t: t.fast_dev_run, True),
    "profiler": ("simple", lambda t: type(t.profiler), SimpleProfiler),
    "deterministic": (True, lambda _: torch.are_deterministic_algorithms_enabled(), True),
}


def test_every_switch_is_tried() -> None:
    assert set(REACHED) == set(TrainerSettings.model_fields)


@pytest.mark.parametrize("name", REACHED)
def test_a_switch_reaches_the_trainer(name: str, tmp_path: Path) -> None:
    value, found, expected = REACHED[name]
    settings = Settings(accelerator="cpu", **{name: value})
    assert found(build_trainer(settings, RunFolder(tmp_path), [], [])) == expected


def test_they_train_and_resume_together(fit_quickly: Fit) -> None:
    run = fit_quickly(
        *("--gradient-clip-val", "1", "--accumulate-grad-batches", "2", "--deterministic"),
        *("--limit-train-batches", "3", "--limit-val-batches", "1", "--profiler", "simple"),
        *("--max-time", "00:00:00:01", "--epochs", "500"),
    )
    epochs = len(pd.read_csv(run.metrics))
    assert 1 <= epochs < 500
    assert json.loads(run.summary.read_text())["epochs"] == epochs
    assert "run_training_epoch" in (run.path / "fit-profile.txt").read_text()
    steps = torch.load(run.last_checkpoint, weights_only=True)["global_step"]
    assert steps == 2 * epochs  # of three batches: two together, one alone
    assert main(["--resume", str(run.path)]) == 0  # its time is over
    assert len(pd.read_csv(run.metrics)) == epochs


def test_the_same_batches_are_overfitted(fit_quickly: Fit) -> None:
    flags = ("--epochs", "15", "--learning-rate", "0.003", "--batch-size", "8")
    run = fit_quickly(*flags, "--overfit-batches", "1")
    curves = pd.read_csv(run.metrics)
    losses = curves["train/running_loss"]
    assert losses.iloc[-1] < 0.5 * losses.iloc[0]
    assert curves["train/loss"].iloc[-1] < 0.5 * curves["train/loss"].iloc[0]
    summary = json.loads(run.summary.read_text())
    assert (summary["train"]["n"], summary["val"]["n"]) == (8, 8)
    accuracies = curves["train/accuracy"] * 8
    assert accuracies.to_list() == pytest.approx(accuracies.round().to_list(), abs=1e-5)
    assert len(set(accuracies.round())) > 1
    half = fit_quickly("--epochs", "1", "--batch-size", "8", "--overfit-batches", "0.5")
    assert json.loads(half.summary.read_text())["train"]["n"] == 32


def test_a_dev_run_leaves_nothing_behind(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*QUICK, "--data-dir", str(drawn), "--log-dir", str(tmp_path / "logs")]
    assert main([*flags, "--fast-dev-run"]) == 0
    assert "nothing was kept" in capsys.readouterr().out
    assert not (tmp_path / "logs").exists()
    with pytest.raises(SettingsError, match="leave out --folds"):
        main([*flags, "--fast-dev-run", "--folds", "2"])
    with pytest.raises(SettingsError, match=r"--limit-val-batches 0\.1 of 1 batch is none"):
        main([*flags, "--limit-val-batches", "0.1"])


@pytest.mark.parametrize(
    ("instructions", "precision"),
    [({"amx_bf16": True}, "bf16-mixed"), ({"avx2": True}, "32-true"), ({}, "32-true")],
)
def test_the_precision_is_left_to_the_processor(
    fit_quickly: Fit,
    monkeypatch: pytest.MonkeyPatch,
    instructions: dict[str, bool],
    precision: str,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    run = fit_quickly("--precision", "auto")
    assert read_settings(run.config).precision == precision
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert main(["--resume", str(run.path), "--epochs", "3"]) == 0  # elsewhere
    assert read_settings(run.config).precision == precision


def test_the_precision_is_left_to_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for can, precision in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda answer=can, **_: answer)
        assert with_precision(Settings(precision="auto")).precision == precision
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    on_cpu = Settings(precision="auto", accelerator="cpu")
    assert with_precision(on_cpu).precision == "32-true"
