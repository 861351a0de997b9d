"""Seconds of whole epochs, whatever trains."""

import time
from itertools import pairwise
from typing import Any

import lightning as L


class EpochClock(L.Callback):
    """Notes when each epoch begins; what lies between is an epoch with its measuring and writing.

    Attributes:
        marks: wall-clock and processor seconds at the start of each epoch.
    """

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        """Note the time."""
        self.mark()

    def mark(self) -> None:
        """Note the time, after the GPU, where there is one, has done its work."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.marks.append((time.perf_counter(), time.process_time()))

    @property
    def seconds(self) -> list[float]:
        """Wall-clock seconds of each epoch but the last."""
        return [after[0] - before[0] for before, after in pairwise(self.marks)]

    @property
    def processor_seconds(self) -> list[float]:
        """Processor seconds, which other work on the machine disturbs less."""
        return [after[1] - before[1] for before, after in pairwise(self.marks)]
