"""Duplicates: one photograph several times, in the training or in the test images too."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vehicle_lightning.data.findings import Finding
from vehicle_lightning.data.leaks import check_contradictions, differing, finding_of_groups

ONE_SPLIT = "Keep one of each; fit keeps them in one split."


def check_duplicates(pictures: pd.DataFrame) -> list[Finding]:
    """Find exact and near duplicates, and duplicates with contradicting labels.

    Args:
        pictures: name, label, digest of the content, and group of each; pictures of one group show
            the same.
    """
    several = pictures[pictures.duplicated("group", keep=False)]
    equal = several[several.duplicated("digest", keep=False)].groupby("digest", sort=False)
    near = differing(several, "digest")
    return [
        *check_contradictions(several),
        *finding_of_groups(
            "exact-duplicates", "warning", equal, "are the same file several times", ONE_SPLIT
        ),
        *finding_of_groups(
            "near-duplicates", "warning", near, "show nearly the same picture", ONE_SPLIT
        ),
    ]


def check_mirrored(pictures: pd.DataFrame, pairs: NDArray[np.int64]) -> list[Finding]:
    """Find pictures that show the mirror image of another one.

    Args:
        pictures: name and label of each.
        pairs: int64 of shape (P, 2), positions of the one and the other.
    """
    return finding_of_groups(
        "mirrored-duplicates",
        "warning",
        [(number, pictures.iloc[pair]) for number, pair in enumerate(pairs.tolist())],
        "are mirror images of one another",
        "Keep one of each; fit does not keep them in one split.",
    )


def check_straddling(pictures: pd.DataFrame) -> list[Finding]:
    """Find photographs that stand in several of train, val and test.

    Args:
        pictures: name, split and group of each.
    """
    return finding_of_groups(
        "straddling-duplicates",
        "serious",
        differing(pictures.assign(label=pictures["split"]), "split"),
        "stand both in the images to train on and in those to test by",
        "Take them out of one; a test on them measures memory.",
    )


def check_scenes(names: Sequence[str], scenes: Sequence[NDArray[np.int64]]) -> list[Finding]:
    """Find so many images that look alike that they are of one camera, belt or form.

    Args:
        names: N file names.
        scenes: rows of each scene.
    """
    return Finding.of_groups(
        "scene",
        "warning",
        f"{sum(map(len, scenes))} of {len(names)} images are of {len(scenes)} scene"
        f"{'s' * (len(scenes) > 1)}: they share what is large and differ in little, or are too "
        f"many for one photograph, so that fit does not keep them in one split.",
        "Where images of one camera, day or patient belong together, name the column that says so "
        "with --group-column.",
        [(tuple(names[row] for row in scene.tolist()), "") for scene in scenes],
    )
