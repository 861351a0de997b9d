"""Ctrl-C and SIGTERM: the training ends between two steps, never in the middle of a file."""

import signal
import threading
from types import FrameType
from typing import Any

import lightning as L

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterruptedError(Exception):
    """A person or the system asked the training to end."""


class StopBetweenSteps(L.Callback):
    """Turns the first signal into `TrainingInterruptedError` after the step under way.

    The epoch under way is given up: what is saved is the end of the epoch before, from where a
    resumed run repeats it exactly. A second signal ends the process at once.
    """

    def __init__(self) -> None:
        self._received = False
        self._before: dict[signal.Signals, Any] = {}

    def on_train_start(self, *_: Any) -> None:
        """Listen for the signals; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            self._before = {name: signal.signal(name, self._receive) for name in SIGNALS}

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """End the training where a signal came."""
        self._stop_if_received(trainer)

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """End the training where a signal came."""
        self._stop_if_received(trainer)

    def on_train_end(self, *_: Any) -> None:
        """Listen no more."""
        self._restore()

    def on_exception(self, *_: Any) -> None:
        """Listen no more."""
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = True
        self._restore()

    def _restore(self) -> None:
        for name, handler in self._before.items():
            signal.signal(name, handler)
        self._before = {}

    def _stop_if_received(self, trainer: L.Trainer) -> None:
        # All processes stop after the same step, whichever of them the signal reached first.
        if trainer.strategy.reduce_boolean_decision(self._received, all=False):
            raise TrainingInterruptedError
