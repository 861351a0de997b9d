"""Evaluation through its command line: figures as scikit-learn and `fit` have them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import binomtest
from sklearn import metrics
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import QUICK
from vehicle_lightning.errors import InputError
from vehicle_lightning.evaluate.__main__ import BELOW, main
from vehicle_lightning.fit.__main__ import main as fit
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.predictions import read_predictions
from vehicle_lightning.runs.statistics import wilson_interval
from vehicle_lightning.synthetic import make_vehicles


def write_csv(path: Path, drawn: Path, files: list[str] | None = None) -> Path:
    frame = pd.read_csv(drawn / "train.csv")
    if files is not None:
        frame = frame[frame["image_names"].isin(files)]
    frame["camera"] = ["north", "south", "south"] * (len(frame) // 3) + ["east"] * (len(frame) % 3)
    frame.to_csv(path, index=False)
    return path


def evaluate(*arguments: object, drawn: Path, output: Path, code: int = 0) -> dict[str, Any]:
    flags = ["--image-dir", drawn / "images", "--output", output, "--accelerator", "cpu"]
    assert main([*map(str, arguments), *map(str, flags)]) == code
    content: dict[str, Any] = json.loads((output / "evaluation.json").read_text())
    return content


def test_images_that_a_run_has_seen_are_told(
    dropout_run: RunFolder, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = write_csv(tmp_path / "all.csv", drawn)
    evaluate(dropout_run.path, "--csv", csv, drawn=drawn, output=tmp_path / "out")
    assert "80 of 80 images are among those that" in capsys.readouterr().err
    evaluate(dropout_run.best_checkpoint, "--csv", csv, drawn=drawn, output=tmp_path / "out")
    assert "80 of 80 images are among those that" in capsys.readouterr().err
    # Begun in another folder, from which the data dir was given.
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(dropout_run.path, copy.path)
    copy.config.write_text(copy.config.read_text().replace(str(drawn), drawn.name))
    evaluate(copy.path, "--csv", csv, drawn=drawn, output=tmp_path / "out")
    assert "80 of 80 images are among those that" in capsys.readouterr().err
    copy.environment.write_text("{}")
    evaluate(copy.path, "--csv", csv, drawn=drawn, output=tmp_path / "out")
    assert "had for training cannot be told" in capsys.readouterr().err
    # Other files that show the same.
    (tmp_path / "images").mkdir()
    for file in (drawn / "images").iterdir():
        with Image.open(file) as image:
            image.save(tmp_path / "images" / file.name, "JPEG", quality=70)
    flags = ["--output", str(tmp_path / "other"), "--accelerator", "cpu"]
    assert main([str(dropout_run.path), "--csv", str(csv), *flags]) == 0
    assert "80 of 80 images are among those that" in capsys.readouterr().err
    other = make_vehicles(tmp_path / "new", count=20, image_size=64, seed=9)
    csv = other / "train.csv"
    assert main([str(dropout_run.path), "--csv", str(csv), *flags]) == 0
    assert "are among those" not in capsys.readouterr().err


def test_duplicates_count_once(dropout_run: RunFolder, drawn: Path, tmp_path: Path) -> None:
    validated = read_predictions(dropout_run.predictions)
    csv = write_csv(tmp_path / "val.csv", drawn, validated["file"].tolist())
    once = evaluate(dropout_run.path, "--csv", csv, drawn=drawn, output=tmp_path / "once")
    shutil.copytree(drawn / "images", tmp_path / "images")
    for file in (drawn / "images").iterdir():
        shutil.copy(file, tmp_path / "images" / f"copy_{file.name}")
    rows = pd.read_csv(csv)
    copies = rows.assign(image_names="copy_" + rows["image_names"])
    pd.concat([rows, copies]).to_csv(csv, index=False)
    twice = evaluate(dropout_run.path, "--csv", csv, drawn=tmp_path, output=tmp_path / "twice")
    (single,), (double,) = once["runs"], twice["runs"]
    assert double["n"] == 2 * single["n"]
    assert double["accuracy"] == pytest.approx(single["accuracy"])
    assert double["interval"] == pytest.approx(single["interval"])
    for name in "01":
        once_found, twice_found = (run["classes"][name]["recall"] for run in (single, double))
        assert twice_found["n"] == 2 * once_found["n"]
        assert twice_found["interval"] == pytest.approx(once_found["interval"])


def test_the_figures_are_those_of_fit_and_of_scikit_learn(
    dropout_run: RunFolder, drawn: Path, tmp_path: Path
) -> None:
    validated = read_predictions(dropout_run.predictions)
    csv = write_csv(tmp_path / "val.csv", drawn, validated["file"].tolist())
    content = evaluate(dropout_run.path, "--csv", csv, drawn=drawn, output=tmp_path / "out")
    (run,) = content["runs"]
    val = json.loads(dropout_run.summary.read_text())["val"]
    for key in ("accuracy", "n", "loss"):
        assert run[key] == pytest.approx(val[key], abs=1e-6)
    assert run["interval"] == pytest.approx(val["interval"])
    curves = pd.read_csv(dropout_run.metrics)
    best = curves.iloc[curves["val/loss"].idxmin()]
    for key in ("f1", "auroc", "calibration_error"):
        assert run[key] == pytest.approx(best[f"val/{key}"], abs=2e-6)

    stem = dropout_run.label.replace("/", "-")
    rows = read_predictions(tmp_path / "out" / f"{stem}_predictions.csv")
    assert rows["photograph"].nunique() == validated["photograph"].nunique()
    numbered = ["photograph"]  # among other images
    pd.testing.assert_frame_equal(
        rows.drop(columns=numbered), validated.drop(columns=numbered), atol=1e-6
    )
    truth, guess = rows["label"], rows["prediction"]
    assert run["confusion_matrix"] == metrics.confusion_matrix(truth, guess).tolist()
    assert run["f1"] == pytest.approx(metrics.f1_score(truth, guess, average="macro"))
    assert run["auroc"] == pytest.approx(metrics.roc_auc_score(truth == "1", rows["p_1"]))
    for name in "01":
        for figure, function in (
            ("precision", metrics.precision_score),
            ("recall", metrics.recall_score),
        ):
            share = run["classes"][name][figure]
            if share is None:
                continue
            assert share["value"] == pytest.approx(function(truth == name, guess == name))
            count = round(share["value"] * share["n"])
            assert share["interval"] == pytest.approx(wilson_interval(count, share["n"]))
    assert len(run["mistakes"]) == (truth != guess).sum()
    for picture in ("confusion_matrix", "mistakes"):
        assert (tmp_path / "out" / f"{stem}_{picture}.png").stat().st_size > 1000

    events = EventAccumulator(str(dropout_run.path / "evaluation" / "val")).Reload()
    for figure in ("accuracy", "loss", "f1", "auroc", "calibration_error"):
        (scalar,) = events.Scalars(f"summary/{figure}")
        assert scalar.value == pytest.approx(run[figure])
    assert set(events.Tags()["images"]) == {"pictures/confusion_matrix", "pictures/mistakes"}


def test_runs_are_compared_on_the_same_images(
    dropout_run: RunFolder,
    folds_run: RunFolder,
    drawn: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    csv = write_csv(tmp_path / "all.csv", drawn)
    runs = (dropout_run.path, folds_run.path)
    flags = ("--csv", csv, "--by", "camera")
    content = evaluate(*runs, *flags, drawn=drawn, output=tmp_path / "out")
    assert [run["networks"] for run in content["runs"]] == [1, 2]
    assert content["most_frequent"]["share"] >= 0.5
    groups = content["runs"][0]["groups"]
    assert {name: group["n"] for name, group in groups.items()} == {
        "east": 2,
        "north": 26,
        "south": 52,
    }
    total = sum(group["accuracy"] * group["n"] for group in groups.values())
    assert total / 80 == pytest.approx(content["runs"][0]["accuracy"])

    right = []
    for run in (dropout_run, folds_run):
        file = tmp_path / "out" / f"{run.label.replace('/', '-')}_predictions.csv"
        rows = read_predictions(file).set_index("file").sort_index()
        right.append((rows["label"] == rows["prediction"]).to_numpy())
    better, worse = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
    (difference,) = content["differences"]
    assert (difference["better"], difference["worse"]) == (better, worse)
    expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert difference["p_value"] == pytest.approx(expected)
    printed = capsys.readouterr().out
    assert "(2 networks)" in printed
    assert "exact McNemar" in printed

    evaluate(runs[0], *flags, "--fail-under", "1", drawn=drawn, output=tmp_path, code=BELOW)
    assert "--fail-under" in capsys.readouterr().out


def test_a_calibration_decides(dropout_run: RunFolder, drawn: Path, tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(dropout_run.path, tmp_path / "logs" / "mild" / "0"))
    temperatures = {"temperature": 2.0, "single_temperature": 2.0}
    calibration = {**temperatures, "positive": "1", "point": {"threshold": 0.0}}
    run.calibration.write_text(json.dumps(calibration))
    csv = write_csv(tmp_path / "all.csv", drawn)
    flags = (run.path, "--csv", csv)
    plain = evaluate(*flags, drawn=drawn, output=tmp_path / "a")["runs"][0]
    scaled = evaluate(*flags, "--calibrated", drawn=drawn, output=tmp_path / "b")["runs"][0]
    assert scaled["classes"]["0"]["precision"] is None  # none is predicted from this threshold on
    assert scaled["auroc"] == pytest.approx(plain["auroc"])
    assert scaled["loss"] != pytest.approx(plain["loss"])
    rows = [read_predictions(tmp_path / f / "mild-0_predictions.csv") for f in "ab"]
    odds = [np.log(r["p_1"] / r["p_0"]).set_axis(r["file"]).sort_index() for r in rows]
    np.testing.assert_allclose(odds[1], odds[0] / 2, atol=1e-9)


@pytest.mark.parametrize(
    ("row", "flags", "message"),
    [
        ("0.png,tram,north", (), r"labelled tram, and .* knows 0, 1"),
        ("nowhere.png,1,north", (), r"1 of 2 images .* nowhere\.png \(no such file"),
        ("nowhere.png,,north", (), "without a label"),
        ("nowhere.png,1,north", ("--by", "town"), r"no column town .* --by"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    dropout_run: RunFolder,
    drawn: Path,
    tmp_path: Path,
    row: str,
    flags: tuple[str, ...],
    message: str,
) -> None:
    lines = write_csv(tmp_path / "all.csv", drawn).read_text().splitlines()
    (tmp_path / "odd.csv").write_text("\n".join([*lines[:2], row]) + "\n")
    with pytest.raises(InputError, match=message):
        evaluate(
            dropout_run.path, "--csv", tmp_path / "odd.csv", *flags, drawn=drawn, output=tmp_path
        )


def test_images_of_16_bits(drawn: Path, tmp_path: Path) -> None:
    """Which value is white was decided for the training images, and holds for the pictures too."""
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    frame = pd.read_csv(drawn / "train.csv")
    names = []
    for name in frame["image_names"]:
        grey = np.asarray(Image.open(drawn / "images" / name).convert("L"), dtype=np.uint16)
        names.append(f"{Path(name).stem}.png")
        Image.fromarray(grey * 16).save(data / "images" / names[-1])  # 12 bits
    frame.assign(image_names=names).to_csv(data / "train.csv", index=False)
    flags = ["--data-dir", str(data), "--log-dir", str(tmp_path), "--name", "deep", *QUICK]
    assert fit([*flags, "--epochs", "1"]) == 0
    output = tmp_path / "out"
    evaluate(tmp_path / "deep" / "0", "--csv", data / "train.csv", drawn=data, output=output)
    with Image.open(output / "deep-0_mistakes.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
