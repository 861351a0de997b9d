"""What every training should know of its data: serious findings that take no decoding to find."""

from collections import Counter
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.data.copies import check_contradictions
from vehicle_lightning.data.facts import FACTS, Facts
from vehicle_lightning.data.findings import Report, in_order
from vehicle_lightning.data.leaks import check_leaks, sample_of
from vehicle_lightning.data.table import Table


def serious_findings(table: Table, groups: NDArray[np.int64]) -> Report:
    """Find copies with contradicting labels, and what about the files tells the label.

    Of the files only names, order, size and date are looked at; `check` looks at all else.

    Args:
        table: N images that can be read.
        groups: int64 of shape (N,); pictures of one group show the same.
    """
    labels = [table.class_names[code] for code in table.labels.tolist()]
    rows = sample_of(groups)
    some = [table.names[row] for row in rows.tolist()], [labels[row] for row in rows.tolist()]
    findings = [
        *check_contradictions(table.names, labels, groups),
        *check_leaks(*some, _size_and_date(table, rows), groups[rows]),
    ]
    serious = [finding for finding in findings if finding.severity == "serious"]
    return Report("", len(table), dict(Counter(labels).most_common()), in_order(serious))


def in_one_line(report: Report) -> str:
    """Name the serious findings in one sentence, or in none where there are none."""
    named = [
        f"copies of {finding.count} photograph{'s' * (finding.count != 1)} have different labels"
        for finding in report.findings
        if finding.kind == "contradicting-copies"
    ]
    leaks = [finding.details[0] for finding in report.findings if finding.kind == "leak"]
    if leaks:
        named.append(
            f"without a look at the pictures, the {' or the '.join(leaks)} tells the label"
        )
    if not named:
        return ""
    return f"Serious: {'; '.join(named)}. See python -m vehicle_lightning.check."


def _size_and_date(table: Table, rows: NDArray[np.int64]) -> Facts:
    facts = np.zeros(len(rows), dtype=FACTS)
    for position, row in enumerate(rows.tolist()):
        with suppress(OSError):  # it is gone since it was read, as will be said when it is missed
            status = table.paths[row].stat()
            facts[position]["bytes"], facts[position]["modified"] = status.st_size, status.st_mtime
    return facts
