"""Likely label errors, from the predictions of networks that had not seen the images.

Confident learning: an image is suspect where the network gives another class at least the
probability that it gives that class on average to the images labelled so. Classes that the network
is never sure of are so not blamed for it.

The labels of duplicates count too. Where the duplicates of one photograph have different labels,
some are wrong for certain, and those are suspect that are the less probable ones. How probable a
label is follows from Bayes' rule: the network's probabilities, times those of all labels that the
duplicates have, if as many labels are wrong as confident learning counted.

Source:
    Northcutt, Jiang, Chuang (2021), Confident learning: estimating uncertainty in dataset labels.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from vehicle_lightning.data.findings import Finding
from vehicle_lightning.errors import RunError
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.predictions import read_predictions


def check_labels(
    names: Sequence[str], labels: Sequence[str], groups: NDArray[np.int64], run: RunFolder
) -> Finding:
    """Find images whose label the networks of a run contradict, the most suspect first.

    Args:
        names: N file names.
        labels: the label of each.
        groups: int64 of shape (N,); pictures of one group show the same.
        run: a run on these images; one over all folds has predicted every image.

    Raises:
        RunError: the run has no predictions, or predicted other images or labels.
    """
    found, probabilities = _predictions(run, dict(zip(names, labels, strict=True)))
    class_names = np.array([str(name) for name in probabilities.columns])
    codes = pd.Categorical(found["label"], categories=class_names).codes.astype(np.int64)
    shares = probabilities.to_numpy(dtype=np.float64)
    group = found["file"].map(dict(zip(names, groups.tolist(), strict=True))).to_numpy()
    suspects = suspect_labels(codes, shares, group)

    def detail(row: int) -> str:
        others = np.where(np.arange(len(class_names)) == codes[row], -1.0, shares[row])
        text = f"{class_names[codes[row]]}, but {class_names[others.argmax()]} with "
        text += f"{others.max():.0%}"
        of_group = codes[group == group[row]]
        differing = int((of_group != codes[row]).sum())
        return text + (f"; {differing} of {len(of_group)} duplicates differ" if differing else "")

    return Finding.of_files(
        "label-error",
        "warning",
        f"{len(suspects)} of {len(found)} labels are contradicted by {run.label}, whose networks "
        f"had not seen these images.",
        "Look at them, the first ones first, and correct those that are wrong.",
        [(found["file"].iloc[row], detail(row)) for row in suspects.tolist()],
    )


def suspect_labels(
    codes: NDArray[np.int64], shares: NDArray[np.float64], groups: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the rows whose label is likely wrong, the least probable label first.

    Args:
        codes: int64 of shape (N,), the label of each image.
        shares: float64 of shape (N, C), out-of-sample probabilities.
        groups: int64 of shape (N,); pictures of one group show the same.
    """
    rows = np.arange(len(codes))
    is_contradicted = _contradicted(codes, shares)
    probable = _with_duplicates(codes, shares, groups, error_rate=is_contradicted.mean())
    mixed = pd.Series(codes).groupby(groups).transform("nunique").to_numpy() > 1
    is_suspect = is_contradicted | (mixed & (probable.argmax(axis=1) != codes))
    suspects = np.flatnonzero(is_suspect)
    of_label = probable[rows, codes][suspects]
    order: NDArray[np.int64] = suspects[np.argsort(of_label, kind="stable")]
    return order


def _contradicted(codes: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the network is as sure of another class as it usually is of that class."""
    of_label = shares[np.arange(len(codes)), codes]
    # A class that no image is labelled as suspects none.
    usual = [
        of_label[codes == code].mean() if (codes == code).any() else np.inf
        for code in range(shares.shape[1])
    ]
    confident = np.where(shares >= np.array(usual), shares, -1.0)
    sure = confident.max(axis=1) >= 0
    return np.asarray(sure & (confident.argmax(axis=1) != codes))


def _with_duplicates(
    codes: NDArray[np.int64],
    shares: NDArray[np.float64],
    groups: NDArray[np.int64],
    *,
    error_rate: float,
) -> NDArray[np.float64]:
    """Return how probable each class is by network and labels: float64 of shape (N, C)."""
    count, classes = shares.shape
    wrong = np.clip(error_rate, 1 / count, 1 - 1 / classes) / (classes - 1)
    labels = pd.DataFrame(np.eye(classes)[codes]).groupby(groups).transform("sum").to_numpy()
    seen = pd.DataFrame(shares).groupby(groups).transform("mean").to_numpy()
    others = labels.sum(axis=1, keepdims=True) - labels
    log_probable = np.log(seen.clip(1e-12))
    log_probable += labels * np.log(1 - wrong * (classes - 1)) + others * np.log(wrong)
    probable: NDArray[np.float64] = softmax(log_probable, axis=1)
    return probable


def _predictions(run: RunFolder, labels: dict[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row an image, and its probabilities, the mean over the seeds."""
    frame = read_predictions(run.predictions)
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
