"""Predict images by trained networks: `python -m vehicle_lightning.predict RUN photos`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import tyro
from pydantic import Field, model_validator

from vehicle_lightning.cli import parse_options, run_command
from vehicle_lightning.config import Accelerator, SettingsGroup
from vehicle_lightning.data.paths import ImageFile, listed_images
from vehicle_lightning.data.rows import read_csv
from vehicle_lightning.errors import DataError, RunError, SettingsError, counted
from vehicle_lightning.files import write_csv
from vehicle_lightning.parallel import keep_freed_memory
from vehicle_lightning.predict.inputs import find_images, tell_apart
from vehicle_lightning.predict.output import check_folder, check_output, write_predictions
from vehicle_lightning.runs.calibration import calibrated_by
from vehicle_lightning.runs.fold_runs import find_checkpoints
from vehicle_lightning.runs.folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from vehicle_lightning.runs.statistics import Share

EXPLAINED = 16  # images
UNREADABLE = 1  # exit code where an image could not be predicted
NAMED = 3  # of them in the terminal
HANDFUL = 10  # images whose answers are printed


class PredictOptions(SettingsGroup):
    """Predict the classes of images by one or several trained networks.

    Of the paths, run folders and checkpoints are models, whose probabilities are averaged; all
    else is images. A run over folds or seeds counts with all its networks.
    """

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Run folders and .ckpt files; and images: files, folders, quoted patterns."""
    csv: Path | None = None
    """CSV file with the names of the images to predict."""
    image_dir: Path | None = None
    """Folder the names are relative to; by default images beside the CSV."""
    image_column: str | None = None
    """CSV column with the image file names; by default that of the run."""
    output: Path = Path("predictions.csv")
    """CSV file to write. Earlier predictions are replaced, no other file."""
    submission: Path | None = None
    """CSV file to write: the names of --csv and their labels, in the columns of the run."""
    flip_averaging: tyro.conf.FlagCreatePairsOff[bool] = False
    """Average the logits of an image and its mirror image, also where the run did not."""
    calibrated: tyro.conf.FlagCreatePairsOff[bool] = False
    """Use the temperature and the threshold that `calibrate` found."""
    explain: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw beside the output what spoke for the predictions with the highest entropy."""
    batch_size: int = Field(128, ge=1)
    """Images that go through the network at once."""
    accelerator: Accelerator = "auto"
    """Kind of device; one is used."""

    @model_validator(mode="after")
    def _csv_where_it_is_needed(self) -> Self:
        for flag in ("image_dir", "image_column", "submission"):
            if getattr(self, flag) is not None and self.csv is None:
                raise ValueError(f"--{flag.replace('_', '-')} needs --csv, the list of the images")
        return self


@dataclass(frozen=True)
class PredictResult:
    """What was predicted in how many seconds, and the files that were written.

    The rows are as in the output. The accuracy is None where the CSV lacks the label column of the
    run.
    """

    rows: "pd.DataFrame"
    class_names: Sequence[str]
    seconds: float
    files: tuple[Path, ...]
    accuracy: "Share | None"


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, predict, and print what came of it."""
    options = parse_options(PredictOptions, "predict", arguments)
    result = predict(options)
    print(_text(result, options))
    return UNREADABLE if any(result.rows["error"]) else 0


def predict(options: PredictOptions) -> PredictResult:
    """Predict images and write what was asked for.

    An image that cannot be read gets a row that says why. There is no submission then, as it needs
    a label in every row.

    Raises:
        InputError: a model, an image folder or a CSV is missing or wrong, or a device is not there.
        OSError: a folder cannot be read, or the disk is full.
    """
    models, others = tell_apart(options.paths)
    checkpoints = find_checkpoints(models)
    decision, temperatures = calibrated_by(checkpoints, calibrated=options.calibrated)
    _check_places(options, others)
    images = [] if options.csv else find_images(others)
    keep_freed_memory()
    # Importing torch and lightning takes seconds; what is wrong already has been said by now.
    from vehicle_lightning.model.ensemble import Ensemble, find_device

    device = find_device(options.accelerator)
    ensemble = Ensemble.load(
        checkpoints, temperatures, device, flip_averaging=options.flip_averaging
    )
    if options.explain and len(ensemble.image_sizes) > 1:
        raise RunError(
            f"The networks take images of {' and '.join(map(str, ensemble.image_sizes))} pixels, "
            f"whose maps cannot be averaged; give networks of one image size, or leave out "
            f"--explain."
        )
    run = ensemble.settings
    if options.csv:
        from vehicle_lightning.data.table import read_names

        names = read_names(options.csv, options.image_column or run.image_column)
        images = listed_images(names, _image_dir(options, options.csv))
    started = time.perf_counter()
    predicted = ensemble.predict(images, options.batch_size)
    rows = write_predictions(options.output, predicted, ensemble.class_names, decision)
    seconds = time.perf_counter() - started
    files = [options.output]
    if options.submission and not any(rows["error"]):
        columns = {"file": run.image_column, "prediction": run.label_column}
        write_csv(options.submission, rows[list(columns)].rename(columns=columns))
        files.append(options.submission)
    if options.explain and not all(rows["error"]):
        files.append(_explain(options.output, images, rows, checkpoints, models))
    classes = ensemble.class_names
    accuracy = _accuracy(options.csv, run.label_column, rows, classes) if options.csv else None
    return PredictResult(rows, classes, seconds, tuple(files), accuracy)


