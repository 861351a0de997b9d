"""One check from a CSV and a folder to a report."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.check.files import check_files, check_unlisted
from vehicle_lightning.check.rows import Rows, check_rows
from vehicle_lightning.config import SourceSettings
from vehicle_lightning.data.copies import check_copies, check_mirrored, check_straddling
from vehicle_lightning.data.facts import Facts, examine_files
from vehicle_lightning.data.findings import Finding, Report, in_order
from vehicle_lightning.data.hashes import StoredPrints
from vehicle_lightning.data.safe_path import leads_outside
from vehicle_lightning.data.table import on_one_line, read_names
from vehicle_lightning.errors import DataError
from vehicle_lightning.runs.folder import RunFolder


@dataclass(frozen=True)
class Checked:
    """A report, and what it takes to write a cleaned CSV.

    Attributes:
        report: what was found.
        rows: the usable rows of the CSV.
        usable: bool of shape (N,), whether the file of each can be used.
        groups: int64 of shape (N,), which show the same; a file that cannot be used is alone.
    """

    report: Report
    rows: Rows
    usable: NDArray[np.bool_]
    groups: NDArray[np.int64]


def check_data_set(
    data_dir: Path,
    settings: SourceSettings,
    cache_dir: Path,
    *,
    test_csv: Path | None = None,
    run: RunFolder | None = None,
    mirrored: bool = False,
) -> Checked:
    """Check a data set.

    Args:
        data_dir: folder with the CSV and the images.
        settings: names of CSV, columns and image folder.
        cache_dir: where the near copies are remembered, with room for the prints meanwhile.
        test_csv: a second CSV, with the same image column, whose images must be others.
        run: a run on these images, whose predictions tell which labels are likely wrong.
        mirrored: look for mirrored copies too.

    Raises:
        DataError: a CSV or one of its columns cannot be read.
        RunError: the run has predicted other images.
    """
    rows = check_rows(data_dir / settings.csv, settings)
    image_dir = data_dir / settings.image_dir
    test_names = [] if test_csv is None else _test_names(test_csv, settings.image_column)
    names = [*rows.names, *test_names]
    with ThreadPoolExecutor(1) as beside:
        without_pictures = beside.submit(_prepare, image_dir, [*names, *rows.left_out])
        facts, prints = examine_files(image_dir, names, cache_dir)
        unlisted = without_pictures.result()
    from vehicle_lightning.data.leaks import check_leaks

    usable: NDArray[np.bool_] = facts["fault"] == ""
    groups = _groups(image_dir, names, facts, usable, prints, cache_dir)

    count = len(rows.names)
    sound = np.flatnonzero(usable[:count])
    sound_names = [rows.names[row] for row in sound.tolist()]
    sound_labels = [rows.labels[row] for row in sound.tolist()]
    findings = [
        *rows.findings,
        *check_files(names, facts),
        *unlisted,
        *check_copies(sound_names, sound_labels, facts["digest"][sound], groups[sound]),
        *(_mirrored(image_dir, sound_names, sound_labels, prints) if mirrored else []),
        *check_straddling(rows.names, names[count:], groups),
        *([] if run is None else _contradicted(rows, groups[:count], run)),
        *check_leaks(sound_names, sound_labels, facts[sound], groups[sound]),
    ]
    report = Report(str(data_dir / settings.csv), count, rows.classes, in_order(findings))
    return Checked(report, rows, usable[:count], groups[:count])


def _test_names(csv: Path, column: str) -> list[str]:
    names = read_names(csv, column)
    outside = names[leads_outside(names)]
    if not outside.empty:
        raise DataError(
            f"{csv}: the image name leads out of the image folder, as "
            f"{on_one_line(outside.iloc[0])} does; use names relative to it."
        )
    return [name for name in names if name]


def _prepare(image_dir: Path, names: list[str]) -> list[Finding]:
    """Do, while the files are read, what needs no pictures: list the folder, import the rest."""
    return check_unlisted(image_dir, names)


def _contradicted(rows: Rows, groups: NDArray[np.int64], run: RunFolder) -> list[Finding]:
    from vehicle_lightning.check.label_errors import check_labels

    return check_labels(rows.names, rows.labels, groups, run)


def _mirrored(
    image_dir: Path, names: list[str], labels: list[str], prints: StoredPrints
) -> list[Finding]:
    """Find mirrored copies among the training images, whose prints come first."""
    from vehicle_lightning.data.duplicates import near_duplicates
    from vehicle_lightning.data.groups import thumbnails_of

    read = thumbnails_of(lambda row: image_dir / names[row])
    pairs = near_duplicates(prints, read, among=np.arange(len(names)), mirrored=True)
    return check_mirrored(names, labels, pairs)


def _groups(
    image_dir: Path,
    names: list[str],
    facts: Facts,
    usable: NDArray[np.bool_],
    prints: StoredPrints,
    cache_dir: Path,
) -> NDArray[np.int64]:
    """Group what can be used; each of the others is alone."""
    from vehicle_lightning.data.groups import group_images

    sound = np.flatnonzero(usable)
    groups = np.arange(len(names)) + len(names)
    if len(sound):
        found = group_images(
            lambda row: image_dir / names[sound[row]], facts["digest"][sound], cache_dir, prints
        )
        groups[sound] = found.of_image
    return groups
