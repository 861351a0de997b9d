"""The network: normalised images through convolutional blocks and dense layers to class logits.

To train another network, replace `build_network`, or pass a function like it as
`train(network=...)`. What it returns is any `nn.Module` from normalised images, float (B, 3, H, W),
to logits (B, C). It may have besides, each asked for by one part of the package:

-   `feature_maps`, the name of the submodule whose output is the last one with height and width,
    such as "layer4" of a ResNet: for `explain`;
-   `mean` and `std`, three numbers each in [0, 1]: the normalisation that its weights were trained
    with, in place of that of the training images.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from vehicle_lightning.config import Settings
from vehicle_lightning.model.dropout import Dropout

NetworkFactory = Callable[[Settings, int], nn.Module]
"""From the settings and the number of classes to a network."""

POOLINGS = {"average": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}


class Normalize(nn.Module):
    """Brings each colour channel to zero mean and unit variance over the training images."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        means, deviations = (torch.tensor([float(v) for v in values]) for values in (mean, std))
        self.register_buffer("scale", 1 / (255 * deviations))
        self.register_buffer("shift", -means / deviations)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise pixel values in [0, 255], uint8 or float of shape (B, C, H, W)."""
        width = images.shape[3]
        # A whole row of pixels at once: over three channels alone a CPU's vector units would idle.
        rows = images.to(self.scale.dtype).permute(0, 2, 3, 1).flatten(2)
        normalised = torch.addcmul(self.shift.repeat(width), rows, self.scale.repeat(width))
        return normalised.view(*rows.shape[:2], width, -1).permute(0, 3, 1, 2)


class ConvBlock(nn.Sequential):
    """Conv - ReLU [- BatchNorm] - MaxPool 2 [- Dropout]; halves height and width.

    The convolution is 3x3; one with a stride, which divides them before, is 2 x stride + 1 wide.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int = 1, *, batchnorm: bool, dropout: float
    ) -> None:
        relu, pool = nn.ReLU(inplace=True), nn.MaxPool2d(2)
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel_size=2 * stride + 1, stride=stride, padding=stride),
            # Pooled first where nothing stands between the two: equal to the bit, and a quarter of
            # the work for ReLU.
            *([relu, nn.BatchNorm2d(outputs), pool] if batchnorm else [pool, relu]),
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


class Network(nn.Module):
    """Features (B, F) of normalised images (B, 3, H, W), and a head that makes logits of them.

    Attributes:
        features: convolutional blocks and pooling, or a pretrained backbone.
        head: dense layers.
        feature_maps: name of the submodule whose output is the last one with height and width.
        mean, std: the normalisation that pretrained features expect; None for that of the images.
    """

    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def __init__(self, features: nn.Module, head: nn.Module, feature_maps: str) -> None:
        super().__init__()
        self.features = features
        self.head = head
        self.feature_maps = feature_maps

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, C) for normalised images, float (B, 3, H, W)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def build_network(settings: Settings, classes: int) -> nn.Module:
    """Build the network that the settings describe.

    With the default settings it is the case study's, parameter for parameter:
    Conv(3, 16) - ReLU - MaxPool - Conv(16, 32) - ReLU - MaxPool - Linear. With a backbone, that
    stands in the place of the convolutional blocks; `batchnorm` and `dropout` follow it as they
    follow a block.
    """
    s = settings
    if s.backbone is not None:
        from vehicle_lightning.model.backbone import Backbone  # torchvision takes its time

        backbone = Backbone(s.backbone)
        head = [
            *_optional(nn.BatchNorm1d(backbone.width), s.batchnorm),
            *_optional(Dropout(s.dropout), s.dropout > 0),
            *_dense(backbone.width, s, classes),
        ]
        network = Network(backbone, nn.Sequential(*head), f"features.{backbone.last_convolution}")
        network.mean, network.std = backbone.mean, backbone.std
        return network
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise((3, *s.channels)):
        stride = 1 if layers else s.first_stride
        layers.append(ConvBlock(inputs, outputs, stride, batchnorm=s.batchnorm, dropout=s.dropout))
        layers += _optional(ResidualBlock(outputs, batchnorm=s.batchnorm), s.residual)
    blocks, width = nn.Sequential(*layers), s.channels[-1]
    pooling = [POOLINGS[s.pooling](1)] if s.pooling in POOLINGS else []
    if not pooling:
        width *= (math.ceil(s.image_size / s.first_stride) // 2 ** len(s.channels)) ** 2
    head = _dense(width, s, classes)
    features = nn.Sequential(blocks, *pooling, nn.Flatten())
    return Network(features, nn.Sequential(*head), "features.0")


def _dense(width: int, s: Settings, classes: int) -> list[nn.Module]:
    widths = (width, *s.hidden)
    return [
        *(
            DenseBlock(inputs, outputs, batchnorm=s.batchnorm, dropout=s.dropout)
            for inputs, outputs in itertools.pairwise(widths)
        ),
        nn.Linear(widths[-1], classes),
    ]


class ImageClassifier(nn.Module):
    """All that predicts: normalisation, network and class names. Using it takes no Lightning.

    `VehicleClassifier` trains it, and `load` returns it.

    Attributes:
        settings: of the run.
        class_names: name of each class, in the order of the logits.
        white: which value of grey images of more than 8 bits is white, by kind of image, as was
            decided for the data it was trained on; `read_image` takes it.
        epochs: whole epochs it was trained for, by the checkpoint it was loaded from.
        fingerprint: that of the data it was trained on; empty where they had none.
    """

    def __init__(
        self,
        settings: Settings,
        class_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        network: NetworkFactory | None = None,
    ) -> None:
        """Build it, its weights at random.

        Args:
            settings: of the run.
            class_names: name of each class, in the order of the logits.
            mean: mean of red, green and blue over the training images, in [0, 1].
            std: their standard deviations.
            network: what builds the network; by default `build_network`.
        """
        super().__init__()
        self.settings = settings
        self.class_names = tuple(class_names)
        self.white: Mapping[str, float] = {}
        self.epochs, self.fingerprint = 0, ""
        built = (network or build_network)(settings, len(self.class_names))
        own_mean, own_std = (getattr(built, name, None) for name in ("mean", "std"))
        if own_mean is not None and own_std is not None:
            mean, std = own_mean, own_std
        self.normalize = Normalize(mean, std)
        self.network = built.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, C) for images (B, 3, H, W) of pixel values in [0, 255].

        In eval mode, where the settings have `flip_averaging`, their mean over each image and its
        mirror image. In the place of images `features` (B, F) will do.
        """
        if images.ndim == 2:
            return cast(Network, self.network).head(images)  # type: ignore[no-any-return]
        normalised = self.normalize(images)
        logits: Tensor = self.network(normalised)
        if self.settings.flip_averaging and not self.training:
            logits = (logits + self.network(normalised.flip(3))) / 2
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Return what the head of a `Network` is given: (B, F), for images (B, 3, H, W)."""
        features: Tensor = cast(Network, self.network).features(self.normalize(images))
        return features


def _optional(layer: nn.Module, wanted: bool) -> list[nn.Module]:
    return [layer] if wanted else []
