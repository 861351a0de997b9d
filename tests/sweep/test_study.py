"""The study: as many trials as asked for, none lost with its worker, none done by two."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import URL

from vehicle_lightning.sweep import study as study_module
from vehicle_lightning.sweep.study import RunningTrial, Study, find_database


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with Study.open("study", find_database(None, tmp_path), tmp_path, 0) as study:
        yield study


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    is_sqlite = request.param == "sqlite"
    return find_database(None if is_sqlite else request.getfixturevalue("postgresql"), tmp_path)


def take(study: Study) -> RunningTrial:
    running = study.take(100)
    assert running is not None
    return running


def wait_for(happens: Callable[[], object]) -> None:
    until = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_many_workers_begin_no_more_trials_than_asked_for(url: URL, tmp_path: Path) -> None:
    with ExitStack() as stack:
        studies = [stack.enter_context(Study.open("many", url, tmp_path, 0)) for _ in range(4)]

        def take_all(study: Study) -> list[str]:
            runs = []
            while running := study.take(10):
                runs.append(running.run)
            return runs

        with ThreadPoolExecutor(4) as pool:
            taken = [run for runs in pool.map(take_all, studies) for run in runs]
        assert sorted(taken, key=int) == [str(number) for number in range(10)]
        assert len(studies[0].trials(TrialState.RUNNING)) == 10


def test_what_is_sampled_depends_on_the_place_alone(tmp_path: Path) -> None:
    def sampled(name: str, *starts: int) -> list[float]:
        values = []
        for trials in starts:
            with Study.open(name, find_database(None, tmp_path), tmp_path, 3) as study:
                for _ in range(trials):
                    running = take(study)
                    value = running.trial.suggest_float("dropout", 0, 1)
                    if running.run in ("2", "11") and not running.is_retried:  # interrupted
                        study.put_back(running)
                        running = take(study)
                        assert running.is_retried
                        assert running.trial.suggest_float("dropout", 0, 1) == value
                    assert running.run == str(len(values))
                    values.append(value)
                    assert study.finish(running, {"epochs": 1}, abs(value - 0.3))
        return values

    at_once = sampled("at once", 12)
    assert len(set(at_once)) == 12
    assert sampled("in parts", 5, 7) == at_once


def test_what_was_put_back_goes_on_before_anything_new(study: Study) -> None:
    first, second = take(study), take(study)
    first.trial.suggest_float("dropout", 0, 1)
    first.trial.report(0.7, 4)
    study.put_back(first)
    study.put_back(first)  # once is enough
    again = take(study)
    assert (again.run, again.is_retried, again.reported) == (first.run, True, 4)
    assert take(study).run == "2"
    assert not study.finish(first, {"epochs": 3}, 0.1)
    assert study.finish(again, {"epochs": 3}, 0.2)
    assert study.finish(second, {"epochs": 3}, None)
    assert [trial.value for trial in study.trials(TrialState.COMPLETE)] == [0.2]
    assert [trial.user_attrs["run"] for trial in study.finished] == ["1", "0"]


def test_what_a_killed_worker_left_is_retried(
    url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os, sys; from pathlib import Path; from sqlalchemy import make_url;"
        "from vehicle_lightning.sweep.study import Study;"
        "opened = Study.open('killed', make_url(sys.argv[1]), Path(sys.argv[2]), 0);"
        "running = opened.__enter__().take(1);"
        "assert 0 < running.trial.suggest_float('dropout', 0, 1) < 1;"
        "running.trial.report(0.7, 1); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(url), str(tmp_path)], check=False)
    assert done.returncode == -9
    with Study.open("killed", url, tmp_path, 0) as study:
        assert study.take(1) is None
    monkeypatch.setattr(study_module, "DEAD_AFTER", 1)
    elsewhere = tmp_path / "elsewhere"  # another machine, which shares the database alone
    with Study.open("killed", url, elsewhere, 0) as study:
        taken = [study.take(1)]
        wait_for(lambda: taken[-1] or taken.append(study.take(1)))
        (running,) = filter(None, taken)
        (left,) = study.trials(TrialState.FAIL)
        assert (running.run, running.is_retried, running.reported) == ("0", True, 1)
        assert running.trial.suggest_float("dropout", 0, 1) == left.params["dropout"]
        assert study.take(1) is None


def test_a_heartbeat_survives_the_database_and_says_when_a_trial_is_lost(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = []

    def beat(_: RDBStorage, number: int) -> None:
        beats.append(number)
        if len(beats) < 3:
            raise StorageInternalError

    running = take(study)
    monkeypatch.setattr(study_module, "HEARTBEAT", 0.02)
    monkeypatch.setattr(RDBStorage, "record_heartbeat", beat)
    with running:
        wait_for(lambda: len(beats) > 4)
        assert not running.is_lost
        study.optuna.tell(running.trial, state=TrialState.FAIL)
        wait_for(lambda: running.is_lost)
    assert not study.finish(running, {"epochs": 3}, 0.1)
