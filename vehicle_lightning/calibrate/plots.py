"""The picture of a calibration: whether probabilities mean what they say, and what can be had."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve

from vehicle_lightning.calibrate.operating_point import OperatingPoint
from vehicle_lightning.runs.plots import FAINT, GRID, INK, TRAIN, VAL, begin_figure, lay_out

BINS = 10


def plot_calibration(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    *,
    positive: str,
    point: OperatingPoint | None,
    title: str,
) -> Figure:
    """Draw the reliability diagram, and precision over recall with the operating point.

    Args:
        before: float of shape (N,), probability of the positive class as the network gives it.
        after: likewise, with temperature.
        is_positive: bool of shape (N,), whether the image is.
        positive: name of the positive class.
        point: the threshold asked for, if any.
        title: stands above.
    """
    figure = begin_figure(10, 4.6, title)
    lay_out(figure)
    reliability, tradeoff = figure.subplots(1, 2)

    _prepare(reliability, "Reliability", f"Probability of {positive}", "Share that are")
    reliability.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
    for shares, colour, label in (
        (before, VAL, "as the network gives it"),
        (after, TRAIN, "with temperature"),
    ):
        right, mean = calibration_curve(is_positive, shares, n_bins=BINS, strategy="quantile")
        reliability.plot(mean, right, color=colour, marker="o", markersize=4, label=label)
    reliability.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper left")

    _prepare(tradeoff, "Precision and recall", f"Recall of {positive}", "Precision")
    precision, recall, _ = precision_recall_curve(is_positive, after)
    tradeoff.plot(recall, precision, color=TRAIN, drawstyle="steps-post")
    if point is not None:
        tradeoff.plot([point.recall], [point.precision], color=VAL, marker="o", markersize=7)
        tradeoff.annotate(
            f"threshold {point.threshold:.3f}",
            (point.recall, point.precision),
            xytext=(-10, -16),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=INK,
        )
    return figure


def _prepare(axes: Axes, name: str, across: str, up: str) -> None:
    axes.set_title(name, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(across, fontsize=9, color=FAINT, parse_math=False)
    axes.set_ylabel(up, fontsize=9, color=FAINT)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    axes.grid(color=GRID)
    axes.spines[:].set_visible(False)
