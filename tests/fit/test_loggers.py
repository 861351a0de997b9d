"""Loggers beside TensorBoard: settings, curves and final figures arrive in each."""

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.conftest import Fit
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.fit.__main__ import main


def test_a_csv_file_holds_settings_curves_and_final_figures(fit_quickly: Fit) -> None:
    run = fit_quickly("--logger", "csv", "--dropout", "0.5", "--epochs", "1")
    assert main(["--resume", str(run.path), "--epochs", "2"]) == 0
    settings = yaml.safe_load((run.path / "csv" / "hparams.yaml").read_text())
    assert (settings["dropout"], settings["epochs"]) == (0.5, 2)
    found, own = pd.read_csv(run.path / "csv" / "metrics.csv"), pd.read_csv(run.metrics)
    for curve in ("train/loss", "val/accuracy", "learning_rate"):
        steps = found.dropna(subset=curve).groupby("step")[curve].last()
        assert steps.to_list() == pytest.approx(own[curve].to_list(), rel=1e-5)
    told = found["summary/val_accuracy"].dropna().to_list()
    assert told == [json.loads(run.summary.read_text())["val"]["accuracy"]]


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_a_missing_package_is_named(kind: str, drawn: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec(kind) is not None:
        pytest.skip(f"{kind} is installed")
    flags = ["--data-dir", str(drawn), "--log-dir", str(tmp_path / "logs"), "--logger", kind]
    with pytest.raises(SettingsError, match=rf'pip install -e "\.\[{kind}\]"'):
        main(flags)
    assert not (tmp_path / "logs").exists()


def test_mlflow_has_a_run_with_a_child_for_each_fold(
    fit_quickly: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address := f"sqlite:///{tmp_path}/mlflow.db")
    run = fit_quickly("--folds", "2", "--logger", "mlflow", "--name", "own")
    client = tracking.MlflowClient(address)
    (experiment,) = (e for e in client.search_experiments() if e.name == "vehicle_lightning")
    told = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    assert set(told) == {"own/0", "own/0/seed0-fold0", "own/0/seed0-fold1"}
    accuracy = json.loads(run.summary.read_text())["val"]["accuracy"]
    assert told["own/0"].data.metrics["summary/val_accuracy"] == accuracy
    for name in set(told) - {"own/0"}:
        one = told[name]
        assert one.data.tags["mlflow.parentRunId"] == told["own/0"].info.run_id
        assert one.data.params["folds"] == "2"
        curve = client.get_metric_history(one.info.run_id, "val/loss")
        assert [point.step for point in curve] == [1, 2]


def test_wandb_has_a_run_for_each_fold(fit_quickly: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = fit_quickly("--folds", "2", "--epochs", "1", "--logger", "wandb")
    for folder in (run, *run.fold_runs):
        assert len(list(folder.path.glob("wandb/offline-run-*/*.wandb"))) == 1
