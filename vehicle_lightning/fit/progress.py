"""Progress in the terminal: a bar with the time left, and one line an epoch."""

from typing import Any

import lightning as L

from vehicle_lightning.console import notice, progress_bar


class EpochLines(L.Callback):
    """Shows one bar for the whole training and prints the figures of each epoch."""

    def __init__(self, part: str = "") -> None:
        """Choose how much to say.

        Args:
            part: which of several trainings this is; it is named on the bar, and the bar is all
                that is shown.
        """
        self._part = part
        self._bar = progress_bar()
        self._task = self._bar.add_task("")

    def say(self, sentence: str) -> None:
        """Print a notice, unless this is one of several trainings."""
        if not self._part:
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
        description = f"{self._part}: {epoch}" if self._part else epoch.capitalize()
        self._bar.update(self._task, description=description)

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the bar on."""
        self._bar.advance(self._task)

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Print the line of the epoch."""
        figure = {name: float(value) for name, value in trainer.callback_metrics.items()}
        width = len(str(trainer.max_epochs))
        sides = "   ".join(
            f"{side} loss {figure[f'{side}/loss']:.3f}, "
            f"accuracy {100 * figure[f'{side}/accuracy']:5.1f} %"
            for side in ("train", "val")
        )
        self.say(f"epoch {trainer.current_epoch + 1:{width}}/{trainer.max_epochs}   {sides}")

    def on_train_end(self, *_: Any) -> None:
        """Close the bar."""
        self._bar.stop()

    def on_exception(self, *_: Any) -> None:
        """Close the bar."""
        self._bar.stop()
