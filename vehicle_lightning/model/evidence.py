"""Evidence maps: which parts of an image speak for a class, and whether masking them matters.

The map is HiResCAM: features of the last convolutional block times the gradient of the class by
them, summed over the channels. Behind a global average pooling it equals Grad-CAM. Without one the
dense layer weighs each place on its own, which Grad-CAM averages away: masking what it calls hot
then moves the probability a third to a half as far.

Sources:
    Selvaraju et al. 2017, Grad-CAM: visual explanations from deep networks via gradient-based
    localization.
    Draelos and Carin 2020, Use HiResCAM instead of Grad-CAM for faithful explanations of
    convolutional neural networks.
    Zeiler and Fergus 2014, Visualizing and understanding convolutional networks (occlusion).
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vehicle_lightning.errors import RunError
from vehicle_lightning.model.network import ImageClassifier

MASKED = 0.25  # of each image, in the occlusion check
MOST_PLACES = 16  # side by side on a map; of more it is speckled, and masking moves less


def evidence_maps(classifier: ImageClassifier, images: Tensor, classes: Tensor) -> Tensor:
    """Return how much each place speaks for (above 0) or against (below 0) a class.

    What is explained are the log odds of the class, so that what speaks for all classes alike
    counts for none. Where the run averages over mirror images, so does the map.

    Args:
        classifier: in eval mode.
        images: float (N, 3, H, W), pixel values in [0, 255].
        classes: int64 (N,), the class to explain each image by.

    Returns:
        Float (N, h, w), in the resolution of the last feature maps.

    Raises:
        RunError: the network does not say which its last feature maps are.
    """
    name = getattr(classifier.network, "feature_maps", None)
    if not name or not isinstance(name, str):
        raise RunError(
            "The network does not say which of its layers sees places apart; give it an attribute "
            "feature_maps, the name of the layer whose output is the last one with height and "
            'width, such as "layer4".'
        )
    try:
        layer = classifier.network.get_submodule(name)
    except AttributeError as error:
        raise RunError(f"The network has no layer {name}, its feature_maps.") from error
    if not classifier.settings.flip_averaging:
        return _maps(classifier, layer, images, classes)
    mirrored = _maps(classifier, layer, images.flip(3), classes).flip(2)
    return (_maps(classifier, layer, images, classes) + mirrored) / 2


def _maps(classifier: ImageClassifier, layer: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Return the output of a layer times the gradient of the log odds by it, over the channels."""
    seen: list[Tensor] = []

    def see(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        seen.append(output)
        copy: Tensor = output.clone()
        return copy  # what comes behind may change its input in place

    hook = layer.register_forward_hook(see)
    with hook, torch.enable_grad():
        logits = classifier.network(classifier.normalize(images.clone().requires_grad_()))
        chosen = classes[:, None]
        others = logits.scatter(1, chosen, -torch.inf).logsumexp(dim=1, keepdim=True)
        log_odds = logits.gather(1, chosen) - others  # the logarithm of p / (1 - p)
        (gradient,) = torch.autograd.grad(log_odds.sum(), seen)
    maps: Tensor = (gradient * seen[0]).detach().sum(dim=1)
    return maps


def enlarge(maps: Tensor, size: int) -> Tensor:
    """Bring maps, float (N, h, w), to float (N, size, size); fine ones are averaged first."""
    side = min(maps.shape[1], MOST_PLACES)
    coarse = F.adaptive_avg_pool2d(maps[:, None], side)
    return F.interpolate(coarse, size=(size, size), mode="bilinear").squeeze(1)


def change_by_masking(
    classifier: ImageClassifier, images: Tensor, classes: Tensor, maps: Tensor
) -> Tensor:
    """Return how the probability of a class changes where the highest places of a map are masked.

    The mask has the mean colour of the training images, which the network sees as zero.

    Args:
        classifier: in eval mode.
        images: float (N, 3, H, W), pixel values in [0, 255].
        classes: int64 (N,), the class of the probability.
        maps: float (N, H, W); the quarter of its pixels that is the highest is masked.

    Returns:
        Float (N,), in [-1, 1].
    """
    pixels = maps.flatten(1)
    highest = pixels.topk(round(MASKED * pixels.shape[1]), dim=1).indices
    is_masked = torch.zeros_like(pixels, dtype=torch.bool).scatter(1, highest, True)
    normalize = classifier.normalize
    mean_colour = (-normalize.shift / normalize.scale).view(1, 3, 1, 1)
    masked = torch.where(is_masked.view_as(maps)[:, None], mean_colour, images)
    with torch.inference_mode():
        before, after = (
            cast(Tensor, classifier(batch)).softmax(dim=1).gather(1, classes[:, None])
            for batch in (images, masked)
        )
    return (after - before).squeeze(1)
