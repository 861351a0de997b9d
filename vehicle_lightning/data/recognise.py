"""What the settings leave open, recognised where it is sure: CSV, columns, images, classes."""

import shlex
from os.path import isfile
from pathlib import Path, PurePath
from typing import NamedTuple

from vehicle_lightning.config import SourceSettings
from vehicle_lightning.console import notice, notice_once
from vehicle_lightning.data.images import IMAGE_SUFFIXES
from vehicle_lightning.data.paths import files_below
from vehicle_lightning.data.rows import CsvFile
from vehicle_lightning.errors import DataError, join_first
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


def find_csv(data_dir: Path, settings: SourceSettings) -> Path | None:
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
    if not settings.is_default("csv"):
        beside = f" ({join_first(path.name for path in there)} is there)" if there else ""
        raise DataError(f"There is no CSV file {named.absolute()}{beside}; name it with --csv.")
    if len(there) > 1:
        raise DataError(
            f"There is no CSV file {named.absolute()}, and of {join_first(p.name for p in there)} "
            f"it is not clear which lists the images to train on; name it: --data-dir "
            f"{shlex.quote(str(data_dir))} --csv {shlex.quote(there[0].name)}"
        )
    return there[0] if there else None


def recognise(data_dir: Path, csv: CsvFile, settings: SourceSettings) -> dict[str, Path | str]:
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
        notice_once(
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
    if settings.is_default("image_column") and column not in csv.columns:
        columns, column = list(csv.columns), None
    is_open = settings.is_default("image_dir")
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
    if settings.label_column in csv.columns or not settings.is_default("label_column"):
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


class ClassFolders(NamedTuple):
    """Images by folder: what each of N is called and labelled, and its split where folders say."""

    root: Path
    names: list[str]
    labels: list[str]
    splits: tuple[str, ...] | None


def find_class_folders(data_dir: Path, settings: SourceSettings) -> ClassFolders:
    """Find a folder with one folder for each class, or with such folders in train, val and test.

    Raises:
        DataError: there is none, or an image lies beside the folders.
    """
    for root in (data_dir, data_dir / settings.image_dir):
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
        if not in_splits and all(len(p) > 1 and p[0].casefold() in SPLIT_NAMES for p in parts):
            astray = next(name for name, p in zip(names, parts, strict=True) if len(p) == 2)
            raise DataError(
                f"{root} has folders named like splits, and {astray} in no folder of a class; move "
                f"it into one, or elsewhere if it has no label."
            )
        labels = [part[in_splits] for part in parts if len(part) > in_splits + 1]
        if len(labels) < len(parts) or len(set(labels)) < 2:
            continue  # an image lies in no folder, or all in one
        for linked in sorted(
            path for path in root.iterdir() if path.is_symlink() and path.is_dir()
        ):
            notice(f"{linked} is a link to a folder and is not followed; put the folder there.")
        splits = tuple(SPLIT_NAMES[p[0].casefold()] for p in parts) if in_splits else None
        return ClassFolders(root, names, labels, splits)
    raise DataError(
        f"There is no CSV file {(data_dir / settings.csv).absolute()}, and no folder for each "
        f"class in its place; name the CSV with --csv."
    )
