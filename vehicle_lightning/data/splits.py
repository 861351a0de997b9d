"""The split into training, validation and test images; what belongs together is never cut."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from vehicle_lightning.config import DataSettings
from vehicle_lightning.data.duplicates import grouped
from vehicle_lightning.data.table import Table
from vehicle_lightning.errors import DataError, SettingsError, join_first

Rows = NDArray[np.int64]
Split = Literal["train", "val", "test"]

MOST_PARTS = 100  # of groups, of which some are held out


def split_rows(
    settings: DataSettings, table: Table, groups: NDArray[np.int64]
) -> tuple[dict[Split, Rows], int]:
    """Split the rows of a table as the settings and the table say.

    The table's own splits are kept, but that a training image whose duplicate stands in another
    split is left out, as is a validation image whose duplicate stands in the test. What they leave
    open is drawn: first the test images, then those that validate.

    Args:
        settings: fractions, folds, seed.
        table: N images.
        groups: int64 of shape (N,); rows with the same number stay in one split.

    Returns:
        Ascending row numbers of "train", "val" and, where there is one, "test"; and the number of
        rows that are left out.

    Raises:
        DataError: a class or a group cannot be split so.
        SettingsError: they name columns or a test CSV of which the table has nothing.
    """
    _check_given(settings, table)
    labels, names, has_groups = table.labels, list(table.class_names), table.groups is not None
    given: NDArray[np.str_] = np.array(
        ["train"] * len(table) if table.splits is None else table.splits, dtype=str
    )
    if cut := cut_groups(table):
        told = join_first(f"{name} ({where})" for name, where in cut.items())
        raise DataError(
            f"The splits of the data cut {len(cut)} groups of --group-column: {told}; put each "
            f"into one split, or leave out --group-column."
        )

    def apart(split: str, others: Rows) -> Rows:
        """Rows of a split that no duplicate of stands among the others."""
        return np.flatnonzero((given == split) & ~np.isin(groups, groups[others]))

    test = np.flatnonzero(given == "test")
    val = apart("val", test)
    rest = apart("train", np.concatenate([test, val]))
    left_out = len(table) - len(test) - len(val) - len(rest)
    if not len(rest):
        raise DataError(
            f"No image is left to train on: of {len(table)}, {len(test)} are to test and "
            f"{len(val)} to validate, and {left_out} are duplicates of those."
        )
    share = settings.val_fraction

    def draw(rows: Rows, fraction: float, split: Split) -> tuple[Rows, Rows]:
        seed, some = settings.split_seed, (labels[rows], groups[rows])
        if not has_groups:
            kept, held = hold_out(*some, fraction, seed, names=names, split=split)
        else:
            kept, held = hold_out_groups(*some, fraction, seed, split=split)
        return rows[kept], rows[held]

    if settings.test_fraction:
        if len(test):
            raise DataError("The data have test images already; leave out --test-fraction.")
        rest, test = draw(rest, settings.test_fraction, "test")
        share /= 1 - settings.test_fraction
    if settings.folds is not None and settings.fold is not None:
        rest = np.sort(np.concatenate([rest, val]))
        fold, seed = (settings.folds, settings.fold), settings.split_seed
        kept, held = cross_validation_fold(labels[rest], groups[rest], *fold, seed, names=names)
        train, val = rest[kept], rest[held]
    elif len(val):
        train = rest
    else:
        train, val = draw(rest, share, "val")
    if settings.train_fraction < 1:
        # Another draw in each fold, so that the folds of a small share have few images in common.
        of_fold = (settings.split_seed, settings.fold or 0)
        train = train[share_of(labels[train], groups[train], settings.train_fraction, of_fold)]
    rows: dict[Split, Rows] = {"train": train, "val": val}
    if len(test):
        rows["test"] = test
    for split in ("train", "val"):
        missing = np.setdiff1d(labels, labels[rows[split]])
        if len(missing):
            raise DataError(
                f"The {split} images have none of the class "
                f"{join_first(names[label] for label in missing)}; add images of it, or split in "
                f"another way (--split-seed, --folds, or the column that names the splits)."
            )
    return rows, left_out


def _check_given(settings: DataSettings, table: Table) -> None:
    """Refuse a table of one's own that lacks what the settings would read from a CSV."""
    for name, given in (("group", table.groups), ("split", table.splits)):
        if getattr(settings, f"{name}_column") is not None and given is None:
            raise SettingsError(
                f"--{name}-column names a column of a CSV, and the Table has no {name}s; give "
                f"it {name}s=..."
            )
    if settings.test_csv is not None and "test" not in (table.splits or ()):
        raise SettingsError("--test-csv has no effect on a Table; give it splits=...")


def cut_groups(table: Table) -> dict[str, str]:
    """Return the named groups that the data put into several splits, and into which."""
    where: dict[str, set[str]] = {}
    for name, split in zip(table.groups or (), table.splits or (), strict=False):
        if name:
            where.setdefault(name, set()).add(split)
    return {name: " and ".join(sorted(among)) for name, among in where.items() if len(among) > 1}


def join_groups(duplicates: NDArray[np.int64], names: Sequence[str] | None) -> NDArray[np.int64]:
    """Join the groups of duplicates with those that the table names, blank ones aside.

    Args:
        duplicates: int64 of shape (N,), numbered from 0.
        names: N names of groups, or None.
    """
    if names is None:
        return duplicates
    first: dict[str, int] = {}
    pairs = [(row, first.setdefault(name, row)) for row, name in enumerate(names) if name]
    of_group = np.unique(duplicates, return_index=True)[1]
    alike = np.stack([np.arange(len(duplicates)), of_group[duplicates]], axis=1)
    return grouped(len(duplicates), alike, np.array(pairs, dtype=np.int64).reshape(-1, 2))


