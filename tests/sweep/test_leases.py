"""Leases: one worker a trial, whatever happens to it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from vehicle_lightning.sweep import leases
from vehicle_lightning.sweep.leases import FREE, Worker, swap

TRIAL = 7


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database with one trial that nobody holds."""
    engine = create_engine(f"sqlite:///{tmp_path / 'study.db'}", connect_args={"timeout": 60})
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE trial_user_attributes (trial_id INT, key TEXT, value_json TEXT)")
        )
        connection.execute(
            text("INSERT INTO trial_user_attributes VALUES (7, 'lease', :free), (7, 'val', '1')"),
            {"free": json.dumps(FREE)},
        )
    yield engine
    engine.dispose()


def current(engine: Engine) -> str:
    with engine.begin() as connection:
        query = "SELECT value_json FROM trial_user_attributes WHERE key = 'lease'"
        return str(json.loads(connection.execute(text(query)).scalar_one()))


def test_of_many_workers_one_gets_the_trial(engine: Engine, tmp_path: Path) -> None:
    workers = [Worker(engine, tmp_path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda worker: worker.acquire(TRIAL, FREE), workers))
    (winner,) = [worker for worker, lease in zip(workers, got, strict=True) if lease]
    assert current(engine) == f"{winner.name}:0"


def test_a_lease_is_renewed_and_given_up(engine: Engine, tmp_path: Path) -> None:
    worker = Worker(engine, tmp_path)
    lease = worker.acquire(TRIAL, FREE)
    assert lease is not None
    assert lease.renew()
    assert lease.renew()
    assert current(engine) == f"{worker.name}:2"
    lease.give_up()
    assert current(engine) == FREE
    assert not lease.renew()
    assert lease.is_lost


def test_a_thread_renews_meanwhile(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEWED_EVERY", 0.01)
    lease = Worker(engine, tmp_path).acquire(TRIAL, FREE)
    assert lease is not None
    with lease:
        before = current(engine)
        wait_for(lambda: current(engine) != before)
        assert swap(engine, TRIAL, current(engine), "other:0") or swap(
            engine, TRIAL, current(engine), "other:0"
        )
        wait_for(lambda: lease.is_lost)
    assert current(engine) == "other:0"


def test_a_living_worker_on_this_machine_is_never_taken_from(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RUNS_OUT_AFTER", -1.0)
    other = Worker(engine, tmp_path)
    with Worker(engine, tmp_path) as worker:
        assert worker.acquire(TRIAL, FREE)
        assert other.acquire(TRIAL, current(engine)) is None
        assert other.acquire(TRIAL, current(engine)) is None


def test_a_killed_worker_on_this_machine_is_taken_from_at_once(
    engine: Engine, tmp_path: Path
) -> None:
    code = (
        "import os, sys; from pathlib import Path; from sqlalchemy import create_engine;"
        "from vehicle_lightning.sweep.leases import Worker;"
        "worker = Worker(create_engine(sys.argv[1]), Path(sys.argv[2])).__enter__();"
        "assert worker.acquire(7, ''); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", code, str(engine.url), str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -9
    assert f"-{os.getpid()}-" not in current(engine)
    with Worker(engine, tmp_path) as worker:
        assert worker.acquire(TRIAL, current(engine))
        assert current(engine) == f"{worker.name}:0"
    assert not list((tmp_path / ".workers").glob("*"))


def test_a_worker_elsewhere_is_taken_from_once_its_lease_stands_still(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    swap(engine, TRIAL, FREE, "elsewhere-1-abc:4")
    worker = Worker(engine, tmp_path)
    assert worker.acquire(TRIAL, "elsewhere-1-abc:4") is None
    now += leases.RUNS_OUT_AFTER - 1
    assert worker.acquire(TRIAL, "elsewhere-1-abc:4") is None
    swap(engine, TRIAL, "elsewhere-1-abc:4", "elsewhere-1-abc:5")
    now += 2
    assert worker.acquire(TRIAL, "elsewhere-1-abc:5") is None  # it lives
    now += leases.RUNS_OUT_AFTER + 1
    assert worker.acquire(TRIAL, "elsewhere-1-abc:5")


def test_who_comes_back_too_late_is_told(engine: Engine, tmp_path: Path) -> None:
    slow, quick = Worker(engine, tmp_path), Worker(engine, tmp_path)
    lease = slow.acquire(TRIAL, FREE)
    assert lease is not None
    assert swap(engine, TRIAL, current(engine), quick.new_lease())
    assert not lease.renew()
    lease.give_up()  # what is another's stays so
    assert current(engine) == quick.new_lease()


def wait_for(happens: "object") -> None:
    assert callable(happens)
    until = time.monotonic() + 10
    while not happens():
        assert time.monotonic() < until
        time.sleep(0.005)
