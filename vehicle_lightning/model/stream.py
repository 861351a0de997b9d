"""Images through the networks, batch by batch: decoded in threads ahead of the network."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from vehicle_lightning.console import progress_over
from vehicle_lightning.data.images import read_or_fault
from vehicle_lightning.data.paths import ImageFile
from vehicle_lightning.model.ensemble import Ensemble
from vehicle_lightning.parallel import in_threads

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Predicted:
    """What the networks say of N images.

    Attributes:
        names: N names.
        faults: why each could not be predicted; empty if it was.
        probabilities: float64 of shape (N, C); NaN where there is a fault.
    """

    names: list[str]
    faults: list[str]
    probabilities: NDArray[np.float64]


def predict_images(
    images: Sequence[ImageFile], ensemble: Ensemble, batch_size: int
) -> Iterator[Predicted]:
    """Predict images in their order; no more than three batches of pixels are held at a time.

    Args:
        images: what to predict.
        ensemble: what to predict by.
        batch_size: images that go through the networks at once.
    """

    def read(image: ImageFile) -> list[Pixels] | str:
        return _read(image, ensemble)

    with warnings.catch_warnings(action="ignore"):  # of odd files, which Pillow reads all the same
        decoded = in_threads(read, images, ahead=2 * batch_size)
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size]
            yield _predict(part, list(islice(decoded, len(part))), ensemble)


def predict_all(images: Sequence[ImageFile], ensemble: Ensemble, batch_size: int) -> Predicted:
    """Predict at least one image, while a progress bar counts the batches."""
    total = -(-len(images) // batch_size)
    batches = list(progress_over(predict_images(images, ensemble, batch_size), total, "Predicting"))
    return Predicted(
        [name for batch in batches for name in batch.names],
        [fault for batch in batches for fault in batch.faults],
        np.concatenate([batch.probabilities for batch in batches]),
    )


def _read(image: ImageFile, ensemble: Ensemble) -> list[Pixels] | str:
    """Decode an image at each size, uint8 of shape (size, size, 3), or say why that cannot be."""
    if image.fault:
        return image.fault
    read = [read_or_fault(image.path, size, ensemble.white) for size in ensemble.image_sizes]
    fault = next((one for one in read if isinstance(one, str)), None)
    return [one for one in read if not isinstance(one, str)] if fault is None else fault


def _predict(
    images: Sequence[ImageFile], decoded: Sequence[list[Pixels] | str], ensemble: Ensemble
) -> Predicted:
    faults = [one if isinstance(one, str) else "" for one in decoded]
    readable = [one for one in decoded if not isinstance(one, str)]
    probabilities = np.full((len(images), len(ensemble.class_names)), np.nan)
    if readable:
        # A permuted view, not a reshape: (B, H, W, C) in memory is (B, C, H, W) channels-last.
        batch = {
            size: torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
            for size, pixels in zip(ensemble.image_sizes, zip(*readable, strict=True), strict=True)
        }
        is_read = np.array([not fault for fault in faults])
        probabilities[is_read] = ensemble.probabilities(batch).numpy()
    for row in np.flatnonzero(np.isnan(probabilities).any(axis=1)):
        probabilities[row] = np.nan
        faults[row] = faults[row] or "the network's output is not a number"
    return Predicted([image.name for image in images], faults, probabilities)
