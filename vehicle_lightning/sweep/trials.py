"""One trial of a search: settings sampled, an ordinary run trained, the result written down.

Sources:
    Golovin et al. (2017), Google Vizier: a service for black-box optimization (the median rule).
"""

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import MedianPruner

from vehicle_lightning.config import Settings
from vehicle_lightning.console import notice
from vehicle_lightning.errors import RunError, SettingsError, UntrainableError, counted
from vehicle_lightning.fit.callbacks import PruningCallback
from vehicle_lightning.fit.train import train
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.runs.summary import Summary
from vehicle_lightning.settings_file import check_unchanged, read_settings
from vehicle_lightning.sweep.space import Space, Value, in_words
from vehicle_lightning.sweep.study import RunningTrial, Study, suggest

JUDGED_FROM = 5  # finished trials, before any is pruned
FACTS = ("train", "val", "best_epoch", "epochs", "seconds")  # attributes: of the summary
FOLD_RUNS = "fold_runs"  # attribute: validation loss and images of each fold run so far

Part = tuple[float, int]


@dataclass(frozen=True)
class Search:
    """What this worker works on.

    Attributes:
        study: the trials, of all workers.
        space: what is searched.
        base: what all trials share.
        folder: the study's folder on this machine; trial n trains in its folder n.
        trials: how many finished trials the study is to have.
        deadline: when to stop, by `time.monotonic`.
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


class TrialPruning(PruningCallback):
    """Pauses and prunes the run of one trial."""

    def __init__(self, search: Search, running: RunningTrial, epochs: int) -> None:
        super().__init__(f"Trial {running.run} of {search.trials}")
        self._search = search
        self._running = running
        # The median rule: the lowest loss so far is above the median of the others at that epoch.
        search.study.optuna.pruner = MedianPruner(
            n_startup_trials=JUDGED_FROM, n_warmup_steps=-(-epochs // 4), n_min_trials=JUDGED_FROM
        )

    def must_pause(self) -> bool:
        """Return whether the time is up, or another worker has the trial now."""
        return self._running.is_lost or self._search.is_over

    def report(self, epoch: int, val_loss: float) -> None:
        """Write the validation loss down, unless that was done before an interruption."""
        if epoch <= self._running.reported:
            return
        try:
            self._running.trial.report(val_loss, epoch)
            self._running.reported = epoch
        except UpdateFinishedTrialError:
            self._running.is_lost = True

    def prunes_after_epoch(self, epoch: int) -> bool:
        """Return whether the trial falls behind the median of the others."""
        with warnings.catch_warnings(action="ignore"):  # of a loss that is not a number
            return epoch == self._running.reported and self._running.trial.should_prune()

    def prunes_after_fold_runs(self, measured: Sequence[Measurement]) -> bool:
        """Return whether the trial cannot win, with the best conceivable rest of its fold runs."""
        parts = [(one.loss, one.n) for one in measured]
        try:
            self._running.trial.set_user_attr(FOLD_RUNS, parts)
        except UpdateFinishedTrialError:
            self._running.is_lost = True
            return False
        finished = [trial.user_attrs for trial in self._search.study.finished]
        return cannot_win(parts, [facts[FOLD_RUNS] for facts in finished if FOLD_RUNS in facts])


def cannot_win(parts: Sequence[Part], others: Sequence[Sequence[Part]]) -> bool:
    """Return whether a trial over several fold runs cannot become the best any more.

    That is so where its pooled loss would be above that of the best trial even if each fold run it
    still lacks came out as well as the best of any trial did there. Both are given as mean
    validation loss, in nats, and number of images of each fold run so far. Before enough trials
    have all their fold runs there is no telling.
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


def run_trial(search: Search, running: RunningTrial) -> None:
    """Train a trial to its end and write down what it came to, or let others go on with it.

    Raises:
        InputError: something is wrong with the data, the device or the run folder.
        KeyboardInterrupt: a person stopped it.
    """
    with running:
        try:
            _train(search, running)
        except BaseException:
            search.study.put_back(running)
            raise


def _train(search: Search, running: RunningTrial) -> None:
    point = search.space.choose(lambda name, domain: suggest(running.trial, name, domain))
    try:
        settings = search.base.changed(point)
    except SettingsError as error:
        return _give_up(search, running, point, str(error).rstrip("."))
    run = RunFolder(search.folder / running.run)
    run.path.mkdir(exist_ok=True)
    try:
        with run.lock():
            pass
    except RunError:  # a worker that was suspended has it; the trial is retried later
        return notice(f"The run of trial {running.run} is still in use by another process.")
    if is_begun := run.config.is_file():
        fix = "choose another --study or --log-dir"
        check_unchanged(read_settings(run.config), settings, run.path, fix)
    if running.is_retried:
        notice(
            f"Trial {running.run} was left unfinished; going on in {run.path}."
            if is_begun
            else f"Trial {running.run} was left by another worker; as its run is not here, it "
            f"starts anew."
        )
    pruning = TrialPruning(search, running, settings.epochs)
    try:
        summary = train(settings, run, callbacks=[pruning]).summary
    except torch.OutOfMemoryError:
        return _give_up(search, running, point, "it needs more memory than the device has")
    except UntrainableError as error:
        if settings.backbone is not None and "backbone" not in point:
            raise  # none can be trained
        return _give_up(search, running, point, str(error).rstrip("."))
    if summary is not None and summary.status != "interrupted":
        return _finish(search, running, point, summary)
    search.study.put_back(running)
    if running.is_lost:
        notice(f"Trial {running.run} was taken over by another worker.")
    elif not search.is_over:
        raise KeyboardInterrupt
    return None


def _finish(
    search: Search, running: RunningTrial, point: dict[str, Value], summary: Summary
) -> None:
    is_pruned = summary.status == "pruned"
    loss = summary.val.loss if math.isfinite(summary.val.loss) else math.inf
    facts = {key: summary.to_dict()[key] for key in FACTS}
    pruned = f", pruned after {counted(summary.epochs, 'epoch')}"
    if search.study.finish(running, facts, None if is_pruned else loss):
        notice(
            f"Trial {running.run}: val loss {summary.val.loss:.3f}, accuracy {summary.val}"
            f"{pruned * is_pruned}; {in_words(point)}"
        )
    else:
        notice(f"Trial {running.run} was taken over by another worker.")


def _give_up(search: Search, running: RunningTrial, point: dict[str, Value], reason: str) -> None:
    notice(f"Trial {running.run} cannot be trained: {reason}; {in_words(point)}")
    search.study.finish(running, {"untrainable": reason}, math.inf)
