"""Trained classifiers out of checkpoints: no code in a file is run, and no Lightning is needed."""

import math
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from vehicle_lightning.config import Settings
from vehicle_lightning.errors import RunError, UntrainableError, join_first, one_line
from vehicle_lightning.model.network import ImageClassifier, NetworkFactory
from vehicle_lightning.runs.folder import find_checkpoint

MODEL = "model."  # what VehicleClassifier calls its ImageClassifier

LARGEST_PICTURE = 3 * 4096**2  # numbers
CODE_CHANGED = 0.02  # of the largest logit, and at least of 1: more than another device makes

Weights = Mapping[str, Tensor]


def load(path: Path | str, *, network: NetworkFactory | None = None) -> ImageClassifier:
    """Load the classifier of a run: its weights with the lowest validation loss.

    Only tensors and plain types are unpickled, so that a file from a stranger cannot run code.

    Args:
        path: a run folder, or a checkpoint file.
        network: what builds the network, where the run was trained with one given from Python.

    Returns:
        The classifier in eval mode, on the CPU: images, uint8 or float (B, 3, H, W) of pixel values
        in [0, 255], to logits (B, C).

    Raises:
        RunError: there is no such run, or its checkpoint is damaged or of another network, or the
            code of the network has changed since.
    """
    file = find_checkpoint(Path(path))
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        told, data = content["hyper_parameters"], content["data"]
        parts = Settings(**told["settings"]), told["class_names"], told["mean"], told["std"]
        is_from_python, epochs = bool(told["network_from_python"]), int(content["epoch"]) + 1
        weights = weights_of_model(content["state_dict"])
        fingerprint, white = str(data.get("fingerprint", "")), dict(data.get("white", {}))
        kept = _kept_probe(content["probe"], len(parts[1])) if content.get("probe") else None
    except Exception as error:  # a damaged or foreign file fails in many ways
        raise RunError(f"{file} is no checkpoint of this package: {_reason(error)}.") from error
    if is_from_python and network is None:
        raise RunError(
            f"The network of {file} was given from Python; load it there by "
            f"vehicle_lightning.load(run, network=...)."
        )
    classifier = ImageClassifier(*parts, network)
    if difference := _difference(classifier.state_dict(), weights):
        raise RunError(f"{file} holds the weights of another network: {difference}.")
    classifier.load_state_dict(weights)
    classifier.epochs, classifier.fingerprint, classifier.white = epochs, fingerprint, white
    if kept is not None:
        _check_code(classifier, *kept, file)
    return classifier.eval()


def weights_of_model(state: Weights) -> dict[str, Tensor]:
    """Return those of an `ImageClassifier` out of the state of the module that trains it."""
    return {k.removeprefix(MODEL): v for k, v in state.items() if k.startswith(MODEL)}


def _kept_probe(kept: Any, classes: int) -> tuple[tuple[int, ...], Tensor]:
    """Return the shape of the picture of a checkpoint, and the logits it gave."""
    shape = tuple(map(int, kept["shape"]))
    logits = torch.tensor(kept["logits"], dtype=torch.float64)
    if math.prod(shape) > LARGEST_PICTURE or len(logits) != classes:
        raise ValueError("its probe is none")
    return shape, logits


def _check_code(
    classifier: ImageClassifier, shape: Sequence[int], before: Tensor, file: Path
) -> None:
    """Check that a classifier gives the logits that it gave when its checkpoint was written."""
    now, again = probe(classifier, shape), probe(classifier, shape)
    if now is None or again is None or not torch.equal(now, again):
        return  # a network that draws, even in eval mode
    limit = CODE_CHANGED * max(1.0, float(before.abs().max()))
    if (change := float((now - before).abs().max())) > limit:
        raise RunError(
            f"The code of the network has changed since {file} was written: the logits of one and "
            f"the same picture differ by up to {change:.2g}. Use it with the code that it was "
            f"trained by, or train anew."
        )


