"""What can be seen before a training: the layers of the network, and which learning rates learn."""

from collections.abc import Sequence

import lightning as L
import torch
from lightning.pytorch.tuner.tuning import Tuner
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary
from matplotlib.figure import Figure
from torch import Tensor

from vehicle_lightning.config import Settings
from vehicle_lightning.errors import SettingsError, counted
from vehicle_lightning.fit.start import run_folder
from vehicle_lightning.fit.train import Parts, build_classifier, read_data
from vehicle_lightning.fit.trainer import build_trainer, with_precision
from vehicle_lightning.model.classifier import IMAGENET
from vehicle_lightning.model.load import load_start
from vehicle_lightning.model.network import ImageClassifier
from vehicle_lightning.runs.plots import save

RATES = 100  # tried, one a step
LOWEST, HIGHEST = 1e-6, 1.0


class _Shown(L.LightningModule):
    """What predicts, without losses and metrics, on an image of zeros."""

    def __init__(self, settings: Settings, class_names: Sequence[str]) -> None:
        super().__init__()
        self.model = ImageClassifier(settings, class_names, *IMAGENET)
        self.example_input_array = torch.zeros(1, 3, settings.image_size, settings.image_size)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits


def layer_table(settings: Settings, class_names: Sequence[str]) -> str:
    """Return Lightning's summary of the network: layers, parameters, shapes in and out."""
    return str(ModelSummary(_Shown(settings, class_names), max_depth=-1))


def find_learning_rate(settings: Settings, data: L.LightningDataModule) -> str:
    """Try rising learning rates, one a step, draw `lr_find.png`, and say which one to take.

    Lightning's Tuner does it, and suggests the rate at which the smoothed loss falls most steeply:
    the range test of Smith 2017, Cyclical learning rates for training neural networks.
    """
    if settings.is_repeated or settings.fast_dev_run:
        raise SettingsError(
            "--lr-find tries one training; leave out --folds, --seeds and --fast-dev-run."
        )
    settings = with_precision(settings)
    with run_folder(settings, None) as run:
        # As many epochs as it takes; the schedule does not matter, as the rate is set by the step.
        trainer = build_trainer(settings.model_copy(update={"epochs": RATES}), run, [], [])
        ready = read_data(settings, data)
        model = build_classifier(ready, Parts())
        load_start(model.model, ready.fingerprint)
        found = Tuner(trainer).lr_find(
            model,
            datamodule=ready,
            min_lr=LOWEST,
            max_lr=HIGHEST,
            num_training=RATES,
            update_attr=False,
        )
        assert found is not None
        rate = found.suggestion()
        picture = run.picture("lr_find")
        figure = found.plot(suggest=True)
        assert isinstance(figure, Figure)
        figure.axes[0].set_title(f"{run.label}: loss while the learning rate rises")
        save(figure, picture)
        tried, batches = len(found.results["lr"]), int(trainer.num_training_batches)
        lines = [f"saved   {picture}"]
        if rate is None:
            lines.append(
                f"No rate can be suggested: the loss left all bounds within "
                f"{counted(tried, 'batch')}."
            )
        else:
            lines.append(f"try     --learning-rate {rate:.2g}")
        if tried > batches:
            lines.append(
                f"An epoch has {counted(batches, 'batch')} and {tried} were used, so that images "
                f"were seen {tried / batches:.0f} times: this tells the order of magnitude, and no "
                f"more."
            )
        return "\n".join(lines)
