"""The table: one row an image. `read_table` is the place to replace for another source of data.

A CSV with a column of image names and one of labels, or a folder of class folders. What the
settings leave open is recognised where it is sure, and said in one line with the flags to pin it.
"""

import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from os.path import isfile
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.config import DataSettings, SourceSettings
from vehicle_lightning.console import notice
from vehicle_lightning.data.findings import Finding
from vehicle_lightning.data.images import IMAGE_SUFFIXES
from vehicle_lightning.data.paths import files_below
from vehicle_lightning.data.rows import CsvFile, check_rows, check_spelling, read_csv
from vehicle_lightning.errors import DataError, join_first, one_line
from vehicle_lightning.files import holds_predictions

SAMPLE = 200  # rows by which columns are recognised
MOST_CLASSES = 50  # distinct cells of a column that is taken for labels
CSV_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
LABEL_NAMES = ("label", "labels", "class", "class_name", "category", "target", "y", "kind", "type")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
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
    _say_once(f"Data: synthetic vehicles, not photographs, from {folder} (see --data-dir).")
    return folder


@cache
def _say_once(sentence: str) -> None:
    """Say something once in a process, however many runs it makes."""
    notice(sentence)


def is_default(settings: SourceSettings, name: str) -> bool:
    """Whether a setting has its default."""
    return bool(getattr(settings, name) == SourceSettings.model_fields[name].default)


def _find_csv(data_dir: Path, settings: SourceSettings) -> Path | None:
    """Return the CSV that is meant; None where there is none, as with class folders."""
    named = data_dir / settings.csv
    if named.exists():
        return named
    test_csv = getattr(settings, "test_csv", None)
    there = sorted(
        path
        for path in data_dir.iterdir()
        if path.name.lower().endswith(CSV_SUFFIXES)
        and not path.name.startswith(".")
        and not (test_csv and path.resolve() == (data_dir / test_csv).resolve())
        and not holds_predictions(path)
    )
    if not is_default(settings, "csv"):
        beside = f" ({join_first(path.name for path in there)} is there)" if there else ""
        raise DataError(f"There is no CSV file {named.absolute()}{beside}; name it with --csv.")
    if len(there) > 1:
        raise DataError(
            f"There is no CSV file {named.absolute()}, and of {join_first(p.name for p in there)} "
            f"it is not clear which lists the images to train on; name it: --data-dir "
            f"{shlex.quote(str(data_dir))} --csv {shlex.quote(there[0].name)}"
        )
    return there[0] if there else None


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
    path = _find_csv(data_dir, settings)
    if path is None:
        for name in ("group_column", "split_column"):
            if not is_default(settings, name):
                raise DataError(
                    f"--{name.replace('_', '-')} names a column of a CSV, and {data_dir} has none; "
                    f"leave it out, or name a CSV with --csv."
                )
        return _read_class_folders(data_dir, settings)
    csv = read_csv(path, (settings.image_column, settings.label_column))
    found = _recognise(data_dir, csv, settings)
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
        _say_once(f"{path}: {lines}, as {csv.broken_cells} cells hold line breaks.")
    if len(kept) < len(csv.rows):
        dropped = [f.what.rstrip(".") for f in findings if f.kind in (*REFUSED, "repeated-row")]
        _say_once(f"{path}: {len(csv.rows)} rows, {len(kept)} images; {'; '.join(dropped)}.")
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


def _recognise(data_dir: Path, csv: CsvFile, settings: SourceSettings) -> dict[str, Path | str]:
    """Return the settings that are others than their defaults, where that is sure.

    Raises:
        DataError: it is not clear which they are; all that is missing is named at once.
    """
    if not csv.rows:
        return {}  # as will be said of any column
    is_named = csv.path == data_dir / settings.csv
    image_dir, image_column = _find_images(data_dir, csv, settings)
    label_column = _find_labels(csv, settings, image_column)
    flags = {
        "--csv": settings.csv if is_named else csv.path.relative_to(data_dir),
        "--image-dir": image_dir or "FOLDER",
        "--image-column": image_column or "COLUMN",
        "--label-column": label_column or "COLUMN",
    }
    typed = " ".join(f"{flag} {shlex.quote(str(value))}" for flag, value in flags.items())
    places = {
        "the column of the image names (--image-column)": image_column,
        "the column of the labels (--label-column)": label_column,
        "the image folder (--image-dir)": image_dir,
    }
    if unclear := [what for what, value in places.items() if value is None]:
        raise DataError(
            f"{csv.path}: it has {join_first(csv.columns)}, and not clear is "
            f"{' and '.join(unclear)}; name it: --data-dir {shlex.quote(str(data_dir))} {typed}"
        )
    values = {flag.lstrip("-").replace("-", "_"): value for flag, value in flags.items()}
    found = {name: value for name, value in values.items() if value != getattr(settings, name)}
    if found:
        _say_once(
            f"Data: {csv.path}, images in {data_dir / values['image_dir']}, named in column "
            f"{image_column}, labels in {label_column}; to pin it: {typed}"
        )
    return found


