"""Run folders as `fit` leaves them, made up without training."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vehicle_lightning.config import Settings
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.runs.summary import Summary
from vehicle_lightning.runs.verdict import Verdict


def make_run(
    log_dir: Path,
    name: str,
    right: Sequence[bool] | NDArray[np.bool_],
    *,
    fingerprint: str = "data",
    losses: Sequence[float] = (0.6, 0.4, 0.3),
    files: Sequence[str] | None = None,
    **settings: Any,
) -> RunFolder:
    """Write one run of a single training that is right on the given validation images."""
    run = RunFolder.create(log_dir, name)
    correct = np.asarray(right, dtype=bool)
    val = Measurement.from_predictions(correct, np.full(len(correct), losses[-1]))
    train = Measurement.from_predictions(np.ones(1000, dtype=bool), np.full(1000, losses[-1]))
    summary = Summary(
        train=train,
        val=val,
        test=None,
        most_frequent_class=0.5,
        best_epoch=len(losses),
        epochs=len(losses),
        seconds=60.0,
        parameters=1234,
        verdict=Verdict("sound", "It is.", ()),
        status="finished",
    )
    summary.write(run.summary)
    epochs = len(losses)
    settings = {"name": name, "epochs": epochs} | settings
    run.config.write_text(Settings(**settings).to_yaml(), encoding="utf-8")
    environment = {
        "data": {"fingerprint": fingerprint, "class_names": ["0", "1"]},
        "started": f"2026-01-01T00:00:{len(list(log_dir.glob('*/*'))):02}",
    }
    run.environment.write_text(json.dumps(environment), encoding="utf-8")
    write_predictions(run, correct, files)
    columns = ("train/loss", "val/loss", "train/running_loss")
    curves = pd.DataFrame({"epoch": range(1, epochs + 1)} | dict.fromkeys(columns, losses))
    curves["val/accuracy"] = curves["train/accuracy"] = curves["val/f1"] = correct.mean()
    curves.to_csv(run.metrics, index=False)
    return run


def write_predictions(
    run: RunFolder, correct: NDArray[np.bool_], files: Sequence[str] | None = None
) -> None:
    """Write which images were classified correctly."""
    names = [f"{number}.jpg" for number in range(len(correct))] if files is None else list(files)
    pd.DataFrame(
        {"file": names, "label": "1", "prediction": np.where(correct, "1", "0"), "loss": 0.5}
    ).to_csv(run.predictions, index=False)
