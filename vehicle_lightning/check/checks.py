"""One check from a table to a report, and to a CSV without what is wrong."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vehicle_lightning.check.files import check_files, check_unlisted
from vehicle_lightning.check.label_errors import check_labels
from vehicle_lightning.config import SourceSettings
from vehicle_lightning.data.cache import cache_folder
from vehicle_lightning.data.duplicates import near_duplicates
from vehicle_lightning.data.facts import examine_all, file_states
from vehicle_lightning.data.findings import Finding, Report, in_order
from vehicle_lightning.data.images import WhiteValues
from vehicle_lightning.data.leaks import (
    check_blank,
    check_contradictions,
    check_leaks,
    differing,
    finding_of_groups,
)
from vehicle_lightning.data.paths import leads_outside, likely_reason
from vehicle_lightning.data.reading import group_examined
from vehicle_lightning.data.rows import check_classes
from vehicle_lightning.data.splits import cut_groups
from vehicle_lightning.data.table import ImagePaths, Table, read_names
from vehicle_lightning.errors import DataError, one_line
from vehicle_lightning.files import write_csv
from vehicle_lightning.runs.folder import RunFolder


@dataclass(frozen=True)
class Checked:
    """A report, and what it takes to write a cleaned CSV.

    Attributes:
        report: what was found.
        table: N images.
        usable: bool of shape (N,), whether the file of each can be used.
        groups: int64 of shape (N,), which show the same for certain, near duplicates inside a
            scene aside; a file that cannot be used is alone.
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
    with ThreadPoolExecutor(1) as beside:
        unlisted = beside.submit(check_unlisted, table.image_dir, [*names, *unlabelled])
        facts, hashes, white = examine_all(paths, file_states(paths, table.image_dir), cache_dir)
    usable: NDArray[np.bool_] = facts["fault"] == ""
    found = group_examined(facts, hashes, cache_dir, settings.duplicates)
    groups, certain = found.of_image, found.certain
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
        check_blank(names, facts["contrast"]),
        unlisted.result(),
        check_contradictions(own.assign(group=certain[sound])),
        *_duplicates(own),
    ]
    if mirrored:
        pairs = enumerate(near_duplicates(hashes, sound, mirrored=True).same.tolist())
        findings.append(
            finding_of_groups(
                "mirrored-duplicates",
                "warning",
                [(number, own.iloc[pair]) for number, pair in pairs],
                "are mirror images of one another",
                "Keep one of each; fit does not keep them in one split.",
            )
        )
    cut = cut_groups(table)
    findings += [
        _scenes(names, found.scenes, int(usable.sum()), table.groups is not None),
        finding_of_groups(
            "straddling-duplicates",
            "serious",
            differing(pictures.assign(label=pictures["split"]), "split"),
            "stand both in the images to train on and in those to test by",
            "Take them out of one; a test on them measures memory.",
        ),
        Finding.of_files(
            "cut-group",
            "serious",
            f"{len(cut)} groups of --group-column stand in several splits.",
            "Put each into one split; fit refuses them.",
            list(cut.items()),
        ),
        *check_leaks(list(own["name"]), list(own["label"]), facts[sound], groups[sound]),
    ]
    if run is not None:
        findings.append(check_labels(table.names, labels, certain[:count], run))
    report = Report(table.source, count, table.class_counts, in_order(findings))
    return Checked(report, table, usable[:count], certain[:count], white)


def _test_names(csv: Path, column: str) -> list[str]:
    names = read_names(csv, column)
    outside = [name for name in names if leads_outside(name)]
    if outside:
        raise DataError(
            f"{csv}: the image name leads out of the image folder, as {one_line(outside[0])} does; "
            f"use names relative to it."
        )
    return [name for name in names if name]


def _duplicates(pictures: pd.DataFrame) -> list[Finding]:
    """Find exact and near duplicates."""
    several = pictures[pictures.duplicated("group", keep=False)]
    equal = several[several.duplicated("digest", keep=False)].groupby("digest", sort=False)
    near = differing(several, "digest")
    keep = "Keep one of each; fit keeps them in one split."
    same, like = "are the same file several times", "show nearly the same picture"
    return [
        finding_of_groups("exact-duplicates", "warning", equal, same, keep),
        finding_of_groups("near-duplicates", "warning", near, like, keep),
    ]


def _scenes(
    names: Sequence[str], scenes: Sequence[NDArray[np.int64]], usable: int, has_groups: bool
) -> Finding:
    """Find so many images that look alike that they are of one camera, belt or form."""
    if has_groups:
        kept, advice = "for fit only --group-column says which stay in one split.", "Nothing to do."
    else:
        kept = "so that fit does not keep them in one split."
        advice = "Where images of one camera, day or patient belong together, name the column that "
        advice += "says so with --group-column."
    return Finding.of_groups(
        "scene",
        "warning",
        f"{sum(map(len, scenes))} of {usable} images are of {len(scenes)} scene"
        f"{'s' * (len(scenes) > 1)}: they share what is large and differ in little, or are too "
        f"many for one photograph, {kept}",
        advice,
        [(tuple(names[row] for row in scene.tolist()), "") for scene in scenes],
    )


def write_clean(target: Path, settings: SourceSettings, checked: Checked) -> int:
    """Write the rows that are worth training on as a CSV, and return how many there are.

    Of duplicates the first is kept; of duplicates, or rows, with contradicting labels none, as it
    cannot be known which is right; files that cannot be used are left out. Splits and groups stay,
    each in a column.

    Raises:
        OSError: the target cannot be written.
    """
    table, found = checked.table, checked.table.findings
    contradicted = [name for f in found if f.kind == "contradicting-rows" for name in f.files]
    labels = [table.class_names[code] for code in table.labels.tolist()]
    rows = pd.DataFrame({"name": table.names, "label": labels, "group": checked.groups})
    places = settings.model_copy(update=dict(table.found))
    columns = {"name": places.image_column, "label": places.label_column}
    if table.splits is not None:
        rows["split"], columns["split"] = table.splits, places.split_column or "split"
    if table.groups is not None:
        rows["together"], columns["together"] = table.groups, str(places.group_column)
    by_group = rows.assign(bad=rows["name"].isin(contradicted)).groupby("group")
    agrees = (by_group["label"].transform("nunique") == 1) & ~by_group["bad"].transform("any")
    kept = rows[checked.usable & agrees].drop_duplicates("group")
    write_csv(target, kept[[*columns]].rename(columns=columns))
    return len(kept)
