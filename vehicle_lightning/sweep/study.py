"""The study: what all workers share of a search, in a database.

Optuna samples the trials, keeps them, and retries those whose worker has died: such a trial has
failed, and a new one with its settings and its run folder waits for any worker. Three small things
are done here, as Optuna lacks them.

- Its heartbeat goes on in `Study.optimize` only, for which an interrupted trial has failed for
  good, and ends at the first error of the database. Here it goes on until the trial ends, and tells
  a worker that was suspended for too long that its trial is another's.
- In SQLite, which locks no rows, two workers could get the same trial, or both retry it. A lock
  beside the file keeps them apart; in other databases Optuna's own locks of rows do.
- A trial is sampled by a seed of its own, not by what its worker has sampled before, so that an
  interrupted search goes on as if nothing had happened.

Sources:
    Akiba et al. (2019), Optuna: a next-generation hyperparameter optimization framework.
    Bergstra et al. (2011), Algorithms for hyper-parameter optimization (the tree-structured Parzen
    estimator).
"""

import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import optuna
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from vehicle_lightning.config import PLACES, Settings
from vehicle_lightning.errors import InputError
from vehicle_lightning.sweep.space import Choice, Range, Space, Value

HEARTBEAT = 5  # seconds from one to the next
DEAD_AFTER = 30  # seconds without one
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
BEGUN = (TrialState.RUNNING, *FINISHED)
LOCKED_FOR = 60  # seconds to wait for another worker to write to SQLite
DRIVERS = {"psycopg": "psycopg[binary]", "MySQLdb": "mysqlclient"}  # module -> package


class RunningTrial:
    """A trial that this worker trains; entered as a context, its heartbeat goes on.

    Attributes:
        trial: Optuna's, through which its settings are sampled.
        run: name of its run folder: the number of trials begun before it, retries not counted.
        is_retried: whether another worker, or an earlier start of this one, began it.
        reported: the last epoch whose loss is known of it; 0 before the first.
        is_lost: whether another worker has it now, as this one gave no sign for too long.
    """

    def __init__(self, storage: RDBStorage, trial: optuna.Trial, run: str, reported: int) -> None:
        self.trial = trial
        self.run = run
        self.is_retried = "run" in trial.user_attrs
        self.reported = reported
        self.is_lost = False
        self._storage = storage
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        number = self.trial._trial_id
        while not self._ended.wait(HEARTBEAT) and not self.is_lost:
            with suppress(SQLAlchemyError, StorageInternalError):  # of a moment
                self._storage.record_heartbeat(number)
                self.is_lost = self._storage.get_trial(number).state.is_finished()


