"""The table: a CSV of image names and labels, validated."""

import csv
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vehicle_lightning.config import SourceSettings
from vehicle_lightning.data.safe_path import leads_outside, stays_inside
from vehicle_lightning.errors import DataError

NAMED_ROWS = 10
LONGEST_SHOWN = 300  # letters of a name
SEPARATORS = (",", ";", "\t")  # as spreadsheet programs write them in one country or another


@dataclass(frozen=True)
class ImagePaths(Sequence[Path]):
    """Paths that are put together when asked for: of a million, they would take 0.6 GB."""

    image_dir: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, row: int) -> Path: ...

    @overload
    def __getitem__(self, row: slice) -> "ImagePaths": ...

    def __getitem__(self, row: int | slice) -> "Path | ImagePaths":
        """Return the path of a row."""
        if isinstance(row, slice):
            return ImagePaths(self.image_dir, self.names[row])
        return self.image_dir / self.names[row]


@dataclass(frozen=True)
class Table:
    """One row an image.

    Attributes:
        image_dir: folder that `names` are relative to.
        names: image file names, as in the CSV.
        labels: int64 of shape (N,), indices into `class_names`.
        class_names: the labels as in the CSV, in numeric order where all are integers, otherwise
            in alphabetical order.
    """

    image_dir: Path
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def links_outside(self) -> list[str]:
        """Names of symbolic links, or of files in linked folders, that lead out of the folder."""
        is_inside = stays_inside(self.image_dir)
        return [n for n, path in zip(self.names, self.paths, strict=True) if not is_inside(path)]

    @property
    def paths(self) -> "ImagePaths":
        """The image files, in the order of the rows."""
        return ImagePaths(self.image_dir, self.names)

    def without(self, rows: Iterable[int]) -> "Table":
        """Return the table without these rows.

        Raises:
            DataError: fewer than two classes are left.
        """
        left_out = set(rows)
        kept = [row for row in range(len(self)) if row not in left_out]
        present = sorted({int(self.labels[row]) for row in kept})
        if len(present) < 2:
            raise DataError(
                f"Without the {len(left_out)} images that cannot be read, {self.image_dir} holds "
                f"images of {len(present)} class(es), and a classifier needs two; mend the images."
            )
        renumbered = {old: new for new, old in enumerate(present)}
        return Table(
            self.image_dir,
            tuple(self.names[row] for row in kept),
            np.array([renumbered[int(self.labels[row])] for row in kept], dtype=np.int64),
            tuple(self.class_names[label] for label in present),
        )


def read_table(data_dir: Path, settings: SourceSettings) -> Table:
    """Read and validate the CSV of a data set; rows are counted with the header as row 1.

    A row that says the same as an earlier one is dropped.

    Raises:
        DataError: the CSV or a column is missing, a cell is blank, a name leads out of the image
            folder, one name has two labels, or there are fewer than two classes.
    """
    path = data_dir / settings.csv
    names, labels = read_columns(path, settings)
    for column, cells in ((settings.image_column, names), (settings.label_column, labels)):
        _refuse(cells == "", f"{path}: column {column} is blank", "fill it in or delete the rows")
    _refuse(
        leads_outside(names),
        f"{path}: the image name leads out of the image folder",
        "use names relative to it",
    )
    pairs = pd.DataFrame({"name": names, "label": labels}).drop_duplicates()
    _refuse(
        pairs.duplicated("name", keep=False),
        f"{path}: one image name has several labels",
        "keep one row for each image",
    )
    class_names = _ordered(pairs["label"].unique())
    if len(class_names) < 2:
        raise DataError(
            f"{path}: column {settings.label_column} holds only the label {class_names[0]!r}; "
            f"a classifier needs at least two classes."
        )
    codes = pd.Categorical(pairs["label"], categories=class_names).codes
    return Table(
        data_dir / settings.image_dir,
        tuple(pairs["name"]),
        codes.astype(np.int64),
        tuple(class_names),
    )


