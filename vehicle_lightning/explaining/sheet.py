"""The sheet of explanations: each picture, and beside it the heat map over it."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vehicle_lightning.runs.plots import plot_images

HEAT = colormaps["inferno"]
OPACITY = 0.65  # of the heat over the picture
GREY = np.array([0.299, 0.587, 0.114])  # Rec. 601 luma


def plot_explanations(
    images: NDArray[np.uint8],
    evidence: NDArray[np.float32],
    captions: Sequence[tuple[str, str]],
    *,
    title: str,
) -> Figure:
    """Draw pairs of a picture and the same picture under its heat map.

    Args:
        images: uint8 of shape (N, H, W, 3), RGB.
        evidence: float32 of shape (N, H, W); what is above 0 glows, each map up to its own highest.
        captions: N pairs of texts, beneath the picture and beneath the heat map.
        title: stands above.
    """
    heated = [heat_over(image, one) for image, one in zip(images, evidence, strict=True)]
    pairs = [picture for pair in zip(images, heated, strict=True) for picture in pair]
    return plot_images(np.stack(pairs), [text for pair in captions for text in pair], title=title)


def heat_over(image: NDArray[np.uint8], evidence: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay the positive part of a map, float32 (H, W), over a grey picture; uint8 (H, W, 3)."""
    heat = np.nan_to_num(evidence).clip(min=0)
    colours = HEAT(heat / max(float(heat.max()), np.finfo(np.float32).tiny))[..., :3]
    grey = (image @ GREY)[..., np.newaxis] / 255
    mixed: NDArray[np.uint8] = (255 * (OPACITY * colours + (1 - OPACITY) * grey)).astype(np.uint8)
    return mixed
