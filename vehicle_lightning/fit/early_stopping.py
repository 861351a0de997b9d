"""Early stopping that keeps its word over a resumption."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping


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
