import math

import pytest
import torch
from torch import nn

from vehicle_lightning.config import Settings
from vehicle_lightning.model.network import (
    ImageClassifier,
    Network,
    Normalize,
    ResidualBlock,
    build_network,
)


def build(image_size: int = 32, classes: int = 2, **settings: object) -> nn.Module:
    return build_network(Settings(image_size=image_size, **settings), classes)


def build_classifier(**settings: object) -> ImageClassifier:
    return ImageClassifier(
        Settings(image_size=32, **settings), ["0", "1"], [0.5, 0.4, 0.3], [0.2, 0.3, 0.1]
    )


def layers(network: nn.Module) -> list[str]:
    return [
        type(layer).__name__
        for layer in network.modules()
        if not isinstance(layer, nn.Sequential | Network)
    ]


def test_the_default_is_the_articles_network_layer_by_layer() -> None:
    """Against the layers as the article describes them, written out here independently."""
    article = nn.Sequential(
        nn.Conv2d(3, 16, kernel_size=3, stride=1, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2, stride=2),
        nn.Conv2d(16, 32, kernel_size=3, stride=1, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2, stride=2),
        nn.Flatten(),
        nn.Linear(32 * 56 * 56, 2),
    )
    network = build(image_size=224)
    # ReLU after pooling is the same, and cheaper.
    assert sorted(layers(network)) == sorted(layers(article))
    shapes = [tuple(p.shape) for p in article.parameters()]
    assert [tuple(p.shape) for p in network.parameters()] == shapes
    assert sum(p.numel() for p in network.parameters()) == 205_794

    pairs = zip(article.parameters(), network.parameters(), strict=True)
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.copy_(ours)
    images = torch.randn(2, 3, 224, 224)
    torch.testing.assert_close(network(images), article(images))


def test_dropout_and_batchnorm_stand_where_the_article_has_them() -> None:
    block = ["Conv2d", "ReLU", "BatchNorm2d", "MaxPool2d", "Dropout"]
    network = build(dropout=0.3, batchnorm=True)
    assert layers(network) == [*block, *block, "Flatten", "Linear"]
    assert {layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)} == {0.3}


def test_each_number_adds_a_block_and_a_layer() -> None:
    network = build(channels=(4, 8, 16), hidden=(20, 10), batchnorm=True, dropout=0.5, classes=5)
    convolution = ["Conv2d", "ReLU", "BatchNorm2d", "MaxPool2d", "Dropout"]
    dense = ["Linear", "ReLU", "BatchNorm1d", "Dropout"]
    assert layers(network) == [*convolution * 3, "Flatten", *dense * 2, "Linear"]
    widths = [layer.out_features for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert widths == [20, 10, 5]
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_global_pooling_leaves_one_feature_a_channel(pooling: str) -> None:
    network = build(pooling=pooling, image_size=40)
    assert network.head[-1].in_features == 32
    assert network(torch.zeros(1, 3, 40, 40)).shape == (1, 2)


@pytest.mark.parametrize("image_size", [8, 33, 50])
def test_sizes_that_do_not_halve_evenly(image_size: int) -> None:
    assert build(image_size=image_size)(torch.zeros(1, 3, image_size, image_size)).shape == (1, 2)


@pytest.mark.parametrize("image_size", [32, 33, 50, 95])
@pytest.mark.parametrize("first_stride", [2, 3, 8])
def test_the_first_stride_divides_the_size(image_size: int, first_stride: int) -> None:
    images = torch.zeros(1, 3, image_size, image_size)
    network = build(image_size=image_size, first_stride=first_stride)
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    assert first(images).shape[2] == math.ceil(image_size / first_stride)
    assert network(images).shape == (1, 2)


def test_normalize_gives_zero_mean_and_unit_variance() -> None:
    images = torch.randint(0, 256, (50, 3, 10, 10), dtype=torch.uint8)
    values = images.double() / 255
    mean, std = values.mean((0, 2, 3)), values.std((0, 2, 3), correction=0)
    normalised = Normalize(mean.tolist(), std.tolist())(images)
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        normalised.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0
    )


def test_uint8_and_float_pixels_are_the_same_to_it() -> None:
    classifier = build_classifier().eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(classifier(images), classifier(images.float()))


def test_memory_format_does_not_change_the_result() -> None:
    network = build().eval()
    images = torch.randn(2, 3, 32, 32)  # normalised, as the network takes them
    expected = network(images)
    faster = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(faster(images.to(memory_format=torch.channels_last)), expected)


def test_residual_blocks_add_to_what_they_are_given() -> None:
    plain, residual = build(batchnorm=True), build(batchnorm=True, residual=True)
    pair = ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d"]
    block = ["Conv2d", "ReLU", "BatchNorm2d", "MaxPool2d", "ResidualBlock", *pair]
    assert layers(residual) == [*block, *block, "Flatten", "Linear"]
    assert residual(torch.zeros(2, 3, 32, 32)).shape == plain(torch.zeros(2, 3, 32, 32)).shape


def test_a_residual_block_that_changes_nothing_is_a_relu() -> None:
    block = ResidualBlock(4, batchnorm=False)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    features = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(block(features), features.relu())
