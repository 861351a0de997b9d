"""The table: one row an image. `read_table` is the place to replace for another source of data.

A CSV with a column of image names and one of labels, or a folder of class folders. What the
settings leave open is recognised where it is sure, and said in one line with the flags to pin it.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.config import DataSettings, SourceSettings
from vehicle_lightning.console import notice, notice_once
from vehicle_lightning.data.findings import Finding
from vehicle_lightning.data.recognise import (
    SPLIT_NAMES,
    find_class_folders,
    find_csv,
    recognise,
)
from vehicle_lightning.data.rows import CsvFile, check_rows, check_spelling, read_csv
from vehicle_lightning.errors import DataError, join_first, one_line

REFUSED = ("blank-name", "outside", "blank-label", "contradicting-rows", "several-labels")


@dataclass(frozen=True)
class ImagePaths(Sequence[Path]):
    """Paths that are put together when asked for: of a million, they would take 0.6 GB."""

    image_dir: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> Path:  # type: ignore[override]
        """Return the path of a row."""
        return self.image_dir / self.names[row]


@dataclass(frozen=True)
class Table:
    """One row an image; the first four are all that another source of data must give.

    Attributes:
        names: what each of N images is called, each name once.
        labels: int64 of shape (N,), indices into `class_names`.
        class_names: the labels as text.
        paths: the image files.
        groups: what belongs together, such as camera, patient or day: never on both sides of a
            split. N texts, blank where an image is alone; None for no groups.
        splits: "train", "val" or "test" for each image where the data say so; None where not.
        image_dir: folder that no image may lie outside of; None where any may be read.
        source: what messages call the data.
        findings: what is wrong with rows, which are left out here where they cannot be used.
        found: settings that were recognised, by name.
    """

    names: Sequence[str]
    labels: NDArray[np.int64]
    class_names: Sequence[str]
    paths: Sequence[Path]
    groups: Sequence[str] | None = None
    splits: Sequence[str] | None = None
    image_dir: Path | None = None
    source: str = "the data"
    findings: tuple[Finding, ...] = ()
    found: Mapping[str, Path | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", np.asarray(self.labels, dtype=np.int64))
        for name in ("groups", "splits"):
            if (texts := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(map(str, texts)))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def class_counts(self) -> dict[str, int]:
        """Number of images of each class, the largest class first."""
        counts = Counter(self.labels.tolist()).most_common()
        return {self.class_names[label]: count for label, count in counts}

    def checked(self) -> "Table":
        """Return the table if it can be trained on as it is.

        Raises:
            DataError: a row cannot be used, or there are fewer than two classes.
        """
        self.with_sound_rows()
        if len(self.class_names) < 2:
            only = "".join(f" {name!r}" for name in self.class_names) or " none"
            raise DataError(
                f"{self.source} holds only the label{only}; a classifier needs at least two "
                f"classes."
            )
        return self

    def with_sound_rows(self) -> "Table":
        """Return the table if every row can be used, whatever the classes.

        Raises:
            DataError: one cannot.
        """
        for finding in self.findings:
            if finding.kind not in REFUSED:
                continue
            named = zip(finding.files, finding.details, strict=True)
            told = ""
            if finding.kind == "contradicting-rows":
                told = f" ({join_first(f'{one_line(name)} in {row}' for name, row in named)})"
            elif finding.groups:
                told = f" (row {join_first(row.removeprefix('row ') for _, row in named)})"
            raise DataError(
                f"{self.source}: {finding.what.rstrip('.')}{told}; {finding.advice[0].lower()}"
                f"{finding.advice[1:]}"
            )
        return self

    def without(self, rows: Iterable[int]) -> "Table":
        """Return the table without these rows, and without classes that none is left of."""
        left_out = set(rows)
        kept = [row for row in range(len(self)) if row not in left_out]
        present, labels = np.unique(self.labels[kept], return_inverse=True)
        columns = {name: getattr(self, name) for name in ("names", "paths", "groups", "splits")}
        rest: dict[str, Any] = {
            name: tuple(cells[row] for row in kept) for name, cells in columns.items() if cells
        }
        class_names = tuple(self.class_names[label] for label in present.tolist())
        return replace(self, labels=labels.astype(np.int64), class_names=class_names, **rest)


def table_of(settings: SourceSettings) -> Table:
    """Return the table of the settings: as `read_table` reads it, and the images of --test-csv."""
    table = read_table(settings)
    if not isinstance(settings, DataSettings) or settings.test_csv is None:
        return table
    return _with_test_images(table, settings, data_folder(settings) / settings.test_csv)


def _with_test_images(table: Table, settings: SourceSettings, path: Path) -> Table:
    """Add the rows of a CSV as the test split; what it names is taken out of the others."""
    if not path.is_file():
        raise DataError(f"There is no CSV file {path.absolute()}; name it with --test-csv.")
    if table.splits is not None:
        raise DataError(
            f"The folders of {table.source} name the splits; leave out --test-csv, or put its "
            f"images into the folder test."
        )
    same = {**table.found, "csv": path.absolute(), "split_column": None}
    if table.image_dir is not None:
        same["image_dir"] = table.image_dir.absolute()
    column = settings.group_column
    if column is not None and column not in read_csv(path).columns:
        notice(f"{path} has no column {column}: each of its images counts as a group of its own.")
        same["group_column"] = None
    test = read_table(settings.model_copy(update=same)).with_sound_rows()
    tested = set(test.names)
    if listed_twice := [row for row, name in enumerate(table.names) if name in tested]:
        notice(f"{len(listed_twice)} images that {path} lists too are tested on, not trained on.")
        table = table.without(listed_twice)
    if unknown := set(test.class_names) - set(table.class_names):
        raise DataError(
            f"{path}: no training image has the label {join_first(sorted(unknown))}; correct it, "
            f"or leave such rows out of --test-csv."
        )
    codes = [table.class_names.index(name) for name in test.class_names]
    return replace(
        table,
        names=(*table.names, *test.names),
        labels=np.concatenate([table.labels, np.array(codes, dtype=np.int64)[test.labels]]),
        paths=[*table.paths, *test.paths],
        groups=table.groups and (*table.groups, *(test.groups or [""] * len(test))),
        splits=("train",) * len(table) + ("test",) * len(test),
        source=f"{table.source} and {path}",
    )


def read_names(path: Path, column: str) -> list[str]:
    """Read the image names of a CSV that need not have labels, blank ones as empty text.

    Raises:
        DataError: the CSV or the column is missing, or it has no rows.
    """
    return read_csv(path, (column,)).column(column, "--image-column")


def data_folder(settings: SourceSettings) -> Path:
    """Return the data directory; without one, the synthetic vehicles, made on first use.

    Raises:
        DataError: the cache folder cannot be written to.
    """
    if settings.data_dir is not None:
        return settings.data_dir
    from vehicle_lightning.data.cache import cache_folder
    from vehicle_lightning.synthetic import VERSION, make_vehicles

    folder = make_vehicles(cache_folder(settings) / f"synthetic_vehicles_{VERSION}")
    notice_once(f"Data: synthetic vehicles, not photographs, from {folder} (see --data-dir).")
    return folder


def read_table(settings: SourceSettings) -> Table:
    """Read names and labels: of a CSV, or of a folder of class folders.

    Rows that cannot be used are left out and stand in `findings`; `Table.checked` refuses them.

    Raises:
        DataError: the data directory, a CSV, a column or a folder is missing or not to be read, or
            it is not clear which it is.
    """
    data_dir = data_folder(settings)
    if not data_dir.is_dir():
        raise DataError(f"There is no data directory {data_dir.absolute()}; see --data-dir.")
    path = find_csv(data_dir, settings)
    if path is None:
        for name in ("group_column", "split_column"):
            if not settings.is_default(name):
                raise DataError(
                    f"--{name.replace('_', '-')} names a column of a CSV, and {data_dir} has none; "
                    f"leave it out, or name a CSV with --csv."
                )
        return _of_class_folders(data_dir, settings)
    csv = read_csv(path, (settings.image_column, settings.label_column))
    found = recognise(data_dir, csv, settings)
    places = settings.model_copy(update=found)
    image_dir = data_dir / places.image_dir
    names = csv.column(places.image_column, "--image-column")
    labels = csv.column(places.label_column, "--label-column")
    if not image_dir.is_dir():
        raise DataError(
            f"There is no image folder {image_dir.absolute()}; name it with --image-dir."
        )
    kept, findings = check_rows(names, labels, csv.rows)
    groups = splits = None
    if settings.group_column is not None:
        cells = csv.column(settings.group_column, "--group-column")
        groups = tuple(sys.intern(cells[row]) for row in kept)
    if settings.split_column is not None:
        splits = _read_splits(csv, settings.split_column, kept)
    if csv.broken_cells:
        lines = f"{len(csv.rows)} rows in {csv.lines} lines"
        notice_once(f"{path}: {lines}, as {csv.broken_cells} cells hold line breaks.")
    if len(kept) < len(csv.rows):
        dropped = [f.what.rstrip(".") for f in findings if f.kind in (*REFUSED, "repeated-row")]
        notice_once(f"{path}: {len(csv.rows)} rows, {len(kept)} images; {'; '.join(dropped)}.")
    return _to_table(
        [names[row] for row in kept],
        [labels[row] for row in kept],
        image_dir=image_dir,
        groups=groups,
        splits=splits,
        source=str(path),
        findings=findings,
        found=found,
    )


def _to_table(
    names: Sequence[str], labels: Sequence[str], *, image_dir: Path, **more: object
) -> Table:
    class_names = sorted(set(labels))
    with suppress(ValueError):  # in numeric order where all are integers
        class_names = sorted(class_names, key=int)
    codes = {name: code for code, name in enumerate(class_names)}
    return Table(
        tuple(names),
        np.array([codes[label] for label in labels], dtype=np.int64),
        tuple(class_names),
        ImagePaths(image_dir, tuple(names)),
        image_dir=image_dir,
        **more,  # type: ignore[arg-type]
    )


def _read_splits(csv: CsvFile, column: str, kept: Sequence[int]) -> tuple[str, ...]:
    cells = csv.column(column, "--split-column")
    if unknown := [row for row in kept if cells[row].casefold() not in SPLIT_NAMES]:
        held = dict.fromkeys(cells[row] or "blank" for row in unknown)
        rows = join_first(str(csv.rows[row]) for row in unknown)
        raise DataError(
            f"{csv.path}: column {column} holds {join_first(held)} in row {rows}; it takes train, "
            f"val and test."
        )
    return tuple(SPLIT_NAMES[cells[row].casefold()] for row in kept)


def _of_class_folders(data_dir: Path, settings: SourceSettings) -> Table:
    root, names, labels, splits = find_class_folders(data_dir, settings)
    found = {"image_dir": Path()} if root == data_dir != data_dir / settings.image_dir else {}
    table = _to_table(names, labels, image_dir=root, splits=splits, source=str(root), found=found)
    spelling = check_spelling(table.class_counts)
    counts = join_first(f"{name}: {count}" for name, count in table.class_counts.items())
    notice_once(
        f"Data: the folders of {root} name the classes ({counts})"
        + (", and train, val and test." if splits else ".")
    )
    return replace(table, findings=(spelling,) if spelling.count else ())
