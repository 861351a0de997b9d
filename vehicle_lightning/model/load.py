"""Trained networks out of checkpoints, loaded without running any code in them."""

from dataclasses import dataclass
from pathlib import Path

import torch

from vehicle_lightning.errors import RunError
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.runs.folder import RunFolder

NORMALIZATION = "0."  # the first layer of the network


@dataclass(frozen=True)
class Loaded:
    """What a checkpoint holds.

    Attributes:
        model: the classifier, in eval mode, on the CPU.
        epochs: whole epochs it has trained.
        fingerprint: that of the data it was trained on.
    """

    model: VehicleClassifier
    epochs: int
    fingerprint: str


def load_classifier(path: Path) -> Loaded:
    """Load a classifier from a checkpoint.

    Only tensors and plain types are unpickled, so that a file from a stranger cannot run code.

    Raises:
        RunError: the file is missing, damaged, or no checkpoint of this classifier.
    """
    if not path.is_file():
        raise RunError(f"There is no checkpoint {path}.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        model = VehicleClassifier(**checkpoint["hyper_parameters"])
        model.load_state_dict(checkpoint["state_dict"])
        data = checkpoint["VehicleDataModule"]
        return Loaded(model.eval(), int(checkpoint["epoch"]) + 1, str(data["fingerprint"]))
    except Exception as error:  # a damaged or foreign file fails in many ways
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunError(f"{path} is no checkpoint of this classifier: {reason}") from error


def load_start(model: VehicleClassifier, fingerprint: str) -> None:
    """Load the weights that a training starts from, where they are not random.

    Args:
        model: the classifier to train.
        fingerprint: that of its data.

    Raises:
        RunError: those of another run cannot be taken.
        SettingsError: those of the backbone cannot be had.
    """
    if model.settings.pretrained is not None:
        take_weights(model, fingerprint)
    elif model.backbone is not None:
        model.backbone.load_weights(model.settings.weights)


def take_weights(model: VehicleClassifier, fingerprint: str) -> None:
    """Start a classifier from the weights that its settings name as `pretrained`.

    Its own normalisation stays, as that belongs to its data, and so does its last layer where the
    other tells apart another number of classes.

    Args:
        model: the classifier to train.
        fingerprint: that of its data.

    Raises:
        RunError: there is no such checkpoint, its network has other layers, or it was trained on
            images that are to validate now.
    """
    settings, path = model.settings, model.settings.pretrained
    if path is None:
        return
    file = RunFolder(path).best_checkpoint if path.is_dir() else path
    loaded = load_classifier(file)
    if loaded.fingerprint == fingerprint and loaded.model.settings.split != settings.split:
        raise RunError(
            f"{file} was trained on the same images in another split, so it has seen some of those "
            f"that are to validate; take weights from other data or the same split."
        )
    own, theirs = model.network.state_dict(), loaded.model.network.state_dict()
    kept = {name for name in own if name.startswith(NORMALIZATION)}
    if len(loaded.model.class_names) != len(model.class_names):
        kept |= set(list(own)[-2:])  # weight and bias of the last layer
    taken = {name: weights for name, weights in theirs.items() if name not in kept}
    shapes = {name: weights.shape for name, weights in own.items() if name not in kept}
    if {name: weights.shape for name, weights in taken.items()} != shapes:
        raise RunError(
            f"The network of {file} has other layers than the one to be trained, so that its "
            f"weights cannot be taken; give both the same --channels, --residual, --batchnorm, "
            f"--hidden and --pooling, and without --pooling the same --image-size."
        )
    model.network.load_state_dict(own | taken)
