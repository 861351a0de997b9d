"""Thresholds: the wanted recall is reached, and a cost ratio has its threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score

from vehicle_lightning.calibrate.operating_point import (
    operating_point,
    threshold_for_cost,
    threshold_for_recall,
)


@given(
    st.lists(st.tuples(st.integers(0, 999), st.booleans()), min_size=1, max_size=60),
    st.floats(0.01, 1),
)
def test_the_wanted_recall_is_reached_with_some_room_for_rounding(
    images: list[tuple[int, bool]], recall: float
) -> None:
    """By a threshold between the last image that it takes and the next one."""
    shares, is_positive = np.array([s / 999 for s, _ in images]), np.array([p for _, p in images])
    is_positive[0] = True
    threshold = threshold_for_recall(shares, is_positive, recall)
    assert (
        operating_point(threshold, shares >= threshold, is_positive).recall.value >= recall - 1e-9
    )
    lowest = shares[is_positive & (shares >= threshold)].min()
    assert operating_point(lowest, shares > lowest, is_positive).recall.value < recall
    assert not ((shares > threshold) & (shares < lowest)).any()
    lower = shares[shares < lowest]
    assert threshold == pytest.approx((lowest + lower.max(initial=0.0)) / 2)


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    is_positive = rng.random(200) < 0.4
    shares = np.clip(rng.normal(0.4 + 0.3 * is_positive, 0.2), 0, 1)
    point = operating_point(0.5, shares >= 0.5, is_positive)
    assert point.precision is not None
    assert point.recall.value == pytest.approx(recall_score(is_positive, shares >= 0.5))
    assert point.precision.value == pytest.approx(precision_score(is_positive, shares >= 0.5))
    assert point.missed == (is_positive & (shares < 0.5)).sum()
    for share in (point.recall, point.precision):
        assert share.interval[0] < share.value < share.interval[1]


def test_where_nothing_is_called_positive() -> None:
    point = operating_point(0.9, np.array([False, False]), np.array([True, False]))
    assert (point.recall.value, point.missed, point.false_alarms) == (0, 1, 0)
    assert point.precision is None


def test_the_threshold_of_a_cost_ratio_costs_least() -> None:
    rng = np.random.default_rng(0)
    shares = rng.random(100_000)
    is_positive = rng.random(100_000) < shares  # calibrated
    cost = 4.0

    def expected(threshold: float) -> float:
        point = operating_point(threshold, shares >= threshold, is_positive)
        return cost * point.missed + point.false_alarms

    best = threshold_for_cost(cost)
    assert best == pytest.approx(0.2)
    assert expected(best) < min(expected(best - 0.1), expected(best + 0.1), expected(0.5))


def test_duplicates_count_once_in_the_intervals() -> None:
    called, is_positive = (
        np.tile([True, True, False, True], 5),
        np.tile([True, True, True, False], 5),
    )
    once = operating_point(0.5, called[:4], is_positive[:4])
    often = operating_point(0.5, called, is_positive, np.tile(np.arange(4), 5))
    assert (often.recall.value, often.recall.n) == (once.recall.value, 5 * once.recall.n)
    assert often.recall.interval == pytest.approx(once.recall.interval)
    assert once.precision is not None
    assert often.precision is not None
    assert often.precision.interval == pytest.approx(once.precision.interval)
