"""The Lightning module: network, loss, metrics and optimizer, and no layers of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from torchmetrics import ClasswiseWrapper, MeanMetric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassCalibrationError,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)
from torchvision.transforms import v2

from vehicle_lightning.config import Settings
from vehicle_lightning.data.batches import Batch
from vehicle_lightning.model.augment import Augment
from vehicle_lightning.model.backbone import Backbone
from vehicle_lightning.model.network import build_network

GROWING_PART = 0.75  # of the epochs
SIZE_STEP = 16  # pixels
HEAD = 2  # the network's first layers are the normalisation and, where there is one, a backbone
VAL_LOADER = 0  # the data module's other evaluation loader gives training images


class VehicleClassifier(L.LightningModule):
    """Trains a network on labelled images and measures it.

    Logs, once an epoch and with the number of finished epochs as the x-axis: `train/running_loss`
    (as optimised, dropout and augmentation on), and in eval mode on clean images `train/loss`,
    `train/accuracy` (on a fixed sample of the training images), `val/loss`, `val/accuracy`,
    `val/f1`, `val/auroc` (both averaged over the classes), `val/calibration_error`, and
    `val/precision/<class>` and `val/recall/<class>`.
    """

    def __init__(
        self,
        settings: Settings | Mapping[str, Any],
        class_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        class_weights: Sequence[float] | None = None,
    ) -> None:
        """Build network, loss and metrics.

        Args:
            settings: all settings, or their plain form out of a checkpoint.
            class_names: name of each class, in the order of the logits.
            mean: mean of red, green and blue over the training images, in [0, 1].
            std: their standard deviations.
            class_weights: weight of each class in the training loss; equal if None.
        """
        super().__init__()
        if not isinstance(settings, Settings):
            settings = Settings(**settings)
        self.settings = settings
        self.class_names = tuple(class_names)
        # Plain types only, so that the checkpoint loads with `weights_only=True`.
        self.save_hyperparameters(
            {
                "settings": settings.model_dump(mode="json"),
                "class_names": list(class_names),
                "mean": list(map(float, mean)),
                "std": list(map(float, std)),
                "class_weights": None if class_weights is None else list(map(float, class_weights)),
            },
            logger=False,
        )
        self.network = build_network(
            settings,
            image_size=settings.image_size,
            classes=len(class_names),
            mean=mean,
            std=std,
        ).to(memory_format=torch.channels_last)
        self.augment = Augment(settings) if settings.augment else nn.Identity()
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.training_loss = nn.CrossEntropyLoss(
            weight=weights, label_smoothing=settings.label_smoothing
        )
        self.mixup = (
            v2.MixUp(alpha=settings.mixup, num_classes=len(class_names)) if settings.mixup else None
        )
        # A loss that is not a number must show, not be left out.
        self._val_loss = MeanMetric(nan_strategy="disable")
        self._train_loss = MeanMetric(nan_strategy="disable")
        self._val_metrics = _validation_metrics(self.class_names)
        self._train_metrics = _train_metrics(len(class_names))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, C) for images (B, 3, H, W) of pixel values in [0, 255].

        With a backbone its features (B, F) will do.
        """
        network = self.network[HEAD:] if images.ndim == 2 else self.network
        logits: Tensor = network(images)
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Return the backbone's features (B, F) for images (B, 3, H, W) in [0, 255]."""
        features: Tensor = self.network[:HEAD](images)
        return features

    @property
    def backbone(self) -> Backbone | None:
        """The pretrained part of the network, if any."""
        return next((layer for layer in self.network if isinstance(layer, Backbone)), None)

    def on_fit_start(self) -> None:
        """Compile the layers, each by itself, where that is asked for."""
        if self.settings.compile:
            for layer in self.network:
                layer.compile()

    def on_train_epoch_start(self) -> None:
        """Seed dropout and augmentation by the epoch, so that a resumed run repeats them.

        A backbone is held in its first epochs.
        """
        torch.manual_seed(self.settings.seed + 1_000_003 * self.current_epoch + self.global_rank)
        if self.backbone is not None:
            self.backbone.hold(self.current_epoch < self.settings.frozen_epochs)
        optimizer = self.trainer.optimizers[0]
        self.log("learning_rate", optimizer.param_groups[0]["lr"], sync_dist=True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one augmented batch."""
        with torch.autocast(self.device.type, enabled=False):  # bf16 would blur the geometry
            images, labels = self.augment(self._resized(batch.images.float())), batch.labels
            if self.mixup is not None:
                images, labels = self.mixup(images, labels)
        loss: Tensor = self.training_loss(self(images), labels)
        self.log(
            "train/running_loss",
            loss.detach(),
            on_step=False,
            on_epoch=True,
            batch_size=len(batch.labels),
            sync_dist=True,
        )
        return loss

    def _resized(self, images: Tensor) -> Tensor:
        """Shrink images to the size of the epoch; small ones teach the first epochs in less time.

        Progressive resizing, as in Howard's entry to DAWNBench (2018).
        """
        if self.settings.initial_size is None:
            return images
        size = size_in_epoch(self.current_epoch, self.settings)
        return F.interpolate(images, size=(size, size), mode="area")

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Measure one batch of a side; Lightning has put the network in eval mode."""
        if len(batch.labels) == 0:
            return  # of an odd number of images one device has fewer batches with something in them
        logits = self.measured_logits(batch.images)
        is_val = dataloader_idx == VAL_LOADER
        loss = self._val_loss if is_val else self._train_loss
        metrics = self._val_metrics if is_val else self._train_metrics
        loss.update(F.cross_entropy(logits, batch.labels, reduction="none"))
        metrics.update(logits.softmax(dim=1), batch.labels)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of both sides."""
        figures = {
            "step": float(self.current_epoch + 1),
            "val/loss": self._val_loss.compute(),
            "train/loss": self._train_loss.compute(),
            **self._val_metrics.compute(),
            **self._train_metrics.compute(),
        }
        self.log_dict(figures, sync_dist=True)
        for metric in (self._val_loss, self._train_loss, self._val_metrics, self._train_metrics):
            metric.reset()

    def on_train_epoch_end(self) -> None:
        """Make the number of finished epochs the x-axis of what was logged in training."""
        self.log("step", float(self.current_epoch + 1), sync_dist=True)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the logits (B, C) of one batch."""
        return self.measured_logits(batch.images)

    def measured_logits(self, images: Tensor) -> Tensor:
        """Return logits (B, C), with `flip_averaging` the mean over each image and its mirror."""
        logits: Tensor = self(images)
        if self.settings.flip_averaging:
            logits = (logits + self(images.flip(3))) / 2
        return logits

    def configure_optimizers(self) -> Any:
        """Build the optimizer and, unless the learning rate is constant, its schedule."""
        optimizer = _build_optimizer(self.network, self.backbone, self.settings)
        if self.settings.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = (
            CosineAnnealingLR(optimizer, T_max=steps)
            if self.settings.schedule == "cosine"
            else OneCycleLR(
                optimizer, max_lr=[g["lr"] for g in optimizer.param_groups], total_steps=steps
            )
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def size_in_epoch(epoch: int, settings: Settings) -> int:
    """Return the image size, in pixels, that an epoch, counted from 0, trains on."""
    first, last = settings.initial_size, settings.image_size
    part = epoch / max(GROWING_PART * (settings.epochs - 1), 1)
    if first is None or part >= 1:
        return last
    return min(first + round(part * (last - first) / SIZE_STEP) * SIZE_STEP, last)


def _build_optimizer(
    network: nn.Module, backbone: Backbone | None, settings: Settings
) -> torch.optim.Optimizer:
    weights = _with_rates(network, backbone, settings)
    rate, decay = settings.learning_rate, settings.weight_decay
    # One kernel for all weights; elsewhere PyTorch chooses.
    fused = True if next(network.parameters()).is_cuda else None
    match settings.optimizer:
        case "adam":
            return torch.optim.Adam(weights, lr=rate, weight_decay=decay, fused=fused)
        case "adamw":
            return torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=fused)
        case "sgd":
            return torch.optim.SGD(
                weights, lr=rate, momentum=0.9, nesterov=True, weight_decay=decay, fused=fused
            )


def _with_rates(
    network: nn.Module, backbone: Backbone | None, settings: Settings
) -> list[dict[str, Any]]:
    """Group the weights by learning rate: the head, then the backbone from its first layer on.

    Early layers know edges and colours and need little change: discriminative fine-tuning, Howard
    and Ruder (2018).
    """
    layers = [] if backbone is None else backbone.layers()
    inside = {id(weight) for layer in layers for weight in layer}
    head = [weight for weight in network.parameters() if id(weight) not in inside]
    rates = np.geomspace(settings.backbone_rate, 1, len(layers)) * settings.learning_rate
    return [
        {"params": head},
        *({"params": w, "lr": float(rate)} for w, rate in zip(layers, rates, strict=True)),
    ]


def _train_metrics(classes: int) -> MetricCollection:
    accuracy = MulticlassAccuracy(classes, average="micro", validate_args=False)
    return MetricCollection({"train/accuracy": accuracy})


def _validation_metrics(class_names: tuple[str, ...]) -> MetricCollection:
    # Arguments are not validated, as that makes the host wait for the device at every batch.
    classes = len(class_names)
    return MetricCollection(
        {
            "val/accuracy": MulticlassAccuracy(classes, average="micro", validate_args=False),
            "val/f1": MulticlassF1Score(classes, average="macro", validate_args=False),
            "val/auroc": MulticlassAUROC(classes, average="macro", validate_args=False),
            "val/calibration_error": MulticlassCalibrationError(
                classes, n_bins=15, validate_args=False
            ),
            "precision": ClasswiseWrapper(
                MulticlassPrecision(classes, average="none", validate_args=False),
                list(class_names),
                "val/precision/",
            ),
            "recall": ClasswiseWrapper(
                MulticlassRecall(classes, average="none", validate_args=False),
                list(class_names),
                "val/recall/",
            ),
        },
        compute_groups=False,  # a wrapped metric would miss the updates of its group
    )
