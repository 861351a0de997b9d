"""The first training batch, exactly as the network saw it."""

from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vehicle_lightning.data.batches import Batch
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.plots import plot_images, save

SHOWN = 32  # images


class FirstBatch(L.Callback):
    """Draws `train_batch.png` from the tensor that enters the network in the first step."""

    def __init__(self, run: RunFolder, data: VehicleDataModule) -> None:
        self._picture = run.picture("train_batch")
        self._data = data
        self._seen: Tensor | None = None
        self._hook: RemovableHandle | None = None

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Listen at the network's entrance in the first step of the run."""
        if trainer.is_global_zero and not self._picture.exists() and self._hook is None:
            network = cast(nn.Module, module.network)
            self._hook = network.register_forward_pre_hook(self._look)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Draw what was seen."""
        if self._hook is None:
            return
        self._hook.remove()
        self._hook = None
        if self._seen is not None:
            names = self._data.table.class_names
            figure = plot_images(
                self._seen.permute(0, 2, 3, 1).round().to(torch.uint8).cpu().numpy(),
                [names[label] for label in batch.labels[:SHOWN].tolist()],
                title="First training batch as the network saw it, with labels",
            )
            save(figure, self._picture)
            self._seen = None

    def _look(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen = inputs[0][:SHOWN].detach().clone()
