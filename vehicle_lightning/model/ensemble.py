"""One or several classifiers as one: the mean of their probabilities."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vehicle_lightning.config import Settings
from vehicle_lightning.errors import RunError, SettingsError
from vehicle_lightning.model.load import read_checkpoint
from vehicle_lightning.model.network import ImageClassifier


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
        models = [read_checkpoint(file).classifier for file in checkpoints]
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
