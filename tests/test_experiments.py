import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torchvision import models

from tests.conftest import QUICK, Fit
from vehicle_lightning.settings_file import read_settings

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "experiments").glob("*.yaml"))
OVERRIDDEN = {"image_size", "initial_size", "batch_size", "epochs", "seeds", "folds"} | {
    *("backbone", "precision")
}


def test_there_are_experiments() -> None:
    pairs = {"little_data", "overfit", "underfit", "slow"}
    assert {
        *("baseline", "dropout", "batchnorm", "combined"),
        *("augmented", "augmented_flip", "augmented_geometry", "augmented_colour"),
        *("augmented_erasing", "deeper", "wider", "dense", "best", "backbone"),
        *pairs,
        *(f"{trouble}_cured" for trouble in pairs),
    } <= {file.stem for file in FILES}


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ((), "logs/experiments"),
        (("DATA=my/photos/",), "logs/experiments-photos"),
        (("SIZE=96", "DATA=photos"), "logs/experiments-photos-96"),
        (("SIZE=96", "LOGS=logs/mine"), "logs/mine"),
    ],
)
def test_other_data_and_sizes_are_other_runs(variables: tuple[str, ...], place: str) -> None:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    command = ["make", "--dry-run", "experiments", "ONLY=baseline", *variables]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"--log-dir {place} " in done.stdout
    assert f"run={place}/$name/0" in done.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_experiment_trains(fit_quickly: Fit, file: Path, tmp_path: Path) -> None:
    asked = read_settings(file)
    small = [] if asked.initial_size is None else ["--initial-size", "32"]
    if asked.backbone is not None:  # its weights may not be at hand
        name, weights = "shufflenet_v2_x0_5", tmp_path / "weights.pth"
        torch.save(models.get_model(name).state_dict(), weights)
        small += ["--backbone", name, "--weights", str(weights)]
    run = fit_quickly("--config", str(file), "--epochs", "1", *small)
    saved = read_settings(run.config)
    for name in asked.model_dump(exclude_defaults=True).keys() - OVERRIDDEN:
        assert getattr(saved, name) == getattr(asked, name), name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_experiment_holds_only_what_differs(file: Path) -> None:
    keys = set(re.findall(r"^(\w+):", file.read_text(), re.MULTILINE))
    assert keys == set(read_settings(file).model_dump(exclude_defaults=True))
    assert file.read_text().startswith("# ")


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_experiments_trains_compares_and_does_not_repeat(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "installed").write_text("")  # what runs this test will do
    logs = tmp_path / "logs"

    def make(*flags: str) -> str:
        command = ["make", "experiments", "ONLY=baseline dropout", "SIZE=32", f"DATA={drawn}"]
        places = [f"LOGS={logs}", f"VENV={tmp_path}", f"BIN={Path(sys.executable).parent}"]
        done = subprocess.run(
            [*command, *places, f"ARGS={' '.join(flags)}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = make(*QUICK[2:], "--folds", "2", "--epochs", "1")
    assert first.count("pooled  2 of 2 trainings") == 2
    assert len(pd.read_csv(logs / "comparison.csv")) == 2
    second = make()
    assert f"{logs}/baseline/0 is finished." in second
    assert "pooled" not in second
    assert "dropout/0" in second
