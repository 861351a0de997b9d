"""Calibrating a run through the command line."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import DataFolder, Fit
from tests.test_fit import latest_events
from vehicle_lightning.calibrate.__main__ import main
from vehicle_lightning.errors import RunError, SettingsError
from vehicle_lightning.runs.calibration import find_calibrations
from vehicle_lightning.runs.folder import RunFolder


@pytest.fixture
def run(seeds_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy, to be calibrated."""
    folder = tmp_path / "logs" / seeds_run.path.parent.name / seeds_run.path.name
    shutil.copytree(seeds_run.path, folder)
    return RunFolder(folder)


def test_a_run_over_folds_is_calibrated(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main([str(run.path), "--recall", "0.9"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("80 images that the networks of")
    content = json.loads(run.calibration.read_text())
    assert content["images"] == 80
    assert content["positive"] == "1"
    assert content["temperature"] == 1  # the mean of all folds is not calibrated
    assert "none for the mean of all 4" in output
    assert f"threshold   {content['point']['threshold']:.3f} of 1" in output
    assert run.picture("calibration").stat().st_size > 10_000
    assert "precision and recall of 1" in str(latest_events(run).Tags()["tensors"])

    before = content["fold_temperature"], content["single_temperature"]
    assert main([str(run.path), "--cost", "9", "--positive", "0"]) == 0
    content = json.loads(run.calibration.read_text())
    assert content["point"]["threshold"] == pytest.approx(0.1)
    assert (content["fold_temperature"], content["single_temperature"]) == before


def test_one_network_of_a_run_has_a_temperature_of_its_own(run: RunFolder) -> None:
    assert main([str(run.path)]) == 0
    content = json.loads(run.calibration.read_text())
    checkpoints = [one.best_checkpoint for one in run.fold_runs]
    assert {one.temperature for one in find_calibrations(checkpoints)} == {1}
    (alone,) = find_calibrations(checkpoints[:1])
    assert alone.temperature == content["single_temperature"]


def test_the_temperature_is_that_of_the_predictions(run: RunFolder) -> None:
    predictions = pd.read_csv(run.predictions)
    # Right in nine of ten, and sure of four in five: not sure enough.
    chance = np.where(pd.factorize(predictions["file"])[0] % 10 == 0, 0.2, 0.8)
    sure = np.where(predictions["label"] == 1, chance, 1 - chance)
    predictions["p_1"], predictions["p_0"] = sure, 1 - sure
    predictions.to_csv(run.predictions, index=False)
    assert main([str(run.path)]) == 0
    content = json.loads(run.calibration.read_text())
    assert content["fold_temperature"] == pytest.approx(np.log(4) / np.log(9), abs=0.02)
    wrong = np.mean(chance == 0.2)
    assert content["loss"][0] == pytest.approx(-wrong * np.log(0.2) - (1 - wrong) * np.log(0.8))
    assert content["point"] is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--recall", "0.9", "--cost", "2"], "not both"),
        (
            ["--positive", "car", "--cost", "2"],
            "--positive car is no class of the run; it has 0, 1",
        ),
    ],
)
def test_wishes_that_cannot_be_met(run: RunFolder, flags: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        main([str(run.path), *flags])
    assert not run.calibration.exists()


def test_several_classes_need_a_name(fit_quickly: Fit, data_folder: DataFolder) -> None:
    for number in range(30):
        data_folder.add(f"{number}.png", (8 * number, 90, 120), (32, 32))
    data_folder.write_csv([(f"{number}.png", "abc"[number % 3]) for number in range(30)])
    run = fit_quickly("--val-fraction", "0.4", "--epochs", "1", data_dir=data_folder.path)
    assert main([str(run.path)]) == 0
    assert run.picture("calibration").is_file()
    with pytest.raises(SettingsError, match="Name the class to find by --positive: a, b, c"):
        main([str(run.path), "--recall", "0.9"])
    assert main([str(run.path), "--recall", "0.9", "--positive", "b"]) == 0


def test_runs_without_sound_predictions_are_refused(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        main([str(tmp_path)])
    content = run.predictions.read_text()
    first, rest = content.split("\n", 1)
    run.predictions.write_text(f"{first}\n" + "\n".join(rest.splitlines()[:3]))
    with pytest.raises(RunError, match="too few images"):
        main([str(run.path)])
    diverged = pd.read_csv(io.StringIO(content)).assign(p_0=np.nan)
    diverged.to_csv(run.predictions, index=False)
    with pytest.raises(RunError, match="it diverged"):
        main([str(run.path)])
    sound = pd.read_csv(io.StringIO(content), dtype=str)
    for damaged in (sound.assign(p_0="2.5"), sound.drop(columns="p_1"), sound.assign(label="x")):
        damaged.assign(label=damaged["label"].where(damaged.index > 0, "0")).to_csv(
            run.predictions, index=False
        )
        with pytest.raises(RunError, match="is damaged"):
            main([str(run.path)])
    for shown, message in ((np.nan, "has no photograph"), (3, "too few images")):
        pd.read_csv(io.StringIO(content)).assign(photograph=shown).to_csv(
            run.predictions, index=False
        )
        with pytest.raises(RunError, match=message):
            main([str(run.path)])
    run.predictions.unlink()
    with pytest.raises(RunError, match=r"predictions_val\.csv is missing or damaged; finish"):
        main([str(run.path)])


def test_a_temperature_is_not_tried_on_duplicates_of_what_it_was_fitted_on(
    dropout_run: RunFolder, tmp_path: Path
) -> None:
    """Of calibrated probabilities nothing can be gained, however often each photograph is there."""
    rng = np.random.default_rng(0)
    left_alone = 0
    for trial in range(8):
        folder = RunFolder(tmp_path / str(trial))
        shutil.copytree(dropout_run.path, folder.path)
        chance = rng.uniform(0.05, 0.95, 40)
        label = (rng.random(40) < chance).astype(int)
        frame = pd.DataFrame(
            {"label": label, "prediction": (chance > 0.5).astype(int), "loss": 0.5}
        ).assign(p_0=1 - chance, p_1=chance, photograph=np.arange(40))
        frame = frame.loc[np.repeat(frame.index, 5)].reset_index(drop=True)
        frame.assign(file=[f"{n:03}.jpg" for n in frame.index]).to_csv(
            folder.predictions, index=False
        )
        assert main([str(folder.path)]) == 0
        left_alone += json.loads(folder.calibration.read_text())["temperature"] == 1
    assert left_alone >= 3  # by parts of files it is 0
