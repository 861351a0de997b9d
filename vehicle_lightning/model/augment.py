"""Augmentation: random changes to a whole batch on its device, each image its own."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vehicle_lightning.config import AugmentSettings, Settings

LUMA = (0.299, 0.587, 0.114)  # weights of red, green, blue in grey, ITU-R BT.601
ERASED_AREA = (0.02, 0.2)  # fraction of the image, Zhong et al. 2017, "Random Erasing"
ERASED_ASPECT = (0.3, 3.3)  # height over width, likewise
GROWING_PART = 0.75  # of the epochs, in which images grow
SIZE_STEP = 16  # pixels
LARGEST_SHIFT = 1 / 7  # of the side, by TrivialAugment: its 32 pixels of 224


class Augment(nn.Module):
    """Flip, rotation, shear, scale and shift; brightness, contrast and saturation; erasing.

    The geometry is one affine map an image, sampled once (bilinear, borders reflected). All
    randomness comes from torch's global generator of the images' device.
    """

    _luma: Tensor

    def __init__(self, settings: AugmentSettings) -> None:
        super().__init__()
        self._settings = settings
        self.register_buffer("_luma", torch.tensor(LUMA), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Change float images of shape (B, 3, H, W) in [0, 255]; the range stays the same."""
        s = self._settings
        if any((s.flip, s.rotation, s.shear, s.scale, s.shift)):
            images = _sampled(images, self._affine(images))
        if any((s.brightness, s.contrast, s.saturation)):
            images = self._colour(images)
        return self._erase(images).clamp(0, 255)

    def _affine(self, images: Tensor) -> Tensor:
        """Draw an affine map for each image: float of shape (B, 2, 3), output to input."""
        s = self._settings
        angle = torch.deg2rad(_symmetric(images, s.rotation))
        slant = torch.tan(torch.deg2rad(_symmetric(images, s.shear)))
        # 1/(1+a) and 1+a are equally likely, so that pictures grow as often as they shrink.
        zoom = torch.exp(_symmetric(images, math.log1p(s.scale)))
        mirror = 1 - 2 * _happens(images, s.flip).to(images.dtype)
        cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        shift_x, shift_y = (2 * _symmetric(images, s.shift) for _ in range(2))
        return _affine_map(
            (cos * mirror, cos * slant - sin, shift_x), (sin * mirror, sin * slant + cos, shift_y)
        )

    def _colour(self, images: Tensor) -> Tensor:
        """Apply brightness, then contrast, then saturation, as one colour matrix an image.

        Contrast stretches about the image's mean grey, saturation about each pixel's own grey.
        """
        s, luma = self._settings, self._luma.to(images.dtype)
        brightness, contrast, saturation = (
            1 + _symmetric(images, largest) for largest in (s.brightness, s.contrast, s.saturation)
        )
        identity = torch.eye(3, dtype=images.dtype, device=images.device)
        matrix = torch.lerp(luma.expand(3, 3), identity, saturation.view(-1, 1, 1))
        matrix = matrix * (brightness * contrast).view(-1, 1, 1)
        mean_grey = images.mean(dim=(2, 3)) @ luma
        offset = (brightness * (1 - contrast) * mean_grey).view(-1, 1, 1)

        batch, channels, height, width = images.shape
        pixels = images.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        changed = torch.baddbmm(offset, pixels, matrix.transpose(1, 2))
        return changed.view(batch, height, width, channels).permute(0, 3, 1, 2)

    def _erase(self, images: Tensor) -> Tensor:
        """Fill a rectangle of random place, area and shape with the image's mean colour."""
        if not self._settings.erasing:
            return images
        height, width = images.shape[2:]
        area = _uniform(images, *ERASED_AREA)
        aspect = torch.exp(_uniform(images, *map(math.log, ERASED_ASPECT)))
        inside = _band(images, (area * aspect).sqrt(), height).unsqueeze(2)
        inside = inside & _band(images, (area / aspect).sqrt(), width).unsqueeze(1)
        inside = inside & _happens(images, self._settings.erasing).view(-1, 1, 1)
        return torch.where(inside.unsqueeze(1), images.mean(dim=(2, 3), keepdim=True), images)


class TrivialAugment(nn.Module):
    """One change of fourteen, of random strength, for each image: Müller and Hutter 2021, wide.

    Borders are reflected. The kind is drawn by the host, so that the device is not waited for.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Change float images of shape (B, 3, H, W) in [0, 255]; the range stays the same."""
        kinds = torch.randint(len(CHANGES), (len(images),))
        changed = images.clone()
        for kind, change in enumerate(CHANGES):
            rows = (kinds == kind).nonzero().flatten().to(images.device, non_blocking=True)
            if len(rows):
                changed[rows] = change(images[rows]).clamp(0, 255)
        return changed


