"""Runs over folds and seeds, end to end through the command line."""

import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import QUICK, DataFolder, Fit, curve, quick_fit
from tests.test_resume import Killed, assert_equal_runs, interrupt_in_epoch, quick
from vehicle_lightning.cli import INTERRUPTED
from vehicle_lightning.compare.ranking import compare
from vehicle_lightning.errors import DataError, RunError, SettingsError
from vehicle_lightning.fit.__main__ import main
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.statistics import wilson_interval
from vehicle_lightning.settings_file import read_settings

FOLD_RUNS = [
    "seed0-fold0",
    "seed0-fold1",
    "seed0-fold2",
    "seed1-fold0",
    "seed1-fold1",
    "seed1-fold2",
]
FOLDS = ("--folds", "3", "--seeds", "2")


@pytest.fixture(scope="module")
def run(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One run over three folds and two seeds, for the tests that only read."""
    return quick_fit(drawn, tmp_path_factory.mktemp("logs"))(*FOLDS, "--name", "folds")


def predictions(run: RunFolder) -> pd.DataFrame:
    return pd.read_csv(run.predictions, dtype={"label": str, "prediction": str})


def test_one_folder_with_one_for_each_training(run: RunFolder) -> None:
    assert sorted(path.name for path in run.path.glob("seed*")) == FOLD_RUNS
    for name in FOLD_RUNS:
        fold_run = RunFolder.open(run.fold_run(name).path)
        assert fold_run.label == f"folds/0/{name}"
        assert fold_run.best_checkpoint.is_file()
        assert json.loads(fold_run.summary.read_text())["status"] == "finished"


def test_what_was_recognised_of_the_data_is_kept(run: RunFolder) -> None:
    names = {"csv", "image_dir", "image_column", "label_column"}
    own, of_fold = (read_settings(one.config) for one in (run, run.fold_run(FOLD_RUNS[0])))
    assert own.model_dump(include=names) == of_fold.model_dump(include=names)
    assert own.csv == Path("train.csv")


def test_every_image_is_validated_once_a_seed(run: RunFolder) -> None:
    pooled = predictions(run)
    assert len(pooled) == 2 * 80
    for _, of_seed in pooled.groupby("seed"):
        assert of_seed["file"].nunique() == len(of_seed) == 80
    folds = pooled.groupby("file")["fold"].nunique()
    assert (folds == 1).all()  # both seeds share one partition
    assert pooled["loss"].is_monotonic_decreasing


def test_the_pooled_predictions_are_those_of_the_trainings(run: RunFolder) -> None:
    pooled = predictions(run)
    for name in FOLD_RUNS:
        seed, fold = map(int, re.findall(r"\d+", name))
        of_member = pooled[(pooled["seed"] == seed) & (pooled["fold"] == fold)]
        own = predictions(run.fold_run(name))
        pd.testing.assert_frame_equal(
            of_member[own.columns].sort_values("file", ignore_index=True),
            own.sort_values("file", ignore_index=True),
        )


def test_the_pooled_summary(run: RunFolder) -> None:
    summary = json.loads(run.summary.read_text())
    pooled = predictions(run)
    right = pooled["label"] == pooled["prediction"]
    assert summary["val"]["accuracy"] == pytest.approx(right.mean())
    assert summary["val"]["n"] == 80
    assert summary["val"]["interval"] == pytest.approx(
        wilson_interval(80 * summary["val"]["accuracy"], 80)
    )
    assert summary["val"]["loss"] == pytest.approx(pooled["loss"].mean())
    assert (summary["fold_runs"], summary["finished"], summary["status"]) == (6, 6, "finished")
    by_seed = right.groupby(pooled["seed"]).mean()
    assert summary["seed_accuracies"] == pytest.approx({str(s): v for s, v in by_seed.items()})
    by_fold = right.groupby(pooled["fold"]).mean()
    assert summary["fold_accuracies"] == pytest.approx({str(f): v for f, v in by_fold.items()})
    single = json.loads(run.fold_run(FOLD_RUNS[0]).summary.read_text())
    assert set(single) < set(summary)
    seconds = [json.loads(run.fold_run(m).summary.read_text())["seconds"] for m in FOLD_RUNS]
    assert summary["seconds"] == pytest.approx(sum(seconds))


def test_the_mean_curve_stands_in_metrics_and_events(run: RunFolder) -> None:
    curves = pd.read_csv(run.metrics)
    parts = [pd.read_csv(run.fold_run(name).metrics) for name in FOLD_RUNS]
    assert list(curves["epoch"]) == [1, 2]
    assert list(curves.columns) == list(parts[0].columns)
    mean = sum(part["val/loss"] for part in parts) / len(parts)
    assert curves["val/loss"].to_numpy() == pytest.approx(mean.to_numpy(), rel=1e-5)
    assert [step for step, _ in curve(run, "val/loss")] == [1, 2]
    accuracy = json.loads(run.summary.read_text())["val"]["accuracy"]
    assert curve(run, "summary/val_accuracy") == [(2, pytest.approx(accuracy))]


def test_in_tensorboard_the_run_is_one_with_its_spread(run: RunFolder) -> None:
    assert {path.parent.name for path in run.path.rglob("events*")} == {"0", "train", "val"}
    events = EventAccumulator(str(run.path))
    events.Reload()
    assert "_hparams_/session_start_info" in events.summary_metadata
    own = [pd.read_csv(run.fold_run(name).metrics)["val/loss"] for name in FOLD_RUNS]
    for edge, of_edge in (("lowest", min), ("highest", max)):
        values = [value for _, value in curve(run, f"val/spread/loss_{edge}")]
        assert values == pytest.approx([of_edge(o[e] for o in own) for e in range(2)], rel=1e-5)


def test_a_single_fold_is_the_same_training(run: RunFolder, drawn: Path, tmp_path: Path) -> None:
    alone = quick_fit(drawn, tmp_path)("--folds", "3", "--fold", "1", "--seed", "1")
    assert_equal_runs(alone, run.fold_run("seed1-fold1"))


def test_seeds_alone_validate_the_same_images(fit_quickly: Fit) -> None:
    run = fit_quickly("--seeds", "2", "--epochs", "1")
    pooled = predictions(run)
    assert set(pooled["seed"]) == {0, 1}
    assert pooled["fold"].isna().all()
    assert (pooled.groupby("file")["seed"].nunique() == 2).all()
    assert json.loads(run.summary.read_text())["fold_accuracies"] == {}


def test_a_finished_run_is_not_trained_again(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in run.path.glob("seed*/**/*") if p.is_file()}
    assert main(["--resume", str(run.path)]) == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert "pooled  6 of 6 trainings" in capsys.readouterr().out
    assert len(list(run.path.glob("events*"))) == 1


def test_an_interrupted_run_goes_on_where_it_stopped(
    run: RunFolder,
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = quick(drawn, tmp_path, *FOLDS)
    with monkeypatch.context() as patch:
        interrupt_in_epoch(2, patch)
        assert main(flags) == INTERRUPTED
    stopped = RunFolder(tmp_path / "run" / "0")
    printed = capsys.readouterr().out
    assert f"python -m vehicle_lightning.fit --resume {stopped.path}" in printed
    assert not stopped.fold_run("seed0-fold1").path.exists()

    assert main(["--resume", str(stopped.path)]) == 0
    for name in FOLD_RUNS:
        assert_equal_runs(stopped.fold_run(name), run.fold_run(name))
    assert stopped.predictions.read_text() == run.predictions.read_text()


def test_more_seeds_can_be_added(run: RunFolder, drawn: Path, tmp_path: Path) -> None:
    assert main([*quick(drawn, tmp_path), "--folds", "3"]) == 0
    grown = RunFolder(tmp_path / "run" / "0")
    assert main(["--resume", str(grown.path), "--seeds", "2"]) == 0
    assert grown.predictions.read_text() == run.predictions.read_text()


def test_a_single_run_stays_one(dropout_run: RunFolder) -> None:
    with pytest.raises(SettingsError, match="is a single run"):
        main(["--resume", str(dropout_run.path), "--seeds", "2"])


def test_folds_are_not_changed_by_resuming(run: RunFolder) -> None:
    with pytest.raises(SettingsError, match="--folds cannot change"):
        main(["--resume", str(run.path), "--folds", "4"])


def test_other_data_are_refused(drawn: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(drawn, data)
    assert main([*quick(data, tmp_path / "logs"), "--folds", "2", "--epochs", "1"]) == 0
    lines = (data / "train.csv").read_text().splitlines()
    (data / "train.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(RunError, match="have changed since"):
        main(["--resume", str(tmp_path / "logs" / "run" / "0"), "--seeds", "2"])


def test_bad_data_leave_no_run_folder(colours: DataFolder, tmp_path: Path) -> None:
    flags = ("--data-dir", str(colours.path), "--log-dir", str(tmp_path / "logs"))
    with pytest.raises(DataError, match="--folds 30"):
        main([*QUICK, *flags, "--folds", "30"])
    assert not (tmp_path / "logs").exists()


def test_several_devices_are_refused(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="one device"):
        main(quick(drawn, tmp_path, "--folds", "2", "--devices", "2"))


def test_compare_takes_the_run_as_one(run: RunFolder, drawn: Path) -> None:
    log_dir = run.path.parent.parent
    other = quick_fit(drawn, log_dir)("--folds", "3", "--name", "wide", "--channels", "8", "8")
    rows = compare([run.path, other.path]).rows
    assert {row.record.name for row in rows} == {"folds/0", "wide/0"}
    (found,) = [row.test for row in rows if row.test is not None]
    assert found.difference.n == 80


def test_more_epochs_go_on_with_every_training(drawn: Path, tmp_path: Path) -> None:
    assert main([*quick(drawn, tmp_path), "--folds", "2", "--epochs", "1"]) == 0
    grown = RunFolder(tmp_path / "run" / "0")
    assert main(["--resume", str(grown.path), "--epochs", "2"]) == 0
    summary = json.loads(grown.summary.read_text())
    assert (summary["epochs"], summary["trained_epochs"]) == (2, 4)
    whole = quick_fit(drawn, tmp_path / "other")("--folds", "2")
    for name in ("seed0-fold0", "seed0-fold1"):
        assert_equal_runs(grown.fold_run(name), whole.fold_run(name))


def test_killed_while_going_on_it_still_trains_every_epoch(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that was finished before is not once more epochs are asked for."""
    assert main([*quick(drawn, tmp_path), "--folds", "2", "--epochs", "1"]) == 0
    grown = RunFolder(tmp_path / "run" / "0")

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(VehicleClassifier, "training_step", killed)
        with pytest.raises(Killed):
            main(["--resume", str(grown.path), "--epochs", "2"])
    assert main(["--resume", str(grown.path)]) == 0
    assert json.loads(grown.summary.read_text())["trained_epochs"] == 4


def test_a_diverged_training_shows_in_the_pool(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = VehicleClassifier.training_step

    def diverging(self: VehicleClassifier, batch: Any, batch_idx: int) -> Any:
        loss = step(self, batch, batch_idx)
        return loss * float("nan") if self.settings.fold == 1 else loss

    monkeypatch.setattr(VehicleClassifier, "training_step", diverging)
    run = quick_fit(drawn, tmp_path)("--folds", "2")
    summary = json.loads(run.summary.read_text())
    assert summary["val"]["loss"] is None
    assert summary["val"]["n"] == 80
    assert pd.read_csv(run.metrics)["val/loss"].isna().all()
    assert json.loads(run.fold_run("seed0-fold0").summary.read_text())["val"]["loss"] is not None


def test_classes_may_be_called_anything(data_folder: DataFolder, tmp_path: Path) -> None:
    for number in range(40):
        data_folder.add(f"{number}.png", (6 * number, 90, 120), (32, 32))
    data_folder.write_csv([(f"{number}.png", ["01", "nan"][number % 2]) for number in range(40)])
    run = quick_fit(data_folder.path, tmp_path / "logs")("--folds", "2", "--epochs", "1")
    pooled = pd.read_csv(run.predictions, dtype=str, keep_default_na=False)
    assert set(pooled["label"]) == {"01", "nan"}
    summary = json.loads(run.summary.read_text())
    right = (pooled["label"] == pooled["prediction"]).mean()
    assert summary["val"]["accuracy"] == pytest.approx(right)


def test_an_interrupted_pool_counts_complete_seeds_only(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = quick(drawn, tmp_path, "--folds", "2", "--seeds", "2", "--epochs", "1")
    step, calls = VehicleClassifier.training_step, []

    def interrupted(self: VehicleClassifier, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 0:
            calls.append(1)
            if len(calls) == 4:  # in the last of the four trainings
                os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(VehicleClassifier, "training_step", interrupted)
        assert main(flags) == INTERRUPTED
    summary = json.loads(RunFolder(tmp_path / "run" / "0").summary.read_text())
    assert (summary["finished"], summary["status"]) == (3, "interrupted")
    assert list(summary["seed_accuracies"]) == ["0"]


def test_interrupted_while_measuring_goes_on_with_the_whole(
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    run = RunFolder(tmp_path / "run" / "0")
    with monkeypatch.context() as patch:
        patch.setattr("vehicle_lightning.fit.train.write_report", stopped)
        assert main([*quick(drawn, tmp_path), "--folds", "2", "--epochs", "1"]) == INTERRUPTED
    assert f"--resume {run.path}\n" in capsys.readouterr().out
    assert main(["--resume", str(run.path)]) == 0
    assert json.loads(run.summary.read_text())["finished"] == 2


def test_from_inside_the_run_folder(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.path)
    assert main(["--resume", "."]) == 0
    assert "pooled  6 of 6" in capsys.readouterr().out


def test_missing_weights_leave_no_run_folder(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no run folder or checkpoint"):
        main(quick(drawn, tmp_path, "--folds", "2", "--pretrained", str(tmp_path / "nowhere")))
    assert not (tmp_path / "run").exists()


def test_weights_that_have_seen_the_validation_images_are_refused(
    fit_quickly: Fit, dropout_run: RunFolder
) -> None:
    same = ("--dropout", "0.5", "--batchnorm", "--epochs", "1")
    with pytest.raises(RunError, match="in another split"):
        fit_quickly("--pretrained", str(dropout_run.path), *same, "--folds", "2")
    fit_quickly("--pretrained", str(dropout_run.path), *same)
