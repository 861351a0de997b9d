"""Anyone's data module, with what a run asks for besides its loaders."""

from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray

from vehicle_lightning.config import Settings
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.data.splits import Split
from vehicle_lightning.errors import DataError, SettingsError
from vehicle_lightning.model.classifier import IMAGENET


class OtherData(L.LightningDataModule):
    """Wraps a LightningDataModule whose loaders give `(images, labels)`.

    Its attribute `class_names` is needed; `mean` and `std` of red, green and blue in [0, 1] may be
    there (ImageNet's otherwise), as may `class_counts`, a number for each class, for
    `--class-weights`.
    """

    fingerprint = ""  # nothing is known of its content
    measured_each_epoch = None  # all training images

    def __init__(self, data: L.LightningDataModule, settings: Settings) -> None:
        super().__init__()
        if settings.balanced:
            raise SettingsError("--balanced needs a VehicleDataModule; other data draw their own.")
        self._data = data
        self.settings = settings

    def setup(self, stage: str | None = None) -> None:
        """Prepare and set up the data.

        Raises:
            DataError: it does not say what its classes are called.
        """
        self._data.prepare_data()
        self._data.setup("fit")
        if not hasattr(self._data, "class_names"):
            raise DataError(
                f"{type(self._data).__name__} has no attribute class_names; give it the names of "
                f"the classes, in the order of their numbers."
            )
        self.class_names = tuple(map(str, self._data.class_names))
        self.mean = getattr(self._data, "mean", IMAGENET[0])
        self.std = getattr(self._data, "std", IMAGENET[1])
        if "test" in self.splits:
            self._data.setup("test")
        try:
            len(self.train_dataloader())
        except TypeError as error:
            raise DataError(
                f"The training loader of {type(self._data).__name__} has no length, without which "
                f"there are no epochs; give one over a data set with a length."
            ) from error

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that there are."""
        has_test = type(self._data).test_dataloader is not L.LightningDataModule.test_dataloader
        return ("train", "val", "test") if has_test else ("train", "val")

    @property
    def class_counts(self) -> Any:
        """Training images of each class."""
        if not hasattr(self._data, "class_counts"):
            raise SettingsError(
                f"--class-weights needs an attribute class_counts of {type(self._data).__name__}: "
                f"the training images of each class."
            )
        return self._data.class_counts

    def train_dataloader(self) -> Any:
        """Return the batches to train on."""
        return self._data.train_dataloader()

    def val_dataloader(self) -> list[Any]:
        """Return what is measured after each epoch: the validation and the training images."""
        return [self.loader("val"), self.loader("train")]

    def loader(self, split: Split) -> Any:
        """Return the batches of a split."""
        if split == "train":
            return self.train_dataloader()
        loaders = self._data.val_dataloader() if split == "val" else self._data.test_dataloader()
        return loaders[0] if isinstance(loaders, list | tuple) else loaders

    def file_names(self, split: Split, count: int) -> list[str]:
        """Return what to call the images: their places in the loader, from 0."""
        return list(map(str, range(count)))

    def pixels_of(self, split: Split, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return images of a split by their places in its loader: uint8 (N, H, W, 3)."""
        found: dict[int, torch.Tensor] = {}
        start = 0
        for images, *_ in self.loader(split):
            here = places[(places >= start) & (places < start + len(images))]
            found |= {place: images[place - start] for place in here.tolist()}
            start += len(images)
        pixels = [found[place].permute(1, 2, 0).round().clamp(0, 255) for place in places.tolist()]
        return np.array([one.to(torch.uint8).numpy() for one in pixels])


Data = VehicleDataModule | OtherData
