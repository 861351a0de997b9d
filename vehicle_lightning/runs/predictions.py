"""The predictions of a run, as `predictions_val.csv` has them: read back, and measured."""

from pathlib import Path

import numpy as np
import pandas as pd

from vehicle_lightning.errors import RunError
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.statistics import Measurement

TEXT = ["file", "label", "prediction"]  # a class may be called 01 or None


def read_predictions(path: Path) -> pd.DataFrame:
    """Read predictions: names and labels as text, all else as numbers, NaN where they are none.

    Raises:
        RunError: the file is missing, empty, or no such file, or an image has no photograph.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        figures = frame.columns.drop(TEXT)
    except (OSError, KeyError, ValueError) as error:
        raise _unusable(path) from error
    if frame.empty:
        raise _unusable(path)
    frame[figures] = frame[figures].apply(pd.to_numeric, errors="coerce")
    if "photograph" in frame and not np.isfinite(frame["photograph"]).all():
        raise RunError(f"{path} is damaged: an image has no photograph.")
    return frame


def _unusable(path: Path) -> RunError:
    return RunError(
        f"{path} is missing or damaged; finish the run: python -m vehicle_lightning.fit --resume "
        f"{RunFolder(path.parent).quoted}"
    )


def measure(predictions: pd.DataFrame) -> Measurement:
    """Return accuracy, interval, n and mean loss of predicted images, each counted once.

    Args:
        predictions: one row an image and training, with `file`, `label`, `prediction`, `loss` and,
            where duplicates are known, `photograph`, equal for all duplicates.
    """
    right = np.array(predictions["label"] == predictions["prediction"], dtype=np.float64)
    image = pd.factorize(predictions["file"])[0]
    trainings = np.bincount(image)
    # Not a number where one of the losses is none.
    losses = np.bincount(image, weights=predictions["loss"].to_numpy(dtype=float)) / trainings
    photograph = None
    if "photograph" in predictions:
        first = ~predictions["file"].duplicated()
        photograph = predictions.loc[first, "photograph"].to_numpy(dtype=np.int64)
    return Measurement.from_predictions(
        np.bincount(image, weights=right) / trainings, losses, photograph
    )
