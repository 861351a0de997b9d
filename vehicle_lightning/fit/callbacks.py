"""What happens beside the training: ordinary Lightning callbacks, each usable on its own."""

import csv
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any, cast

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.callbacks import EarlyStopping, WeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vehicle_lightning.console import notice, progress_bar
from vehicle_lightning.files import atomic_write
from vehicle_lightning.fit.loggers import log_curves
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.plots import plot_images, save
from vehicle_lightning.runs.statistics import Measurement

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHOWN = 32  # images of the first batch
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


class TrainingInterruptedError(Exception):
    """A person or the system asked the training to end."""


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
        return pd.DataFrame(self._rows, columns=self._columns())

    def _columns(self) -> list[str]:
        others = {name for row in self._rows for name in row} - set(FIRST_COLUMNS)
        return [*FIRST_COLUMNS, *sorted(others)]

    def on_fit_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Draw the curves of a resumed run anew, up to its checkpoint; servers have them."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger | CSVLogger):
                log_curves(logger, self.frame.drop(columns="seconds"))

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
            # Seven digits are what float32 holds. By pandas it would take ten times as long.
            rows = [{k: f"{v:.7g}" for k, v in row.items() if v == v} for row in self._rows]
            with (
                atomic_write(self._run.metrics) as temporary,
                temporary.open("w", encoding="utf-8") as file,
            ):
                writer = csv.DictWriter(file, self._columns(), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows as plain types."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the rows of a checkpoint."""
        self._rows = list(state_dict["rows"])


class EpochLines(L.Callback):
    """Shows one bar for the whole training and prints the figures of each epoch."""

    def __init__(self, title: str = "") -> None:
        """Choose how much to say.

        Args:
            title: which of several runs this is; it stands on the bar, and the bar is all that is
                shown.
        """
        self._title = title
        self._bar = progress_bar()
        self._task = self._bar.add_task("")

    def say(self, sentence: str) -> None:
        """Print a notice, unless this is one of several runs."""
        if not self._title:
            notice(sentence)

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Open the bar, where a resumed run stands already part of the way."""
        steps = int(trainer.num_training_batches)
        total = steps * (trainer.max_epochs or 0)
        self._bar.update(self._task, total=total, completed=trainer.current_epoch * steps)
        self._bar.start()

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Name the epoch on the bar."""
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        description = f"{self._title}: {epoch}" if self._title else epoch.capitalize()
        self._bar.update(self._task, description=description)

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the bar on."""
        self._bar.advance(self._task)

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Print the line of the epoch."""
        figure = {name: float(value) for name, value in trainer.callback_metrics.items()}
        width = len(str(trainer.max_epochs))
        splits = "   ".join(
            f"{split} loss {figure[f'{split}/loss']:.3f}, "
            f"accuracy {100 * figure[f'{split}/accuracy']:5.1f} %"
            for split in ("train", "val")
            if f"{split}/loss" in figure
        )
        self.say(f"epoch {trainer.current_epoch + 1:{width}}/{trainer.max_epochs}   {splits}")

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Close the bar."""
        self._bar.stop()

    on_exception = on_train_end


class FirstBatch(L.Callback):
    """Draws `train_batch.png` from the images that enter the classifier in the first step."""

    def __init__(self, run: RunFolder) -> None:
        self._picture = run.picture("train_batch")
        self._seen: Tensor | None = None
        self._hook: RemovableHandle | None = None

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Listen at the entrance of the classifier in the first step of the run."""
        if trainer.is_global_zero and not self._picture.exists() and self._hook is None:
            normalize = module.get_submodule("model.normalize")
            self._hook = normalize.register_forward_pre_hook(self._look)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Draw what was seen."""
        if self._hook is None:
            return
        self._hook.remove()
        self._hook = None
        if self._seen is not None:
            names = cast(VehicleClassifier, module).class_names
            figure = plot_images(
                self._seen.permute(0, 2, 3, 1).round().to(torch.uint8).cpu().numpy(),
                [names[label] for label in batch[1][:SHOWN].tolist()],
                title="First training batch as the network saw it, with labels",
            )
            save(figure, self._picture)
            self._seen = None

    def _look(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen = inputs[0][:SHOWN].detach().clone()


class AverageWeights(WeightAveraging):
    """Keeps the exponential moving average of the weights, and of what is counted beside them.

    What is measured and kept as best is the average; `last.ckpt` holds it under `state_dict` and
    the weights that learn under `current_model_state`. The decay of step t is at most
    (1 + t) / (10 + t), so that the first steps are soon forgotten, as in TensorFlow's.
    """

    def __init__(self, decay: float) -> None:
        """Take the decay, in [0, 1): with 0.99 the average reaches back about 100 steps."""

        def average(averaged: Tensor, current: Tensor, steps: Tensor) -> Tensor:
            if not averaged.is_floating_point():
                return current
            part = 1 - min(decay, (1 + int(steps)) / (10 + int(steps)))
            return averaged.lerp(current, part)

        super().__init__(avg_fn=average)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Copy the module where it will be, as Lightning moves it there only afterwards."""
        pl_module.to(trainer.strategy.root_device)
        super().setup(trainer, pl_module, stage)


class StopWithoutProgress(EarlyStopping):
    """Ends the training after `patience` epochs without a lower validation loss."""

    def __init__(self, patience: int) -> None:
        super().__init__("val/loss", patience=patience, check_on_train_epoch_end=True)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint, with the patience asked for now."""
        super().load_state_dict(state_dict | {"patience": self.patience})

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Stay stopped where the run to continue had ended for want of progress."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class StopBetweenSteps(L.Callback):
    """Turns the first signal into `TrainingInterruptedError` after the step under way.

    The epoch under way is given up: a resumed run repeats it exactly, from the end of the last
    epoch that was saved. A second signal ends the process at once.

    Where another callback asks for the end within an epoch, that comes after it, as half an epoch
    cannot be resumed.
    """

    def __init__(self) -> None:
        self.received = False
        self._ends_after_epoch = False
        self._before: dict[signal.Signals, Any] = {}

    def on_train_start(self, *_: Any) -> None:
        """Listen for the signals; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            self._before = {name: signal.signal(name, self._receive) for name in SIGNALS}

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
        """End the training where a signal came."""
        # All processes stop after the same step, whichever of them the signal reached first.
        if trainer.strategy.reduce_boolean_decision(self.received, all=False):
            raise TrainingInterruptedError
        if trainer.should_stop and trainer.training and not trainer.is_last_batch:
            trainer.should_stop, self._ends_after_epoch = False, True

    on_validation_batch_end = on_train_batch_end

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """End the training where that was asked for within the epoch."""
        trainer.should_stop = trainer.should_stop or self._ends_after_epoch

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Listen no more."""
        for name, handler in self._before.items():
            signal.signal(name, handler)
        self._before = {}

    on_exception = on_train_end

    def _receive(self, *_: Any) -> None:
        self.received = True
        self.on_train_end()


class PruningCallback(L.Callback):
    """Lets whoever trains many runs pause one, or end it early for good; a base class.

    Override what is to happen; as they stand, its methods change nothing.

    Attributes:
        title: what the progress bar calls the run, which is then all that the terminal shows.
        is_pruned: whether the training was ended early for good.
        judges_epochs: whether it is asked about every epoch.
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self.is_pruned = False
        self.judges_epochs = True

    def must_pause(self) -> bool:
        """Return whether the training ends after the step under way, to be continued later."""
        return False

    def report(self, epoch: int, val_loss: float) -> None:
        """Take note of the validation loss, in nats, after an epoch, counted from 1."""

    def prunes_after_epoch(self, epoch: int) -> bool:
        """Return whether the run is not worth another epoch; the epoch has been reported."""
        return False

    def prunes_after_fold_runs(self, measured: Sequence[Measurement]) -> bool:
        """Return whether a run over folds or seeds is not worth another fold run.

        Args:
            measured: the validation images of the fold runs so far, in their order.
        """
        return False

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Stay pruned where a run is continued that was stopped while it was being measured."""
        if trainer.current_epoch and self.judges_epochs:
            self._judge(trainer, trainer.current_epoch)

    def on_train_batch_end(self, *_: Any) -> None:
        """Pause where that is asked for."""
        if self.must_pause():
            raise TrainingInterruptedError

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Report the epoch and hear whether there is to be another."""
        if self.judges_epochs:
            epoch = trainer.current_epoch + 1
            self.report(epoch, float(trainer.callback_metrics["val/loss"]))
            self._judge(trainer, epoch)

    def _judge(self, trainer: L.Trainer, epoch: int) -> None:
        if epoch < (trainer.max_epochs or 0) and self.prunes_after_epoch(epoch):
            self.is_pruned = True
            trainer.should_stop = True
