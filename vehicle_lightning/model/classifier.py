"""The Lightning module: loss and metrics around an `ImageClassifier`.

To change them, replace `build_loss` or `build_metrics` below, or override them, as any other
method, in a subclass that is given as `train(classifier=...)`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import ClasswiseWrapper, MetricCollection
from torchmetrics import classification as kinds
from torchmetrics.utilities.distributed import gather_all_tensors
from torchvision.transforms import v2

from vehicle_lightning.config import Settings
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.model.augment import build_augment, size_in_epoch
from vehicle_lightning.model.backbone import Backbone, find_backbone
from vehicle_lightning.model.cuda_graphs import check_recordable, record
from vehicle_lightning.model.focal import FocalLoss
from vehicle_lightning.model.load import probe, weights_of_model
from vehicle_lightning.model.network import ImageClassifier, NetworkFactory
from vehicle_lightning.model.optimizer import build_optimizer

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std of red, green and blue
SPLITS = ("val", "train")  # what the first and the second validation loader measure


class VehicleClassifier(L.LightningModule):
    """Trains a network on labelled images and measures it, in any Trainer.

    A batch is `(images, labels)`, with or without more behind: uint8 or float (B, 3, H, W), pixel
    values in [0, 255], and int64 (B,), class numbers. Logs once an epoch: `train/running_loss` (as
    optimised, dropout and augmentation on), and in eval mode on clean images `val/loss`,
    `val/accuracy`, `val/f1`, `val/auroc` (both averaged over the classes), `val/calibration_error`,
    `val/precision/<class>` and `val/recall/<class>`; `train/loss` and `train/accuracy` where a
    second validation loader gives training images. `Trainer.test` logs the same as `test/...`.

    Attributes:
        model: the `ImageClassifier` that is trained.
    """

    def __init__(
        self,
        settings: Settings | Mapping[str, Any],
        class_names: Sequence[str] = ("0", "1"),
        mean: Sequence[float] = IMAGENET[0],
        std: Sequence[float] = IMAGENET[1],
        class_weights: Sequence[float] | None = None,
        network: NetworkFactory | None = None,
    ) -> None:
        """Build network, loss and metrics; the weights of the network are random.

        Args:
            settings: all settings, or their plain form out of a checkpoint.
            class_names: name of each class, in the order of the logits.
            mean: mean of red, green and blue over the training images, in [0, 1].
            std: their standard deviations.
            class_weights: weight of each class in the training loss; equal if None.
            network: what builds the network; by default `build_network`.
        """
        super().__init__()
        if not isinstance(settings, Settings):
            settings = Settings(**settings)
        self.settings = settings
        # Plain types only, so that the checkpoint, which takes these along, loads with
        # `weights_only=True`. Lightning's `save_hyperparameters` fails where one is an array.
        self.hparams.update(
            settings=settings.model_dump(mode="json"),
            class_names=list(map(str, class_names)),
            mean=list(map(float, mean)),
            std=list(map(float, std)),
            class_weights=None if class_weights is None else list(map(float, class_weights)),
            network_from_python=network is not None,
        )
        self.model = ImageClassifier(settings, self.hparams["class_names"], mean, std, network)
        self.augment = build_augment(settings)
        classes = len(self.class_names)
        asked = ((v2.MixUp, settings.mixup), (v2.CutMix, settings.cutmix))
        mixes = [kind(alpha=alpha, num_classes=classes) for kind, alpha in asked if alpha]
        self.mix = v2.RandomChoice(mixes) if mixes else None  # of both, each batch has one
        self.training_loss = self.build_loss(self.hparams["class_weights"])
        # No submodules, as they stay on the CPU.
        self.metrics = {split: self.build_metrics(split) for split in (*SPLITS, "test")}
        if lacking := [s for s, some in self.metrics.items() if "accuracy" not in some]:
            raise SettingsError(
                f"build_metrics({lacking[0]!r}) gives no accuracy, which must stay."
            )
        self._measured: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        self._shape: tuple[int, ...] | None = None  # of the images that are measured
        self._losses: list[Tensor] = []  # summed over the images of each batch of the epoch
        self._seen = 0  # images in these batches

    def build_loss(self, class_weights: Sequence[float] | None) -> nn.Module:
        """Return the training loss: of logits (B, C), and labels int64 (B,) or shares (B, C)."""
        weight = None if class_weights is None else torch.tensor(class_weights)
        if self.settings.focal:
            return FocalLoss(self.settings.focal, weight, self.settings.label_smoothing)
        return nn.CrossEntropyLoss(weight, label_smoothing=self.settings.label_smoothing)

    def build_metrics(self, split: str) -> MetricCollection:
        """Return what is measured of a split, from probabilities (B, C) and labels (B,).

        Each figure is a scalar, and `accuracy` must be among them. The cross-entropy `<split>/loss`
        is measured besides, whatever the training loss is.
        """
        names = list(self.class_names)
        options: dict[str, Any] = {"num_classes": len(names), "validate_args": False}
        figures: dict[str, Any] = {"accuracy": kinds.MulticlassAccuracy(average="micro", **options)}
        if split != "train":
            precision = kinds.MulticlassPrecision(average="none", **options)
            recall = kinds.MulticlassRecall(average="none", **options)
            figures |= {
                "f1": kinds.MulticlassF1Score(average="macro", **options),
                "auroc": kinds.MulticlassAUROC(average="macro", **options),
                "calibration_error": kinds.MulticlassCalibrationError(n_bins=15, **options),
                "precision": ClasswiseWrapper(precision, names, "precision/"),
                "recall": ClasswiseWrapper(recall, names, "recall/"),
            }
        # Without groups, as a wrapped metric would miss the updates of its own.
        return MetricCollection(figures, prefix=f"{split}/", compute_groups=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, C) for images (B, 3, H, W) of pixel values in [0, 255]."""
        logits: Tensor = self.model(images)
        return logits

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, in the order of the logits."""
        return self.model.class_names

    @property
    def backbone(self) -> Backbone | None:
        """The pretrained part of the network, if any."""
        return find_backbone(self.model.network)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep beside the weights what the data module says of its data, and what they compute."""
        data = getattr(self.trainer, "datamodule", None)
        checkpoint["data"] = {} if data is None else data.state_dict()
        if self._shape is not None:
            weights = weights_of_model(checkpoint["state_dict"])
            if (logits := probe(self.model, self._shape, weights)) is not None:
                checkpoint["probe"] = {"shape": list(self._shape), "logits": logits.tolist()}

    def on_fit_start(self) -> None:
        """Train by CUDA graphs where that is asked for."""
        if self.settings.cuda_graphs:
            check_recordable(self.trainer)
            record(self.model.network)

    def on_train_epoch_start(self) -> None:
        """Seed dropout and augmentation by the epoch, so that a resumed run repeats them.

        A backbone is frozen in its first epochs.
        """
        torch.manual_seed(self.settings.seed + 1_000_003 * self.current_epoch + self.global_rank)
        self._losses, self._seen = [], 0
        if self.backbone is not None:
            self.backbone.freeze(self.current_epoch < self.settings.frozen_epochs)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("learning_rate", rate, sync_dist=True)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of one augmented batch."""
        images, labels = batch[:2]
        is_float = images.ndim == 4 and images.is_floating_point()
        if self.global_step == 0 and is_float and float(images.max()) <= 1:
            rank_zero_warn(
                "The images of the first batch lie within [0, 1], and VehicleClassifier takes "
                "pixel values in [0, 255]; multiply them by 255."
            )
        if images.ndim == 4:
            with torch.autocast(self.device.type, enabled=False):  # bf16 would blur the geometry
                images = images.float()
                if self.settings.initial_size is not None:
                    size = size_in_epoch(self.current_epoch, self.settings)
                    images = F.interpolate(images, size=(size, size), mode="area")
                images = self.augment(images)
                if self.mix is not None:
                    images, labels = self.mix(images, labels)
        loss: Tensor = self.training_loss(self(images), labels)
        # Logging every step would take the host longer than all else that it does for a step.
        self._losses.append(len(labels) * loss.detach())
        self._seen += len(labels)
        if self.trainer.is_last_batch:
            mean = torch.stack(self._losses).sum() / self._seen
            self.log(
                "train/running_loss",
                mean,
                on_step=False,
                on_epoch=True,
                batch_size=self._seen,
                sync_dist=True,
            )
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Measure one batch; Lightning has put the network in eval mode."""
        self._measure(batch, SPLITS[dataloader_idx])

    def on_validation_epoch_end(self) -> None:
        """Log the figures of both splits."""
        loaders = self.trainer.val_dataloaders
        for split in SPLITS[: len(loaders) if isinstance(loaders, list) else 1]:
            self._log_figures(split)
        self.log("step", float(self.current_epoch + 1), sync_dist=True)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Measure one batch of the test images."""
        self._measure(batch, "test")

    def on_test_epoch_end(self) -> None:
        """Log the figures of the test images."""
        self._log_figures("test")

    def on_train_epoch_end(self) -> None:
        """Make the number of finished epochs the x-axis of what was logged in training."""
        self.log("step", float(self.current_epoch + 1), sync_dist=True)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the logits (B, C) of one batch: images, or a tuple that begins with them."""
        logits: Tensor = self(batch if isinstance(batch, Tensor) else batch[0])
        return logits

    def configure_optimizers(self) -> Any:
        """Hand optimizer and schedule to Lightning."""
        steps = int(self.trainer.estimated_stepping_batches)
        optimizer, schedule = build_optimizer(self.model.network, self.settings, steps)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _measure(self, batch: Any, split: str) -> None:
        images, labels = batch[:2]
        size = self.settings.image_size  # of the images that features are of
        self._shape = tuple(images.shape[1:]) if images.ndim == 4 else (3, size, size)
        if len(labels):  # of an odd number of images one device has fewer batches with some in them
            self._measured[split].append((self(images).float(), labels))

    def _log_figures(self, split: str) -> None:
        """Log the figures of a split, computed at once on the CPU.

        Batch by batch takes far longer, and so does a GPU, for which these are many small steps.
        """
        # A device may have no image of a split.
        no_logits = torch.empty(0, len(self.class_names), device=self.device)
        none = (no_logits, torch.empty(0, dtype=torch.int64, device=self.device))
        batches = self._measured.pop(split, [none])
        parts = (torch.cat(part) for part in zip(*batches, strict=True))
        logits, labels = (_of_all_devices(part).cpu() for part in parts)
        # Calling a metric does not average it over devices, and each has all images by now.
        figures = self.metrics[split](logits.softmax(dim=1), labels)
        self.metrics[split].reset()
        loss = F.cross_entropy(logits, labels)
        self.log_dict({f"{split}/loss": loss, **figures}, sync_dist=True)


def _of_all_devices(part: Tensor) -> Tensor:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return part
    return torch.cat(gather_all_tensors(part))
