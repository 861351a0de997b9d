"""The report: the best weights measured, judged and drawn, into the run folder."""

import pandas as pd
import torch
from sklearn.metrics import confusion_matrix

from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.files import write_csv
from vehicle_lightning.fit.other_data import OtherData
from vehicle_lightning.model.evaluation import evaluate, predictions_table
from vehicle_lightning.model.load import Checkpoint
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.plots import plot_confusion_matrix, plot_curves, plot_images, save
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.runs.summary import Status, Summary
from vehicle_lightning.runs.verdict import diagnose

SHOWN = 32  # mistakes

Data = VehicleDataModule | OtherData


def write_report(
    run: RunFolder,
    data: Data,
    history: pd.DataFrame,
    best: Checkpoint,
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
        logits, labels = evaluate(best.classifier, batches, device, precision)
        files = data.file_names(split, len(labels))
        table = predictions_table(logits, labels, data.class_names, files)
        right = (table["label"] == table["prediction"]).to_numpy(dtype=bool)
        measured[split] = Measurement.from_predictions(right, table["loss"].to_numpy())
        predictions[split] = table
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
        parameters=sum(p.numel() for p in best.classifier.parameters()),
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
    worst = val[val["label"] != val["prediction"]].head(SHOWN)
    figures = {
        "curves": plot_curves(history, best_epoch=best.epochs, title=run.label),
        "confusion_matrix": plot_confusion_matrix(
            matrix, names, title=f"{run.label}: validation images"
        ),
        "mistakes": plot_images(
            data.pixels_of("val", worst.index.to_numpy()),
            [_caption(mistake) for _, mistake in worst.iterrows()],
            title=f"{run.label}: worst mistakes among the validation images",
        ),
    }
    for name, figure in figures.items():
        save(figure, run.picture(name))
    summary.write(run.summary)
    return summary


def _caption(mistake: "pd.Series[str]") -> str:
    label, prediction = mistake["label"], mistake["prediction"]
    probability = float(mistake[f"p_{prediction}"])
    return f"{mistake['file']}\n{label} taken for {prediction} ({probability:.0%})"
