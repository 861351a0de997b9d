"""The picture of a calibration: whether probabilities mean what they say, and what can be had."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve

from vehicle_lightning.calibrate.operating_point import OperatingPoint
from vehicle_lightning.runs.plots import (
    FAINT,
    INK,
    TRAIN,
    VAL,
    begin_figure,
    lay_out,
    prepare_panel,
)

BINS = 10


def plot_calibration(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    *,
    positive: str | None,
    point: OperatingPoint | None,
    title: str,
) -> Figure:
    """Draw the reliability diagram, and precision over recall with the operating point.

    Args:
        before: float of shape (N,), probability of the positive class as the network gives it.
        after: likewise, with temperature.
        is_positive: bool of shape (N,), whether the image is.
        positive: name of the positive class; None where the predicted one is meant, of which there
            is no recall to draw.
        point: the threshold asked for, if any.
        title: stands above.
    """
    panels = 1 if positive is None else 2
    figure = begin_figure(5 * panels, 4.6, title)
    lay_out(figure)
    reliability, *others = figure.subplots(1, panels, squeeze=False)[0]
    for axes in (reliability, *others):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

    name = positive or "the predicted class"
    prepare_panel(reliability, "Reliability", f"Probability of {name}", "Share that are")
    reliability.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
    for shares, colour, label in (
        (before, VAL, "as the network gives it"),
        (after, TRAIN, "with temperature"),
    ):
        right, mean = calibration_curve(is_positive, shares, n_bins=BINS, strategy="quantile")
        reliability.plot(mean, right, color=colour, marker="o", markersize=4, label=label)
    reliability.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper left")

    if not others:
        return figure
    (tradeoff,) = others
    prepare_panel(tradeoff, "Precision and recall", f"Recall of {positive}", "Precision")
    precision, recall, _ = precision_recall_curve(is_positive, after)
    tradeoff.plot(recall, precision, color=TRAIN, drawstyle="steps-post")
    if point is not None and point.precision is not None:
        place = (point.recall.value, point.precision.value)
        tradeoff.plot(*place, color=VAL, marker="o", markersize=7)
        tradeoff.annotate(
            f"threshold {point.threshold:.3f}",
            place,
            xytext=(-10, -16),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=INK,
        )
    return figure