@torch.no_grad()
def probe(
    classifier: ImageClassifier, shape: Sequence[int], weights: Weights | None = None
) -> Tensor | None:
    """Return the logits (C,) of one made picture of a shape (3, H, W), in eval mode.

    A checkpoint keeps them, so that `load` notices where the code of the network has changed.

    Args:
        classifier: stays in the mode it is in.
        shape: of the picture.
        weights: others than its own, by name.

    Returns:
        None where they tell nothing: the network cannot take a single picture, or its logits are
        not finite.
    """
    picture = (torch.arange(math.prod(shape)) * 7919 % 256).view(1, *shape)
    modes = [(module, module.training) for module in classifier.modules()]
    device = classifier.normalize.scale.device
    try:
        with torch.autocast(device.type, enabled=False):
            classifier.eval()
            weights = dict(weights or {})
            output = functional_call(classifier, weights, picture.to(device), tie_weights=False)
    except Exception:  # of anyone's network, for any reason
        return None
    finally:
        for module, mode in modes:
            module.training = mode
    logits: Tensor = output[0].double().cpu()
    return logits if logits.isfinite().all() else None


def load_start(
    classifier: ImageClassifier, fingerprint: str, *, network: NetworkFactory | None = None
) -> None:
    """Load the weights that a training starts from, where they are not random.

    Of another run's weights the normalisation is not taken, as that belongs to the data, nor the
    last layer where the other tells apart another number of classes.

    Args:
        classifier: what is to be trained.
        fingerprint: that of its data.
        network: what builds the network, where that was given from Python.

    Raises:
        RunError: there is no such checkpoint, or it was trained on images that are to validate
            now.
        UntrainableError: its network has other layers; or the weights of the backbone cannot be
            had, or it takes other image sizes.
    """
    settings, backbone = classifier.settings, None
    if settings.backbone is not None:
        from vehicle_lightning.model.backbone import find_backbone

        if backbone := find_backbone(classifier.network):
            backbone.check_sizes({settings.image_size, settings.initial_size})
    if settings.pretrained is not None:
        other = load(settings.pretrained, network=network)
        _take_weights(classifier, fingerprint, other, settings.pretrained)
    elif backbone is not None:
        backbone.load_weights(settings.weights)


def _take_weights(
    classifier: ImageClassifier, fingerprint: str, other: ImageClassifier, place: Path
) -> None:
    if other.fingerprint == fingerprint and other.settings.split != classifier.settings.split:
        raise RunError(
            f"{place} was trained on the same images in another split, so it has seen some of "
            f"those that are to validate; take weights from other data or the same split."
        )
    own, found = classifier.state_dict(), other.state_dict()
    classes, others = len(classifier.class_names), len(other.class_names)

    def is_kept(name: str) -> bool:
        if name.startswith("normalize."):
            return True
        shape = own[name].shape
        is_of_classes = name in found and shape == (classes, *found[name].shape[1:])
        return is_of_classes and classes != others and found[name].shape == (others, *shape[1:])

    kept = set(filter(is_kept, own))
    taken = {name: weight for name, weight in found.items() if name not in kept}
    if difference := _difference({k: v for k, v in own.items() if k not in kept}, taken):
        raise UntrainableError(
            f"The network of {place} has other layers than the one to be trained ({difference}), "
            f"so that its weights cannot be taken; give both the same settings of the network, and "
            f"without --pooling the same --image-size."
        )
    classifier.load_state_dict(own | taken)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    if isinstance(error, pickle.UnpicklingError | RuntimeError | EOFError):
        return "it is damaged, or holds more than weights and plain values"
    return one_line(error).rstrip(".")


def _difference(own: Weights, found: Weights) -> str:
    """Return in what two sets of weights differ, or nothing."""
    missing, others = own.keys() - found.keys(), found.keys() - own.keys()
    reshaped = {n for n in own.keys() & found.keys() if own[n].shape != found[n].shape}
    kinds = (("lacking", missing), ("with", others), ("in another shape", reshaped))
    parts = [f"{what} {join_first(sorted(names), 3)}" for what, names in kinds if names]
    return ", ".join(parts)
