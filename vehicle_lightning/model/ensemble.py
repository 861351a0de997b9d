"""One or several classifiers as one: the mean of their probabilities of image files."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vehicle_lightning.config import Settings
from vehicle_lightning.console import progress_over
from vehicle_lightning.data.images import read_or_fault
from vehicle_lightning.data.paths import ImageFile
from vehicle_lightning.errors import RunError, SettingsError
from vehicle_lightning.model.load import load
from vehicle_lightning.model.network import ImageClassifier
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


class Ensemble:
    """Classifiers of the same classes.

    Attributes:
        class_names: name of each class, in the order of the probabilities.
        image_sizes: the heights and widths, in pixels, that the networks take; each once.
        settings: those of the first classifier's run.
        white: which value of deep grey images is white, by the first classifier's run.
        device: where the networks are.
    """

    def __init__(
        self,
        models: Sequence[ImageClassifier],
        temperatures: Sequence[float],
        device: torch.device,
    ) -> None:
        self._models = [model.to(device) for model in models]
        self._temperatures = temperatures
        self.class_names = models[0].class_names
        self.image_sizes = sorted({model.settings.image_size for model in models})
        self.settings: Settings = models[0].settings
        self.white = models[0].white
        self.device = device

    @classmethod
    def load(
        cls,
        checkpoints: Sequence[Path],
        temperatures: Sequence[float],
        device: torch.device,
        *,
        flip_averaging: bool,
    ) -> "Ensemble":
        """Load classifiers from checkpoints; no code in them is run.

        Args:
            checkpoints: at least one file.
            temperatures: what the logits of each are divided by.
            device: where to run them.
            flip_averaging: average each image with its mirror image in all of them, also in those
                whose run did not.

        Raises:
            RunError: a file is no checkpoint, or their classes differ.
        """
        models = [load(file) for file in checkpoints]
        for file, model in zip(checkpoints, models, strict=True):
            if model.class_names != models[0].class_names:
                raise RunError(
                    f"{file} tells apart {', '.join(model.class_names)}, but {checkpoints[0]} "
                    f"{', '.join(models[0].class_names)}; only models of the same classes can be "
                    f"averaged."
                )
            if flip_averaging:
                model.settings = model.settings.model_copy(update={"flip_averaging": True})
        return cls(models, temperatures, device)

    @torch.inference_mode()
    def probabilities(self, images: Mapping[int, Tensor]) -> Tensor:
        """Return the mean probabilities, float64 of shape (B, C) on the CPU.

        Args:
            images: for each image size S, uint8 of shape (B, 3, S, S) in [0, 255].
        """
        there = {size: pixels.to(self.device) for size, pixels in images.items()}
        logits = [model(there[model.settings.image_size]) for model in self._models]
        every = [
            (one.cpu().double() / temperature).softmax(dim=1)
            for one, temperature in zip(logits, self._temperatures, strict=True)
        ]
        return torch.stack(every).mean(dim=0)

    def predict(self, images: Sequence[ImageFile], batch_size: int) -> Predicted:
        """Predict at least one image file, while a progress bar counts them.

        They are decoded in threads ahead of the networks; no more than three batches of pixels are
        held at a time.

        Args:
            images: what to predict.
            batch_size: images that go through the networks at once.
        """
        faults: list[str] = []
        probabilities = []
        # The warnings are of odd files, which Pillow reads all the same.
        with warnings.catch_warnings(action="ignore"):
            decoded = in_threads(self._read, images, ahead=2 * batch_size)
            batches = iter(lambda: list(islice(decoded, batch_size)), [])
            for batch in progress_over(batches, len(images), "Predicting", count=len):
                probabilities.append(self._predict(batch))
                faults += [one if isinstance(one, str) else "" for one in batch]
        every = np.concatenate(probabilities)
        for row in np.flatnonzero(np.isnan(every).any(axis=1)):
            every[row] = np.nan
            faults[row] = faults[row] or "the network's output is not a number"
        return Predicted([image.name for image in images], faults, every)

    def _read(self, image: ImageFile) -> list[Pixels] | str:
        """Decode an image at each size, uint8 of shape (size, size, 3), or say what is wrong."""
        if image.fault:
            return image.fault
        read = [read_or_fault(image.path, size, self.white) for size in self.image_sizes]
        fault = next((one for one in read if isinstance(one, str)), None)
        return [one for one in read if not isinstance(one, str)] if fault is None else fault

    def _predict(self, decoded: Sequence[list[Pixels] | str]) -> NDArray[np.float64]:
        """Return the probabilities of one batch; NaN where an image could not be decoded."""
        probabilities = np.full((len(decoded), len(self.class_names)), np.nan)
        if readable := [one for one in decoded if not isinstance(one, str)]:
            # A permuted view, not a reshape: (B, H, W, C) in memory is (B, C, H, W) channels-last.
            batch = {
                size: torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
                for size, pixels in zip(self.image_sizes, zip(*readable, strict=True), strict=True)
            }
            is_read = np.array([not isinstance(one, str) for one in decoded])
            probabilities[is_read] = self.probabilities(batch).numpy()
        return probabilities


def find_device(accelerator: str) -> torch.device:
    """Return one device; without Lightning, which takes longer to import than all else.

    Raises:
        SettingsError: there is none of this kind here.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    gpus = [name for name, is_there in there.items() if is_there]
    match accelerator:
        case "auto":
            return torch.device([*gpus, "cpu"][0])
        case "gpu" if gpus:
            return torch.device(gpus[0])
        case "cpu" | "cuda" | "mps" if there.get(accelerator, True):
            return torch.device(accelerator)
    raise SettingsError(
        f"--accelerator {accelerator} cannot be used here: this machine, or the installed PyTorch, "
        f"has none; there is {' and '.join([*gpus, 'cpu'])}."
    )
