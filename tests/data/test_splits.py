import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vehicle_lightning.data.splits import (
    cross_validation_fold,
    hold_out,
    hold_out_groups,
    share_of,
)
from vehicle_lightning.errors import DataError

NAMES = ("car", "van")


@st.composite
def labelled_groups(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels and groups of 60 to 200 rows, a few of them copies, now and then contradicting."""
    rows = draw(st.integers(60, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = np.concatenate([np.arange(20) % 2, rng.integers(0, 2, rows - 20)])
    groups = np.arange(rows)
    copies = rng.integers(20, rows, rows // 5)
    groups[copies] = groups[rng.integers(20, rows, rows // 5)]
    return labels, groups


@given(labelled_groups(), st.floats(0.15, 0.5), st.integers(0, 1000))
def test_a_hold_out_is_a_stratified_partition_of_groups(
    data: tuple[NDArray[np.int64], NDArray[np.int64]], fraction: float, seed: int
) -> None:
    labels, groups = data
    training, validating = hold_out(labels, groups, fraction, seed, names=NAMES)
    assert sorted([*training, *validating]) == list(range(len(labels)))
    assert not set(groups[training]) & set(groups[validating])
    assert len(validating) / len(labels) == pytest.approx(fraction, abs=0.12)
    assert labels[validating].mean() == pytest.approx(labels.mean(), abs=0.2)


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.25, 0.4, 0.6, 0.7, 0.9])
def test_of_large_groups_the_fraction_is_held_out_too(fraction: float) -> None:
    labels, groups = np.arange(1000) % 2, np.repeat(np.arange(100), 10)
    kept, held = hold_out_groups(labels, groups, fraction, 0)
    assert sorted([*kept, *held]) == list(range(1000))
    assert not set(groups[kept]) & set(groups[held])
    assert len(held) / 1000 == pytest.approx(fraction, abs=0.03)


def test_large_groups_of_few_images_can_be_held_out() -> None:
    labels, groups = np.repeat(np.arange(3), 8), np.arange(24) % 12
    kept, held = hold_out_groups(labels, groups, 0.1, 0)
    assert 0 < len(held) < len(kept)


@given(labelled_groups(), st.integers(2, 5), st.integers(0, 1000))
def test_over_all_folds_each_row_validates_once(
    data: tuple[NDArray[np.int64], NDArray[np.int64]], folds: int, seed: int
) -> None:
    labels, groups = data
    seen: list[int] = []
    for fold in range(folds):
        training, validating = cross_validation_fold(labels, groups, folds, fold, seed, names=NAMES)
        assert not set(groups[training]) & set(groups[validating])
        assert sorted([*training, *validating]) == list(range(len(labels)))
        seen += validating.tolist()
    assert sorted(seen) == list(range(len(labels)))


@given(labelled_groups(), st.integers(0, 1000))
def test_shares_are_nested_and_stratified_and_never_cut_a_group(
    data: tuple[NDArray[np.int64], NDArray[np.int64]], seed: int
) -> None:
    labels, groups = data
    smaller: set[int] = set()
    for fraction in (0.01, 0.125, 0.25, 0.5, 0.75, 1):
        rows = share_of(labels, groups, fraction, (seed, 0))
        assert smaller <= set(rows)
        assert np.isin(groups, groups[rows]).sum() == len(rows)
        assert len(rows) / len(labels) == pytest.approx(fraction, abs=0.1)
        assert set(labels[rows]) == {0, 1}
        smaller = set(rows)
    assert len(smaller) == len(labels)


def test_the_split_follows_its_seed_alone() -> None:
    labels, groups = np.arange(100) % 2, np.arange(100)
    first, again, other = (
        hold_out(labels, groups, 0.2, seed, names=NAMES)[1].tolist() for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(first) == 20
    assert labels[first].sum() == 10


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"class van \(1\) has fewer than 2 different images"):
        hold_out(np.array([0, 0, 0, 0, 1]), np.arange(5), 0.4, 0, names=NAMES)


def test_a_class_in_one_group_cannot_be_split() -> None:
    labels, groups = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 4, 4])
    with pytest.raises(DataError):
        hold_out(labels, groups, 0.4, 0, names=NAMES)
    with pytest.raises(
        DataError, match="more than the 1 different images or groups of the class van"
    ):
        cross_validation_fold(labels, groups, 2, 0, 0, names=NAMES)


def test_more_folds_than_images() -> None:
    with pytest.raises(DataError, match="--folds 6 is more than the 5 different images"):
        cross_validation_fold(np.arange(10) % 2, np.arange(10), 6, 0, 0, names=NAMES)


@pytest.mark.parametrize("seed", range(20))
def test_a_class_of_three_is_on_both_sides_of_a_tenth(seed: int) -> None:
    labels = np.array([0] * 60 + [1] * 60 + [2] * 3)
    kept, held = hold_out(labels, np.arange(123), 0.1, seed, names=["cat", "dog", "lynx"])
    assert set(labels[kept]) == set(labels[held]) == {0, 1, 2}
    assert 12 <= len(held) <= 14