def hold_out(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    fraction: float,
    seed: int,
    *,
    names: Sequence[str],
    split: Split = "val",
) -> tuple[Rows, Rows]:
    """Split rows at random in two, stratified by label.

    Whole groups are drawn, each under its most frequent label, with scikit-learn's
    `train_test_split`; with groups of more than one row the fraction holds nearly, not exactly.

    Args:
        labels: int64 of shape (N,).
        groups: int64 of shape (N,); rows with the same number stay together.
        fraction: share of the groups that are held out, between 0 and 1.
        seed: seed of the draw.
        names: the class names.
        split: what is held out.

    Returns:
        Row numbers that are kept, and row numbers that are held out, each in ascending order.

    Raises:
        DataError: a class has too few different images for both.
    """
    distinct, group_of_row = np.unique(groups, return_inverse=True)
    votes = np.zeros((len(distinct), len(names)), dtype=np.int64)
    np.add.at(votes, (group_of_row, labels), 1)
    strata = votes.argmax(axis=1)
    counts = np.bincount(strata, minlength=len(names))
    present = np.unique(labels)
    rare = [f"{names[label]} ({counts[label]})" for label in present if counts[label] < 2]
    if rare:
        raise DataError(
            f"The class {join_first(rare)} has fewer than 2 different images, and one must train "
            f"while another one is held out; add images of it or leave it out."
        )
    total = len(distinct)
    held = int(np.ceil(fraction * total))
    if not len(present) <= held <= total - len(present):
        least = len(present) / total
        raise DataError(
            f"--{split}-fraction {fraction:g} of {total} different images is {held}, and each of "
            f"the {len(present)} classes needs one there and one to train on; add images or change "
            f"--{split}-fraction (from {np.ceil(least * 1000) / 1000:g} to "
            f"{np.floor((1 - least) * 1000) / 1000:g})."
        )
    _, drawn = train_test_split(
        np.arange(total), test_size=fraction, random_state=seed, stratify=strata
    )
    is_drawn = np.isin(np.arange(total), drawn)
    # Of a class of three, a tenth rounds to none.
    for label in present:
        of_label = np.flatnonzero(strata == label)
        if is_drawn[of_label].all() or not is_drawn[of_label].any():
            one = np.random.default_rng([seed, label]).choice(of_label)
            is_drawn[one] = ~is_drawn[one]
    is_held = is_drawn[group_of_row]
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def hold_out_groups(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    fraction: float,
    seed: int,
    *,
    split: Split = "val",
) -> tuple[Rows, Rows]:
    """Split rows in two as `hold_out` does, where groups are few and large, as cameras are.

    The fraction of the rows holds nearly (scikit-learn's `StratifiedGroupKFold`).

    Raises:
        DataError: there is only one group.
    """
    count = len(np.unique(groups))
    if count < 2:
        raise DataError(
            f"All images are of one group of --group-column, or duplicates join its groups (see "
            f"--duplicates), so that none can be held out for {split}; leave out --group-column, "
            f"or add images of other groups."
        )
    most = min(count, int(np.bincount(labels).max()), MOST_PARTS)
    share = Fraction(fraction).limit_denominator(most)
    share = min(max(share, Fraction(1, most)), Fraction(most - 1, most))
    parts = [held for _, held in _folds(labels, groups, share.denominator, seed)]
    rows = np.sort(np.concatenate(parts[: share.numerator]))
    return np.setdiff1d(np.arange(len(labels)), rows), rows


def share_of(
    labels: NDArray[np.int64], groups: NDArray[np.int64], fraction: float, seed: Sequence[int]
) -> Rows:
    """Draw a share of rows at random, stratified by label; whole groups are drawn.

    Shares are nested: a smaller fraction of the same rows is a part of a larger one.

    Args:
        labels: int64 of shape (N,).
        groups: int64 of shape (N,); rows with the same number stay together, under the label of
            the first of them.
        fraction: share of the rows of each label, above 0 and up to 1; at least one group each.
        seed: seed of the draw.

    Returns:
        Row numbers in ascending order.
    """
    _, first, group_of_row, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.random.default_rng(seed).permutation(len(first))
    drawn = np.zeros(len(first), dtype=bool)
    for label in np.unique(labels[first]):
        of_label = order[labels[first][order] == label]
        before = np.cumsum(sizes[of_label]) - sizes[of_label]
        drawn[of_label] = before < fraction * sizes[of_label].sum()
    return np.flatnonzero(drawn[group_of_row])


def cross_validation_fold(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    folds: int,
    fold: int,
    seed: int,
    *,
    names: Sequence[str],
) -> tuple[Rows, Rows]:
    """Split rows into `folds` parts of which the one numbered `fold`, from 0, validates.

    The parts are stratified by label and never cut a group (scikit-learn's
    `StratifiedGroupKFold`); over all folds every row validates exactly once.

    Raises:
        DataError: there are fewer different images of some class than folds.
    """
    different = {label: len(np.unique(groups[labels == label])) for label in np.unique(labels)}
    rarest = min(different, key=lambda label: different[label])
    if folds > different[rarest]:
        raise DataError(
            f"--folds {folds} is more than the {different[rarest]} different images or groups of "
            f"the class {names[rarest]}; use at most {different[rarest]} folds."
        )
    return _folds(labels, groups, folds, seed)[fold]


def _folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64], folds: int, seed: int
) -> list[tuple[Rows, Rows]]:
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    parts = splitter.split(np.zeros(len(labels)), labels, groups)
    return [(kept.astype(np.int64), held.astype(np.int64)) for kept, held in parts]
