"""Temperature scaling: a network's logits divided by one number, so that probabilities are true.

A network trained to the end is too sure of itself: of the images it gives 99 %, fewer are right.
Dividing all logits by one temperature changes no prediction of a single network. It is fitted on
images the networks have not been trained on, and what it brings is measured on images it was not
fitted on.

A mean of networks is softer than each of them, and needs a lower temperature or none. Where
several seeds predicted an image, the temperature of each is fitted so that their mean is true.

Sources:
    Guo, Pleiss, Sun, Weinberger (2017), On calibration of modern neural networks.
    Rahaman, Thiery (2021), Uncertainty quantification and deep ensembles.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from vehicle_lightning.runs.statistics import calibration_error

RANGE = (0.05, 20.0)  # temperatures that are tried
SMALLEST = 1e-12  # a probability of zero has no logarithm
DRAWS = 200  # of labels from calibrated probabilities


@dataclass(frozen=True)
class Scaling:
    """What temperature scaling brings.

    Attributes:
        temperature: above 1 the networks were too sure, below 1 not sure enough; 1 where none
            makes the loss lower on images that it was not fitted on.
        loss: mean cross-entropy in nats as the networks give it, and scaled by a temperature that
            was fitted on other images.
        error: expected calibration error in [0, 1], likewise.
        error_by_chance: what perfectly calibrated networks as sure as these, scaled, would show on
            so few images.
    """

    temperature: float
    loss: tuple[float, float]
    error: tuple[float, float]
    error_by_chance: float


def fit_temperature(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], parts: NDArray[np.int64]
) -> tuple[Scaling, NDArray[np.float64]]:
    """Fit a temperature and measure it, each part by the temperature of the others.

    Args:
        probabilities: shape (S, N, C), of S networks, of images that they had not seen.
        labels: int64 of shape (N,), indices of the classes.
        parts: int64 of shape (N,), which image belongs to which of at least two parts.

    Returns:
        What it brings, and the mean of the networks so scaled, shape (N, C).
    """
    scaled = np.empty_like(probabilities[0])
    for part in np.unique(parts):
        own = parts == part
        temperature = best_temperature(probabilities[:, ~own], labels[~own])
        scaled[own] = mean_with_temperature(probabilities[:, own], temperature)
    raw = probabilities.mean(axis=0)
    loss = log_loss(raw, labels), log_loss(scaled, labels)
    error = calibration_error(raw, labels), calibration_error(scaled, labels)
    if loss[1] < loss[0]:
        temperature = best_temperature(probabilities, labels)
    else:
        temperature, scaled = 1.0, raw
    return Scaling(temperature, loss, error, _error_by_chance(scaled)), scaled


def best_temperature(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the temperature of each of S networks with the lowest cross-entropy of their mean.

    It is 1 where the lower the better, as of networks without a mistake: that tells no temperature.

    Args:
        probabilities: shape (S, N, C).
        labels: int64 of shape (N,), indices of the classes.
    """

    def loss(log_temperature: float) -> float:
        return log_loss(mean_with_temperature(probabilities, np.exp(log_temperature)), labels)

    found = float(np.exp(minimize_scalar(loss, bounds=np.log(RANGE), method="bounded").x))
    return found if found > 1.01 * RANGE[0] else 1.0


def mean_with_temperature(
    probabilities: NDArray[np.float64], temperature: float
) -> NDArray[np.float64]:
    """Return the mean of the networks, shape (N, C), their logits divided by the temperature.

    Args:
        probabilities: shape (S, N, C).
        temperature: above 0.
    """
    # Up to a constant an image, which changes nothing.
    logits = np.log(probabilities.clip(SMALLEST))
    return np.asarray(softmax(logits / temperature, axis=2).mean(axis=0))


def log_loss(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the mean cross-entropy in nats of probabilities (N, C)."""
    return -float(np.log(probabilities[np.arange(len(labels)), labels].clip(SMALLEST)).mean())


def _error_by_chance(probabilities: NDArray[np.float64]) -> float:
    """Return the calibration error that so many images show of probabilities that are right."""
    sure, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    rng = np.random.default_rng(0)

    def drawn() -> float:
        labels = np.where(rng.random(len(sure)) < sure, predicted, -1)
        return calibration_error(probabilities, labels)

    return float(np.mean([drawn() for _ in range(DRAWS)]))
