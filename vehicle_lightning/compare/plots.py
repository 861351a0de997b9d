"""The comparison as one picture: all curves in one panel, all accuracies in another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vehicle_lightning.compare.ranking import Ranking, Row
from vehicle_lightning.errors import counted
from vehicle_lightning.runs.plots import (
    FAINT,
    begin_figure,
    draw_accuracy,
    drawable,
    lay_out,
    legend_below,
    prepare_accuracies,
    prepare_epochs,
)

# Okabe and Ito's palette, which any colour vision tells apart, less its yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
STYLES: Any = ("-", (0, (5, 2)), (0, (1, 1.2)))
MOST_ROWS = 40  # in the picture; the tables hold all
LONGEST_NAME = 34  # characters


def plot_comparison(ranking: Ranking) -> Figure:
    """Draw training and validation loss of all runs, and their accuracies with 95 % intervals.

    The forest of accuracies stands in the order of the table, the best on top.
    """
    rows = ranking.rows[:MOST_ROWS]
    left_out = len(ranking.rows) - len(rows)
    title = f"{counted(len(rows), 'run')} against {ranking.baseline.name}" + (
        f" ({left_out} more in the table)" if left_out else ""
    )
    figure = begin_figure(15, max(4.4, 1.6 + 0.28 * len(rows)), title)
    lay_out(figure)
    train, val, forest = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    train.sharey(val)
    epochs = pd.concat([row.record.curves["epoch"] for row in rows])
    prepare_epochs(train, "Training loss in nats, eval mode", epochs)
    prepare_epochs(val, "Validation loss in nats", epochs)
    names = [drawable(row.record.name, LONGEST_NAME) for row in rows]
    labels = [
        name if row.conclusion == "baseline" else f"{name}\n{row.conclusion}"
        for name, row in zip(names, rows, strict=True)
    ]
    prepare_accuracies(forest, "Validation accuracy, 95 % interval", labels)
    lines = []
    for position, row in enumerate(rows):
        record, curves = row.record, row.record.curves
        color = COLORS[position % len(COLORS)]
        style = STYLES[position // len(COLORS) % len(STYLES)]
        marker = "o" if len(curves) == 1 else None
        for axes, column in ((train, "train/loss"), (val, "val/loss")):
            losses = curves[column].where(np.isfinite(curves[column]))
            axes.plot(curves["epoch"], losses, color=color, ls=style, lw=1.5, marker=marker, ms=3)
        draw_accuracy(forest, position, record.summary.val, color)
        lines.append(Line2D([], [], color=color, linestyle=style))
    val.set_ylim(0, _highest_loss(rows))
    baseline = 100 * ranking.baseline.summary.val.accuracy
    forest.axvline(baseline, color=FAINT, linewidth=1, linestyle=":", zorder=0)
    if len(rows) <= len(COLORS) * len(STYLES):
        legend_below(figure, lines, names, columns=min(6, len(rows)))
    return figure


def _highest_loss(rows: Sequence[Row]) -> float:
    """Return where the axis of the losses ends; one run that diverged must not flatten the rest."""
    highest = [row.record.curves[["train/loss", "val/loss"]].to_numpy().max() for row in rows]
    finite = [value for value in highest if np.isfinite(value)]
    return 1.5 * float(np.median(finite)) if finite else 1.0