def read_columns(path: Path, settings: SourceSettings) -> tuple["pd.Series[str]", "pd.Series[str]"]:
    """Read image names and labels as they stand in the CSV, blank ones as empty text.

    Their index counts the rows below the header from 0; those that are blank altogether are left
    out.

    Raises:
        DataError: the CSV or a column is missing, or it has no rows.
    """
    names, labels = _columns(path, (settings.image_column, settings.label_column))
    return names, labels


def read_names(path: Path, column: str) -> "pd.Series[str]":
    """Read the image names of a CSV that need not have labels, blank ones as empty text.

    Raises:
        DataError: the CSV or the column is missing, or it has no rows.
    """
    (names,) = _columns(path, (column,))
    return names


def _columns(path: Path, columns: Sequence[str]) -> list["pd.Series[str]"]:
    """Read the column of the images, and that of the labels where it is given."""
    frame = _read_csv(path, columns[0])
    cells = [
        _column(frame, column, path, flag)
        for column, flag in zip(columns, ("--image-column", "--label-column"), strict=False)
    ]
    if frame.empty:
        raise DataError(f"{path} has no rows below its header; add one row for each image.")
    return cells


def _read_csv(path: Path, column: str) -> pd.DataFrame:
    """Read all cells as text; the separator is that by which the header has this column."""
    try:
        encoding = _encoding(path)
        # Everything is read as text: a label such as 007 or NA stays what it is.
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                dtype=str,
                keep_default_na=False,
                encoding=encoding,
                compression=None,  # whatever the file is called
                sep=_separator(path, encoding, column),
                skipinitialspace=True,
                index_col=False,
                skip_blank_lines=False,  # so that rows are counted as they stand in the file
            )
        frame.columns = frame.columns.str.strip()
        return frame[(frame.fillna("") != "").any(axis="columns")]
    except FileNotFoundError as error:
        raise DataError(f"There is no CSV file {path}; see --data-dir and --csv.") from error
    except UnicodeError as error:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8.") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty; its first line must name the columns.") from error
    except pd.errors.ParserError as error:
        raise DataError(f"{path} is not a CSV file: {str(error).strip()}.") from error
    except pd.errors.ParserWarning as error:
        raise DataError(
            f"{path} has rows with more cells than its header; quote cells that contain commas."
        ) from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error


def _encoding(path: Path) -> str:
    """UTF-8, or UTF-16 where the file begins as such."""
    with path.open("rb") as stream:
        return "utf-16" if stream.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _separator(path: Path, encoding: str, column: str) -> str:
    with path.open(encoding=encoding, newline="") as stream:
        header = stream.readline()
    csv.field_size_limit(max(len(header), csv.field_size_limit()))
    for separator in SEPARATORS:
        names = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
        if column in (name.strip() for name in names):
            return separator
    return SEPARATORS[0]


def _column(frame: pd.DataFrame, column: str, path: Path, flag: str) -> "pd.Series[str]":
    if column not in frame.columns:
        there = ", ".join(map(str, frame.columns[:NAMED_ROWS]))
        raise DataError(
            f"{path} has no column {column} (it has {there}); name another with {flag}."
        )
    return frame[column].fillna("").str.strip()


def _refuse(wrong: "pd.Series[bool]", what: str, remedy: str) -> None:
    if wrong.any():
        rows = (str(row + 2) for row in wrong.index[wrong])
        raise DataError(f"{what} in row {shortened(rows)}; {remedy}.")


def shortened(items: Iterable[str]) -> str:
    """Join items with commas: the first ten by name, the rest counted."""
    every = list(items)
    rest = len(every) - NAMED_ROWS
    named = ", ".join(on_one_line(item) for item in every[:NAMED_ROWS])
    return named + (f" and {rest} more" if rest > 0 else "")


def on_one_line(text: str) -> str:
    """Return text that a terminal can show: what cannot be printed is escaped, the rest cut off."""
    shown = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."


def _ordered(labels: Iterable[str]) -> list[str]:
    every = list(labels)
    try:
        return sorted(every, key=int)
    except ValueError:
        return sorted(every)
