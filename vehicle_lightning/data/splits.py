"""The split: which images train and which validate, copies of one picture never on both sides."""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from vehicle_lightning.errors import DataError

Rows = NDArray[np.int64]


def hold_out(
    labels: NDArray[np.int64], groups: NDArray[np.int64], fraction: float, seed: int
) -> tuple[Rows, Rows]:
    """Split rows at random into training and validation, stratified by label.

    Whole groups are drawn, each under its most frequent label, with scikit-learn's
    `train_test_split`; with groups of more than one row the fraction holds nearly, not exactly.

    Args:
        labels: int64 of shape (N,).
        groups: int64 of shape (N,); rows with the same number stay on one side.
        fraction: share of the groups that validate, between 0 and 1.
        seed: seed of the draw.

    Returns:
        Row numbers that train, and row numbers that validate, each in ascending order.

    Raises:
        DataError: a class has too few different images for both sides.
    """
    group_names, group_of_row = np.unique(groups, return_inverse=True)
    votes = np.zeros((len(group_names), labels.max() + 1), dtype=np.int64)
    np.add.at(votes, (group_of_row, labels), 1)
    try:
        _, validating = train_test_split(
            np.arange(len(group_names)),
            test_size=fraction,
            random_state=seed,
            stratify=votes.argmax(axis=1),
        )
    except ValueError as error:
        raise DataError(
            f"{len(group_names)} different images cannot be split with {fraction:g} of each class "
            f"for validation ({error}); add images or change --val-fraction."
        ) from error
    validates = np.isin(group_of_row, validating)
    return _checked(labels, np.flatnonzero(~validates), np.flatnonzero(validates))


def cross_validation_fold(
    labels: NDArray[np.int64], groups: NDArray[np.int64], folds: int, fold: int, seed: int
) -> tuple[Rows, Rows]:
    """Split rows into `folds` parts of which the one numbered `fold`, from 0, validates.

    The parts are stratified by label and never cut a group (scikit-learn's
    `StratifiedGroupKFold`); over all folds every row validates exactly once.

    Raises:
        DataError: there are fewer images of some class than folds.
    """
    fewest = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    if folds > fewest:
        raise DataError(
            f"--folds {folds} is more than the {fewest} different images of the rarest class; "
            f"use at most {fewest} folds."
        )
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    parts = list(splitter.split(np.zeros(len(labels)), labels, groups))
    training, validating = parts[fold]
    return _checked(labels, training, validating)


def _checked(labels: NDArray[np.int64], training: Rows, validating: Rows) -> tuple[Rows, Rows]:
    for rows, side in ((training, "training"), (validating, "validation")):
        missing = np.setdiff1d(labels, labels[rows])
        if len(missing):
            raise DataError(
                f"The {side} side of the split has no image of {len(missing)} of the classes; "
                f"add images of the rare classes or change --val-fraction."
            )
    return training.astype(np.int64), validating.astype(np.int64)
