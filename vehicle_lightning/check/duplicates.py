"""Duplicates: one photograph several times, in the training or in the test images too."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vehicle_lightning.data.findings import Finding
from vehicle_lightning.data.serious import check_contradictions, differs, finding_of_groups


def check_duplicates(
    names: Sequence[str],
    labels: Sequence[str],
    digests: NDArray[np.bytes_],
    groups: NDArray[np.int64],
) -> list[Finding]:
    """Find exact and near duplicates, and duplicates with contradicting labels.

    Args:
        names: N file names.
        labels: the label of each.
        digests: bytes of shape (N,), hash of the content of each.
        groups: int64 of shape (N,); pictures of one group show the same.
    """
    table = pd.DataFrame({"name": names, "label": labels, "digest": digests, "group": groups})
    table = table[table.duplicated("group", keep=False)]
    exact = table[table.duplicated("digest", keep=False)]
    near = table[differs(table, "digest")]
    return [
        *check_contradictions(names, labels, groups),
        *finding_of_groups(
            "exact-duplicates",
            "warning",
            exact.groupby("digest", sort=False),
            "are the same file several times",
            "Keep one of each; fit keeps them in one split.",
        ),
        *finding_of_groups(
            "near-duplicates",
            "warning",
            near.groupby("group", sort=False),
            "show nearly the same picture",
            "Keep one of each; fit keeps them in one split.",
        ),
    ]


def check_mirrored(
    names: Sequence[str], labels: Sequence[str], pairs: NDArray[np.int64]
) -> list[Finding]:
    """Find pictures that show the mirror image of another one.

    Args:
        names: N file names.
        labels: the label of each.
        pairs: int64 of shape (P, 2), positions of the one and the other.
    """
    table = pd.DataFrame({"name": names, "label": labels})
    return finding_of_groups(
        "mirrored-duplicates",
        "warning",
        [(number, table.iloc[pair]) for number, pair in enumerate(pairs.tolist())],
        "are mirror images of one another",
        "Keep one of each; fit does not keep them in one split.",
    )


def check_straddling(
    names: Sequence[str], splits: Sequence[str], groups: NDArray[np.int64]
) -> list[Finding]:
    """Find photographs that stand in several of train, val and test.

    Args:
        names: N file names.
        splits: of each, "train", "val" or "test".
        groups: int64 of shape (N,); pictures of one group show the same.
    """
    table = pd.DataFrame({"name": names, "label": splits, "group": groups})
    return finding_of_groups(
        "straddling-duplicates",
        "serious",
        table[differs(table, "label")].groupby("group", sort=False),
        "stand both in the images to train on and in those to test by",
        "Take them out of one; a test on them measures memory.",
    )


def check_scenes(names: Sequence[str], scenes: Sequence[NDArray[np.int64]]) -> list[Finding]:
    """Find so many images that look alike that they are of one camera, belt or form.

    Args:
        names: N file names.
        scenes: rows of each scene.
    """
    if not scenes:
        return []
    files = sum(map(len, scenes))
    return [
        Finding(
            kind="scene",
            severity="warning",
            what=f"{files} of {len(names)} images are of {len(scenes)} scene"
            f"{'s' * (len(scenes) > 1)}: they share what is large and differ in little, or are too "
            f"many for one photograph, so that fit does not keep them in one split.",
            advice="Where images of one camera, day or patient belong together, name the column "
            "that says so with --group-column.",
            count=len(scenes),
            groups=tuple(tuple(names[row] for row in scene.tolist()) for scene in scenes),
        )
    ]
