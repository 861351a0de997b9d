"""One check from a table to a report."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.check.duplicates import (
    check_duplicates,
    check_mirrored,
    check_scenes,
    check_straddling,
)
from vehicle_lightning.check.files import check_files, check_unlisted
from vehicle_lightning.config import SourceSettings
from vehicle_lightning.data.cache import cache_folder
from vehicle_lightning.data.facts import Examined, examine_all, file_states
from vehicle_lightning.data.findings import Finding, Report, in_order
from vehicle_lightning.data.hashes import HashStore
from vehicle_lightning.data.images import WhiteValues
from vehicle_lightning.data.missing import likely_reason
from vehicle_lightning.data.rows import check_classes
from vehicle_lightning.data.safe_path import leads_outside
from vehicle_lightning.data.table import ImagePaths, Table, read_names
from vehicle_lightning.errors import DataError, one_line
from vehicle_lightning.runs.folder import RunFolder


@dataclass(frozen=True)
class Checked:
    """A report, and what it takes to write a cleaned CSV.

    Attributes:
        report: what was found.
        table: N images.
        usable: bool of shape (N,), whether the file of each can be used.
        groups: int64 of shape (N,), which show the same; a file that cannot be used is alone.
        white: what is white in deep grey images, by kind.
    """

    report: Report
    table: Table
    usable: NDArray[np.bool_]
    groups: NDArray[np.int64]
    white: WhiteValues


def check_data_set(
    table: Table,
    settings: SourceSettings,
    *,
    test_csv: Path | None = None,
    run: RunFolder | None = None,
    mirrored: bool = False,
) -> Checked:
    """Check a data set.

    Args:
        table: what is listed.
        settings: where near duplicates are remembered, and which are looked for.
        test_csv: a second CSV, with the same image column, whose images must be others.
        run: a run on these images, whose predictions tell which labels are likely wrong.
        mirrored: look for mirrored duplicates too.

    Raises:
        DataError: a CSV or one of its columns cannot be read.
        RunError: the run has predicted other images.
    """
    cache_dir, count = cache_folder(settings), len(table)
    column = str(table.found.get("image_column", settings.image_column))
    test_names = [] if test_csv is None else _test_names(test_csv, column)
    test_dir = table.image_dir or Path()
    names = [*table.names, *test_names]
    paths = [*table.paths, *ImagePaths(test_dir, test_names)] if test_names else table.paths
    labels = [table.class_names[code] for code in table.labels.tolist()]
    unlabelled = [n for f in table.findings if f.kind == "blank-label" for n in f.files]
    hashes = HashStore(cache_dir)

    def take(found: Examined) -> None:
        found.store(hashes)

    with ThreadPoolExecutor(1) as beside:
        without_pictures = beside.submit(_prepare, table.image_dir, [*names, *unlabelled])
        facts, white = examine_all(paths, file_states(paths, table.image_dir), take)
        unlisted = without_pictures.result()
    from vehicle_lightning.data.duplicates import group_images
    from vehicle_lightning.data.leaks import check_leaks
    from vehicle_lightning.data.serious import check_blank

    usable: NDArray[np.bool_] = facts["fault"] == ""
    # Of those that cannot be used, each is alone.
    groups = np.arange(len(names)) + len(names)
    every = np.flatnonzero(usable)
    found = group_images(
        lambda row: paths[every[row]],
        facts["digest"][every],
        cache_dir,
        hashes.renumbered(every),
        duplicates=settings.duplicates,
        white=white,
    )
    groups[every] = found.of_image

    sound = np.flatnonzero(usable[:count])
    sound_names = [names[row] for row in sound.tolist()]
    sound_labels = [labels[row] for row in sound.tolist()]
    missing = [names[row] for row in np.flatnonzero(facts["fault"] == "missing").tolist()]
    splits = [*(table.splits or ["train"] * count), *(["test"] * len(test_names))]
    findings = [
        *table.findings,
        *check_classes(table.class_counts),
        *check_files(names, facts, likely_reason(missing, table.image_dir)),
        *check_blank(names, facts["contrast"]),
        *unlisted,
        *check_duplicates(sound_names, sound_labels, facts["digest"][sound], groups[sound]),
        *(_mirrored(sound_names, sound_labels, hashes.renumbered(every)) if mirrored else []),
        *check_scenes([names[row] for row in every.tolist()], found.scenes),
        *check_straddling(names, splits, groups),
        *([] if run is None else _contradicted(table, labels, groups[:count], run)),
        *check_leaks(sound_names, sound_labels, facts[sound], groups[sound]),
    ]
    report = Report(table.source, count, table.class_counts, in_order(findings))
    return Checked(report, table, usable[:count], groups[:count], white)


def _test_names(csv: Path, column: str) -> list[str]:
    names = read_names(csv, column)
    outside = [name for name, out in zip(names, leads_outside(names), strict=True) if out]
    if outside:
        raise DataError(
            f"{csv}: the image name leads out of the image folder, as {one_line(outside[0])} does; "
            f"use names relative to it."
        )
    return [name for name in names if name]


def _prepare(image_dir: Path | None, names: list[str]) -> list[Finding]:
    """Do, while the files are read, what needs no pictures: list the folder, import the rest."""
    return [] if image_dir is None else check_unlisted(image_dir, names)


def _contradicted(
    table: Table, labels: list[str], groups: NDArray[np.int64], run: RunFolder
) -> list[Finding]:
    from vehicle_lightning.check.label_errors import check_labels

    return check_labels(table.names, labels, groups, run)


def _mirrored(names: list[str], labels: list[str], hashes: HashStore) -> list[Finding]:
    """Find mirrored duplicates among the training images, which come first."""
    from vehicle_lightning.data.duplicates import near_duplicates

    pairs = near_duplicates(hashes, among=np.arange(len(names)), mirrored=True)
    return check_mirrored(names, labels, pairs.same)
