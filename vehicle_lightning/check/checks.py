"""One check from a table to a report."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vehicle_lightning.check.duplicates import (
    check_duplicates,
    check_mirrored,
    check_scenes,
    check_straddling,
)
from vehicle_lightning.check.files import check_files, check_unlisted
from vehicle_lightning.check.label_errors import check_labels
from vehicle_lightning.config import SourceSettings
from vehicle_lightning.data.cache import cache_folder
from vehicle_lightning.data.duplicates import group_images, near_duplicates
from vehicle_lightning.data.facts import examine_all, file_states
from vehicle_lightning.data.findings import Report, in_order
from vehicle_lightning.data.hashes import HashStore
from vehicle_lightning.data.images import WhiteValues
from vehicle_lightning.data.leaks import check_blank, check_leaks
from vehicle_lightning.data.paths import leads_outside, likely_reason
from vehicle_lightning.data.rows import check_classes
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
    count, cache_dir = len(table), cache_folder(settings)
    column = str(table.found.get("image_column", settings.image_column))
    test_names = [] if test_csv is None else _test_names(test_csv, column)
    names = [*table.names, *test_names]
    test_paths = ImagePaths(table.image_dir or Path(), test_names)
    paths = [*table.paths, *test_paths] if test_names else table.paths
    unlabelled = [n for f in table.findings if f.kind == "blank-label" for n in f.files]
    hashes = HashStore(cache_dir)
    with ThreadPoolExecutor(1) as beside:
        unlisted = beside.submit(check_unlisted, table.image_dir, [*names, *unlabelled])
        facts, white = examine_all(paths, file_states(paths, table.image_dir), hashes)
    usable: NDArray[np.bool_] = facts["fault"] == ""
    every = np.flatnonzero(usable)
    hashes.renumber(every)
    found = group_images(
        lambda row: paths[every[row]],
        facts["digest"][every],
        cache_dir,
        hashes,
        duplicates=settings.duplicates,
        white=white,
    )
    groups = np.arange(len(names)) + len(names)  # of those that cannot be used, each is alone
    groups[every] = found.of_image
    labels = [table.class_names[code] for code in table.labels.tolist()]
    pictures = pd.DataFrame(
        {
            "name": names,
            "label": labels + [""] * len(test_names),
            "split": [*(table.splits or ["train"] * count), *(["test"] * len(test_names))],
            "digest": facts["digest"],
            "group": groups,
        }
    )
    sound = np.flatnonzero(usable[:count])
    own = pictures.iloc[sound]
    missing = [names[row] for row in np.flatnonzero(facts["fault"] == "missing").tolist()]
    findings = [
        *table.findings,
        *check_classes(table.class_counts),
        *check_files(names, facts, likely_reason(missing, table.image_dir)),
        *check_blank(names, facts["contrast"]),
        *unlisted.result(),
        *check_duplicates(own),
    ]
    if mirrored:
        pairs = near_duplicates(hashes, among=np.arange(len(own)), mirrored=True)
        findings += check_mirrored(own, pairs.same)
    findings += check_scenes([names[row] for row in every.tolist()], found.scenes)
    findings += check_straddling(pictures)
    if run is not None:
        findings += check_labels(table.names, labels, groups[:count], run)
    findings += check_leaks(list(own["name"]), list(own["label"]), facts[sound], groups[sound])
    report = Report(table.source, count, table.class_counts, in_order(findings))
    return Checked(report, table, usable[:count], groups[:count], white)


def _test_names(csv: Path, column: str) -> list[str]:
    names = read_names(csv, column)
    outside = [name for name in names if leads_outside(name)]
    if outside:
        raise DataError(
            f"{csv}: the image name leads out of the image folder, as {one_line(outside[0])} does; "
            f"use names relative to it."
        )
    return [name for name in names if name]