def size_in_epoch(epoch: int, settings: Settings) -> int:
    """Return the image size, in pixels, that an epoch, counted from 0, trains on.

    Small images teach the first epochs in less time: progressive resizing, as in Howard's entry to
    DAWNBench (2018).
    """
    first, last = settings.initial_size, settings.image_size
    part = epoch / max(GROWING_PART * (settings.epochs - 1), 1)
    if first is None or part >= 1:
        return last
    return min(first + round(part * (last - first) / SIZE_STEP) * SIZE_STEP, last)


def build_augment(settings: AugmentSettings) -> nn.Module:
    """Return what changes float images (B, 3, H, W) in [0, 255], in training, before all else."""
    if settings.trivial_augment:
        return TrivialAugment()
    return Augment(settings) if settings.augment else nn.Identity()


def _affine_map(x_row: Sequence[Tensor], y_row: Sequence[Tensor]) -> Tensor:
    return torch.stack([torch.stack([*row], dim=1) for row in (x_row, y_row)], dim=1)


def _sampled(images: Tensor, affine: Tensor) -> Tensor:
    """Sample images through affine maps, float (B, 2, 3), output to input."""
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    return F.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _warp(images: Tensor, *, place: tuple[int, int], largest: float) -> Tensor:
    """Put a random number of each image into one place of the identity's map: shear or shift."""
    affine = torch.eye(2, 3, dtype=images.dtype, device=images.device).repeat(len(images), 1, 1)
    affine[:, *place] = _symmetric(images, largest)
    return _sampled(images, affine)


def _rotate(images: Tensor) -> Tensor:
    angle = torch.deg2rad(_symmetric(images, 135))
    cos, sin = angle.cos(), angle.sin()
    zero = torch.zeros_like(cos)
    return _sampled(images, _affine_map((cos, -sin, zero), (sin, cos, zero)))


def _away_from(other: Tensor | float, images: Tensor) -> Tensor:
    """Move images towards another one, or as far away from it, by up to 0.99 of the difference."""
    return other + (1 + _symmetric(images, 0.99)).view(-1, 1, 1, 1) * (images - other)


def _grey(images: Tensor) -> Tensor:
    return (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _sharpen(images: Tensor) -> Tensor:
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    return _away_from((F.avg_pool2d(padded, 3, 1) * 9 + images * 4) / 13, images)


def _posterize(images: Tensor) -> Tensor:
    step = 2 ** (_uniform(images, 0, 6).round()).view(-1, 1, 1, 1)  # 8 to 2 bits are left
    return (images / step).floor() * step


def _solarize(images: Tensor) -> Tensor:
    return torch.where(images >= _uniform(images, 0, 255).view(-1, 1, 1, 1), 255 - images, images)


def _stretch(images: Tensor) -> Tensor:
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) * 255 / (high - low).clamp(min=1e-6), images)


def _equalize(images: Tensor) -> Tensor:
    """Map each value to the share of the pixels of its channel that are no brighter."""
    flat = images.flatten(2).round().long()
    counts = torch.zeros(*flat.shape[:2], 256, device=images.device)
    counts = counts.scatter_add(2, flat, torch.ones_like(flat, dtype=counts.dtype))
    below = (counts.cumsum(2) - counts / 2) * (255 / flat.shape[2])
    return below.gather(2, flat).view_as(images).to(images.dtype)


CHANGES: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda images: images,
    partial(_warp, place=(0, 1), largest=0.99),  # shear along x, along y
    partial(_warp, place=(1, 0), largest=0.99),
    partial(_warp, place=(0, 2), largest=2 * LARGEST_SHIFT),  # shift, of half the side
    partial(_warp, place=(1, 2), largest=2 * LARGEST_SHIFT),
    _rotate,
    lambda images: _away_from(0.0, images),  # brightness
    lambda images: _away_from(_grey(images), images),  # colour
    lambda images: _away_from(_grey(images).mean((1, 2, 3), keepdim=True), images),  # contrast
    *(_sharpen, _posterize, _solarize, _stretch, _equalize),
)


def _uniform(images: Tensor, low: float, high: float) -> Tensor:
    """Draw one number for each image: shape (B,)."""
    return torch.empty(len(images), dtype=images.dtype, device=images.device).uniform_(low, high)


def _symmetric(images: Tensor, largest: float) -> Tensor:
    return _uniform(images, -largest, largest)


def _happens(images: Tensor, probability: float) -> Tensor:
    return _uniform(images, 0, 1) < probability


def _band(images: Tensor, share: Tensor, length: int) -> Tensor:
    """Mark a stretch of `share` of the pixels of one axis, at a random place: bool (B, length)."""
    share = share.clamp(max=1)
    start = _uniform(images, 0, 1) * (1 - share)
    position = (torch.arange(length, dtype=images.dtype, device=images.device) + 0.5) / length
    return (position >= start.unsqueeze(1)) & (position < (start + share).unsqueeze(1))
