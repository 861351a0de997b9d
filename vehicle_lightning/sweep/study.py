"""The study: what all workers share of a search, in a database.

Optuna (Akiba et al. 2019) samples and keeps the trials; a trial is one row there from its start to
its end, whoever trains it in between. So that a search is deterministic and may be interrupted, a
trial's sampler is seeded by the seed of the search and the trial's number, not by how many trials
this process has sampled before.

Sources:
    Akiba et al. (2019), Optuna: a next-generation hyperparameter optimization framework.
    Bergstra et al. (2011), Algorithms for hyper-parameter optimization (the tree-structured Parzen
    estimator).
    Golovin et al. (2017), Google Vizier: a service for black-box optimization (the median rule).
"""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from vehicle_lightning.config import PLACES, Settings
from vehicle_lightning.errors import SearchError
from vehicle_lightning.sweep.leases import ATTRIBUTE, Lease, Worker
from vehicle_lightning.sweep.space import Choice, Domain, Space, Value

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
JUDGED_FROM = 5  # finished trials, before any is pruned
LOCKED_FOR = 60  # seconds to wait for another worker to write to SQLite
DRIVERS = {"psycopg": "psycopg[binary]", "MySQLdb": "mysqlclient"}  # module -> package


@dataclass(frozen=True)
class HeldTrial:
    """A trial that is this worker's to train.

    Attributes:
        trial: Optuna's handle, through which its settings are sampled.
        lease: the right to train it.
        is_taken_over: whether another worker, or an earlier start of this one, began it.
    """

    trial: optuna.Trial
    lease: Lease
    is_taken_over: bool


class Study:
    """The trials of one search, in the database that its workers share."""

    def __init__(self, name: str, url: URL, seed: int) -> None:
        storage = _storage(url)
        self.name = name
        self._storage = storage
        self._seed = seed
        self._study = optuna.create_study(
            storage=storage, study_name=name, load_if_exists=True, direction="minimize"
        )
        self._id = storage.get_study_id_from_name(name)

    @classmethod
    @contextmanager
    def open(cls, name: str, url: URL, folder: Path, seed: int) -> Iterator["Study"]:
        """Open a study, or begin it where there is none of this name.

        Args:
            name: its name in the database.
            url: the database.
            folder: the study's folder on this machine.
            seed: seed of what is tried.

        Raises:
            SearchError: the database cannot be used.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        folder.mkdir(parents=True, exist_ok=True)
        with _opening(url), FileLock(folder / ".opening.lock"):
            try:
                study = cls(name, url, seed)
            except SQLAlchemyError:
                # Workers on several machines may make the tables at once; then they are there now.
                time.sleep(1)
                study = cls(name, url, seed)
        try:
            with _using(url):
                yield study
        finally:
            study._storage.engine.dispose()

    def agree(self, space: Space, base: Settings, fingerprint: str) -> None:
        """Write down what is searched on what, or check that it is what stands there.

        Args:
            space: the search space.
            base: what all trials share.
            fingerprint: hash of the data.

        Raises:
            SearchError: the study searches something else.
        """
        fixed = base.model_dump(
            mode="json", exclude=set(PLACES - {"precision"}) | set(space.domains)
        )
        parts = {"space": space.describe(), "fixed": fixed, "data": {"fingerprint": fingerprint}}
        known = self._study.user_attrs
        for part, own in parts.items():
            if part not in known:
                self._study.set_user_attr(part, own)
            elif known[part] != own:
                raise SearchError(self._difference(part, known[part], own))

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

    def worker(self, folder: Path) -> Worker:
        """Return this process as one that works on the study."""
        return Worker(self._storage.engine, folder)

    def take(self, worker: Worker, trials: int) -> HeldTrial | None:
        """Return a trial to train: one that was left by its worker, else a new one.

        Args:
            worker: who is to train it.
            trials: how many there may be in all.

        Returns:
            The trial, or None where there are as many, and those that run are in other hands.
        """
        for left in self.trials(TrialState.RUNNING):
            lease = worker.acquire(_id(left), left.user_attrs[ATTRIBUTE])
            if lease is not None:
                return HeldTrial(self._sampled(_id(left)), lease, is_taken_over=True)
        if len(self._valid_trials()) >= trials:
            return None
        begun = create_trial(state=TrialState.RUNNING, user_attrs={ATTRIBUTE: worker.new_lease()})
        new = self._storage.create_new_trial(self._id, begun)
        number = self._storage.get_trial(new).number
        if sum(trial.number <= number for trial in self._valid_trials()) > trials:
            # Others have begun the last ones in the same moment.
            self._storage.set_trial_state_values(new, TrialState.FAIL)
            return None
        return HeldTrial(self._sampled(new), worker.hold(new), is_taken_over=False)

    def finish(self, held: HeldTrial, loss: float, facts: dict[str, Any]) -> bool:
        """Write down the validation loss of a trial, once; infinite where it could not be trained.

        Args:
            held: the trial.
            loss: in nats.
            facts: what else to remember of it, as JSON types.

        Returns:
            Whether the trial still was this worker's.
        """
        return self._tell(held, facts, loss=loss)

    def prune(self, held: HeldTrial, facts: dict[str, Any]) -> bool:
        """Write down that a trial was ended early; return whether it still was this worker's."""
        return self._tell(held, facts, loss=None)

    def _tell(self, held: HeldTrial, facts: dict[str, Any], loss: float | None) -> bool:
        if not held.lease.renew():
            return False
        for name, value in facts.items():
            held.trial.set_user_attr(name, value)
        if loss is None:
            self._study.tell(held.trial, state=TrialState.PRUNED)
        else:
            self._study.tell(held.trial, loss)
        return True

    def is_below_median(self, trial: optuna.Trial, epochs: int) -> bool:
        """Return whether a trial falls behind the others at the epoch it has reported last.

        The median stopping rule (Golovin et al. 2017): its lowest loss so far is higher than the
        median of the finished trials' losses at the same epoch. It holds from a quarter of the
        epochs on, and once enough trials have finished.

        Args:
            trial: the trial.
            epochs: those it is to train.
        """
        pruner = optuna.pruners.MedianPruner(
            n_startup_trials=JUDGED_FROM, n_warmup_steps=-(-epochs // 4), n_min_trials=JUDGED_FROM
        )
        with warnings.catch_warnings(action="ignore"):  # of a loss that is not a number
            return pruner.prune(self._study, self._storage.get_trial(trial._trial_id))

    def last_epoch(self, trial: optuna.Trial) -> int:
        """Return the last epoch that was reported of a trial; 0 before the first."""
        return self._storage.get_trial(trial._trial_id).last_step or 0

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return all trials in one of the states, in the order of their numbers."""
        return self._study.get_trials(deepcopy=False, states=states)

    @property
    def finished(self) -> list[FrozenTrial]:
        """The trials that have come to their end, pruned ones among them."""
        return self.trials(*FINISHED)

    @property
    def as_optuna(self) -> optuna.Study:
        """The same for Optuna's own functions."""
        return self._study

    def _valid_trials(self) -> list[FrozenTrial]:
        return self.trials(TrialState.RUNNING, *FINISHED)

    def _sampled(self, trial_id: int) -> optuna.Trial:
        number = self._storage.get_trial(trial_id).number
        seed = int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0])
        with warnings.catch_warnings(action="ignore"):  # Optuna calls these options experimental
            self._study.sampler = optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=True, constant_liar=True
            )
        return optuna.Trial(self._study, trial_id)


