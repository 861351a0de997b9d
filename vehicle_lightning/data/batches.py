"""Batches: which rows go into which step, and their pixels as tensors."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler, SequentialSampler

from vehicle_lightning.data.cache import PixelSource

Rows = NDArray[np.int64]

LARGEST_SHARE = 0.5  # of a GPU's free memory that the pixels of all images may take
AT_ONCE = 1024  # images copied to the device together


class Batch(NamedTuple):
    """One batch.

    Attributes:
        images: uint8 of shape (B, 3, H, W) in [0, 255], laid out channels-last; or where a backbone
            has looked at them already, its features, float of shape (B, F).
        labels: int64 of shape (B,), class indices.
        rows: int64 of shape (B,), row of each image in the data set.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor


class BatchDataset(Dataset[Batch]):
    """Gives a whole batch for an array of rows, so that a batch is one look-up."""

    def __init__(self, pixels: PixelSource, labels: Rows) -> None:
        """Take what gives the pixels of N rows, and their class indices, int64 of shape (N,)."""
        self._pixels = pixels
        self.labels = labels
        self.features: Tensor | None = None
        """What to give in the place of pixels: float of shape (N, F)."""

    def pixels(self, rows: Rows) -> NDArray[np.uint8]:
        """Return the pixels of these rows: uint8 of shape (B, H, W, 3)."""
        return self._pixels[rows]

    def __getitem__(self, rows: Rows) -> Batch:
        """Return the batch of these rows."""
        if self.features is not None:
            images = self.features[torch.from_numpy(rows)]
        else:
            # A permuted view, not a reshape: (B, H, W, C) in memory is (B, C, H, W) channels-last.
            images = torch.from_numpy(self.pixels(rows)).permute(0, 3, 1, 2)
        return Batch(images, torch.from_numpy(self.labels[rows]), torch.from_numpy(rows))


class ResidentDataset(Dataset[Batch]):
    """Gives the same batches out of pixels that lie on the device as a whole.

    Of each batch only the row numbers cross to the device.
    """

    def __init__(self, dataset: BatchDataset, device: torch.device) -> None:
        """Copy pixels and labels of all rows to the device, some at a time."""
        rows = len(dataset.labels)
        sample = dataset.pixels(np.zeros(1, dtype=np.int64))
        self._pixels = torch.empty((rows, *sample.shape[1:]), dtype=torch.uint8, device=device)
        for start in range(0, rows, AT_ONCE):
            some = np.arange(start, min(start + AT_ONCE, rows))
            self._pixels[start : start + AT_ONCE] = torch.from_numpy(dataset.pixels(some))
        self._labels = torch.from_numpy(dataset.labels).to(device)

    def __getitem__(self, rows: Rows) -> Batch:
        """Return the batch of these rows, on the device."""
        here = torch.from_numpy(rows)
        if self._pixels.is_cuda:
            here = here.pin_memory()  # otherwise the copy would wait for the device
        there = here.to(self._pixels.device, non_blocking=True)
        return Batch(self._pixels[there].permute(0, 3, 1, 2), self._labels[there], there)


def fits_on(device: torch.device, needed: int) -> bool:
    """Whether a GPU has room for so many bytes: they may take half of what is free.

    The other half is for weights, their gradients, and what lies between the layers.
    """
    if device.type != "cuda":
        return False  # elsewhere the mapped file is as near
    free, _ = torch.cuda.mem_get_info(device)
    return needed <= LARGEST_SHARE * free


class TrainingBatches(Sampler[Rows]):
    """All rows in an order that depends on seed and epoch alone, cut into batches.

    Every device gets an equal share of each global batch; up to `world_size - 1` rows rest an
    epoch. A last batch too small for the statistics of batch normalisation (one image a device)
    joins the batch before it.
    """

    def __init__(
        self,
        rows: Rows,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        *,
        balance: Rows | None = None,
    ) -> None:
        """Take the rows; `balance` gives the label of each where classes are to come alike."""
        self._rows = rows
        self._balance = balance
        self._seed = seed
        self._epoch = 0
        self._rank = rank
        self._world_size = world_size
        usable = len(rows) - len(rows) % world_size
        starts = list(range(0, usable, batch_size * world_size))
        if len(starts) > 1 and usable - starts[-1] < 2 * world_size:
            del starts[-1]
        self._limits = [*starts, usable]

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch, counted from 0; Lightning's Trainer calls it."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Rows]:
        rng = np.random.default_rng([self._seed, self._epoch])
        rows = self._rows if self._balance is None else balanced(self._rows, self._balance, rng)
        shuffled = rng.permutation(rows)[: len(self._rows)]
        for start, stop in zip(self._limits, self._limits[1:], strict=False):
            yield shuffled[start + self._rank : stop : self._world_size]

    def __len__(self) -> int:
        return len(self._limits) - 1


def balanced(rows: Rows, labels: Rows, rng: np.random.Generator) -> Rows:
    """Return about as many rows, equally many of each class.

    Those of a rare class come several times, of a frequent one some, drawn at random, do not come.
    """
    classes = np.unique(labels)
    count = -(-len(rows) // len(classes))
    return np.concatenate(
        [np.resize(rng.permutation(rows[labels == label]), count) for label in classes]
    )


class EvaluationBatches(SequentialSampler):
    """Every row exactly once over all devices, in batches of nearly equal size.

    A sequential sampler, as Lightning replaces all others where a Trainer has `overfit_batches`.
    """

    def __init__(self, rows: Rows, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(rows)
        self._rows = rows[rank::world_size]
        largest_share = -(-len(rows) // world_size)
        self._batches = -(-largest_share // batch_size)

    def __iter__(self) -> Iterator[Rows]:  # type: ignore[override]
        return iter(np.array_split(self._rows, self._batches))

    def __len__(self) -> int:
        return self._batches
