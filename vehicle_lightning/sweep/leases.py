"""Leases: which worker trains which trial, so that none is lost with its worker or done by two.

A running trial carries its lease in one attribute in the database, `<worker>:<renewals>`. The
worker renews it every few seconds; taking over, renewing and giving up are each one statement that
changes the attribute only where it still is what was read (compare and swap), so of several workers
one succeeds, on any database. A lease runs out where it has not changed for a while by the watch of
who looks at it, so clocks need not agree between machines. Of a worker on this machine a lock says
at once whether it is alive: the system lets go of it however the worker ended.
"""

import json
import os
import platform
import re
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout
from sqlalchemy import Engine, column, table, update
from sqlalchemy.exc import SQLAlchemyError

from vehicle_lightning.files import release_and_remove

RENEWED_EVERY = 10.0  # seconds
RUNS_OUT_AFTER = 60.0  # seconds without a renewal
ATTRIBUTE = "lease"
FREE = ""

# Optuna's table of the attributes that its users give to trials.
ATTRIBUTES = table("trial_user_attributes", column("trial_id"), column("key"), column("value_json"))


class Worker:
    """This process among all that work on a study.

    Attributes:
        name: unique, and begins with the name of the machine.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        """Prepare to work; the context it is entered as tells others that this worker lives.

        Args:
            engine: the database of the study.
            folder: the study's folder on this machine.
        """
        self.name = f"{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._engine = engine
        self._locks = folder / ".workers"
        self._own_lock = FileLock(self._locks / self.name)
        self._seen: dict[int, tuple[str, float]] = {}

    def __enter__(self) -> Self:
        self._locks.mkdir(parents=True, exist_ok=True)
        self._own_lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        release_and_remove(self._own_lock)
        with suppress(OSError):  # others may be at work
            self._locks.rmdir()

    def new_lease(self) -> str:
        """Return the attribute that a new trial is created with, as a trial of this worker."""
        return f"{self.name}:0"

    def acquire(self, trial_id: int, current: str) -> "Lease | None":
        """Take over a running trial whose lease is free or has run out.

        Args:
            trial_id: the trial.
            current: its lease, as read just now.

        Returns:
            The lease, or None where another worker has it.
        """
        if not (current == FREE or self._has_run_out(trial_id, current)):
            return None
        own = self.new_lease()
        return self.hold(trial_id) if swap(self._engine, trial_id, current, own) else None

    def hold(self, trial_id: int) -> "Lease":
        """Return the lease of a trial that carries `new_lease`."""
        return Lease(self._engine, trial_id, self.name)

    def _has_run_out(self, trial_id: int, current: str) -> bool:
        owner = current.rpartition(":")[0]
        lock = self._locks / owner
        if owner.startswith(f"{_machine()}-") and lock.is_file():
            return _is_let_go(lock)
        now = time.monotonic()
        seen, since = self._seen.setdefault(trial_id, (current, now))
        if seen != current:
            self._seen[trial_id] = (current, now)
            return False
        return now - since > RUNS_OUT_AFTER


class Lease:
    """The right to train one trial; renewed by a thread while it is entered as a context.

    Attributes:
        is_lost: whether another worker has taken the trial over.
    """

    def __init__(self, engine: Engine, trial_id: int, worker: str) -> None:
        self.is_lost = False
        self._engine = engine
        self._trial_id = trial_id
        self._worker = worker
        self._renewals = 0
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def renew(self) -> bool:
        """Return whether the lease still is this worker's, and renew it if so.

        Raises:
            SQLAlchemyError: the database cannot be reached.
        """
        with self._guard:
            current, following = (f"{self._worker}:{self._renewals + more}" for more in (0, 1))
            self.is_lost = not swap(self._engine, self._trial_id, current, following)
            self._renewals += 1
            return not self.is_lost

    def give_up(self) -> None:
        """Let any worker go on with the trial."""
        with self._guard:
            swap(self._engine, self._trial_id, f"{self._worker}:{self._renewals}", FREE)
            self.is_lost = True

    def _keep(self) -> None:
        while not self._ended.wait(RENEWED_EVERY) and not self.is_lost:
            with suppress(SQLAlchemyError):  # of a moment; the next time will tell
                self.renew()


def swap(engine: Engine, trial_id: int, current: str, following: str) -> bool:
    """Change the lease of a trial if it is what it was; return whether it was.

    Raises:
        SQLAlchemyError: the database cannot be reached.
    """
    statement = (
        update(ATTRIBUTES)
        .where(
            ATTRIBUTES.c.trial_id == trial_id,
            ATTRIBUTES.c.key == ATTRIBUTE,
            ATTRIBUTES.c.value_json == json.dumps(current),
        )
        .values(value_json=json.dumps(following))
    )
    with engine.begin() as connection:
        return connection.execute(statement).rowcount == 1


def _is_let_go(lock_file: Path) -> bool:
    """Return whether the worker of this lock has ended, and clear it away if so."""
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    release_and_remove(lock)
    return True


def _machine() -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "", platform.node()) or "unknown"
