"""Predictions as CSV files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vehicle_lightning.errors import DataError
from vehicle_lightning.files import holds_predictions, write_csv

if TYPE_CHECKING:
    import pandas as pd

    from vehicle_lightning.model.ensemble import Predicted
    from vehicle_lightning.runs.calibration import Calibration


def check_output(path: Path) -> None:
    """Check that a file can become one of predictions.

    Raises:
        DataError: its folder is missing, or it is there already and holds something else.
    """
    check_folder(path)
    if path.exists() and not holds_predictions(path):
        raise DataError(f"{path} is there already and holds no predictions; name another --output.")


def check_folder(path: Path) -> None:
    """Check that the folder of a file to write is there.

    Raises:
        DataError: it is not, or the path itself is a folder.
    """
    if not path.parent.is_dir():
        raise DataError(f"There is no folder {path.parent} to write {path.name} to.")
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file to write to.")


def write_predictions(
    path: Path, predicted: "Predicted", class_names: Sequence[str], calibration: "Calibration"
) -> "pd.DataFrame":
    """Write one row an image, whole or not at all, and return the rows.

    The columns: `file`, `prediction`, `p_<class>` for each class (in [0, 1], summing to 1),
    `entropy` of these probabilities (in nats, from 0 to the logarithm of the number of classes),
    `error` (why an image could not be predicted; then the columns before it, but for `file`, are
    empty).

    The calibration decides from the probabilities on a class.

    Raises:
        OSError: writing failed.
    """
    import numpy as np
    import pandas as pd
    from scipy.special import entr

    shares = predicted.probabilities
    classes = np.array(class_names, dtype=object)[calibration.decide(shares, class_names)]
    is_predicted = [not fault for fault in predicted.faults]
    columns = {
        "file": predicted.names,
        "prediction": np.where(is_predicted, classes, ""),
        **{f"p_{name}": shares[:, column] for column, name in enumerate(class_names)},
        "entropy": entr(shares).sum(axis=1),
        "error": predicted.faults,
    }
    rows = pd.DataFrame(columns).astype(dict.fromkeys(["file", "prediction", "error"], object))
    write_csv(path, rows)
    return rows
