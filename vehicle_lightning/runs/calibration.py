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
        temperature: what the logits of each network of the run are divided by before their
            probabilities are averaged.
        single_temperature: what those of one network are divided by that predicts alone.
        positive: the class that the threshold is for.
        point: the threshold; None where none was chosen.
    """

    temperature: float = Field(gt=0)
    single_temperature: float = Field(gt=0)
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


UNCALIBRATED = Calibration(temperature=1, single_temperature=1, positive=None, point=None)


def find_calibrations(checkpoints: Sequence[Path]) -> list[Calibration]:
    """Read the calibrations of the runs that checkpoints belong to, one for each.

    That of a training inside a run over folds or seeds is the run's. A mean of networks is softer
    than each of them, so that one by itself has a temperature of its own.

    Raises:
        RunError: a run was not calibrated, or the file is damaged.
    """
    own = [RunFolder(checkpoint.absolute().parent.parent) for checkpoint in checkpoints]
    runs = [
        RunFolder(run.path.parent) if run.is_fold_run and not run.calibration.is_file() else run
        for run in own
    ]
    calibrations = []
    for run, checkpoint in zip(runs, checkpoints, strict=True):
        try:
            found = Calibration.model_validate_json(run.calibration.read_bytes())
        except FileNotFoundError as error:
            raise RunError(
                f"{checkpoint} belongs to no run that was calibrated; first run "
                f"python -m vehicle_lightning.calibrate RUN, or leave out --calibrated."
            ) from error
        except ValidationError as error:
            raise RunError(f"{run.calibration} is damaged; calibrate the run again.") from error
        if runs.count(run) == 1:
            found = found.model_copy(update={"temperature": found.single_temperature})
        calibrations.append(found)
    return calibrations


def calibrated_by(
    checkpoints: Sequence[Path], *, calibrated: bool
) -> tuple[Calibration, list[float]]:
    """Return what decides for networks whose probabilities are averaged, and their temperatures.

    Args:
        checkpoints: those of the networks.
        calibrated: whether their calibrations are asked for; else the likeliest class decides.

    Raises:
        RunError: a run was not calibrated, or the runs have other thresholds.
    """
    if not calibrated:
        return UNCALIBRATED, [1.0] * len(checkpoints)
    calibrations = find_calibrations(checkpoints)
    if len({(one.positive, one.point and one.point.threshold) for one in calibrations}) > 1:
        raise RunError(
            "The runs have different thresholds; calibrate them with the same --cost, or predict "
            "by one of them."
        )
    return calibrations[0], [one.temperature for one in calibrations]
