"""Evaluation: the best weights over all images of a side, in eval mode, on clean images."""

import lightning as L
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.runs.statistics import Measurement


def predict_rows(
    model: VehicleClassifier, data: VehicleDataModule, rows: NDArray[np.int64], trainer: L.Trainer
) -> pd.DataFrame:
    """Predict images of the data set, worst first.

    Args:
        model: the classifier, whose class names must be those of the data.
        data: the data set.
        rows: int64 of shape (N,), which images.
        trainer: what to run on; one device.

    Returns:
        One row an image: `file`, `label`, `prediction`, `p_<class>` for each class (float, summing
        to 1), `loss` (cross-entropy, unweighted), in descending order of `loss`; its index is the
        row in the data set.
    """
    batches = trainer.predict(model, data.measured(rows))
    logits = torch.cat([batch for batch in batches or [] if isinstance(batch, torch.Tensor)])
    logits = logits.double().cpu()
    labels = torch.from_numpy(data.table.labels[rows])
    names = np.array(data.table.class_names, dtype=object)
    probabilities = logits.softmax(dim=1).numpy()
    frame = pd.DataFrame(
        {
            "file": [data.table.names[row] for row in rows],
            "label": names[labels.numpy()],
            "prediction": names[logits.argmax(dim=1).numpy()],
            **{f"p_{name}": probabilities[:, i] for i, name in enumerate(names)},
            "loss": torch.nn.functional.cross_entropy(logits, labels, reduction="none").numpy(),
        },
        index=rows,
    )
    return frame.sort_values("loss", ascending=False, kind="stable")


def measure(predictions: pd.DataFrame) -> Measurement:
    """Return accuracy, interval, n and mean loss of predicted images."""
    correct = (predictions["label"] == predictions["prediction"]).to_numpy(dtype=bool)
    return Measurement.from_predictions(correct, predictions["loss"].to_numpy())
