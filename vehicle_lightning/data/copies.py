"""Copies: one photograph several times, with one label or with two, on one side or on both."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vehicle_lightning.data.findings import Finding


def check_contradictions(
    names: Sequence[str], labels: Sequence[str], groups: NDArray[np.int64]
) -> list[Finding]:
    """Find copies with contradicting labels.

    Args:
        names: N file names.
        labels: the label of each.
        groups: int64 of shape (N,); pictures of one group show the same.
    """
    table = pd.DataFrame({"name": names, "label": labels, "group": groups})
    return _finding(
        "contradicting-copies",
        "serious",
        table[_differs(table, "label")].groupby("group", sort=False),
        "show one photograph with different labels",
        "Correct the labels; unless what they tell apart differs, some of each are wrong.",
    )


def check_copies(
    names: Sequence[str],
    labels: Sequence[str],
    digests: NDArray[np.bytes_],
    groups: NDArray[np.int64],
) -> list[Finding]:
    """Find exact and near copies, and copies with contradicting labels.

    Args:
        names: N file names.
        labels: the label of each.
        digests: bytes of shape (N,), hash of the content of each.
        groups: int64 of shape (N,); pictures of one group show the same.
    """
    table = pd.DataFrame({"name": names, "label": labels, "digest": digests, "group": groups})
    table = table[table.duplicated("group", keep=False)]
    exact = table[table.duplicated("digest", keep=False)]
    near = table[_differs(table, "digest")]
    return [
        *check_contradictions(names, labels, groups),
        *_finding(
            "exact-copies",
            "warning",
            exact.groupby("digest", sort=False),
            "are the same file several times",
            "Keep one of each; fit never puts them on both sides of the split.",
        ),
        *_finding(
            "near-copies",
            "warning",
            near.groupby("group", sort=False),
            "show nearly the same picture",
            "Keep one of each; fit never puts them on both sides of the split.",
        ),
    ]


def check_mirrored(
    names: Sequence[str], labels: Sequence[str], pairs: NDArray[np.int64]
) -> list[Finding]:
    """Find pictures that show the mirror image of another.

    Args:
        names: N file names.
        labels: the label of each.
        pairs: int64 of shape (P, 2), positions of the one and the other.
    """
    table = pd.DataFrame({"name": names, "label": labels})
    return _finding(
        "mirrored-copies",
        "warning",
        [(number, table.iloc[pair]) for number, pair in enumerate(pairs.tolist())],
        "are mirror images of one another",
        "Keep one of each; fit does not keep them on one side of the split.",
    )


def check_straddling(
    names: Sequence[str], test_names: Sequence[str], groups: NDArray[np.int64]
) -> list[Finding]:
    """Find photographs that stand both in the training and in the test CSV.

    Args:
        names: N file names of the training CSV.
        test_names: M file names of the test CSV.
        groups: int64 of shape (N + M,), first the training images.
    """
    sides = ["train"] * len(names) + ["test"] * len(test_names)
    table = pd.DataFrame({"name": [*names, *test_names], "label": sides, "group": groups})
    both = table[_differs(table, "label")]
    return _finding(
        "straddling-copies",
        "serious",
        both.groupby("group", sort=False),
        "stand both in the training and in the test CSV",
        "Take them out of one; a test on them measures memory.",
    )


def _differs(table: pd.DataFrame, column: str) -> "pd.Series[bool]":
    """Whether the column differs within the row's group."""
    differs: pd.Series[bool] = table.groupby("group")[column].transform("nunique") > 1
    return differs


def _finding(kind: str, severity: Any, groups: Any, what: str, advice: str) -> list[Finding]:
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
