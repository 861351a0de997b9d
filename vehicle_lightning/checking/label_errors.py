"""Likely label errors, from the predictions of networks that had not seen the images.

Confident learning: an image is suspect where the network gives another class at least the
probability that it gives that class on average to the images labelled so. Classes that the network
is never sure of are so not blamed for it.

Source:
    Northcutt, Jiang, Chuang (2021), Confident learning: estimating uncertainty in dataset labels.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vehicle_lightning.checking.findings import Finding
from vehicle_lightning.errors import RunError
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.predictions import read_predictions


def check_labels(names: Sequence[str], labels: Sequence[str], run: RunFolder) -> list[Finding]:
    """Find images whose label the networks of a run contradict, the most suspect first.

    Args:
        names: N file names.
        labels: the label of each.
        run: a run on these images; one over all folds has predicted every image.

    Raises:
        RunError: the run has no predictions, or predicted other images or labels.
    """
    found, probabilities = _predictions(run, dict(zip(names, labels, strict=True)))
    class_names = [str(name) for name in probabilities.columns]
    codes = np.array([class_names.index(label) for label in found["label"]])
    shares = probabilities.to_numpy(dtype=np.float64)
    suspects = suspect_labels(codes, shares)
    details = [
        f"{class_names[codes[row]]}, but {class_names[shares[row].argmax()]} "
        f"with {shares[row].max():.0%}"
        for row in suspects
    ]
    return Finding.of_files(
        "label-error",
        "warning",
        f"{len(suspects)} of {len(found)} labels are contradicted by {run.label}, whose networks "
        f"had not seen these images.",
        "Look at them, the first ones first, and correct those that are wrong.",
        list(zip(found["file"].iloc[suspects], details, strict=True)),
    )


def suspect_labels(codes: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows whose label is likely wrong, the least probable label first.

    Args:
        codes: int64 of shape (N,), the label of each image.
        shares: float64 of shape (N, C), out-of-sample probabilities.
    """
    of_label = shares[np.arange(len(codes)), codes]
    # A class that no image is labelled as suspects none.
    usual = [
        of_label[codes == code].mean() if (codes == code).any() else np.inf
        for code in range(shares.shape[1])
    ]
    confident = np.where(shares >= np.array(usual), shares, -1.0)
    predicted = confident.argmax(axis=1)
    suspects = np.flatnonzero((confident.max(axis=1) >= 0) & (predicted != codes))
    order: NDArray[np.int64] = suspects[np.argsort(of_label[suspects], kind="stable")]
    return order


def _predictions(run: RunFolder, labels: dict[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row an image, and its probabilities, the mean over the seeds."""
    try:
        frame = read_predictions(run.predictions)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{run.predictions} is missing or damaged; finish the run.") from error
    columns = [column for column in frame.columns if column.startswith("p_")]
    differing = frame["file"].map(labels).ne(frame["label"])
    if differing.any():
        raise RunError(
            f"{run.path} was run on other images or labels than these, such as "
            f"{frame.loc[differing, 'file'].iloc[0]}; give a run on the data that is checked."
        )
    shares = frame.groupby("file", sort=False)[columns].mean().fillna(0.0)
    images = frame.drop_duplicates("file")[["file", "label"]]
    return images, shares.set_axis([column[2:] for column in columns], axis=1)
