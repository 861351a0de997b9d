"""The learning curve through its command line."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import QUICK, DataFolder
from vehicle_lightning.cli import INTERRUPTED
from vehicle_lightning.config import Settings
from vehicle_lightning.errors import InputError
from vehicle_lightning.fit.train import TrainResult
from vehicle_lightning.learning_curve.__main__ import main, parse_curve, steps_of_epoch
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.summary import Summary
from vehicle_lightning.settings_file import read_settings

SHARES = ("0.25", "0.5", "0.75", "1")


@pytest.fixture(scope="module")
def trained(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The flags of a curve that has been trained."""
    logs = tmp_path_factory.mktemp("logs")
    places = ("--data-dir", str(drawn), "--log-dir", str(logs), "--name", "curve")
    # A schedule is laid out over the epochs, so that less may change when a run is continued.
    flags = [*QUICK, *places, "--folds", "2", "--schedule", "cosine", "--shares", *SHARES]
    assert main(flags) == 0
    return flags


def folder(flags: list[str]) -> Path:
    return Path(flags[flags.index("--log-dir") + 1]) / "curve"


def test_a_curve_is_drawn_out_of_ordinary_runs(trained: list[str]) -> None:
    content = json.loads((folder(trained) / "learning_curve.json").read_text())
    (curve,) = content["curves"]
    assert curve["images"] == sorted(curve["images"])
    assert curve["images"][-1] == 40
    assert len(curve["errors"]) == len(SHARES)
    with Image.open(folder(trained) / "learning_curve.png") as picture:
        assert picture.width > 1000
    assert list(folder(trained).glob("learning_curve/events.*"))
    runs = [RunFolder(folder(trained) / f"share{share}") for share in SHARES]
    assert [len(run.fold_runs) for run in runs] == [2] * 4
    every = [read_settings(run.config) for run in runs]
    assert [one.train_fraction for one in every] == [0.25, 0.5, 0.75, 1]
    assert [one.epochs for one in every] == [6, 3, 3, 2]  # as many steps: 1, 2, 2 and 3 an epoch
    summaries = [Summary.read(run.fold_runs[0].summary) for run in runs]
    assert [one.train.n for one in summaries] == pytest.approx([10, 20, 30, 40], abs=2)
    assert len({one.val.n for one in summaries}) == 1


def test_what_is_finished_is_not_trained_again_and_a_switch_is_valued(
    trained: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def copied(settings: Settings, run: RunFolder, **_: Any) -> TrainResult:
        """Train nothing: the runs of the first configuration serve."""
        assert settings.batchnorm
        assert run.path.name.startswith("batchnorm-")
        share = folder(trained) / f"share{settings.train_fraction:g}"
        shutil.copytree(share, run.path, dirs_exist_ok=True)
        run.config.write_text(settings.to_yaml())
        return TrainResult(run, Summary.read(run.summary))

    monkeypatch.setattr("vehicle_lightning.fit.train.train", copied)
    assert main([*trained, "--against", "--batchnorm"]) == 0
    printed = capsys.readouterr().out
    assert {"curve", "with --batchnorm"} <= set(printed.splitlines())
    assert "training images" in printed.splitlines()[-3]
    content = json.loads((folder(trained) / "learning_curve.json").read_text())
    assert len(content["curves"]) == 2


def test_an_interrupted_curve_says_so(
    trained: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(_: Settings, run: RunFolder, **__: Any) -> TrainResult:
        return TrainResult(run, None)

    monkeypatch.setattr("vehicle_lightning.fit.train.train", stopped)
    assert main([*trained, "--seeds", "2"]) == INTERRUPTED
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--shares 0.5 1", "at least 4 different shares"),
        ("--folds 5 --fold 1", "over all --folds"),
        ("--train-fraction 0.5", "no --train-fraction"),
        ("--fast-dev-run", "keeps nothing"),
        ("--against --epochs 10", "change nothing"),
        ("--against --split-seed 7", "change which images validate"),
        ("--against --seeds 3", "put it before --against"),
        ("--against --image-dir cropped", "put it before --against"),
    ],
)
def test_mistakes_are_one_sentence(flags: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_curve(flags.split())


def test_a_curve_of_other_settings_is_kept(trained: list[str]) -> None:
    with pytest.raises(InputError, match=r"--dropout cannot change .* choose another --name"):
        main([*trained, "--dropout", "0.5"])


def test_data_that_fit_over_folds_alone_will_do(data_folder: DataFolder, tmp_path: Path) -> None:
    """A tenth of them would be fewer than the classes."""
    colours = [(40 * number, 255 - 40 * number, 90) for number in range(6)]
    rows: list[tuple[str, object]] = []
    for number in range(6 * 8):
        data_folder.add(f"{number}.png", colours[number % 6], (8 + number, 9))
        rows.append((f"{number}.png", f"class {number % 6}"))
    data_folder.write_csv(rows)
    flags = ["--data-dir", str(data_folder.path), "--log-dir", str(tmp_path), *QUICK]
    flags += ["--epochs", "1", "--folds", "2", "--duplicates", "off"]
    assert main([*flags, "--shares", "0.4", "0.6", "0.8", "1"]) == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 42),
        ({"accumulate_grad_batches": 8}, 6),
        ({"limit_train_batches": 4}, 4),
        ({"limit_train_batches": 0.25, "accumulate_grad_batches": 4}, 3),
        ({"overfit_batches": 2}, 2),
    ],
)
def test_steps_of_an_epoch(changes: dict[str, Any], expected: int) -> None:
    assert steps_of_epoch(Settings(**changes), 42) == expected


def test_the_second_configuration_stands_on_the_first() -> None:
    arguments = ["--config", "little_data", "--against", "--augment", "--epochs", "50"]
    (first, second), _, place = parse_curve(arguments)
    assert (first.name, second.name) == ("little_data", "with --augment --epochs 50")
    assert second.settings == first.settings.model_copy(update={"augment": True, "epochs": 50})
    assert (first.settings.folds, first.settings.channels) == (5, (16, 32, 64, 128))
    assert place == Path("logs/learning-curve-little_data")