def _find_images(
    data_dir: Path, csv: CsvFile, settings: SourceSettings
) -> tuple[Path | None, str | None]:
    """Return the folder and the column of the images: most of the first cells are files there."""
    column: str | None = settings.image_column
    columns, folders = [settings.image_column], [settings.image_dir]
    if is_default(settings, "image_column") and column not in csv.columns:
        columns, column = list(csv.columns), None
    is_open = is_default(settings, "image_dir")
    if is_open:
        inner = sorted(path.name for path in data_dir.iterdir() if path.is_dir())
        folders += [Path(), *(Path(name) for name in inner if not name.startswith("."))]
    samples = {name: list(filter(None, cells[:SAMPLE])) for name, cells in csv.columns.items()}
    found = {
        (folder, name): sum(
            isfile(data_dir / folder / cell)  # noqa: PTH113  # which takes any name
            for cell in samples.get(name, ())
        )
        for folder in folders
        for name in columns
    }
    best = max(found, key=lambda place: found[place])
    if found[best] and found[best] >= 0.5 * len(samples[best[1]]):
        return best
    if column is None:
        named = [
            name
            for name, some in samples.items()
            if some and sum(map(_is_image_name, some)) >= 0.5 * len(some)
        ]
        column = named[0] if len(named) == 1 else None
    is_there = not is_open or (data_dir / settings.image_dir).is_dir()
    return settings.image_dir if is_there else None, column


def _is_image_name(name: str) -> bool:
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


def _find_labels(csv: CsvFile, settings: SourceSettings, image_column: str | None) -> str | None:
    """Return the one column of few distinct cells, or that of them which is called like labels."""
    if settings.label_column in csv.columns or not is_default(settings, "label_column"):
        return settings.label_column
    taken = (image_column, settings.group_column, settings.split_column)
    distinct = {name: len(set(cells)) for name, cells in csv.columns.items()}
    most = min(MOST_CLASSES, max(2, len(csv.rows) // 5))
    possible = [n for n, count in distinct.items() if n not in taken and 2 <= count <= most]
    called = [name for name in possible if name.lower() in LABEL_NAMES]
    return next((some[0] for some in (called, possible) if len(some) == 1), None)


def _photographs(folder: Path) -> list[str]:
    """Return the images in a folder, without the pictures of runs that lie in it."""
    names = list(files_below(folder))
    configs = [PurePath(name) for name in names if PurePath(name).name == "config.yaml"]
    of_runs = {path.parts[0] for path in configs if (folder / path.parent / "checkpoints").is_dir()}
    return [n for n in names if _is_image_name(n) and PurePath(n).parts[0] not in of_runs]


def _read_class_folders(data_dir: Path, settings: SourceSettings) -> Table:
    """Read a folder with one folder for each class, or such folders in train, val and test."""
    for image_dir in (Path(), settings.image_dir):
        root = data_dir / image_dir
        names = _photographs(root)
        parts = [PurePath(name).parts for name in names]
        folders = {p[0] for p in parts if len(p) > 1}
        others = sorted(name for name in folders if name.casefold() not in SPLIT_NAMES)
        if others and len(folders) - len(others) > 1:
            raise DataError(
                f"{root} has folders named like splits, and beside them {join_first(others)}; "
                f"move these elsewhere."
            )
        in_splits = all(len(p) > 2 and p[0].casefold() in SPLIT_NAMES for p in parts)
        depth = int(in_splits)
        if not in_splits and all(len(p) > 1 and p[0].casefold() in SPLIT_NAMES for p in parts):
            astray = next(name for name, p in zip(names, parts, strict=True) if len(p) == 2)
            raise DataError(
                f"{data_dir / image_dir} has folders named like splits, and {astray} in no "
                f"folder of a class; move it into one, or elsewhere if it has no label."
            )
        labels = [part[depth] for part in parts if len(part) > depth + 1]
        if len(labels) < len(parts) or len(set(labels)) < 2:
            continue  # an image lies in no folder, or all in one
        table = _to_table(
            names,
            labels,
            image_dir=data_dir / image_dir,
            splits=tuple(SPLIT_NAMES[p[0].casefold()] for p in parts) if in_splits else None,
            source=str(data_dir / image_dir),
            found={} if image_dir == settings.image_dir else {"image_dir": image_dir},
        )
        for linked in sorted(
            path for path in root.iterdir() if path.is_symlink() and path.is_dir()
        ):
            notice(f"{linked} is a link to a folder and is not followed; put the folder there.")
        spelling = check_spelling(table.class_counts)
        table = replace(table, findings=(spelling,) if spelling.count else ())
        counts = join_first(f"{name}: {count}" for name, count in table.class_counts.items())
        _say_once(
            f"Data: the folders of {data_dir / image_dir} name the classes ({counts})"
            + (", and train, val and test." if in_splits else ".")
        )
        return table
    raise DataError(
        f"There is no CSV file {(data_dir / settings.csv).absolute()}, and no folder for each "
        f"class in its place; name the CSV with --csv."
    )
