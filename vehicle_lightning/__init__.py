"""Image classification with little data, in PyTorch Lightning: each fix a switch.

    from vehicle_lightning import Settings, train, load
    result = train(Settings(data_dir="photos", dropout=0.5, batchnorm=True))
    classifier = load(result.run.path)

What these names stand for is imported when it is first used, so that a command can answer before
torch is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vehicle_lightning.config import Settings
    from vehicle_lightning.data.datamodule import VehicleDataModule
    from vehicle_lightning.fit.train import train
    from vehicle_lightning.model.classifier import VehicleClassifier
    from vehicle_lightning.model.load import load

__all__ = ["Settings", "VehicleClassifier", "VehicleDataModule", "load", "train"]

_WHERE = {
    "Settings": "config",
    "VehicleClassifier": "model.classifier",
    "VehicleDataModule": "data.datamodule",
    "load": "model.load",
    "train": "fit.train",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
