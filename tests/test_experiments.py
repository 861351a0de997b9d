from pathlib import Path

import pytest

from tests.conftest import Fit
from vehicle_lightning.config import read_settings

FILES = sorted((Path(__file__).parents[1] / "experiments").glob("*.yaml"))


def test_there_are_experiments() -> None:
    assert {"baseline", "dropout", "batchnorm", "combined"} <= {file.stem for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_experiment_trains(fit_quickly: Fit, file: Path) -> None:
    run = fit_quickly("--config", str(file), "--epochs", "1")
    asked = read_settings(file)
    saved = read_settings(run.config)
    assert (saved.dropout, saved.batchnorm) == (asked.dropout, asked.batchnorm)
    assert saved.learning_rate == asked.learning_rate
