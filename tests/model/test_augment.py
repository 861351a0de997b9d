import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from vehicle_lightning.config import AugmentSettings
from vehicle_lightning.model import augment as augmentation
from vehicle_lightning.model.augment import CHANGES, Augment, TrivialAugment

OFF = {
    "flip": 0,
    "rotation": 0,
    "shear": 0,
    "scale": 0,
    "shift": 0,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
    "erasing": 0,
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def augment(images: Tensor, **on: float) -> Tensor:
    return Augment(AugmentSettings(**(OFF | on)))(images)


def pictures(count: int = 64, size: int = 24) -> Tensor:
    """The same random picture, many times over: shape (count, 3, size, size)."""
    picture = torch.rand(1, 3, size // 4, size // 4) * 255
    smooth = torch.nn.functional.interpolate(picture, size=size, mode="bilinear")
    return smooth.expand(count, -1, -1, -1).contiguous(memory_format=torch.channels_last)


def test_everything_off_changes_nothing() -> None:
    images = pictures()
    assert torch.equal(augment(images), images)


@pytest.mark.parametrize("switch", OFF)
def test_each_switch_changes_each_picture_in_its_own_way(switch: str) -> None:
    strength = {"rotation": 20.0, "shear": 20.0, "erasing": 1.0}.get(switch, 0.5)
    changed = augment(pictures(), **{switch: strength})
    different = {tuple(picture.flatten()[::7].tolist()) for picture in changed}
    assert len(different) == (2 if switch == "flip" else 64)


@given(strength=st.floats(0, 1), size=st.integers(8, 40), seed=st.integers(0, 99))
def test_the_result_has_the_same_shape_and_stays_in_range(
    strength: float, size: int, seed: int
) -> None:
    torch.manual_seed(seed)
    settings = AugmentSettings(
        flip=strength,
        rotation=180 * strength,
        shear=60 * strength,
        scale=0.99 * strength,
        shift=strength,
        brightness=strength,
        contrast=strength,
        saturation=strength,
        erasing=strength,
    )
    images = torch.rand(5, 3, size, size) * 255
    changed = Augment(settings)(images)
    assert changed.shape == images.shape
    assert bool(changed.isfinite().all())
    assert 0 <= changed.min() <= changed.max() <= 255


def test_a_flip_is_a_mirror_image() -> None:
    images = pictures()
    torch.testing.assert_close(augment(images, flip=1), images.flip(3), atol=1e-3, rtol=1e-4)
    halves = (augment(images, flip=0.5) - images).abs().amax((1, 2, 3)) < 1
    assert 15 < int(halves.sum()) < 49


def test_a_rotation_turns_a_disc_by_no_more_than_it_may() -> None:
    """A dot on the right edge moves along its circle, by the same angle as drawn."""
    size, radius = 65, 20
    images = torch.zeros(200, 3, size, size)
    images[:, :, 31:34, 32 + radius - 1 : 32 + radius + 2] = 255
    y, x = centre_of_mass(augment(images, rotation=30))
    angle = torch.rad2deg(torch.atan2(y - 32, x - 32))
    distance = torch.hypot(y - 32, x - 32)
    torch.testing.assert_close(distance, torch.full((200,), float(radius)), atol=0.3, rtol=0)
    assert 25 < angle.max() <= 31
    assert -31 <= angle.min() < -25
    assert abs(angle.mean()) < 4


def test_a_shift_moves_by_a_fraction_of_the_side() -> None:
    images = torch.zeros(200, 3, 50, 50)
    images[:, :, 24:26, 24:26] = 255
    y, x = centre_of_mass(augment(images, shift=0.2))
    for position in (y, x):
        assert 9 < (position - 24.5).abs().max() <= 10.1
        assert abs(float((position - 24.5).mean())) < 1.5
    assert abs(float(torch.corrcoef(torch.stack([y, x]))[0, 1])) < 0.2


def test_scale_grows_as_often_as_it_shrinks() -> None:
    images = torch.zeros(400, 3, 64, 64)
    images[:, :, 24:40, 24:40] = 255
    areas = augment(images, scale=0.5).sum((1, 2, 3)) / images[0].sum()
    zoom = areas.sqrt().log()
    assert abs(float(zoom.mean())) < 0.04
    assert 0.37 < zoom.max() <= math.log(1.5) + 0.02
    assert -math.log(1.5) - 0.02 <= zoom.min() < -0.37


def test_colours_are_those_of_torchvision() -> None:
    """With the drawn factors read back, each change is torchvision's."""
    images = pictures(16) * 0.5 + 60  # far enough from 0 and 255 that nothing is clipped
    unit = images / 255

    brighter = augment(images, brightness=0.3) / 255
    factors = brighter.mean((1, 2, 3)) / unit.mean((1, 2, 3))
    expected = [TF.adjust_brightness(u, float(f)) for u, f in zip(unit, factors, strict=True)]
    torch.testing.assert_close(brighter, torch.stack(expected), atol=1e-3, rtol=0)

    stronger = augment(images, contrast=0.3) / 255
    factors = stronger.std((1, 2, 3)) / unit.std((1, 2, 3))
    for picture, factor, result in zip(unit, factors, stronger, strict=True):
        # The standard deviation over all channels hides the factor a little; find it nearby.
        errors = [
            (TF.adjust_contrast(picture, float(f)) - result).abs().max()
            for f in torch.linspace(float(factor) - 0.05, float(factor) + 0.05, 201)
        ]
        assert min(errors) < 2e-3

    greyer = augment(images, saturation=0.3) / 255
    for picture, result in zip(unit, greyer, strict=True):
        errors = [
            (TF.adjust_saturation(picture, float(f)) - result).abs().max()
            for f in torch.linspace(0.7, 1.3, 601)
        ]
        assert min(errors) < 2e-3


def test_erasing_fills_one_rectangle_of_the_stated_area() -> None:
    images = pictures(200, 64)
    changed = (augment(images, erasing=1) - images).abs().sum(1) > 0
    for mask in changed:
        rows, columns = mask.any(1), mask.any(0)
        assert bool((rows.nonzero().diff(dim=0) == 1).all())
        assert bool((columns.nonzero().diff(dim=0) == 1).all())
        assert 0.005 < float(rows.sum() * columns.sum()) / 64**2 < 0.25
    assert 0.4 < float((augment(images, erasing=0.5) != images).any((1, 2, 3)).float().mean()) < 0.6


def test_the_same_seed_draws_the_same_changes() -> None:
    module = Augment(AugmentSettings())
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(module(pictures()))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def centre_of_mass(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return vertical and horizontal centres of mass: shape (B,) each."""
    weight = images.sum(1)
    total = weight.sum((1, 2))
    y = torch.arange(images.shape[2], dtype=torch.float32)
    x = torch.arange(images.shape[3], dtype=torch.float32)
    return (weight.sum(2) @ y) / total, (weight.sum(1) @ x) / total


PILLOW = {
    5: lambda image: image,
    10: lambda image: ImageOps.posterize(image, 5),
    11: lambda image: ImageOps.solarize(image, 100),
    12: lambda image: ImageOps.autocontrast(image),
    13: lambda image: ImageOps.equalize(image),
    6: lambda image: ImageEnhance.Brightness(image).enhance(1.5),
    7: lambda image: ImageEnhance.Color(image).enhance(1.5),
    8: lambda image: ImageEnhance.Contrast(image).enhance(1.5),
    9: lambda image: ImageEnhance.Sharpness(image).enhance(1.5),
}


@pytest.mark.parametrize("kind", PILLOW)
def test_each_change_is_that_of_pillow(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    strengths = {5: 0.0, 10: 3.0, 11: 100.0}
    strength = strengths.get(kind, 0.5)
    monkeypatch.setattr(
        augmentation, "_uniform", lambda images, *_: torch.full((len(images),), strength)
    )
    images = pictures(2, size=96).round()
    pixels = images[0].permute(1, 2, 0).byte().numpy()
    expected = np.asarray(PILLOW[kind](Image.fromarray(pixels)), dtype=np.float32)
    found = CHANGES[kind](images).clamp(0, 255)[1].permute(1, 2, 0).numpy()
    inner = slice(1, -1)  # Pillow leaves the border as it is
    difference = np.abs(found - expected)[inner, inner]
    assert difference.max() <= (6 if kind == 13 else 2)  # Pillow rounds steps of its histogram


def test_each_image_has_one_change_of_its_own() -> None:
    images = pictures(400).contiguous()
    torch.manual_seed(1)
    changed = TrivialAugment()(images)
    assert changed.shape == images.shape
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 255
    same = sum(torch.equal(a, b) for a, b in zip(changed, images, strict=True))
    assert 10 <= same <= 60  # a fourteenth stays as it is
    torch.manual_seed(1)
    torch.testing.assert_close(TrivialAugment()(images), changed, rtol=0, atol=0)
