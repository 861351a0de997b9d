"""From runs and labelled images to figures, files, and what the terminal says."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from vehicle_lightning.config import SourceSettings
from vehicle_lightning.data.images import WhiteValues, read_image
from vehicle_lightning.data.paths import ImageFile, listed_images
from vehicle_lightning.data.rows import read_csv
from vehicle_lightning.data.table import Table, read_table
from vehicle_lightning.errors import DataError, RunError, counted, join_first
from vehicle_lightning.evaluate.evaluation import Evaluation
from vehicle_lightning.evaluate.photographs import find_photographs
from vehicle_lightning.files import write_csv, write_text
from vehicle_lightning.model.ensemble import Ensemble, find_device
from vehicle_lightning.model.evaluation import predictions_table
from vehicle_lightning.model.load import load
from vehicle_lightning.runs.calibration import calibrated_by
from vehicle_lightning.runs.folder import RunFolder, name_of_run
from vehicle_lightning.runs.paired import (
    SIGNIFICANCE,
    Conclusion,
    Outcomes,
    conclude,
    paired_difference,
)
from vehicle_lightning.runs.plots import MISTAKES, plot_confusion_matrix, plot_mistakes, save
from vehicle_lightning.runs.tensorboard import write_events

if TYPE_CHECKING:
    from vehicle_lightning.evaluate.__main__ import EvaluateOptions

PICTURE_SIZE = 224  # pixels


@dataclass(frozen=True)
class EvaluateResult:
    """What was evaluated, the runs in the order given, how each but the first differs from it."""

    options: "EvaluateOptions"
    table: Table
    images: Sequence[ImageFile]
    class_names: Sequence[str]
    white: WhiteValues
    runs: Sequence[Evaluation]
    conclusions: Sequence[Conclusion]

    @property
    def most_frequent(self) -> tuple[str, float]:
        """The most frequent class, and its share of the images."""
        name, count = next(iter(self.table.class_counts.items()))
        return name, count / len(self.table)


def evaluate(options: "EvaluateOptions", checkpoints: Sequence[Sequence[Path]]) -> EvaluateResult:
    """Evaluate runs, each with its checkpoints, on the same images.

    Raises:
        InputError: a run, an image or a label is missing or wrong.
    """
    trained = load(checkpoints[0][0])
    table = _read(options, trained.settings)
    unknown = [name for name in table.class_names if name not in trained.class_names]
    if unknown:
        raise DataError(
            f"{options.csv} has images labelled {join_first(unknown)}, and {options.runs[0]} knows "
            f"{join_first(trained.class_names)}; correct the labels, or name their column with "
            f"--label-column."
        )
    photographs = find_photographs(table, [RunFolder(run) for run in options.runs])
    images = listed_images(table.names, table.image_dir or Path())
    groups = _groups(options, table, trained.settings) if options.by else None
    runs = []
    for name, files in zip(_names(options.runs), checkpoints, strict=True):
        predictions = _predict(files, images, table, trained.class_names, options)
        predictions["photograph"] = photographs[predictions.index]
        runs.append(Evaluation.of(name, len(files), predictions, trained.class_names, groups))
    first, *others = (Outcomes.from_predictions(run.predictions) for run in runs)
    differences = [paired_difference(other, first) for other in others]
    conclusions = conclude([difference for difference in differences if difference is not None])
    classes, white = trained.class_names, trained.white
    return EvaluateResult(options, table, images, classes, white, runs, conclusions)


def _read(options: "EvaluateOptions", trained: SourceSettings) -> Table:
    """Read names and labels; every row must be usable, but one class may stand alone."""
    csv = options.csv
    places: dict[str, Any] = {"data_dir": csv.parent, "csv": Path(csv.name)}
    if options.image_dir is not None:
        places["image_dir"] = options.image_dir.absolute()
    for column in ("image_column", "label_column"):
        places[column] = getattr(options, column) or getattr(trained, column)
    return read_table(SourceSettings(**places)).with_sound_rows()


def _groups(options: "EvaluateOptions", table: Table, trained: SourceSettings) -> "pd.Series[str]":
    """Return the cell of each image in the column --by."""
    by, usual = str(options.by), options.image_column or trained.image_column
    column = str(table.found.get("image_column", usual))
    csv = read_csv(options.csv, (column, by))
    cells = zip(csv.column(column, "--image-column"), csv.column(by, "--by"), strict=True)
    groups = dict(reversed(list(cells)))  # of a name that is listed again its first row
    return pd.Series({name: groups[name] or "(blank)" for name in table.names}, dtype=object)


def _names(runs: Sequence[Path]) -> list[str]:
    """Return their labels; of runs that are called alike the paths."""
    labels = [RunFolder(run).label if run.is_dir() else name_of_run(run) for run in runs]
    called = Counter(labels)
    return [name if called[name] == 1 else str(run) for name, run in zip(labels, runs, strict=True)]


def _predict(
    checkpoints: Sequence[Path],
    images: Sequence[ImageFile],
    table: Table,
    class_names: Sequence[str],
    options: "EvaluateOptions",
) -> pd.DataFrame:
    """Return predictions as `predictions_val.csv` has them, worst first.

    Raises:
        DataError: an image cannot be read.
        RunError: a run tells apart other classes, or was not calibrated.
    """
    decision, temperatures = calibrated_by(checkpoints, calibrated=options.calibrated)
    device = find_device(options.accelerator)
    ensemble = Ensemble.load(checkpoints, temperatures, device, flip_averaging=False)
    if list(ensemble.class_names) != list(class_names):
        raise RunError(
            f"{checkpoints[0]} tells apart {join_first(ensemble.class_names)}, but the first run "
            f"{join_first(class_names)}; evaluate them one by one."
        )
    predicted = ensemble.predict(images, options.batch_size)
    named = zip(predicted.names, predicted.faults, strict=True)
    faults = [f"{name} ({fault})" for name, fault in named if fault]
    if faults:
        raise DataError(
            f"{len(faults)} of {len(images)} images of {table.source} cannot be predicted: "
            f"{join_first(faults)}; repair them, or leave them out of the CSV."
        )
    codes = [class_names.index(table.class_names[label]) for label in table.labels]
    # The logarithms of probabilities are logits: their softmax is the probabilities.
    with np.errstate(divide="ignore"):
        logits = torch.from_numpy(np.log(predicted.probabilities))
    rows = predictions_table(logits, torch.tensor(codes), class_names, list(table.names))
    chosen = decision.decide(predicted.probabilities, class_names)
    rows["prediction"] = [class_names[chosen[place]] for place in rows.index]
    return rows


def write(result: EvaluateResult) -> list[Path]:
    """Write evaluation.json, and of each run its predictions, pictures, and events."""
    folder, csv = result.options.output, result.options.csv
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "evaluation.json"]
    write_text(written[0], json.dumps(_content(result), indent=2, ensure_ascii=False) + "\n")
    for run, path in zip(result.runs, result.options.runs, strict=True):
        stem, rows = run.name.strip("/").replace("/", "-"), run.predictions
        predictions, matrix, mistakes = (
            folder / f"{stem}_{name}"
            for name in ("predictions.csv", "confusion_matrix.png", "mistakes.png")
        )
        write_csv(predictions, rows)
        title = f"{run.name}: {csv.name}"
        save(plot_confusion_matrix(run.matrix, result.class_names, title=title), matrix)
        worst = rows[rows["label"] != rows["prediction"]].head(MISTAKES)
        pixels = [
            read_image(result.images[place].path, PICTURE_SIZE, result.white)
            for place in worst.index
        ]
        title = f"{run.name}: worst mistakes of {csv.name}"
        save(plot_mistakes(np.array(pixels), worst, title=title), mistakes)
        written += [predictions, matrix, mistakes]
        if path.is_dir():  # and no checkpoint file
            figures = {f"summary/{key}": value for key, value in run.figures().items()}
            pictures = {"pictures/confusion_matrix": matrix, "pictures/mistakes": mistakes}
            records = [(tag, content, 0) for tag, content in (figures | pictures).items()]
            write_events(path / "evaluation" / csv.stem, "evaluation", records)
    return written


def _content(result: EvaluateResult) -> dict[str, Any]:
    """Return the content of `evaluation.json`, as docs/evaluating.md has it."""
    options = result.options
    majority, share = result.most_frequent
    return {
        "csv": str(options.csv),
        "n": len(result.table),
        "class_names": list(result.class_names),
        "most_frequent": {"class": majority, "share": share},
        "by": options.by,
        "calibrated": options.calibrated,
        "runs": [
            {"run": run.name, "path": str(path), "networks": run.networks, **run.to_dict()}
            for run, path in zip(result.runs, options.runs, strict=True)
        ],
        "differences": [
            {
                "run": run.name,
                "baseline": result.runs[0].name,
                **{key: asdict(one.difference)[key] for key in ("n", "value", "better", "worse")},
                "interval": list(one.interval),
                "p_value": one.difference.p_networks,
                "p_adjusted": one.p_adjusted,
            }
            for run, one in zip(result.runs[1:], result.conclusions, strict=True)
        ],
    }


def lines(result: EvaluateResult) -> list[str]:
    """Return what the terminal says: the figures of each run, and how the others differ."""
    options, (majority, share) = result.options, result.most_frequent
    images = counted(len(result.table), "image")
    said = [f"{images} of {options.csv}; the most frequent class {majority} {share:.1%}"]
    for run in result.runs:
        said += run.to_lines(options.by)
    for run, conclusion in zip(result.runs[1:], result.conclusions, strict=True):
        difference, (low, high) = conclusion.difference, conclusion.interval
        said.append(
            f"{run.name} less {result.runs[0].name}: {100 * difference.value:+.1f} points "
            f"[{100 * low:+.1f}, {100 * high:+.1f}] ({difference.better:.0f} images only it got "
            f"right, {abs(difference.worse):.0f} only the other), p {conclusion.p_adjusted:.3g} "
            f"(exact McNemar, Holm): {conclusion.of_networks}"
        )
        if conclusion.p_adjusted >= SIGNIFICANCE:
            needed = difference.images_to_show
            enough = "" if needed is None else f"; the one seen takes {needed:,} images"
            smallest = difference.smallest_shown
            said.append(
                f"  one of {100 * smallest:.1f} points would have been shown, with a power of "
                f"80 %{enough}"
                if smallest < 1
                else "  none would have been shown: the images are too few"
            )
    return said
