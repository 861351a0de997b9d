"""One trial of a search: settings sampled, an ordinary run trained, the result written down."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from vehicle_lightning.config import Settings, changed_settings, read_settings
from vehicle_lightning.console import notice
from vehicle_lightning.errors import RunError, SettingsError
from vehicle_lightning.fit.supervision import Supervisor
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.runs.summary import Summary
from vehicle_lightning.sweep.space import Space, in_words, trial_settings
from vehicle_lightning.sweep.study import JUDGED_FROM, HeldTrial, Study, suggest

PARTS = "trainings"  # attribute: validation loss and images of each training so far


class Fit(Protocol):
    """`vehicle_lightning.fit.fit`."""

    def __call__(
        self,
        settings: Settings,
        *,
        resume: RunFolder | None,
        new: RunFolder | None,
        supervisor: Supervisor,
    ) -> Any:
        """Train, and return the run with its summary."""


@dataclass(frozen=True)
class Search:
    """What is searched, and where.

    Attributes:
        study: what the workers share.
        space: the search space.
        base: what all trials share.
        folder: the study's folder on this machine; trial n trains in its folder n.
        trials: how many there are to be in all.
        deadline: by `time.monotonic`, when to stop.
    """

    study: Study
    space: Space
    base: Settings
    folder: Path
    trials: int
    deadline: float

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self.deadline


class TrialSupervisor:
    """Pauses and prunes the run of one trial."""

    def __init__(self, search: Search, held: HeldTrial, settings: Settings) -> None:
        self._search = search
        self._held = held
        self._epochs = settings.epochs

    @property
    def title(self) -> str:
        """What the run is called on the progress bar."""
        return f"Trial {self._held.trial.number} of {self._search.trials}"

    def must_pause(self) -> bool:
        """Return whether the time is up, or another worker has the trial now."""
        return self._held.lease.is_lost or self._search.is_over

    def report(self, epoch: int, val_loss: float) -> None:
        """Write the validation loss down, unless that was done before an interruption."""
        if epoch > self._search.study.last_epoch(self._held.trial):
            self._held.trial.report(val_loss, epoch)

    def prunes_after_epoch(self, epoch: int) -> bool:
        """Return whether the trial falls behind the median of the others."""
        study, trial = self._search.study, self._held.trial
        return study.last_epoch(trial) == epoch and study.is_below_median(trial, self._epochs)

    def prunes_after_trainings(self, measured: Sequence[Measurement]) -> bool:
        """Return whether the trial cannot win, with the best conceivable rest of its trainings."""
        parts = [(one.loss, one.n) for one in measured]
        self._held.trial.set_user_attr(PARTS, parts)
        others = [
            [(float(loss), int(n)) for loss, n in trial.user_attrs[PARTS]]
            for trial in self._search.study.finished
            if PARTS in trial.user_attrs
        ]
        return cannot_win(parts, others)


Part = tuple[float, int]


def cannot_win(parts: Sequence[Part], others: Sequence[Sequence[Part]]) -> bool:
    """Return whether a trial over several trainings cannot become the best any more.

    That is so where its pooled loss would be above that of the best trial even if each training it
    still lacks came out as well as the best of any trial did there. Before enough trials have all
    their trainings there is no telling.

    Args:
        parts: mean validation loss, in nats, and number of images of each training so far.
        others: the same of the trials that have finished; of pruned ones, of fewer trainings.
    """
    length = max((len(other) for other in others), default=0)
    complete = [other for other in others if len(other) == length]
    if len(complete) < JUDGED_FROM or len(parts) >= length:
        return False
    rest = [
        min((other[index] for other in others if len(other) > index), key=_loss)
        for index in range(len(parts), length)
    ]
    return not _pooled([*parts, *rest]) <= min(map(_pooled, complete))


def _loss(part: Part) -> float:
    return part[0] if math.isfinite(part[0]) else math.inf


def _pooled(parts: Sequence[Part]) -> float:
    return sum(_loss(part) * part[1] for part in parts) / sum(n for _, n in parts)


def run_trial(search: Search, held: HeldTrial, fit: Fit) -> bool:
    """Train a trial to its end, and write down what it came to.

    Returns:
        Whether it came to its end; otherwise it is left for whoever asks next.

    Raises:
        InputError: something is wrong with the data, the device or the run folder.
        KeyboardInterrupt: a person stopped it.
    """
    number = held.trial.number
    point = search.space.choose(lambda name, domain: suggest(held.trial, name, domain))
    with held.lease:
        try:
            settings = trial_settings(search.base, point)
        except SettingsError as error:
            return _finish_untrainable(search, held, str(error).rstrip("."))
        try:
            run, resume = _find_run(search.folder / str(number), settings)
            if held.is_taken_over:
                notice(_taken_over(number, run, resume))
            supervisor = TrialSupervisor(search, held, settings)
            summary = fit(settings, resume=resume, new=run, supervisor=supervisor).summary
        except torch.OutOfMemoryError:
            return _finish_untrainable(search, held, "it needs more memory than the device has")
        except BaseException:
            held.lease.give_up()
            raise
        if summary is None or summary.status == "interrupted":
            if held.lease.is_lost:
                notice(f"Trial {number} was taken over by another worker.")
                return False
            held.lease.give_up()
            if not search.is_over:
                raise KeyboardInterrupt
            return False
        return _finish(search, held, summary)


def _find_run(path: Path, settings: Settings) -> tuple[RunFolder, RunFolder | None]:
    """Return the folder of a trial, and the run to continue where it has been begun here."""
    run = RunFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    if not run.config.is_file():
        return run, None
    if changed := changed_settings(read_settings(run.config), settings):
        raise RunError(
            f"{path} holds another run, with another {', '.join(changed)} than the trial that "
            f"belongs there; choose another --study or --log-dir."
        )
    return run, run


def _taken_over(number: int, run: RunFolder, resume: RunFolder | None) -> str:
    if resume is None:
        return f"Trial {number} was left by another worker; as its run is not here, it starts anew."
    return f"Trial {number} was left unfinished; going on in {run.path}."


def _finish(search: Search, held: HeldTrial, summary: Summary) -> bool:
    facts = {
        "val": summary.val.to_dict(),
        "train": summary.train.to_dict(),
        "best_epoch": summary.best_epoch,
        "epochs": summary.epochs,
        "seconds": summary.seconds,
    }
    if summary.status == "pruned":
        told = search.study.prune(held, facts)
    else:
        loss = summary.val.loss if math.isfinite(summary.val.loss) else math.inf
        told = search.study.finish(held, loss, facts)
    if not told:
        notice(f"Trial {held.trial.number} was taken over by another worker.")
    else:
        pruned = f", pruned after {summary.epochs} epochs" if summary.status == "pruned" else ""
        notice(
            f"Trial {held.trial.number}: val loss {summary.val.loss:.3f}, accuracy {summary.val}"
            f"{pruned}; {_in_words(held)}"
        )
    return told


def _finish_untrainable(search: Search, held: HeldTrial, reason: str) -> bool:
    notice(f"Trial {held.trial.number} cannot be trained: {reason}; {_in_words(held)}")
    return search.study.finish(held, math.inf, {"untrainable": reason})


def _in_words(held: HeldTrial) -> str:
    return ", ".join(f"{name} {in_words(value)}" for name, value in held.trial.params.items())
