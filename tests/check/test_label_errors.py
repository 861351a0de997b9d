"""Label errors: which labels are suspect, and in which order."""

import numpy as np
import pytest

from vehicle_lightning.check.label_errors import suspect_labels

SURE, CODES = 0.9, [0] * 20 + [1] * 20


def suspects(
    different: dict[int, float], copies: tuple[int, ...] = (), codes: list[int] = CODES
) -> list[int]:
    """Suspects of forty images, of which the network contradicts some with these probabilities."""
    of_label = np.full(len(codes), SURE)
    for row, probability in different.items():
        of_label[row] = 1 - probability
    shares = np.empty((len(codes), 2))
    shares[np.arange(len(codes)), codes] = of_label
    shares[np.arange(len(codes)), 1 - np.array(codes)] = 1 - of_label
    groups = np.arange(len(codes))
    groups[list(copies)] = len(codes)
    return suspect_labels(np.array(codes), shares, groups).tolist()


def test_the_most_contradicted_label_comes_first() -> None:
    assert suspects({}) == []
    assert suspects({3: 0.95, 25: 0.99, 7: 0.97}) == [25, 7, 3]


def test_a_network_that_is_not_sure_suspects_none() -> None:
    assert suspects({3: 0.6, 25: 0.8}) == []


def test_of_contradicting_copies_the_less_probable_is_suspect() -> None:
    # 3 is labelled 0 and 25, its copy, 1; of both the network says 1, but not surely.
    assert suspects({3: 0.6, 25: 0.4}, copies=(3, 25)) == [3]
    assert suspects({3: 0.4, 25: 0.6}, copies=(3, 25)) == [25]
    # It comes before a label that the network alone contradicts, be it as sure.
    assert suspects({3: 0.95, 25: 0.05, 7: 0.95}, copies=(3, 25)) == [3, 7]


def test_many_copies_outvote_one() -> None:
    copies = (3, 25, 26, 27)
    assert suspects({3: 0.4, **dict.fromkeys(copies[1:], 0.6)}, copies) == [3]


def test_copies_that_agree_support_one_another() -> None:
    assert suspects({3: 0.95, 4: 0.95, 7: 0.95}, copies=(3, 4)) == [7, 3, 4]


def test_more_classes_than_two_and_one_without_images() -> None:
    codes = np.array([0] * 10 + [1] * 10)
    shares = np.full((20, 3), 0.05)
    shares[np.arange(20), codes] = SURE
    shares[4] = [0.0, 0.0, 1.0]  # a class of which no image tells how sure the network is
    shares[5] = [0.02, 0.96, 0.02]
    assert suspect_labels(codes, shares, np.arange(20)).tolist() == [5]


@pytest.mark.filterwarnings("error")
def test_probabilities_of_zero_and_one() -> None:
    assert suspects({3: 1.0, 4: 1.0}, copies=(3, 4, 25)) == [3, 4]
