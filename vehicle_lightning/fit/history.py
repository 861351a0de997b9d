"""The history: one row an epoch, in memory, in the checkpoint and in `metrics.csv`."""

import time
from typing import Any

import lightning as L
import pandas as pd

from vehicle_lightning.files import atomic_write
from vehicle_lightning.runs.folder import RunFolder

FIRST_COLUMNS = (
    "epoch",
    "train/loss",
    "val/loss",
    "train/accuracy",
    "val/accuracy",
    "train/running_loss",
    "learning_rate",
    "seconds",
)


class History(L.Callback):
    """Keeps what was logged after each epoch.

    The rows travel in the checkpoint, so that a resumed run goes on with exactly the rows of its
    checkpoint, whatever else had or had not been written before the interruption.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._rows: list[dict[str, float]] = []
        self._started = 0.0

    @property
    def frame(self) -> pd.DataFrame:
        """One row an epoch: `epoch` (from 1), `seconds`, and all that the module logs."""
        frame = pd.DataFrame(self._rows, columns=None if self._rows else list(FIRST_COLUMNS))
        others = sorted(set(frame.columns) - set(FIRST_COLUMNS))
        return frame[[*FIRST_COLUMNS, *others]]

    def on_fit_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Draw the curves of a resumed run anew, up to its checkpoint."""
        if trainer.logger is not None:
            for row in self._rows:
                curves = {k: v for k, v in row.items() if k not in {"epoch", "seconds"}}
                trainer.logger.log_metrics(curves, int(row["epoch"]))

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Add the row of the epoch and write the file anew."""
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        logged.pop("step")
        seconds = time.perf_counter() - self._started
        self._rows.append({"epoch": trainer.current_epoch + 1, **logged, "seconds": seconds})
        if trainer.is_global_zero:
            with atomic_write(self._run.metrics) as temporary:
                # Seven digits are what float32 holds.
                self.frame.to_csv(temporary, index=False, float_format="%.7g")

    def state_dict(self) -> dict[str, Any]:
        """Return the rows as plain types."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the rows of a checkpoint."""
        self._rows = list(state_dict["rows"])
