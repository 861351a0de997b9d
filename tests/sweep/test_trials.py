"""When a trial is pruned: by the median of the others, or as it cannot win any more."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vehicle_lightning.sweep.study import RunningTrial, Study, find_database
from vehicle_lightning.sweep.trials import TrialPruning, cannot_win

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


def test_the_median_rule(tmp_path: Path) -> None:
    with Study.open("study", find_database(None, tmp_path), tmp_path, 0) as study:
        search: Any = SimpleNamespace(study=study, trials=100)

        def take() -> RunningTrial:
            running = study.take(100)
            assert running is not None
            return running

        def is_pruned(*losses: float) -> bool:
            pruning = TrialPruning(search, take(), epochs=8)
            for epoch, loss in enumerate(losses, start=1):
                pruning.report(epoch, loss)
            # What was judged before an interruption is not judged again.
            assert not pruning.prunes_after_epoch(len(losses) - 1)
            return pruning.prunes_after_epoch(len(losses))

        for loss in (0.3, 0.4, 0.5, 0.6, 0.7):
            assert not is_pruned(0.9, 0.9)  # too few have finished
            running = take()
            for epoch in (1, 2, 3):
                running.trial.report(loss, epoch)
            study.finish(running, {"epochs": 8}, loss)
        assert not is_pruned(0.9)  # within the first quarter of the epochs
        assert is_pruned(0.9, 0.9)
        assert not is_pruned(0.3, 0.9)  # it was better once
        assert not is_pruned(0.5, 0.5)  # the median
        assert is_pruned(0.51, 0.51)
        assert is_pruned(math.nan, math.nan)