def _accuracy(
    csv: Path, label_column: str, rows: "pd.DataFrame", class_names: Sequence[str]
) -> "Share | None":
    """Return the share of right predictions, where the CSV has labels that the network knows."""
    import numpy as np

    from vehicle_lightning.runs.statistics import Share  # scipy takes its time

    labels = read_csv(csv).columns.get(label_column, [])
    each = dict(zip(rows["file"], zip(labels, rows["prediction"], strict=False), strict=False))
    pairs = [pair for pair in each.values() if all(pair)]
    if any(label not in class_names for label, _ in pairs):
        return None
    return Share.of(np.array([label == prediction for label, prediction in pairs], dtype=bool))


def _explain(
    output: Path,
    images: Sequence[ImageFile],
    rows: "pd.DataFrame",
    checkpoints: Sequence[Path],
    models: Sequence[Path],
) -> Path:
    """Draw the evidence in the images that the networks are least sure of, and return the file."""
    from vehicle_lightning.model.explanations import Subject, explain_subjects

    files, path_of = tuple(checkpoints), {image.name: image.path for image in images}
    subjects = []
    for row in rows[rows["error"] == ""].nlargest(EXPLAINED, "entropy").to_dict("records"):
        path, label = path_of[row["file"]], row["prediction"]
        subjects.append(Subject(path, path.name, files, prediction=(label, row[f"p_{label}"])))
    title = " and ".join(RunFolder(m).label if m.is_dir() else m.name for m in models)
    sheet = output.with_name(f"{output.stem}_explained.png")
    return explain_subjects(subjects, sheet, title=title).sheet


def _check_places(options: PredictOptions, others: Sequence[Path]) -> None:
    check_output(options.output)
    if options.csv is None:
        return
    if others:
        raise SettingsError(f"Give the images by --csv or as paths, not both (got {others[0]}).")
    if not options.csv.is_file():
        raise DataError(f"There is no CSV file {options.csv}; name it with --csv.")
    image_dir = _image_dir(options, options.csv)
    if not image_dir.is_dir():
        raise DataError(f"There is no image folder {image_dir}; name it with --image-dir.")
    if options.submission is not None:
        check_folder(options.submission)
        for flag, file in (("--csv", options.csv), ("--output", options.output)):
            if options.submission.resolve() == file.resolve():
                raise DataError(f"--submission and {flag} are both {file}; name another file.")
        if options.submission.is_file():
            listed = [set(cells) for cells in read_csv(options.csv).columns.values()]
            before = next(iter(read_csv(options.submission).columns.values()), ())
            if set(before) not in listed:
                raise DataError(
                    f"{options.submission} is there already and lists other images than "
                    f"{options.csv}; name another file."
                )


def _image_dir(options: PredictOptions, csv: Path) -> Path:
    return csv.parent / "images" if options.image_dir is None else options.image_dir


def _text(result: PredictResult, options: PredictOptions) -> str:
    rows, total = result.rows, len(result.rows)
    lines = [f"{counted(total, 'image')}, {total / result.seconds:.0f} a second"]
    counts = rows["prediction"].value_counts()
    width = max(map(len, result.class_names))
    lines += [f"  {label:{width}}  {counts.get(label, 0)}" for label in result.class_names]
    if total <= HANDFUL:
        lines += [
            f"{row['file']}: {row['prediction']} ({row['p_' + row['prediction']]:.1%})"
            for _, row in rows[rows["error"] == ""].iterrows()
        ]
    if result.accuracy is not None:
        lines.append(
            f"accuracy {result.accuracy}, by the labels of {options.csv}; for more figures: "
            f"python -m vehicle_lightning.evaluate"
        )
    failed = rows[rows["error"] != ""]
    if len(failed):
        lines.append(f"{len(failed)} could not be predicted:")
        lines += [f"  {row['file']} ({row['error']})" for _, row in failed.head(NAMED).iterrows()]
        rest = len(failed) - NAMED
        lines += [f"  and {rest} more, see the column error"] if rest > 0 else []
    lines += [f"saved   {file}" for file in result.files]
    if options.submission not in (None, *result.files):
        lines.append(
            f"No {options.submission} was written, as a submission needs a label for every image; "
            f"mend the images, or fill the gaps from {options.output}."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
