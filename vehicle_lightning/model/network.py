"""The network: pixels through convolutional blocks and dense layers to class logits.

A plain `nn.Module`; to try another network, replace `build_network`.
"""

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from vehicle_lightning.config import NetworkSettings
from vehicle_lightning.model.backbone import Backbone
from vehicle_lightning.model.dropout import Dropout

POOLINGS = {"average": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}


class Normalize(nn.Module):
    """Brings each colour channel to zero mean and unit variance over the training images."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        means, deviations = torch.tensor(mean), torch.tensor(std)
        self.register_buffer("scale", 1 / (255 * deviations))
        self.register_buffer("shift", -means / deviations)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise pixel values in [0, 255], uint8 or float of shape (B, C, H, W)."""
        width = images.shape[3]
        # A whole row of pixels at once: over three channels alone a CPU's vector units would idle.
        rows = images.to(self.scale.dtype).permute(0, 2, 3, 1).flatten(2)
        normalised = torch.addcmul(self.shift.repeat(width), rows, self.scale.repeat(width))
        pixels = normalised.view(*rows.shape[:2], width, -1)
        return pixels.permute(0, 3, 1, 2)


class ConvBlock(nn.Sequential):
    """Conv 3x3 - ReLU [- BatchNorm] - MaxPool 2 [- Dropout]; halves height and width."""

    def __init__(self, inputs: int, outputs: int, *, batchnorm: bool, dropout: float) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            *_optional(nn.BatchNorm2d(outputs), batchnorm),
            nn.MaxPool2d(2),
            *_optional(Dropout(dropout), dropout > 0),
        )


class ResidualBlock(nn.Module):
    """Adds Conv 3x3 [- BatchNorm] - ReLU - Conv 3x3 [- BatchNorm] to its input, then ReLU.

    He et al. 2016, Deep residual learning for image recognition, figure 2 left.
    """

    def __init__(self, channels: int, *, batchnorm: bool) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            *_optional(nn.BatchNorm2d(channels), batchnorm),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            *_optional(nn.BatchNorm2d(channels), batchnorm),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return float (B, channels, H, W) for features of the same shape."""
        return torch.relu(features + self.change(features))


class DenseBlock(nn.Sequential):
    """Linear - ReLU [- BatchNorm] [- Dropout]."""

    def __init__(self, inputs: int, outputs: int, *, batchnorm: bool, dropout: float) -> None:
        super().__init__(
            nn.Linear(inputs, outputs),
            nn.ReLU(inplace=True),
            *_optional(nn.BatchNorm1d(outputs), batchnorm),
            *_optional(Dropout(dropout), dropout > 0),
        )


def build_network(
    settings: NetworkSettings,
    *,
    image_size: int,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> nn.Sequential:
    """Build the network: images (B, 3, H, W) of pixel values in [0, 255] to logits (B, classes).

    With the default settings it is the case study's, parameter for parameter:
    Conv(3, 16) - ReLU - MaxPool - Conv(16, 32) - ReLU - MaxPool - Linear. With a backbone, that
    stands in the place of the convolutional blocks and brings the normalisation it was trained
    with; `batchnorm` and `dropout` follow it as they follow a block.

    Args:
        settings: which layers.
        image_size: height and width of the images, in pixels.
        classes: number of classes.
        mean: mean of red, green and blue over the training images, in [0, 1].
        std: their standard deviations.
    """
    batchnorm, dropout = settings.batchnorm, settings.dropout
    if settings.backbone is None:
        features, layers = _convolutional(settings, image_size)
    else:
        backbone = Backbone(settings.backbone)
        features, mean, std = backbone.features, backbone.mean, backbone.std
        layers = [
            backbone,
            *_optional(nn.BatchNorm1d(features), batchnorm),
            *_optional(Dropout(dropout), dropout > 0),
        ]
    widths = (features, *settings.hidden)
    return nn.Sequential(
        Normalize(mean, std),
        *layers,
        *(DenseBlock(i, o, batchnorm=batchnorm, dropout=dropout) for i, o in _pairs(widths)),
        nn.Linear(widths[-1], classes),
    )


def _convolutional(settings: NetworkSettings, image_size: int) -> tuple[int, list[nn.Module]]:
    """Return the number of features an image, and the blocks that find them."""
    convolutions = nn.Sequential(
        *(
            layer
            for i, o in _pairs((3, *settings.channels))
            for layer in (
                ConvBlock(i, o, batchnorm=settings.batchnorm, dropout=settings.dropout),
                *_optional(ResidualBlock(o, batchnorm=settings.batchnorm), settings.residual),
            )
        )
    )
    if settings.pooling in POOLINGS:
        pooling = POOLINGS[settings.pooling](1)
        return settings.channels[-1], [convolutions, pooling, nn.Flatten()]
    side = image_size // 2 ** len(settings.channels)
    return settings.channels[-1] * side**2, [convolutions, nn.Flatten()]


def last_feature_maps(network: nn.Sequential) -> nn.Module:
    """Return the layer of `build_network` whose output is the last one with height and width.

    Of a backbone this is its last convolution.
    """
    layer = network[1]
    if isinstance(layer, Backbone):
        return [m for m in layer.modules() if isinstance(m, nn.Conv2d)][-1]
    return layer


def _optional(layer: nn.Module, wanted: bool) -> list[nn.Module]:
    return [layer] if wanted else []


def _pairs(widths: Sequence[int]) -> Iterable[tuple[int, int]]:
    return itertools.pairwise(widths)
