"""Predictions as CSV files, and what they come to."""

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vehicle_lightning.errors import DataError
from vehicle_lightning.files import atomic_write

if TYPE_CHECKING:
    from vehicle_lightning.model.ensemble import PredictedBatch
    from vehicle_lightning.runs.calibration import Calibration

WriteRow = Callable[[Sequence[object]], None]

FIRST_COLUMNS = ("file", "prediction")


class Prediction(NamedTuple):
    """What is said of one image.

    Attributes:
        name: that of the image.
        label: the predicted class; empty where it could not be predicted.
        probability: that of the class, in [0, 1].
        entropy: that of the probabilities of all classes, in nats.
    """

    name: str
    label: str = ""
    probability: float = math.nan
    entropy: float = math.nan


@dataclass
class Tally:
    """What the predictions come to.

    Attributes:
        counts: predicted images of each class, in the order of the classes.
        faults: name and reason of each image that could not be predicted.
        predictions: that of each image, in order.
    """

    counts: dict[str, int]
    faults: list[tuple[str, str]] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)


def check_output(path: Path) -> None:
    """Check that a file can become one of predictions.

    Raises:
        DataError: its folder is missing, or it is there already and holds something else.
    """
    check_folder(path)
    if path.exists() and not _holds_predictions(path):
        raise DataError(f"{path} is there already and holds no predictions; name another --output.")


def check_folder(path: Path) -> None:
    """Check that the folder of a file to write is there.

    Raises:
        DataError: it is not, or the path itself is a folder.
    """
    if not path.parent.is_dir():
        raise DataError(f"There is no folder {path.parent} to write {path.name} to.")
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file to write to.")


def write_predictions(
    path: Path,
    batches: Iterable["PredictedBatch"],
    class_names: Sequence[str],
    calibration: "Calibration",
) -> Tally:
    """Write one row an image as the batches come, whole or not at all.

    The columns: `file`, `prediction`, `p_<class>` for each class (in [0, 1], summing to 1),
    `entropy` of these probabilities (in nats, from 0 to the logarithm of the number of classes),
    `error` (why an image could not be predicted; then the columns before it, but for `file`, are
    empty).

    The calibration decides from the probabilities on a class.

    Raises:
        OSError: writing failed.
    """
    from scipy.special import entr

    tally = Tally(dict.fromkeys(class_names, 0))
    columns = [*FIRST_COLUMNS, *(f"p_{name}" for name in class_names), "entropy", "error"]
    with _csv_file(path, columns) as write_row:
        for batch in batches:
            entropies = entr(batch.probabilities).sum(axis=1)
            classes = calibration.decide(batch.probabilities, class_names)
            for name, shares, number, entropy, fault in zip(
                batch.names, batch.probabilities, classes, entropies, batch.faults, strict=True
            ):
                if fault:
                    write_row([name, *[""] * (len(shares) + 2), fault])
                    tally.faults.append((name, fault))
                    tally.predictions.append(Prediction(name))
                else:
                    label = class_names[number]
                    write_row([name, label, *shares.tolist(), float(entropy), ""])
                    tally.counts[label] += 1
                    share = float(shares[number])
                    tally.predictions.append(Prediction(name, label, share, float(entropy)))
    return tally


def write_submission(path: Path, predictions: Iterable[Prediction], columns: Sequence[str]) -> None:
    """Write names and predicted classes under these two column names, whole or not at all.

    Raises:
        OSError: writing failed.
    """
    with _csv_file(path, columns) as write_row:
        for one in predictions:
            write_row([one.name, one.label])


@contextmanager
def _csv_file(path: Path, columns: Sequence[str]) -> Iterator[WriteRow]:
    """Give what writes a row below the header."""
    # A file name that is no text in any encoding is written with its odd bytes as \xNN.
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        plain = csv.writer(stream, lineterminator="\n")
        quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)

        def write_row(cells: Sequence[object]) -> None:
            # Before Python 3.13 a carriage return alone is not quoted, and readers end rows there.
            (quoted if "\r" in str(cells[0]) else plain).writerow(cells)

        write_row(columns)
        yield write_row


def _holds_predictions(path: Path) -> bool:
    beginning = ",".join([*FIRST_COLUMNS, "p_"]).encode()
    with path.open("rb") as stream:
        return stream.read(len(beginning)) == beginning
