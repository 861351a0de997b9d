"""The report: the best weights measured, judged and drawn, into the run folder."""

from pathlib import Path

import lightning as L
import pandas as pd
from sklearn.metrics import confusion_matrix

from vehicle_lightning.config import Settings
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.files import write_csv
from vehicle_lightning.fit.evaluation import measure, predict_rows
from vehicle_lightning.fit.tensorboard import NoEvents, RunLogger
from vehicle_lightning.model.load import load_classifier
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.plots import plot_confusion_matrix, plot_curves, plot_images, save
from vehicle_lightning.runs.summary import Status, Summary
from vehicle_lightning.runs.verdict import diagnose

SHOWN = 32  # mistakes


def write_report(
    run: RunFolder,
    settings: Settings,
    data: VehicleDataModule,
    history: pd.DataFrame,
    logger: RunLogger | NoEvents,
    trainer: L.Trainer,
    *,
    status: Status,
) -> Summary:
    """Measure the best weights on all images of both sides, and write down what came of it.

    Writes `predictions_val.csv`, `curves.png`, `confusion_matrix.png`, `mistakes.png`,
    `summary.json`, and the same into TensorBoard.
    """
    best = load_classifier(run.best_checkpoint)
    model, best_epoch = best.model, best.epochs
    predictions = {
        side: predict_rows(model, data, rows, trainer) for side, rows in data.rows.items()
    }
    train, val = measure(predictions["train"]), measure(predictions["val"])
    summary = Summary(
        train=train,
        val=val,
        best_epoch=best_epoch,
        epochs=len(history),
        seconds=float(history["seconds"].sum()),
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        verdict=diagnose(
            history,
            train,
            val,
            train_sample=len(data.train_sample),
            majority=float(predictions["val"]["label"].value_counts(normalize=True).max()),
            settings=settings,
        ),
        status=status,
    )
    write_csv(run.predictions, predictions["val"])
    pictures = _draw(run, data, history, predictions["val"], best_epoch)
    logger.finish(summary.figures(), str(summary), pictures)
    summary.write(run.summary)
    return summary


def _draw(
    run: RunFolder,
    data: VehicleDataModule,
    history: pd.DataFrame,
    predictions: pd.DataFrame,
    best_epoch: int,
) -> dict[str, Path]:
    names = data.table.class_names
    matrix = confusion_matrix(predictions["label"], predictions["prediction"], labels=names)
    mistakes = predictions[predictions["label"] != predictions["prediction"]].head(SHOWN)
    figures = {
        "curves": plot_curves(history, best_epoch=best_epoch, title=run.label),
        "confusion_matrix": plot_confusion_matrix(
            matrix, names, title=f"{run.label}: validation images"
        ),
        "mistakes": plot_images(
            data.pixels(mistakes.index.to_numpy()),
            [_caption(mistake) for _, mistake in mistakes.iterrows()],
            title=f"{run.label}: worst mistakes among the validation images",
        ),
    }
    for name, figure in figures.items():
        save(figure, run.picture(name))
    pictures = {name: run.picture(name) for name in (*figures, "train_batch")}
    return {name: path for name, path in pictures.items() if path.is_file()}


def _caption(mistake: "pd.Series[str]") -> str:
    label, prediction = mistake["label"], mistake["prediction"]
    probability = float(mistake[f"p_{prediction}"])
    return f"{mistake['file']}\n{label} taken for {prediction} ({probability:.0%})"
