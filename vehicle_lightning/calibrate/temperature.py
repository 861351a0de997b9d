"""Temperature scaling: a network's logits divided by one number, so that probabilities are true.

A network trained to the end is too sure of itself: of the images it gives 99 %, fewer are right.
Dividing all logits by one temperature changes no prediction. It is fitted on images the network has
not been trained on, and what it brings is measured on images it was not fitted on.

Sources:
    Guo, Pleiss, Sun, Weinberger (2017), On calibration of modern neural networks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from vehicle_lightning.runs.statistics import calibration_error

RANGE = (0.05, 20.0)  # temperatures that are tried
SMALLEST = 1e-12  # a probability of zero has no logarithm


@dataclass(frozen=True)
class Scaling:
    """What temperature scaling brings.

    Attributes:
        temperature: above 1 the network was too sure, below 1 not sure enough.
        loss: mean cross-entropy in nats as the network gives it, and scaled by a temperature that
            was fitted on other images.
        error: expected calibration error in [0, 1], likewise.
    """

    temperature: float
    loss: tuple[float, float]
    error: tuple[float, float]


def fit_temperature(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], parts: NDArray[np.int64]
) -> Scaling:
    """Fit a temperature and measure it, each part by the temperature of the others.

    Args:
        probabilities: shape (N, C), of images that the network had not seen.
        labels: int64 of shape (N,), indices of the classes.
        parts: int64 of shape (N,), which image belongs to which of at least two parts.
    """
    scaled = probabilities.copy()
    for part in np.unique(parts):
        own = parts == part
        temperature = best_temperature(probabilities[~own], labels[~own])
        scaled[own] = with_temperature(probabilities[own], temperature)
    return Scaling(
        best_temperature(probabilities, labels),
        (_loss(probabilities, labels), _loss(scaled, labels)),
        (calibration_error(probabilities, labels), calibration_error(scaled, labels)),
    )


def best_temperature(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the temperature with the lowest cross-entropy."""
    logits = _logits(probabilities)

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(labels)), labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(RANGE), method="bounded").x))


def with_temperature(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return probabilities, shape (N, C), as if the logits had been divided by the temperature."""
    return np.asarray(softmax(_logits(probabilities) / temperature, axis=1))


def _logits(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits up to a constant an image, which changes nothing."""
    return np.asarray(np.log(probabilities.clip(SMALLEST)))


def _loss(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    return -float(_logits(probabilities)[np.arange(len(labels)), labels].mean())