class SeededSampler(optuna.samplers.TPESampler):
    """The tree-structured Parzen estimator, seeded for each trial by its place in the search."""

    def __init__(self, seed: int, place: int = 0) -> None:
        own = int(np.random.SeedSequence((seed, place)).generate_state(1)[0])
        super().__init__(seed=own, multivariate=True, group=True, constant_liar=True)
        self._search_seed = seed

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Let another one, of another seed, sample the trial."""
        study.sampler = SeededSampler(self._search_seed, _place(study, trial))


class Study:
    """The trials of one search, in the database that its workers share.

    Attributes:
        optuna: the same for Optuna's own functions.
    """

    def __init__(self, name: str, url: URL, folder: Path, seed: int) -> None:
        sqlite = url.get_backend_name() == "sqlite"
        self.name = name
        self._retry = RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)
        self._storage = RDBStorage(
            url.render_as_string(hide_password=False),
            {"connect_args": {"timeout": LOCKED_FOR}} if sqlite else {"pool_pre_ping": True},
            heartbeat_interval=HEARTBEAT,
            grace_period=DEAD_AFTER,
            heartbeat_stale_trial_callback=self._retry,
        )
        self._lock = FileLock(folder / ".study.lock")
        self.optuna = optuna.create_study(
            storage=self._storage,
            sampler=SeededSampler(seed),
            study_name=name,
            load_if_exists=True,
            direction="minimize",
        )

    @classmethod
    @contextmanager
    def open(cls, name: str, url: URL, folder: Path, seed: int) -> Iterator["Study"]:
        """Open the study of a name in a database, or begin it; its folder is on this machine.

        Raises:
            InputError: the database cannot be used.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            warnings.filterwarnings("ignore", "Heartbeat of storage is supposed to be used with")
            with _using(url), FileLock(folder / ".study.lock"):
                try:
                    study = cls(name, url, folder, seed)
                except SQLAlchemyError:
                    # Workers on several machines may make the tables at once; then there they are.
                    time.sleep(1)
                    study = cls(name, url, folder, seed)
            try:
                with _using(url):
                    yield study
            finally:
                study._storage.engine.dispose()

    def agree(self, space: Space, base: Settings, fingerprint: str) -> None:
        """Write down what is searched on which data, or check that it is what stands there.

        Raises:
            InputError: the study searches something else.
        """
        fixed = base.model_dump(
            mode="json", exclude=set(PLACES - {"precision"}) | set(space.domains)
        )
        domains = {
            name: domain.model_dump(mode="json", exclude_defaults=True)
            for name, domain in space.domains.items()
        }
        parts = {"space": domains, "fixed": fixed, "data": {"fingerprint": fingerprint}}
        known = self.optuna.user_attrs
        for part, own in parts.items():
            if part not in known:
                self.optuna.set_user_attr(part, own)
            elif known[part] != own:
                raise InputError(self._difference(part, known[part], own))

    def _difference(self, part: str, known: dict[str, Any], own: dict[str, Any]) -> str:
        key = next(key for key in (*known, *own) if known.get(key) != own.get(key))
        what = {
            "space": f"searches {key} among {known.get(key, 'nothing')}, and not "
            f"{own.get(key, 'at all')}",
            "fixed": f"was begun with {key} {known.get(key)}, and not {own.get(key)}",
            "data": "was begun on data with other names, labels or images",
        }
        return (
            f"The study {self.name} {what[part]}; its trials would not be comparable, so give "
            f"another name by --study."
        )

    def take(self, trials: int) -> RunningTrial | None:
        """Return a trial to train: one that was left by its worker, else a new one.

        None where there are as many as there are to be, and those that run are in other hands.
        Where workers share a database but no disk, several may begin the last one in one moment.
        """
        with self._lock:
            fail_stale_trials(self.optuna)
            if not self.trials(TrialState.WAITING):
                if len(self.trials(*BEGUN)) >= trials:
                    return None
                self.optuna.enqueue_trial({})
            for waiting in self.trials(TrialState.WAITING):
                # A worker that died before the first heartbeat would never count as dead.
                self._storage.record_heartbeat(waiting._trial_id)
            trial = self.optuna.ask()
        frozen = self._storage.get_trial(trial._trial_id)
        run = str(frozen.user_attrs.get("run", _place(self.optuna, frozen)))
        running = RunningTrial(self._storage, trial, run, frozen.last_step or 0)
        trial.set_user_attr("run", run)
        return running

    def finish(self, running: RunningTrial, facts: dict[str, Any], loss: float | None) -> bool:
        """Write down what a trial came to; return whether it still was this worker's.

        Args:
            running: the trial.
            facts: what to remember of it, as JSON types.
            loss: validation loss in nats, infinite where it could not be trained; None where it was
                pruned.
        """
        state = TrialState.PRUNED if loss is None else TrialState.COMPLETE
        try:
            with self._lock:
                for name, value in facts.items():
                    running.trial.set_user_attr(name, value)
                self.optuna.tell(running.trial, loss, state)
        except UpdateFinishedTrialError:
            return False
        return True

    def put_back(self, running: RunningTrial) -> None:
        """Let any worker go on with a trial, unless one does already."""
        with self._lock:
            left = self._storage.get_trial(running.trial._trial_id)
            if not left.state.is_finished():
                self.optuna.tell(running.trial, state=TrialState.FAIL)
                self._retry(self.optuna, left)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return all trials in one of the states, in the order of their numbers."""
        return self.optuna.get_trials(deepcopy=False, states=states)

    @property
    def finished(self) -> list[FrozenTrial]:
        """The trials that have come to their end, pruned ones among them."""
        return self.trials(*FINISHED)


def suggest(trial: optuna.Trial, name: str, domain: Range | Choice) -> Value:
    """Sample a setting; one that was sampled before an interruption stays what it was."""
    if isinstance(domain, Choice):
        return domain.value(trial.suggest_categorical(name, domain.labels))
    sample = trial.suggest_int if isinstance(domain.low, int) else trial.suggest_float
    return sample(name, domain.low, domain.high, log=domain.log)


def _place(study: optuna.Study, trial: FrozenTrial) -> int:
    """Return how many trials were begun before this one, or before the one that it retries."""
    begun = [
        other.number
        for other in study.get_trials(deepcopy=False)
        if other.number == _original(other)
    ]
    return begun.index(_original(trial))


def _original(trial: FrozenTrial) -> int:
    retried = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)
    return trial.number if retried is None else retried


@contextmanager
def _using(url: URL) -> Iterator[None]:
    """Turn what a database complains of into one sentence."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ or error
        reason = " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
        raise InputError(
            f"The database {url} cannot be used: {reason.rstrip('.')}; once it can, the "
            f"same command goes on."
        ) from error


def find_database(storage: str | None, folder: Path) -> URL:
    """Return the database of a URL; without one, a SQLite file in the study's folder.

    Raises:
        InputError: it is no URL of a database, or the driver of that kind is missing.
    """
    if storage is None:
        return URL.create("sqlite", database=str(folder / "study.db"))
    try:
        url = make_url(storage)
        if url.drivername in ("postgres", "postgresql"):
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        package = DRIVERS.get(str(error.name), error.name)
        raise InputError(
            f"A database of {url.drivername} needs {error.name}: pip install '{package}'."
        ) from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise InputError(
            f"--storage {storage} names no database; give a URL such as sqlite:///study.db or "
            f"postgresql://user@host/name."
        ) from error
    return url
