"""Supervision: a run that is one of many can be told to pause or to end early."""

from collections.abc import Sequence
from typing import Any, Protocol

import lightning as L

from vehicle_lightning.fit.interruption import TrainingInterruptedError
from vehicle_lightning.runs.statistics import Measurement


class Supervisor(Protocol):
    """Whoever asked for many runs and watches one of them."""

    @property
    def title(self) -> str:
        """What the run is called on the progress bar."""

    def must_pause(self) -> bool:
        """Return whether the training ends after the step under way, to be continued later."""

    def report(self, epoch: int, val_loss: float) -> None:
        """Take note of the validation loss, in nats, after an epoch, counted from 1."""

    def prunes_after_epoch(self, epoch: int) -> bool:
        """Return whether the run is not worth another epoch; the epoch has been reported."""

    def prunes_after_trainings(self, measured: Sequence[Measurement]) -> bool:
        """Return whether a run over folds or seeds is not worth another training.

        Args:
            measured: the validation images of the trainings so far, in their order.
        """


class Supervision(L.Callback):
    """Passes on between a supervisor and one training.

    Attributes:
        is_pruned: whether the training was ended early for good.
    """

    def __init__(self, supervisor: Supervisor, *, by_epoch: bool = True) -> None:
        """Choose what is passed on.

        Args:
            supervisor: whom to ask.
            by_epoch: report every epoch, and end the training where it is pruned after one. Of
                several trainings of one run, those after the first are judged as a whole.
        """
        self.is_pruned = False
        self._supervisor = supervisor
        self._by_epoch = by_epoch

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Stay pruned where a run is continued that was stopped while it was being measured."""
        if trainer.current_epoch:
            self._judge(trainer, trainer.current_epoch)

    def on_train_batch_end(self, *_: Any) -> None:
        """Pause where the supervisor says so."""
        if self._supervisor.must_pause():
            raise TrainingInterruptedError

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Report the epoch and hear whether there is to be another."""
        if self._by_epoch:
            epoch = trainer.current_epoch + 1
            self._supervisor.report(epoch, float(trainer.callback_metrics["val/loss"]))
            self._judge(trainer, epoch)

    def _judge(self, trainer: L.Trainer, epoch: int) -> None:
        if not self._by_epoch or epoch >= (trainer.max_epochs or 0):
            return
        if self._supervisor.prunes_after_epoch(epoch):
            self.is_pruned = True
            trainer.should_stop = True
