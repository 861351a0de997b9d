"""What every training should know of its data: serious findings that take no further read."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vehicle_lightning.data.facts import FLAT, Facts, no_facts
from vehicle_lightning.data.findings import Finding, Report, Severity, in_order
from vehicle_lightning.data.leaks import check_leaks, sample_of
from vehicle_lightning.data.table import Table

MANY_BLANK = 0.02  # of all images; from there on blank ones are serious


def serious_findings(
    table: Table, groups: NDArray[np.int64], contrast: NDArray[np.float64]
) -> Report:
    """Find contradicting duplicates, blank pictures, odd labels, and what tells the label.

    Of the files only names, order, size and date are looked at; `check` looks at all else.

    Args:
        table: N images that can be read.
        groups: int64 of shape (N,); pictures of one group show the same.
        contrast: float64 of shape (N,), standard deviation of each picture in grey levels.
    """
    labels = [table.class_names[code] for code in table.labels.tolist()]
    rows = sample_of(groups)
    some = [table.names[row] for row in rows.tolist()], [labels[row] for row in rows.tolist()]
    findings = [
        *check_contradictions(table.names, labels, groups),
        *check_blank(table.names, contrast),
        *(finding for finding in table.findings if finding.kind == "similar-labels"),
        *check_leaks(*some, _size_and_date(table, rows), groups[rows]),
    ]
    told = [f for f in findings if f.severity == "serious" or f.kind == "similar-labels"]
    return Report("", len(table), table.class_counts, in_order(told))


def in_one_line(report: Report) -> str:
    """Name the serious findings in one sentence, or in none where there are none."""
    named = []
    for finding in report.findings:
        if finding.kind == "contradicting-duplicates":
            plural = "s" * (finding.count != 1)
            named.append(f"duplicates of {finding.count} photograph{plural} have different labels")
        elif finding.kind in ("blank-image", "similar-labels"):
            named.append(finding.what[0].lower() + finding.what[1:].rstrip("."))
    leaks = [finding.details[0] for finding in report.findings if finding.kind == "leak"]
    if leaks:
        named.append(
            f"without a look at the pictures, the {' or the '.join(leaks)} tells the label"
        )
    if not named:
        return ""
    return f"Serious: {'; '.join(named)}. See python -m vehicle_lightning.check."


def check_contradictions(
    names: Sequence[str], labels: Sequence[str], groups: NDArray[np.int64]
) -> list[Finding]:
    """Find duplicates with contradicting labels.

    Args:
        names: N file names.
        labels: the label of each.
        groups: int64 of shape (N,); pictures of one group show the same.
    """
    table = pd.DataFrame({"name": names, "label": labels, "group": groups})
    return finding_of_groups(
        "contradicting-duplicates",
        "serious",
        table[differs(table, "label")].groupby("group", sort=False),
        "show one photograph with different labels",
        "Correct the labels; unless what they tell apart differs, some of each are wrong.",
    )


def check_blank(names: Sequence[str], contrast: NDArray[np.float64]) -> list[Finding]:
    """Find pictures that show nothing but one flat grey.

    Args:
        names: N file names.
        contrast: float64 of shape (N,), standard deviation of each picture in grey levels; NaN
            where there is none.
    """
    blank = np.flatnonzero(contrast < FLAT).tolist()
    return Finding.of_files(
        "blank-image",
        "serious" if len(blank) >= MANY_BLANK * len(names) else "warning",
        f"{len(blank)} of {len(names)} pictures are blank.",
        "Nothing can be learnt from them: replace them, or delete their rows.",
        [(names[row], "") for row in blank],
    )


def differs(table: pd.DataFrame, column: str) -> "pd.Series[bool]":
    """Whether the column differs within the row's group."""
    found: pd.Series[bool] = table.groupby("group")[column].transform("nunique") > 1
    return found


def finding_of_groups(
    kind: str, severity: Severity, groups: Any, what: str, advice: str
) -> list[Finding]:
    """Return the finding about groups of rows with a name and a label, or none without any."""
    members = [rows for _, rows in groups]
    if not members:
        return []
    files = sum(len(rows) for rows in members)
    return [
        Finding(
            kind=kind,
            severity=severity,
            what=f"{len(members)} groups of images, {files} files, {what}.",
            advice=advice,
            count=len(members),
            groups=tuple(tuple(rows["name"]) for rows in members),
            details=tuple(" / ".join(rows["label"]) for rows in members),
        )
    ]


def _size_and_date(table: Table, rows: NDArray[np.int64]) -> Facts:
    facts = no_facts(len(rows))
    for position, row in enumerate(rows.tolist()):
        with suppress(OSError):  # it is gone since it was read, as will be said when it is missed
            status = table.paths[row].stat()
            facts[position]["bytes"], facts[position]["modified"] = status.st_size, status.st_mtime
    return facts
