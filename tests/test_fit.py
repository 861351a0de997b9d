"""End to end through the command line: train for a few steps, read back what was written."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.conftest import DataFolder, Fit
from vehicle_lightning.config import Settings
from vehicle_lightning.fit.__main__ import main
from vehicle_lightning.fit.tensorboard import FINAL_FIGURES
from vehicle_lightning.fit.train import train
from vehicle_lightning.model.load import load
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.statistics import wilson_interval
from vehicle_lightning.settings_file import read_settings
from vehicle_lightning.synthetic import make_vehicles


def events(run: RunFolder) -> EventAccumulator:
    accumulator = EventAccumulator(str(run.path))
    accumulator.Reload()
    return accumulator


def latest_events(run: RunFolder) -> EventAccumulator:
    """Those of the file that was written last.

    Of two files that one process begins within a second, as only tests do, TensorBoard may read the
    second one first, and then passes over the other.
    """
    latest = max(run.path.glob("events*"), key=lambda file: file.stat().st_mtime_ns)
    return EventAccumulator(str(latest)).Reload()


def hyper_parameters(run: RunFolder) -> dict[str, object]:
    metadata = events(run).SummaryMetadata("_hparams_/session_start_info")
    content = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
    return dict(content.session_start_info.hparams)


@pytest.fixture
def run(dropout_run: RunFolder) -> RunFolder:
    return dropout_run


def test_the_run_folder_holds_everything(run: RunFolder) -> None:
    assert run.label == "image-size32-batch-size16-dropout0.5-batchnorm-epochs3/0"
    names = {path.name for path in run.path.rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith("events")} == {
        "config.yaml",
        "environment.json",
        "findings.json",
        "metrics.csv",
        "predictions_val.csv",
        "summary.json",
        "best.ckpt",
        "last.ckpt",
        "curves.png",
        "confusion_matrix.png",
        "train_batch.png",
        "mistakes.png",
    }
    for picture in run.path.glob("*.png"):
        with Image.open(picture) as image:
            assert image.width > 300
    environment = json.loads(run.environment.read_text())
    assert environment["data"]["images"] == 80
    assert environment["versions"]["torch"] == torch.__version__.split("+")[0]


def test_the_summary_follows_its_schema(run: RunFolder) -> None:
    summary = json.loads(run.summary.read_text())
    assert set(summary) == {
        "train",
        "val",
        "test",
        "most_frequent_class",
        "gap",
        "best_epoch",
        "epochs",
        "seconds_per_epoch",
        "seconds",
        "parameters",
        "verdict",
        "status",
    }
    assert summary["train"]["n"] + summary["val"]["n"] == 80
    assert summary["test"] is None
    for side in ("train", "val"):
        figures = summary[side]
        assert set(figures) == {"accuracy", "interval", "n", "loss"}
        correct = round(figures["accuracy"] * figures["n"])
        assert figures["interval"] == pytest.approx(wilson_interval(correct, figures["n"]))
    gap = summary["train"]["accuracy"] - summary["val"]["accuracy"]
    assert summary["gap"] == pytest.approx(gap)
    assert summary["epochs"] == 3
    assert set(summary["verdict"]) == {"kind", "because", "try"}
    assert summary["status"] == "finished"
    history = pd.read_csv(run.metrics)
    assert summary["seconds"] == pytest.approx(history["seconds"].sum(), rel=1e-4)
    assert summary["best_epoch"] == history["val/loss"].idxmin() + 1


def test_predictions_metrics_and_checkpoint_agree(run: RunFolder) -> None:
    """The curves, the predictions and the summary measure the same weights alike."""
    summary = json.loads(run.summary.read_text())
    predictions = pd.read_csv(run.predictions, dtype={"label": str, "prediction": str})
    columns = ["file", "label", "prediction", "p_0", "p_1", "loss", "photograph"]
    assert list(predictions) == columns
    assert len(predictions) == summary["val"]["n"]
    assert predictions["loss"].is_monotonic_decreasing
    np.testing.assert_allclose(predictions["p_0"] + predictions["p_1"], 1, atol=1e-9)
    of_label = np.where(predictions["label"] == "1", predictions["p_1"], predictions["p_0"])
    np.testing.assert_allclose(-np.log(of_label), predictions["loss"], atol=1e-6)

    history = pd.read_csv(run.metrics)
    best = history.iloc[summary["best_epoch"] - 1]
    accuracy = (predictions["label"] == predictions["prediction"]).mean()
    assert accuracy == pytest.approx(summary["val"]["accuracy"])
    assert accuracy == pytest.approx(best["val/accuracy"], abs=1e-6)
    assert predictions["loss"].mean() == pytest.approx(best["val/loss"], rel=1e-5)
    assert load(run.best_checkpoint).epochs == summary["best_epoch"]
    assert load(run.last_checkpoint).epochs == 3


def test_training_images_are_measured_like_validation_images(fit_quickly: Fit) -> None:
    """Measured in full after each epoch, the curve ends where the final measurement is."""
    run = fit_quickly("--train-eval-fraction", "1", "--dropout", "0.9", "--augment")
    summary = json.loads(run.summary.read_text())
    best = pd.read_csv(run.metrics).iloc[summary["best_epoch"] - 1]
    assert summary["train"]["loss"] == pytest.approx(best["train/loss"], rel=1e-5)
    assert summary["train"]["accuracy"] == pytest.approx(best["train/accuracy"], abs=1e-6)


def test_curves_stand_in_tensorboard_by_epoch(run: RunFolder) -> None:
    history = pd.read_csv(run.metrics)
    written = events(run)
    places = {
        (split, figure): (events(RunFolder(run.path / split)), figure)
        for split in ("train", "val")
        for figure in ("loss", "accuracy")
    }
    places["train", "running_loss"] = written, "optimizer/running_loss"
    places["val", "f1"] = written, "metrics/f1"
    for (split, figure), (place, tag) in places.items():
        scalars, column = place.Scalars(tag), history[f"{split}/{figure}"]
        assert [scalar.step for scalar in scalars] == [1, 2, 3]
        np.testing.assert_allclose([scalar.value for scalar in scalars], column, rtol=1e-6)
    for split in ("train", "val"):  # so that TensorBoard opens with these two charts
        only = events(RunFolder(run.path / split)).Tags()["scalars"]
        assert set(only) == {"loss", "accuracy"}
    groups = {tag.partition("/")[0] for tag in written.Tags()["scalars"]}
    assert groups == {"metrics", "optimizer", "summary"}
    pictures = {"curves", "confusion_matrix", "mistakes", "train_batch"}
    assert set(written.Tags()["images"]) == {f"pictures/{name}" for name in pictures}
    assert "summary/verdict/text_summary" in written.Tags()["tensors"]


def test_settings_and_final_figures_stand_in_the_hparams_tab(run: RunFolder) -> None:
    summary = json.loads(run.summary.read_text())
    written = hyper_parameters(run)
    assert set(written) == set(Settings.model_fields)
    assert written["dropout"].number_value == 0.5
    assert written["batchnorm"].string_value == "on"
    assert written["channels"].string_value == "16-32"
    assert written["patience"].string_value == "none"
    scalars = events(run)
    for name in set(FINAL_FIGURES) - {"test_accuracy"}:
        (only,) = scalars.Scalars(f"summary/{name}")
        assert math.isfinite(only.value)
    last = scalars.Scalars("summary/val_accuracy")[-1].value
    assert last == pytest.approx(summary["val"]["accuracy"], rel=1e-6)


def test_every_run_writes_the_same_keys_of_the_same_types(fit_quickly: Fit) -> None:
    kinds = [
        {name: value.WhichOneof("kind") for name, value in hyper_parameters(run).items()}
        for run in (
            fit_quickly("--epochs", "1"),
            fit_quickly("--epochs", "1", "--patience", "2", "--hidden", "8", "--name", "x"),
        )
    ]
    assert kinds[0] == kinds[1]


def test_the_saved_settings_repeat_the_run(run: RunFolder, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert main(["--config", str(run.config), "--log-dir", str(again)]) == 0
    repeated = RunFolder(again / run.path.parent.name / "0")
    assert read_settings(repeated.config) == read_settings(run.config).model_copy(
        update={"log_dir": again}
    )
    first, second = (pd.read_csv(r.metrics).drop(columns="seconds") for r in (run, repeated))
    pd.testing.assert_frame_equal(first, second)
    assert run.predictions.read_text() == repeated.predictions.read_text()


def test_another_seed_is_another_run_on_the_same_split(fit_quickly: Fit) -> None:
    first, second = fit_quickly(), fit_quickly("--seed", "1")
    tables = [pd.read_csv(run.predictions).sort_values("file") for run in (first, second)]
    assert tables[0]["file"].tolist() == tables[1]["file"].tolist()
    assert tables[0]["loss"].tolist() != tables[1]["loss"].tolist()


@pytest.mark.parametrize(
    "flags",
    [
        ["--augment", "--class-weights", "--schedule", "onecycle", "--optimizer", "adamw"],
        ["--cache", "none", "--num-workers", "1", "--folds", "3", "--fold", "2"],
        ["--channels", "4", "8", "16", "--hidden", "10", "--pooling", "max", "--batchnorm"],
        ["--precision", "bf16-mixed", "--schedule", "cosine", "--optimizer", "sgd"],
    ],
    ids=lambda flags: "-".join(flags)[:30],
)
def test_combinations_of_settings_train(fit_quickly: Fit, flags: list[str]) -> None:
    run = fit_quickly(*flags)
    history = pd.read_csv(run.metrics)
    assert history["epoch"].tolist() == [1, 2]
    assert history.notna().all(axis=None)


def test_pixels_from_the_cache_and_from_the_files_train_alike(fit_quickly: Fit) -> None:
    runs = [fit_quickly(), fit_quickly("--cache", "none")]
    tables = [pd.read_csv(run.metrics).drop(columns="seconds") for run in runs]
    pd.testing.assert_frame_equal(*tables)


def test_a_last_batch_of_one_and_a_batch_of_all_survive_batchnorm(
    fit_quickly: Fit, colours: DataFolder
) -> None:
    for batch_size in ("5", "100"):  # of 36 training images
        run = fit_quickly(
            "--batchnorm", "--hidden", "4", "--batch-size", batch_size, data_dir=colours.path
        )
        assert pd.read_csv(run.metrics)["train/running_loss"].notna().all()


def test_colours_are_learnt(fit_quickly: Fit, colours: DataFolder) -> None:
    flags = ["--epochs", "12", "--learning-rate", "0.003", "--patience", "12"]
    run = fit_quickly(*flags, data_dir=colours.path)
    summary = json.loads(run.summary.read_text())
    assert summary["val"]["accuracy"] == 1
    assert summary["train"]["accuracy"] == 1


def test_classes_of_any_number_and_name(fit_quickly: Fit, data_folder: DataFolder) -> None:
    names = ["bus, red", "lorry/van", "österreichisch"]
    for number in range(30):
        shade = 80 * (number % 3) + number
        data_folder.add(f"{number}.png", (shade, shade, 90), (32, 32))
    data_folder.write_csv([(f"{number}.png", names[number % 3]) for number in range(30)])
    run = fit_quickly("--val-fraction", "0.3", data_dir=data_folder.path)
    predictions = pd.read_csv(run.predictions)
    assert [column for column in predictions if column.startswith("p_")] == [
        f"p_{name}" for name in names
    ]
    assert load(run.best_checkpoint).class_names == tuple(names)
    assert f"val/recall/{names[2]}" in pd.read_csv(run.metrics)


def test_copies_stay_on_one_side(
    fit_quickly: Fit, colours: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(f"{number}.png", number % 2) for number in range(40)]
    for number in range(40):
        content = (colours.path / "images" / f"{number}.png").read_bytes()
        (colours.path / "images" / f"copy{number}.png").write_bytes(content)
        rows.append((f"copy{number}.png", number % 2))
    colours.write_csv(rows)
    run = fit_quickly(data_dir=colours.path)
    validated = set(pd.read_csv(run.predictions)["file"])
    assert len(validated) == 8
    for name in validated:
        twin = name.removeprefix("copy") if name.startswith("copy") else f"copy{name}"
        assert twin in validated
    assert "40 exact and 0 near duplicates" in re.sub(r"\s+", " ", capsys.readouterr().err)


def test_near_copies_stay_on_one_side(fit_quickly: Fit, tmp_path: Path) -> None:
    data = make_vehicles(tmp_path / "data", count=30, image_size=96, workers=1)
    lines = (data / "train.csv").read_text().splitlines()
    for line in lines[1:]:
        name, label = line.split(",")
        with Image.open(data / "images" / name) as image:
            cropped = image.crop((0, 4, 92, 96)).resize((96, 96))
        cropped.save(data / "images" / f"near{name}", quality=40)
        lines.append(f"near{name},{label}")
    (data / "train.csv").write_text("\n".join(lines) + "\n")
    run = fit_quickly("--val-fraction", "0.3", "--epochs", "1", data_dir=data)
    near = json.loads(run.environment.read_text())["data"]["near_duplicates"]
    assert near >= 27  # a drawing at night may show too little
    validated = set(pd.read_csv(run.predictions)["file"])
    both = {name for name in validated if f"near{name.removeprefix('near')}" in validated}
    assert len(validated - both) <= 30 - near


def test_unreadable_images_are_named_at_once_or_skipped(
    fit_quickly: Fit, colours: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        (colours.path / "images" / f"{number}.png").write_bytes(b"no image")
    (colours.path / "images" / "12.png").unlink()
    with pytest.raises(Exception, match=r"13 of 40 images .* 0\.png .* and 3 more"):
        fit_quickly(data_dir=colours.path)
    run = fit_quickly("--skip-unreadable", data_dir=colours.path)
    assert "going on without them" in capsys.readouterr().err
    files = set(pd.read_csv(run.predictions)["file"])
    assert not files & {f"{number}.png" for number in range(13)}
    # Row numbers and pixels still belong together: colour decides the label.
    run = fit_quickly(
        "--skip-unreadable", "--epochs", "12", "--learning-rate", "0.003", data_dir=colours.path
    )
    assert json.loads(run.summary.read_text())["train"]["accuracy"] == 1


def test_train_is_a_function(drawn: Path, tmp_path: Path) -> None:
    result = train(
        Settings(data_dir=drawn, image_size=32, epochs=1, log_dir=tmp_path, accelerator="cpu")
    )
    assert result.summary is not None
    assert result.summary.epochs == 1
    assert result.run.path == tmp_path / "image-size32-epochs1" / "0"


def test_the_report_in_the_terminal(fit_quickly: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit_quickly("--epochs", "3")
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert [line.split()[0] for line in lines[:8]] == [
        "train",
        "val",
        "seeds",
        "always",
        "gap",
        "best",
        "speed",
        "verdict",
    ]
    assert re.search(r"val +\d+\.\d % \[\d+\.\d, \d+\.\d\] \(n=8\)", output.out)
    assert f"tensorboard --logdir {run.path.parent.parent}" in output.out
    epochs = [line for line in output.err.splitlines() if line.startswith("epoch")]
    assert len(epochs) == 3
    assert re.match(r"epoch 1/3 +train loss \d\.\d{3}, accuracy +\d+\.\d %", epochs[0])


def test_the_real_photographs(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few steps on small versions of them; copies are there, and stay on one side."""
    settings = Settings(
        data_dir=real_data, image_size=32, epochs=1, log_dir=tmp_path, accelerator="cpu"
    )
    result = train(settings)
    assert result.summary is not None
    assert result.summary.train.n + result.summary.val.n == 1646
    environment = json.loads(result.run.environment.read_text())
    assert environment["data"]["exact_duplicates"] == 80
    assert environment["data"]["near_duplicates"] == 6
    told = capsys.readouterr().err
    assert "Serious: duplicates of 2 photographs have different labels; " in told
    assert "the number in the file name" in told
    findings = json.loads(result.run.findings.read_text(encoding="utf-8"))["findings"]
    assert [finding["kind"] for finding in findings][:2] == ["contradicting-duplicates", "leak"]
