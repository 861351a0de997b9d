"""Features: what a held backbone sees in each image, found once instead of in every epoch."""

import lightning as L
import numpy as np
import torch
from torch import Tensor

from vehicle_lightning.config import Settings
from vehicle_lightning.data.batches import Batch
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.model.classifier import VehicleClassifier


def are_enough(settings: Settings) -> bool:
    """Whether the backbone sees the same in every epoch: it never learns, and no image changes."""
    changes = settings.augment or settings.mixup or settings.initial_size or settings.flip_averaging
    return (
        settings.backbone is not None and settings.frozen_epochs >= settings.epochs and not changes
    )


def find_features(model: VehicleClassifier, data: VehicleDataModule, trainer: L.Trainer) -> Tensor:
    """Return the backbone's features of all images: float32 of shape (N, F), on the CPU.

    Args:
        model: a classifier with the backbone's weights.
        data: N images.
        trainer: what to run on; one device.
    """
    rows = np.arange(len(data.table))
    batches = trainer.predict(_Looking(model), data.measured(rows))
    return torch.cat([batch.cpu() for batch in batches or [] if isinstance(batch, Tensor)])


class _Looking(L.LightningModule):
    def __init__(self, model: VehicleClassifier) -> None:
        super().__init__()
        self._model = model

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._model.features(batch.images).float()
