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
from vehicle_lightning.calibrate.temperature import (
    Scaling,
    fit_temperature,
    mean_with_temperature,
)
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
        seeds: number of networks that predicted each image.
        folds: number of folds.
        positive: the class to find; None where there are more than two and none was named.
        scaling: the temperature of the networks of one fold together, and what it brings.
        single_temperature: of one network by itself.
        point: the threshold asked for, if any.
    """

    run: RunFolder
    images: int
    seeds: int
    folds: int
    positive: str | None
    scaling: Scaling
    single_temperature: float
    point: OperatingPoint | None

    def to_json(self) -> str:
        """Return the content of `calibration.json`.

        `temperature` is that of each network where all of the run predict together; of several
        folds it is 1, as no image is unseen by all networks, and their mean is soft already
        (`docs/statistics.md`).
        """
        scaling = asdict(self.scaling)
        fold_temperature = scaling.pop("temperature")
        content = {
            "images": self.images,
            "temperature": 1.0 if self.folds > 1 else fold_temperature,
            "single_temperature": self.single_temperature,
            "fold_temperature": fold_temperature,
            **scaling,
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
    networks, labels, folds, photograph = _by_image(predictions, class_names)
    # The duplicates of a photograph are in one part.
    parts = folds if len(set(folds)) > 1 else photograph % PARTS
    scaling, scaled = fit_temperature(networks, labels, parts)
    seeds, images = networks.shape[:2]
    single = scaling
    if seeds > 1:
        every = networks.reshape(1, -1, len(class_names))
        single, _ = fit_temperature(every, np.tile(labels, seeds), np.tile(parts, seeds))
    before = networks.mean(axis=0)
    # Of each image the class to find; where none is named, the one that is predicted.
    column = before.argmax(axis=1) if positive is None else class_names.index(positive)
    asked = (np.arange(images), column)
    is_positive = labels == column
    shares = mean_with_temperature(networks, scaling.temperature)[asked]
    if (cost is not None or recall is not None) and not is_positive.any():
        raise RunError(
            f"{run.predictions} holds no image of {positive}; name another class by --positive."
        )
    point = None
    if cost is not None:
        threshold = threshold_for_cost(cost)
        point = operating_point(threshold, scaled[asked] >= threshold, is_positive, photograph)
    elif recall is not None:
        called, threshold = _called_for_recall(shares, is_positive, recall, parts)
        point = operating_point(threshold, called, is_positive, photograph)
    calibrated = Calibrated(
        run, images, seeds, len(set(folds)), positive, scaling, single.temperature, point
    )
    write_text(run.calibration, calibrated.to_json())
    title = f"{run.label}: {images} unseen images"
    figure = plot_calibration(
        before[asked], shares, is_positive, positive=positive, point=point, title=title
    )
    save(figure, run.picture("calibration"))
    if positive is not None:
        with SummaryWriter(str(run.path)) as writer:
            writer.add_pr_curve(f"precision and recall of {positive}", is_positive, shares)
    return calibrated


def _called_for_recall(
    shares: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    recall: float,
    parts: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], float]:
    """Choose a threshold by all images; call each part by one that the others choose."""
    called = np.empty_like(is_positive)
    for part in np.unique(parts):
        own = parts == part
        others = is_positive & ~own
        if not others.any():
            raise RunError("Too few positive images to choose a threshold for a recall.")
        called[own] = shares[own] >= threshold_for_recall(shares[~own], others[~own], recall)
    return called, threshold_for_recall(shares, is_positive, recall)


def _by_image(
    predictions: pd.DataFrame, class_names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return probabilities of shape (S, N, C), and of each image label, fold and photograph.

    Where a fold has fewer seeds than another, as in a run that was interrupted, the first count.
    """
    predictions = predictions.sort_values(
        [name for name in ("file", "seed") if name in predictions], ignore_index=True
    )
    nth = predictions.groupby("file").cumcount()
    seeds = int(predictions.groupby("file").size().min())
    columns = [f"p_{name}" for name in class_names]
    networks = np.stack(
        [predictions.loc[nth == n, columns].to_numpy(dtype=np.float64) for n in range(seeds)]
    )
    first = predictions[nth == 0]
    labels = np.array([class_names.index(label) for label in first["label"]], dtype=np.int64)
    folds = first["fold"].fillna(0) if "fold" in first else np.zeros(len(first))
    shown = first["photograph"] if "photograph" in first else first["file"]
    return networks, labels, np.array(folds, dtype=np.int64), pd.factorize(shown)[0]


def _read(run: RunFolder) -> pd.DataFrame:
    predictions = read_predictions(run.predictions)
    chances = predictions.filter(regex="^p_")
    if not np.isfinite(chances).all(axis=None):
        raise RunError(f"{run.predictions} holds probabilities that are no numbers: it diverged.")
    sums_to_one = np.isclose(chances.sum(axis=1), 1, atol=0.01).all()
    if not (sums_to_one and set("p_" + predictions["label"]) <= set(chances)):
        raise RunError(
            f"{run.predictions} is damaged: the probabilities of an image do not add up to 1, or "
            f"its label is none of the classes; train the run again."
        )
    photographs = predictions["photograph" if "photograph" in predictions else "file"].nunique()
    if photographs < PARTS or predictions["label"].nunique() < 2:
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
