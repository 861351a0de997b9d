"""The study: exactly as many trials as asked for, and the median rule."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from optuna.trial import TrialState

from vehicle_lightning.sweep.leases import Worker
from vehicle_lightning.sweep.study import HeldTrial, Study, find_database


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with Study.open("study", find_database(None, tmp_path), tmp_path, 0) as study:
        yield study


@pytest.fixture
def worker(study: Study, tmp_path: Path) -> Iterator[Worker]:
    with study.worker(tmp_path) as worker:
        yield worker


def take(study: Study, worker: Worker) -> HeldTrial:
    held = study.take(worker, 100)
    assert held is not None
    return held


def test_many_workers_begin_no_more_trials_than_asked_for(tmp_path: Path) -> None:
    with ExitStack() as stack:
        url = find_database(None, tmp_path)
        studies = [stack.enter_context(Study.open("study", url, tmp_path, 0)) for _ in range(4)]

        def take_all(study: Study) -> list[int]:
            numbers = []
            with study.worker(tmp_path) as worker:
                while held := study.take(worker, 10):
                    numbers.append(held.trial.number)
            return numbers

        with ThreadPoolExecutor(4) as pool:
            taken = [number for numbers in pool.map(take_all, studies) for number in numbers]
        running = [trial.number for trial in studies[0].trials(TrialState.RUNNING)]
    assert len(running) == 10
    assert set(taken) == set(running)


def test_what_is_sampled_depends_on_the_number_alone(tmp_path: Path) -> None:
    def sampled(name: str, trials: int) -> list[float]:
        with (
            Study.open(name, find_database(None, tmp_path), tmp_path, 3) as study,
            study.worker(tmp_path) as worker,
        ):
            values = []
            for _ in range(trials):
                held = take(study, worker)
                values.append(held.trial.suggest_float("dropout", 0, 1))
                assert study.finish(held, abs(values[-1] - 0.3), {})
            return values

    at_once = sampled("at once", 14)
    assert len(set(at_once)) == 14
    assert sampled("in parts", 5) + sampled("in parts", 7) + sampled("in parts", 2) == at_once


def test_a_trial_is_told_once(study: Study, worker: Worker, tmp_path: Path) -> None:
    held = take(study, worker)
    held.lease.give_up()
    with study.worker(tmp_path) as other:
        again = take(study, other)
        assert again.trial.number == held.trial.number
        assert again.is_taken_over
        assert not study.finish(held, 0.1, {})
        assert study.finish(again, 0.2, {"best_epoch": 3})
    (trial,) = study.finished
    assert (trial.value, trial.user_attrs["best_epoch"]) == (0.2, 3)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.9], False),  # within the first quarter of the epochs
        ([0.9, 0.9], True),
        ([0.3, 0.9], False),  # it was better once
        ([0.5, 0.5], False),  # the median
        ([0.51, 0.51], True),
        ([float("nan"), float("nan")], True),
    ],
)
def test_the_median_rule(study: Study, worker: Worker, losses: list[float], expected: bool) -> None:
    for loss in (0.3, 0.4, 0.5, 0.6, 0.7):
        held = take(study, worker)
        for epoch in range(1, 9):
            held.trial.report(loss, epoch)
        study.finish(held, loss, {})
    held = take(study, worker)
    for epoch, loss in enumerate(losses, start=1):
        held.trial.report(loss, epoch)
    assert study.is_below_median(held.trial, epochs=8) == expected


def test_nothing_is_pruned_before_enough_trials(study: Study, worker: Worker) -> None:
    for _ in range(4):
        held = take(study, worker)
        held.trial.report(0.1, 4)
        study.finish(held, 0.1, {})
    held = take(study, worker)
    held.trial.report(0.9, 4)
    assert not study.is_below_median(held.trial, epochs=8)
