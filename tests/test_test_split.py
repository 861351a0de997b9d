"""Test images: measured at the end of `fit`, and never read for anything else."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.conftest import QUICK, curve, quick_fit
from tests.test_fit import hyper_parameters
from vehicle_lightning.compare.__main__ import main as compare
from vehicle_lightning.config import Settings
from vehicle_lightning.data.table import table_of
from vehicle_lightning.errors import InputError
from vehicle_lightning.fit.__main__ import main
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.predictions import read_predictions
from vehicle_lightning.runs.statistics import wilson_interval


def data_with_splits(drawn: Path, folder: Path, *, poisoned: bool) -> Path:
    """The synthetic vehicles with every fifth in the test, its label wrong where poisoned."""
    folder.mkdir()
    (folder / "images").symlink_to(drawn / "images")
    frame = pd.read_csv(drawn / "train.csv")
    is_test = frame.index % 5 == 0
    frame["split"] = ["test" if test else "train" for test in is_test]
    if poisoned:
        frame.loc[is_test, "emergency_or_not"] = 1 - frame.loc[is_test, "emergency_or_not"]
    frame.to_csv(folder / "train.csv", index=False)
    return folder


def test_poisoned_test_labels_change_nothing_but_the_test_figures(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--split-column", "split", "--val-fraction", "0.2", "--patience", "2", "--augment")
    clean, poisoned = (
        quick_fit(data_with_splits(drawn, tmp_path / name, poisoned=name == "poisoned"), tmp_path)(
            *flags, "--name", name
        )
        for name in ("clean", "poisoned")
    )
    curves = [pd.read_csv(run.metrics).drop(columns="seconds") for run in (clean, poisoned)]
    pd.testing.assert_frame_equal(*curves)
    assert clean.predictions.read_bytes() == poisoned.predictions.read_bytes()
    for name in ("best_checkpoint", "last_checkpoint"):
        one, other = (
            torch.load(getattr(run, name), weights_only=True) for run in (clean, poisoned)
        )
        assert set(one) == set(other)
        for part in {"state_dict", "optimizer_states"} & set(one):  # the best one has weights alone
            torch.testing.assert_close(one[part], other[part], rtol=0, atol=0)

    summaries = [json.loads(run.summary.read_text()) for run in (clean, poisoned)]
    right, wrong = (summary.pop("test") for summary in summaries)
    assert right["n"] == wrong["n"] == 16
    assert right["accuracy"] == pytest.approx(1 - wrong["accuracy"])
    for summary in summaries:
        del summary["seconds"], summary["seconds_per_epoch"]
    assert summaries[0] == summaries[1]

    predictions = read_predictions(clean.test_predictions)
    assert len(predictions) == 16
    share = (predictions["label"] == predictions["prediction"]).mean()
    assert share == pytest.approx(right["accuracy"])
    validated = set(read_predictions(clean.predictions)["file"])
    assert not validated & set(predictions["file"])
    assert curve(clean, "summary/test_accuracy") == [(2, pytest.approx(share))]
    assert hyper_parameters(clean)["split_column"].string_value == "split"
    printed = capsys.readouterr().out
    assert f"test    {100 * share:.1f} % [" in printed

    assert compare([str(clean.path)]) == 0
    assert "test %" in capsys.readouterr().out


def test_every_fold_run_is_measured_on_the_same_test_images(drawn: Path, tmp_path: Path) -> None:
    flags = ("--data-dir", str(drawn), "--log-dir", str(tmp_path), "--name", "folds")
    more = ("--epochs", "1", "--folds", "2", "--test-fraction", "0.25")
    assert main([*QUICK, *flags, *more]) == 0
    run = RunFolder(tmp_path / "folds" / "0")
    summary = json.loads(run.summary.read_text())
    assert (summary["val"]["n"], summary["test"]["n"]) == (60, 20)
    pooled = read_predictions(run.test_predictions)
    assert pooled.groupby("file")["fold"].nunique().eq(2).all()
    right = (pooled["label"] == pooled["prediction"]).groupby(pooled["file"]).mean()
    assert summary["test"]["accuracy"] == pytest.approx(right.mean())
    assert summary["test"]["interval"] == pytest.approx(wilson_interval(right.sum(), 20))
    assert summary["test"]["loss"] == pytest.approx(pooled["loss"].mean())


def test_a_csv_of_its_own_names_the_test_images(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What looks like one of them never trains, whatever it is called."""
    shutil.copytree(drawn, data := tmp_path / "data")
    frame = pd.read_csv(data / "train.csv")
    test, rest = frame[:16], frame[12:]  # four images stand in both
    shutil.copy(data / "images" / test["image_names"][0], data / "images" / "again.png")
    again = pd.DataFrame({"image_names": ["again.png"], "emergency_or_not": [frame.iloc[0, 1]]})
    test.to_csv(data / "test.csv", index=False)
    pd.concat([rest, again]).to_csv(data / "train.csv", index=False)
    run = quick_fit(data, tmp_path / "logs")("--test-csv", "test.csv", "--epochs", "1")
    said = capsys.readouterr().err
    assert f"4 images that {data / 'test.csv'} lists too are tested on, not trained on." in said
    assert "1 are left out, as a duplicate of each is in another split" in said
    assert set(read_predictions(run.test_predictions)["file"]) == set(test["image_names"])
    counts = json.loads(run.environment.read_text())["data"]
    assert (counts["train"] + counts["val"], counts["test"]) == (64, 16)
    assert main(["--resume", str(run.path), "--epochs", "2"]) == 0

    cameras = [str(number // 8) for number in range(len(frame))]
    frame.assign(camera=cameras)[16:].to_csv(data / "train.csv", index=False)
    frame.assign(camera=cameras)[:16].to_csv(data / "test.csv", index=False)
    grouped = Settings(data_dir=data, test_csv="test.csv", group_column="camera")
    assert table_of(grouped).groups == (*cameras[16:], *cameras[:16])
    frame[:16].to_csv(data / "test.csv", index=False)
    assert table_of(grouped).groups == (*cameras[16:], *[""] * 16)
    assert "has no column camera: each of its images counts as a group" in capsys.readouterr().err

    flags = ["--data-dir", str(data), "--log-dir", str(tmp_path / "none")]
    with pytest.raises(InputError, match="leave out --test-fraction"):
        main([*flags, "--test-csv", "test.csv", "--test-fraction", "0.2"])
    with pytest.raises(InputError, match=r"no CSV file .*other\.csv; name it with --test-csv"):
        main([*flags, "--test-csv", "other.csv"])
    test.assign(emergency_or_not="bus").to_csv(data / "test.csv", index=False)
    with pytest.raises(InputError, match="no training image has the label bus"):
        main([*flags, "--test-csv", "test.csv"])
    with pytest.raises(InputError, match=r"no training image has the label [01]"):
        main([*flags, "--test-csv", "train.csv"])