def suggest(trial: optuna.Trial, name: str, domain: Domain) -> Value:
    """Sample a setting; one that was sampled before an interruption stays what it was."""
    if isinstance(domain, Choice):
        return domain.value(trial.suggest_categorical(name, domain.labels))
    if domain.is_whole:
        return trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log)
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log)


@contextmanager
def _using(url: URL) -> Iterator[None]:
    """Turn what a database complains of into one sentence."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ or error
        reason = " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
        raise SearchError(
            f"The database {url} cannot be used: {reason.rstrip('.')}; once it can, the "
            f"same command goes on."
        ) from error


@contextmanager
def _opening(url: URL) -> Iterator[None]:
    try:
        with _using(url):
            yield
    except ImportError as error:
        cause = error.__cause__ or error
        driver = getattr(cause, "name", None) or "a driver"
        raise SearchError(
            f"The database {url} needs {driver}: pip install '{DRIVERS.get(driver, driver)}'."
        ) from error
    except RuntimeError as error:
        if "version" not in str(error):  # of the tables, by another Optuna
            raise
        raise SearchError(
            f"The database {url} was made by another version of Optuna; give another "
            f"--storage, or upgrade it by `optuna storage upgrade`."
        ) from error


def find_database(storage: str | None, folder: Path) -> URL:
    """Return the database that is meant.

    Args:
        storage: its URL; None is a SQLite file in the folder.
        folder: the study's folder on this machine.

    Raises:
        SearchError: it is no URL of a database.
    """
    if storage is None:
        return URL.create("sqlite", database=str(folder / "study.db"))
    try:
        url = make_url(storage)
        if url.drivername in ("postgres", "postgresql"):
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect()
    except ModuleNotFoundError:
        return url  # its driver is missing, which is told where it is needed
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise SearchError(
            f"--storage {storage} names no database; give a URL such as sqlite:///study.db or "
            f"postgresql://user@host/name."
        ) from error
    return url


def _storage(url: URL) -> RDBStorage:
    is_sqlite = url.get_backend_name() == "sqlite"
    options = {"connect_args": {"timeout": LOCKED_FOR}} if is_sqlite else {"pool_pre_ping": True}
    return RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=options)


def _id(trial: FrozenTrial) -> int:
    return trial._trial_id
