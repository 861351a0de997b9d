"""The predictions of a run, as `predictions_val.csv` has them: read back, and measured."""

from pathlib import Path

import pandas as pd

from vehicle_lightning.runs.statistics import Measurement

TEXT = ["file", "label", "prediction"]  # a class may be called 01 or None


def read_predictions(path: Path) -> pd.DataFrame:
    """Read predictions: names and labels as text, all else as numbers, NaN where they are none.

    Raises:
        OSError: the file cannot be read.
        KeyError, ValueError: it is no such file.
    """
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    figures = frame.columns.drop(TEXT)
    frame[figures] = frame[figures].apply(pd.to_numeric, errors="coerce")
    return frame


def measure(predictions: pd.DataFrame) -> Measurement:
    """Return accuracy, interval, n and mean loss of predicted images."""
    correct = (predictions["label"] == predictions["prediction"]).to_numpy(dtype=bool)
    return Measurement.from_predictions(correct, predictions["loss"].to_numpy(dtype=float))
