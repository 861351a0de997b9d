"""The report: the best weights measured, judged and drawn, into the run folder."""

import pandas as pd
import torch
from sklearn.metrics import confusion_matrix

from vehicle_lightning.config import Settings
from vehicle_lightning.data.datamodule import Split, VehicleDataModule
from vehicle_lightning.files import write_csv
from vehicle_lightning.fit.other_data import OtherData
from vehicle_lightning.model.evaluation import evaluate_batches, predictions_table
from vehicle_lightning.model.load import Checkpoint
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

Data = VehicleDataModule | OtherData


def write_report(
    run: RunFolder,
    settings: Settings,
    data: Data,
    history: pd.DataFrame,
    best: Checkpoint,
    *,
    device: torch.device,
    status: Status,
) -> Summary:
    """Measure the best weights on all images of every split, and write down what came of it.

    Writes `predictions_val.csv`, `curves.png`, `confusion_matrix.png`, `mistakes.png` and
    `summary.json`. Test images are measured last, into `predictions_test.csv`, and decide nothing.
    """
    options = (device, settings.precision)
    train = predict_split(best.classifier, data, "train", *options)
    val = predict_split(best.classifier, data, "val", *options)
    test = None
    if "test" in data.splits:
        test = predict_split(best.classifier, data, "test", *options)
        write_csv(run.test_predictions, test)
    most_frequent_class = float(val["label"].value_counts(normalize=True).max())
    summary = Summary(
        train=measure(train),
        val=measure(val),
        test=None if test is None else measure(test),
        most_frequent_class=most_frequent_class,
        best_epoch=best.epochs,
        epochs=len(history),
        seconds=float(history["seconds"].sum()),
        parameters=sum(p.numel() for p in best.classifier.parameters()),
        verdict=diagnose(
            history,
            measure(train),
            measure(val),
            train_sample=data.measured_each_epoch or len(train),
            majority=most_frequent_class,
            settings=settings,
        ),
        status=status,
    )
    write_csv(run.predictions, val)
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


def predict_split(
    classifier: ImageClassifier, data: Data, split: Split, device: torch.device, precision: str
) -> pd.DataFrame:
    """Return the predictions of all images of a split, worst first, as `predictions_table` does."""
    seen = evaluate_batches(classifier, data.loader(split), device, precision)
    logits, labels = zip(*((one.logits, one.labels) for one in seen), strict=True)
    count = sum(map(len, labels))
    return predictions_table(
        torch.cat(logits).cpu().double(),
        torch.cat(labels).cpu(),
        data.class_names,
        data.file_names(split, count),
    )
