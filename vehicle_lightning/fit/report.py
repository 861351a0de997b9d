"""The report: the best weights measured, judged and drawn, into the run folder."""

import pandas as pd
import torch
from sklearn.metrics import confusion_matrix

from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.files import write_csv
from vehicle_lightning.fit.other_data import Data
from vehicle_lightning.model.evaluation import evaluate, predictions_table
from vehicle_lightning.model.network import ImageClassifier
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.plots import (
    MISTAKES,
    plot_confusion_matrix,
    plot_curves,
    plot_mistakes,
    save,
)
from vehicle_lightning.runs.predictions import measure
from vehicle_lightning.runs.summary import Status, Summary
from vehicle_lightning.runs.verdict import diagnose


def write_report(
    run: RunFolder,
    data: Data,
    history: pd.DataFrame,
    best: ImageClassifier,
    device: torch.device,
    status: Status,
) -> Summary:
    """Measure the best weights on all images of every split, and write down what came of it.

    Writes `predictions_val.csv`, `curves.png`, `confusion_matrix.png`, `mistakes.png` and
    `summary.json`. Test images are measured last, into `predictions_test.csv`, and decide nothing.
    """
    predictions, measured = {}, {}
    for split in data.splits:
        batches, precision = data.loader(split), data.settings.precision
        logits, labels = evaluate(best, batches, device, precision)
        files = data.file_names(split, len(labels))
        table = predictions_table(logits, labels, data.class_names, files)
        if isinstance(data, VehicleDataModule):
            table["photograph"] = data.duplicates.certain[data.rows[split][table.index]]
        predictions[split], measured[split] = table, measure(table)
    val = predictions["val"]
    majority = float(val["label"].value_counts(normalize=True).max())
    summary = Summary(
        train=measured["train"],
        val=measured["val"],
        test=measured.get("test"),
        most_frequent_class=majority,
        best_epoch=best.epochs,
        epochs=len(history),
        seconds=float(history["seconds"].sum()),
        parameters=sum(p.numel() for p in best.parameters()),
        verdict=diagnose(
            history,
            measured["train"],
            measured["val"],
            train_sample=data.measured_each_epoch or measured["train"].n,
            majority=majority,
            settings=data.settings,
        ),
        status=status,
    )
    write_csv(run.predictions, val)
    if "test" in predictions:
        write_csv(run.test_predictions, predictions["test"])
    names = data.class_names
    matrix = confusion_matrix(val["label"], val["prediction"], labels=names)
    worst = val[val["label"] != val["prediction"]].head(MISTAKES)
    figures = {
        "curves": plot_curves(history, best_epoch=best.epochs, title=run.label),
        "confusion_matrix": plot_confusion_matrix(
            matrix, names, title=f"{run.label}: validation images"
        ),
        "mistakes": plot_mistakes(
            data.pixels_of("val", worst.index.to_numpy()),
            worst,
            title=f"{run.label}: worst mistakes among the validation images",
        ),
    }
    for name, figure in figures.items():
        save(figure, run.picture(name))
    summary.write(run.summary)
    return summary
