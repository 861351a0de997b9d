"""Predict images by trained networks: `python -m vehicle_lightning.predict RUN photos`."""

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import tyro
from pydantic import Field, model_validator

from vehicle_lightning.cli import parse_options, run_command
from vehicle_lightning.config import Accelerator, SettingsGroup
from vehicle_lightning.console import progress_over
from vehicle_lightning.data.paths import ImageFile, listed_images
from vehicle_lightning.data.rows import read_csv
from vehicle_lightning.errors import DataError, RunError, SettingsError
from vehicle_lightning.parallel import keep_freed_memory
from vehicle_lightning.predict.inputs import find_images, tell_apart
from vehicle_lightning.predict.output import (
    Tally,
    check_folder,
    check_output,
    write_predictions,
    write_submission,
)
from vehicle_lightning.runs.calibration import calibrated_by
from vehicle_lightning.runs.fold_runs import find_checkpoints
from vehicle_lightning.runs.folder import RunFolder

if TYPE_CHECKING:
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

    The accuracy is None where the CSV lacks the label column of the run.
    """

    tally: Tally
    seconds: float
    files: tuple[Path, ...]
    accuracy: "Share | None"


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, predict, and print what came of it."""
    options = parse_options(PredictOptions, "predict", arguments)
    result = predict(options)
    print(_text(result, options))
    return UNREADABLE if result.tally.faults else 0


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
    batches = progress_over(
        ensemble.predict(images, options.batch_size),
        -(-len(images) // options.batch_size),
        "Predicting",
    )
    tally = write_predictions(options.output, batches, ensemble.class_names, decision)
    seconds = time.perf_counter() - started
    files = [options.output]
    if options.submission and not tally.faults:
        write_submission(
            options.submission, tally.predictions, (run.image_column, run.label_column)
        )
        files.append(options.submission)
    if options.explain and len(tally.faults) < len(images):
        files.append(_explain(options.output, images, tally, checkpoints, models))
    accuracy = _accuracy(options.csv, run.label_column, tally) if options.csv else None
    return PredictResult(tally, seconds, tuple(files), accuracy)


def _accuracy(csv: Path, label_column: str, tally: Tally) -> "Share | None":
    """Return the share of right predictions, where the CSV has labels that the network knows."""
    from vehicle_lightning.runs.statistics import Share  # scipy takes its time

    labels = read_csv(csv).columns.get(label_column, [])
    pairs = [
        (label, one.label)
        for label, one in zip(labels, tally.predictions, strict=False)
        if label and one.label
    ]
    if any(label not in tally.counts for label, _ in pairs):
        return None
    return Share.of(sum(label == prediction for label, prediction in pairs), len(pairs))


def _explain(
    output: Path,
    images: Sequence[ImageFile],
    tally: Tally,
    checkpoints: Sequence[Path],
    models: Sequence[Path],
) -> Path:
    """Draw the evidence in the images that the networks are least sure of, and return the file."""
    from vehicle_lightning.model.explanations import Subject, explain_subjects

    predicted = [pair for pair in zip(images, tally.predictions, strict=True) if pair[1].label]
    unsure = heapq.nlargest(EXPLAINED, predicted, key=lambda pair: pair[1].entropy)
    files = tuple(checkpoints)
    subjects = [
        Subject(image.path, image.path.name, files, prediction=(one.label, one.probability))
        for image, one in unsure
    ]
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


def _image_dir(options: PredictOptions, csv: Path) -> Path:
    return csv.parent / "images" if options.image_dir is None else options.image_dir


def _text(result: PredictResult, options: PredictOptions) -> str:
    tally = result.tally
    total = len(tally.predictions)
    lines = [f"{total} image{'s' * (total != 1)}, {total / result.seconds:.0f} a second"]
    width = max(map(len, tally.counts))
    lines += [f"  {label:{width}}  {count}" for label, count in tally.counts.items()]
    if total <= HANDFUL:
        answers = [one for one in tally.predictions if one.label]
        lines += [f"{one.name}: {one.label} ({one.probability:.1%})" for one in answers]
    if result.accuracy is not None:
        lines.append(
            f"accuracy {result.accuracy}, by the labels of {options.csv}; for more figures: "
            f"python -m vehicle_lightning.evaluate"
        )
    if tally.faults:
        lines.append(f"{len(tally.faults)} could not be predicted:")
        lines += [f"  {name} ({fault})" for name, fault in tally.faults[:NAMED]]
        rest = len(tally.faults) - NAMED
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
