"""The data module: CSV and image folder in, batches of each split out."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from vehicle_lightning.config import Settings, SourceSettings, limited
from vehicle_lightning.console import notice
from vehicle_lightning.data.batches import (
    Batch,
    BatchDataset,
    EvaluationBatches,
    ResidentDataset,
    TrainingBatches,
    fits_on,
)
from vehicle_lightning.data.reading import ReadImages, read_images
from vehicle_lightning.data.splits import Split, join_groups, split_rows
from vehicle_lightning.data.table import Table, table_of
from vehicle_lightning.errors import SettingsError, join_first

READ_BY = (*SourceSettings.model_fields, "skip_unreadable", "image_size", "test_csv", "cache")
MEASURED_AT_ONCE = 4  # times the batch size, on a GPU


class VehicleDataModule(L.LightningDataModule):
    """Wraps the table and the images; owns split and cache. Works in any `lightning.Trainer`.

    After `setup`:
        table: names and labels of the N images that could be read.
        rows: int64 row numbers of the table by split: "train", "val" and, where there is one,
            "test"; no row is in two.
        splits: the splits that there are.
        class_names: name of each class, in the order of its number.
        train_sample: int64 row numbers of the training images measured after each epoch.
        measured_each_epoch: how many these are.
        groups: int64 of shape (N,), rows that stay in one split: duplicates, and what the table
            says belongs together.
        duplicates: which images show the same photograph.
        left_out: number of images in no split, as a duplicate stands in a split of the table.
        fingerprint: hash of all names, labels, image contents and groups; equal for equal data,
            which with equal settings are split alike.
        mean, std: float64 of shape (3,), red, green, blue of the training images in [0, 1].
        contrast: float64 of shape (N,), standard deviation of each image in grey levels.
        is_ready: whether it has been set up.
        white: what is white in grey images of more than 8 bits, by kind.
    """

    def __init__(self, settings: Settings, table: Table | None = None) -> None:
        """Take the settings; nothing is read before `setup`.

        Args:
            settings: which data, how split, how read; what is recognised of the data is filled in
                by `setup`.
            table: the images, where they are known already; by default `table_of(settings)`.
        """
        super().__init__()
        self.settings = settings
        self._listed = table
        self._images: ReadImages | None = None
        self._resident: dict[torch.device, ResidentDataset] = {}
        self.is_ready = False

    def setup(self, stage: str | None = None) -> None:
        """Read, check, decode and split the data; the second call does nothing.

        Raises:
            DataError: something is wrong with the data, or with a folder to write to.
        """
        if self.is_ready:
            return
        if self._images is None:
            table = table_of(self.settings) if self._listed is None else self._listed
            self._images = read_images(table.checked(), self.settings)
        images = self._images
        self.table, self.duplicates = images.table, images.duplicates
        self.settings = self.settings.model_copy(update=dict(self.table.found))
        self.groups = join_groups(self.duplicates.of_image, self.table.groups)
        self.rows, self.left_out = split_rows(self.settings, self.table, self.groups)
        if (batches := self.settings.overfit_batches) is not None:
            rng = np.random.default_rng(self.settings.seed)
            self._overfitted = rng.permutation(self.rows["train"])
            every = list(EvaluationBatches(self._overfitted, self.settings.batch_size))
            kept = every[: max(limited(len(every), batches), 1)]
            self.rows["train"] = np.sort(np.concatenate(kept))
        self.fingerprint = images.fingerprint
        self.contrast, self.white = images.decoded.contrast, images.decoded.white
        self.mean, self.std = images.mean_and_std(self.rows["train"])
        rng, train = np.random.default_rng(self.settings.split_seed), self.rows["train"]
        # Of few batches all images are measured.
        fraction = 1 if batches is not None else self.settings.train_eval_fraction
        size = max(1, round(fraction * len(train)))
        self.train_sample = np.sort(rng.choice(train, size, replace=False))
        self.class_names, self.splits = tuple(self.table.class_names), tuple(self.rows)
        self.measured_each_epoch = len(self.train_sample)
        self._dataset = BatchDataset(images.decoded.pixels, self.table.labels)
        self.is_ready = True

    def split_anew(self, settings: Settings) -> Self:
        """Return the same images for another training, without reading them again.

        Args:
            settings: of the training, whose split may be another.

        Raises:
            SettingsError: they ask for other images, or for another size.
        """
        settings = settings.model_copy(update=dict(self.table.found))
        if settings == self.settings and self._dataset.features is None:
            return self
        self._refuse_other_images(settings, READ_BY)
        other = copy.copy(self)
        other.settings, other.is_ready, other.trainer = settings, False, None
        other.setup()
        return other

    def take(self, settings: Settings) -> Self:
        """Return the data module for a training with these settings: itself where nothing is read.

        Raises:
            SettingsError: they name other images than the module was made for.
        """
        if self.is_ready:
            return self.split_anew(settings)
        chosen = [name for name in READ_BY if not self.settings.is_default(name)]
        self._refuse_other_images(settings, chosen)
        self.settings = settings
        return self

    def _refuse_other_images(self, settings: Settings, names: Sequence[str]) -> None:
        if other := [n for n in names if getattr(settings, n) != getattr(self.settings, n)]:
            raise SettingsError(
                f"The data module was made with another {join_first(other)}; make a new one for "
                f"these settings."
            )

    def loader(self, split: Split) -> DataLoader[Batch]:
        """Return all images of a split, unshuffled."""
        return self.measured(self.rows[split])

    def file_names(self, split: Split, count: int) -> list[str]:
        """Return the file names of the first images of a split, in the order of its loader."""
        return [self.table.names[row] for row in self.rows[split][:count]]

    def pixels_of(self, split: Split, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return images of a split by their places in its loader: uint8 (N, H, W, 3)."""
        return self.pixels(self.rows[split][places])

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Training images of each class, int64 of shape (C,)."""
        labels = self.table.labels[self.rows["train"]]
        return np.bincount(labels, minlength=len(self.table.class_names))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint remembers of its data: plain types."""
        return {"fingerprint": self.fingerprint, "white": dict(self.white)}

    def pixels(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the pixels of rows of the table: uint8 of shape (B, H, W, 3)."""
        return self._dataset.pixels(rows)

    def use_features(self, features: Tensor) -> None:
        """Give features in the place of pixels from now on: float of shape (N, F), by row."""
        self._dataset.features = features

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled batches of the training images; ever the same ones to overfit."""
        rows, settings, place = self.rows["train"], self.settings, self._place()
        if settings.overfit_batches is not None:
            return self._loader(EvaluationBatches(self._overfitted, settings.batch_size, *place))
        labels = self.table.labels[rows] if settings.balanced else None
        return self._loader(
            TrainingBatches(rows, settings.batch_size, settings.seed, *place, balance=labels)
        )

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Return the validation images, and a fixed sample of the training images.

        Both are measured by the same code, so that their figures compare like with like.
        """
        measured = (self.rows["val"], self.train_sample)
        return [self.measured(rows, *self._place()) for rows in measured]

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test images, or the validation images where there are none."""
        return self.measured(self.rows.get("test", self.rows["val"]), *self._place())

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return all images in the order of the table."""
        return self.measured(np.arange(len(self.table)), *self._place())

    def measured(
        self, rows: NDArray[np.int64], rank: int = 0, world_size: int = 1
    ) -> DataLoader[Batch]:
        """Return batches of these rows, each exactly once over all devices, unshuffled."""
        size = self.settings.batch_size
        if self._device().type == "cuda":  # a GPU works faster so, and keeps nothing for gradients
            size *= MEASURED_AT_ONCE
        return self._loader(EvaluationBatches(rows, size, rank, world_size))

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _on_device(self) -> ResidentDataset | None:
        """Return all images on the GPU, where they are few enough; None elsewhere."""
        device, settings = self._device(), self.settings
        if self._dataset.features is not None or settings.cache == "none" or settings.num_workers:
            return None  # a worker process has no part in the GPU
        size = len(self.table) * settings.image_size**2 * 3
        if device not in self._resident and fits_on(device, size):
            notice(f"All images lie in the memory of {device} ({size / 1e6:.0f} MB).")
            self._resident[device] = ResidentDataset(self._dataset, device)
        return self._resident.get(device)

    def _loader(self, batches: Sampler[Any]) -> DataLoader[Batch]:
        workers = self.settings.num_workers
        on_device = self._on_device()
        return DataLoader(
            self._dataset if on_device is None else on_device,
            sampler=batches,
            batch_size=None,  # the sampler gives whole batches
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=on_device is None and self._device().type == "cuda",
            # Its own generator: the global one belongs to dropout and augmentation alone, and when
            # an iterator is made differs between a fresh and a resumed run.
            generator=torch.Generator().manual_seed(self.settings.seed),
        )
