"""When a trial over folds cannot win any more."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vehicle_lightning.sweep.trials import cannot_win

GOOD = [[(0.4, 10), (0.5, 10), (0.6, 10)]] * 5


@pytest.mark.parametrize(
    ("parts", "others", "expected"),
    [
        ([(0.9, 10)], GOOD, True),
        ([(0.41, 10)], GOOD, True),
        ([(0.40, 10)], GOOD, False),  # with the best of the rest it would be level
        ([(0.41, 10)], [*GOOD, [(0.9, 10), (0.3, 10), (0.6, 10)]], False),  # the second can be 0.3
        ([(0.41, 10)], [*GOOD, [(0.9, 10), (0.3, 10)]], False),  # also where that one was pruned
        ([(0.9, 10)], GOOD[1:], False),  # too early to tell
        ([(0.9, 10)], [], False),
        ([(math.nan, 10)], GOOD, True),
        ([(0.41, 10)], [[(0.4, 10), (math.nan, 10), (0.6, 10)]] * 5, False),
        ([(0.6, 1)], [[(0.4, 1), (0.5, 99)]] * 5, True),
        ([(0.9, 10)], [[(0.4, 10)]] * 5, False),  # all trainings are done; nothing is saved
    ],
)
def test_whether_a_trial_can_win(
    parts: list[tuple[float, int]], others: list[list[tuple[float, int]]], expected: bool
) -> None:
    assert cannot_win(parts, others) == expected


LOSSES = st.lists(st.floats(0, 5), min_size=3, max_size=3)


@given(st.lists(LOSSES, min_size=5, max_size=9), LOSSES, st.integers(1, 2))
def test_what_is_pruned_would_not_have_won(
    trials: list[list[float]], own: list[float], seen: int
) -> None:
    others = [[(loss, 10) for loss in trial] for trial in trials]
    if cannot_win([(loss, 10) for loss in own[:seen]], others):
        # However its other trainings had turned out, unless better than any has ever been.
        rest = [max(own[i], min(trial[i] for trial in trials)) for i in range(seen, 3)]
        assert sum(own[:seen]) + sum(rest) > min(map(sum, trials)) - 1e-9
