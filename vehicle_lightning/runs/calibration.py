"""A calibration put to use: the temperature and the threshold of a run, for new images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from vehicle_lightning.errors import RunError
from vehicle_lightning.runs.folder import RunFolder


class Threshold(BaseModel):
    """From which probability on an image counts as positive, in [0, 1]."""

    threshold: float = Field(ge=0, le=1)


class Calibration(BaseModel):
    """What `calibration.json` says of how to predict.

    Attributes:
        temperature: what the logits are divided by.
        positive: the class that the threshold is for.
        point: the threshold; None where none was chosen.
    """

    temperature: float = Field(gt=0)
    positive: str | None
    point: Threshold | None

    def decide(
        self, probabilities: NDArray[np.float64], class_names: Sequence[str]
    ) -> NDArray[np.int64]:
        """Return the predicted class of each image, int64 of shape (N,).

        That is the positive class from its threshold on, and else the likeliest of the others;
        without a threshold the likeliest.

        Args:
            probabilities: shape (N, C), after the temperature.
            class_names: C names.
        """
        if self.point is None or self.positive is None:
            return np.asarray(probabilities.argmax(axis=1))
        column = class_names.index(self.positive)
        others = probabilities.copy()
        others[:, column] = -np.inf
        is_positive = probabilities[:, column] >= self.point.threshold
        return np.asarray(np.where(is_positive, column, others.argmax(axis=1)))


UNCALIBRATED = Calibration(temperature=1, positive=None, point=None)


def find_calibration(checkpoint: Path) -> Calibration:
    """Read the calibration of the run that a checkpoint belongs to.

    That of a training inside a run over folds or seeds is the run's.

    Raises:
        RunError: it was not calibrated, or the file is damaged.
    """
    run = RunFolder(checkpoint.absolute().parent.parent)
    if run.is_fold_run and not run.calibration.is_file():
        run = RunFolder(run.path.parent)
    try:
        return Calibration.model_validate_json(run.calibration.read_bytes())
    except FileNotFoundError as error:
        raise RunError(
            f"{checkpoint} belongs to no run that was calibrated; first run "
            f"python -m vehicle_lightning.calibrate RUN, or leave out --calibrated."
        ) from error
    except ValidationError as error:
        raise RunError(f"{run.calibration} is damaged; calibrate the run again.") from error


def same_decision(calibrations: Sequence[Calibration]) -> Calibration:
    """Return what decides for networks that are averaged.

    Raises:
        RunError: they have other thresholds.
    """
    if len({(one.positive, one.point and one.point.threshold) for one in calibrations}) > 1:
        raise RunError(
            "The runs have different thresholds; calibrate them with the same --cost, or predict "
            "by one of them."
        )
    return calibrations[0]
