"""The learning curve as a picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from vehicle_lightning.learning_curve.curve import FARTHEST, Curve
from vehicle_lightning.runs.plots import (
    FAINT,
    GRID,
    INK,
    TRAIN,
    VAL,
    begin_figure,
    drawable,
    lay_out,
)


def plot_learning_curves(names: Sequence[str], curves: Sequence[Curve]) -> Figure:
    """Draw accuracy over the number of training images: measured, fitted, and as far as it carries.

    Args:
        names: of the configurations, one or two.
        curves: theirs.
    """
    figure = begin_figure(9, 5, "Accuracy on validation images by number of training images")
    lay_out(figure)
    axes = figure.add_subplot()
    for name, curve, color in zip(names, curves, (TRAIN, VAL), strict=False):
        measured = [curve.measured(share) for share in range(len(curve.images))]
        middle = np.array([one.value for one in measured])
        reach = np.array([[one.value - one.low, one.high - one.value] for one in measured]).T
        axes.errorbar(
            curve.images,
            middle,
            reach,
            color=color,
            fmt="o",
            markersize=5,
            capsize=3,
            linewidth=1.4,
            label=drawable(name, 50),
        )
        for errors in curve.errors.T:
            axes.plot(curve.images, 1 - errors, ".", color=color, markersize=3, alpha=0.35)
        if not curve.holds:
            continue
        until = np.geomspace(curve.images[0], FARTHEST * curve.most, 80)
        intervals = [curve.accuracy(images) for images in until]
        middle = np.array([one.value for one in intervals])
        inside = until <= curve.most * 1.001
        axes.plot(until[inside], middle[inside], color=color, linewidth=1.8)
        axes.plot(until, middle, color=color, linewidth=1.8, linestyle=(0, (4, 3)))
        axes.fill_between(
            until,
            [one.low for one in intervals],
            [one.high for one in intervals],
            color=color,
            alpha=0.15,
            linewidth=0,
        )
    most = curves[0].most
    axes.axvline(most, color=FAINT, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    ticks = [*curves[0].images, 2 * most, FARTHEST * most]
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda images, _: f"{images:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    axes.set_xlabel("Training images (dotted line: all there are)", fontsize=9, color=FAINT)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=INK)
    return figure
