"""One calibration from the predictions of a run to its report."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from vehicle_lightning.calibrate.operating_point import (
    OperatingPoint,
    operating_point,
    threshold_for_cost,
    threshold_for_recall,
)
from vehicle_lightning.calibrate.plots import plot_calibration
from vehicle_lightning.calibrate.temperature import Scaling, fit_temperature, with_temperature
from vehicle_lightning.errors import RunError, SettingsError
from vehicle_lightning.files import write_text
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.plots import save
from vehicle_lightning.runs.predictions import read_predictions

PARTS = 5  # where the predictions are not of several folds


@dataclass(frozen=True)
class Calibrated:
    """What was found.

    Attributes:
        run: the run.
        images: number of images that its networks had not seen.
        positive: the class to find; None where there are more than two and none was named.
        scaling: the temperature and what it brings.
        point: the threshold asked for, if any.
    """

    run: RunFolder
    images: int
    positive: str | None
    scaling: Scaling
    point: OperatingPoint | None

    def to_json(self) -> str:
        """Return the content of `calibration.json`.

        Keys: `images`, `temperature`, `loss` and `error` (each as the network gives it, and with a
        temperature fitted on other images), `positive` (class or null) and `point` (null, or the
        attributes of `OperatingPoint`).
        """
        content = {
            "images": self.images,
            **asdict(self.scaling),
            "positive": self.positive,
            "point": None if self.point is None else asdict(self.point),
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def calibrate(
    run: RunFolder,
    *,
    recall: float | None = None,
    cost: float | None = None,
    positive: str | None = None,
) -> Calibrated:
    """Fit a temperature on the predictions of a run, choose a threshold, and write both down.

    Args:
        run: a finished run.
        recall: share of the positive images that must be found, in (0, 1].
        cost: of a missed positive image, where a false alarm costs 1.
        positive: the class to find; by default the second of two.

    Raises:
        RunError: the run has predicted nothing that could be calibrated.
        SettingsError: it has no such class, or several and none was named.
        OSError: the disk is full.
    """
    predictions = _read(run)
    class_names = [n.removeprefix("p_") for n in map(str, predictions) if n.startswith("p_")]
    positive = _checked(positive, class_names, is_needed=recall is not None or cost is not None)
    probabilities = predictions[[f"p_{name}" for name in class_names]].to_numpy(dtype=np.float64)
    labels = predictions["label"].map(class_names.index).to_numpy(dtype=np.int64)
    images = predictions["file"].nunique()
    scaling = fit_temperature(probabilities, labels, _parts(predictions))
    if positive is None:
        calibrated = Calibrated(run, images, None, scaling, None)
        write_text(run.calibration, calibrated.to_json())
        return calibrated

    column = class_names.index(positive)
    shares = with_temperature(probabilities, scaling.temperature)[:, column]
    is_positive = labels == column
    point = None
    if recall is not None or cost is not None:
        threshold = (
            threshold_for_cost(cost)
            if cost is not None
            else threshold_for_recall(shares, is_positive, recall or 1)
        )
        point = operating_point(shares, is_positive, threshold, len(predictions) // images)
    calibrated = Calibrated(run, images, positive, scaling, point)
    write_text(run.calibration, calibrated.to_json())
    _draw(calibrated, probabilities[:, column], shares, is_positive)
    return calibrated


def _read(run: RunFolder) -> pd.DataFrame:
    try:
        predictions = read_predictions(run.predictions)
    except (OSError, KeyError, ValueError) as error:
        raise RunError(
            f"{run.path} has no predictions to calibrate; let it finish: "
            f"python -m vehicle_lightning.fit --resume {run.path}"
        ) from error
    if not np.isfinite(predictions.filter(regex="^p_")).all(axis=None):
        raise RunError(f"{run.predictions} holds probabilities that are no numbers: it diverged.")
    if predictions["file"].nunique() < PARTS or predictions["label"].nunique() < 2:
        raise RunError(f"{run.predictions} holds too few images or only one class to calibrate on.")
    return predictions


def _checked(positive: str | None, class_names: Sequence[str], *, is_needed: bool) -> str | None:
    named = ", ".join(class_names)
    if positive is not None:
        if positive not in class_names:
            raise SettingsError(f"--positive {positive} is no class of the run; it has {named}.")
        return positive
    if len(class_names) == 2:
        return class_names[1]
    if is_needed:
        raise SettingsError(f"Name the class to find by --positive: {named}.")
    return None


def _parts(predictions: pd.DataFrame) -> NDArray[np.int64]:
    """Return the folds, as their networks differ; else parts of which each image lies in one."""
    if "fold" in predictions and len(set(predictions["fold"])) > 1:
        return predictions["fold"].to_numpy(dtype=np.int64)
    numbers: NDArray[np.int64] = pd.factorize(predictions["file"])[0].astype(np.int64)
    return numbers % PARTS


def _draw(
    calibrated: Calibrated,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
) -> None:
    """Draw the picture, and the curve of precision over recall into TensorBoard."""
    run, positive = calibrated.run, str(calibrated.positive)
    figure = plot_calibration(
        before,
        after,
        is_positive,
        positive=positive,
        point=calibrated.point,
        title=f"{run.label}: {calibrated.images} unseen images",
    )
    save(figure, run.picture("calibration"))
    with SummaryWriter(str(run.path)) as writer:
        writer.add_pr_curve(f"precision and recall of {positive}", is_positive, after)
