"""What the predictions of labelled images come to: every share with its interval, as JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score

from vehicle_lightning.runs.predictions import measure
from vehicle_lightning.runs.statistics import Measurement, Share, calibration_error

MOST_MISTAKES = 20
NAMED = 5  # mistakes in the terminal


@dataclass(frozen=True)
class Evaluation:
    """One run on labelled images.

    Attributes:
        name: of the run.
        networks: their number.
        predictions: one row an image, worst first, as in `predictions_val.csv`.
        measured: accuracy, its interval, n, and mean loss.
        f1: mean over the classes that are labelled or predicted.
        auroc: mean over the classes, each against all others; not a number where a class has all
            images or none.
        calibration_error: expected calibration error in [0, 1], of 15 bins.
        classes: precision and recall by class; None where no image was predicted, or labelled, so.
        matrix: int64 of shape (C, C): number of images by label (row) and prediction (column).
        groups: the same as `measured`, by value of the column that was asked for.
        mistakes: the worst by loss, each with `file`, `label`, `prediction`, and `probability` of
            the prediction in [0, 1].
    """

    name: str
    networks: int
    predictions: pd.DataFrame
    measured: Measurement
    f1: float
    auroc: float
    calibration_error: float
    classes: dict[str, dict[str, Share | None]]
    matrix: NDArray[np.int64]
    groups: dict[str, Measurement]
    mistakes: list[dict[str, Any]]

    @classmethod
    def of(
        cls,
        name: str,
        networks: int,
        predictions: pd.DataFrame,
        class_names: Sequence[str],
        groups: "pd.Series[str] | None" = None,
    ) -> "Evaluation":
        """Sum up the predictions of a run.

        Args:
            name: of the run.
            networks: their number.
            predictions: one row an image, worst first.
            class_names: C names.
            groups: what each image is counted under, by its file; none where not asked for.
        """
        label, prediction = predictions["label"], predictions["prediction"]
        probabilities = predictions[[f"p_{name}" for name in class_names]].to_numpy()
        matrix = confusion_matrix(label, prediction, labels=list(class_names)).astype(np.int64)
        codes = np.array([class_names.index(name) for name in label], dtype=np.int64)
        wrong = predictions[label != prediction].head(MOST_MISTAKES)
        return cls(
            name=name,
            networks=networks,
            predictions=predictions,
            measured=measure(predictions),
            f1=float(f1_score(label, prediction, average="macro", zero_division=0)),
            auroc=_auroc(label.to_numpy(), probabilities, class_names),
            calibration_error=calibration_error(probabilities, codes),
            classes={
                name: {
                    "precision": _share_right(predictions[prediction == name]),
                    "recall": _share_right(predictions[label == name]),
                }
                for name in class_names
            },
            matrix=matrix,
            groups={}
            if groups is None
            else {
                str(value): measure(rows)
                for value, rows in predictions.groupby(predictions["file"].map(groups))
            },
            mistakes=[
                {
                    **{key: row[key] for key in ("file", "label", "prediction")},
                    "probability": row[f"p_{row['prediction']}"],
                }
                for _, row in wrong.iterrows()
            ],
        )

    def figures(self) -> dict[str, float]:
        """Return the single numbers; one may be none."""
        return {
            "accuracy": self.measured.accuracy,
            "loss": self.measured.loss,
            "f1": self.f1,
            "auroc": self.auroc,
            "calibration_error": self.calibration_error,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; what is not finite is None."""
        return {
            **self.measured.to_dict(),
            "f1": self.f1,
            "auroc": self.auroc if math.isfinite(self.auroc) else None,
            "calibration_error": self.calibration_error,
            "classes": {
                name: {key: share and asdict(share) for key, share in shares.items()}
                for name, shares in self.classes.items()
            },
            "confusion_matrix": self.matrix.tolist(),
            "groups": {value: group.to_dict() for value, group in self.groups.items()},
            "mistakes": self.mistakes,
        }

    def to_lines(self, by: str | None) -> list[str]:
        """Return the same for the terminal; the groups are those of the column `by`."""
        networks = f" ({self.networks} networks)" if self.networks > 1 else ""
        width = max(5, *map(len, self.classes))
        lines = [
            f"{self.name}{networks}",
            f"  accuracy  {self.measured}, loss {self.measured.loss:.3f}",
            f"  F1 {self.f1:.3f}, AUROC {self.auroc:.3f}, calibration error "
            f"{self.calibration_error:.3f}",
            f"  {'class':{width}}  {'precision':30}  recall",
            *(
                f"  {name:{width}}  {shares['precision'] or '-'!s:30}  {shares['recall'] or '-'}"
                for name, shares in self.classes.items()
            ),
        ]
        if self.groups:
            wide = max(map(len, [str(by), *self.groups]))
            lines.append(f"  {by!s:{wide}}  accuracy")
            lines += [f"  {value:{wide}}  {group}" for value, group in self.groups.items()]
        return lines + [
            f"  mistake  {bad['file']}: {bad['label']} taken for {bad['prediction']} "
            f"({bad['probability']:.1%})"
            for bad in self.mistakes[:NAMED]
        ]


def _share_right(predictions: pd.DataFrame) -> Share | None:
    if predictions.empty:
        return None
    measured = measure(predictions)
    return Share(measured.accuracy, measured.interval, measured.n)


def _auroc(
    label: NDArray[np.object_], probabilities: NDArray[np.float64], class_names: Sequence[str]
) -> float:
    of_classes = [
        float(roc_auc_score(label == name, probabilities[:, i]))
        for i, name in enumerate(class_names)
        if 0 < (label == name).sum() < len(label)
    ]
    return float(np.mean(of_classes)) if len(of_classes) == len(class_names) else math.nan
