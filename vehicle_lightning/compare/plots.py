"""The comparison as one picture: all curves in one panel, all accuracies in another."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vehicle_lightning.compare.ranking import Ranking, Row
from vehicle_lightning.runs.plots import (
    FAINT,
    GRID,
    INK,
    begin_figure,
    drawable,
    lay_out,
    prepare_panel,
    shortened,
)

# Okabe and Ito's palette, which any colour vision tells apart, less its yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
LineStyle = str | tuple[int, tuple[float, float]]
STYLES: tuple[LineStyle, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)))
MOST_ROWS = 40  # in the picture; the tables hold all
LONGEST_NAME = 34  # characters


def plot_comparison(ranking: Ranking) -> Figure:
    """Draw training and validation loss of all runs, and their accuracies with 95 % intervals.

    The forest of accuracies stands in the order of the table, the best on top.
    """
    rows = ranking.rows[:MOST_ROWS]
    height = max(4.4, 1.6 + 0.28 * len(rows))
    left_out = len(ranking.rows) - len(rows)
    title = f"{len(rows)} run{'s' * (len(rows) != 1)} against {ranking.baseline.name}" + (
        f" ({left_out} more in the table)" if left_out else ""
    )
    figure = begin_figure(15, height, title)
    lay_out(figure)
    train, val, forest = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    train.sharey(val)
    looks = {row.record.run: _look(number) for number, row in enumerate(rows)}
    longest = max(int(row.record.curves["epoch"].max()) for row in rows)
    for axes, column, name in (
        (train, "train/loss", "Training loss in nats, eval mode"),
        (val, "val/loss", "Validation loss in nats"),
    ):
        prepare_panel(axes, name, 1, longest)
        for row in rows:
            color, style = looks[row.record.run]
            curves = row.record.curves
            axes.plot(
                curves["epoch"],
                curves[column].where(np.isfinite(curves[column])),
                color=color,
                linestyle=style,
                linewidth=1.5,
                marker="o" if len(curves) == 1 else None,
                markersize=3,
            )
    val.set_ylim(0, _highest_loss(rows))

    forest.set_title("Validation accuracy, 95 % interval", loc="left", fontsize=10, color=INK)
    for position, row in enumerate(rows):
        _draw_interval(forest, position, row, looks[row.record.run][0])
    forest.axvline(
        100 * ranking.baseline.val.accuracy, color=FAINT, linewidth=1, linestyle=":", zorder=0
    )
    forest.set_ylim(len(rows) - 0.4, -0.6)
    labels = [_label(row) for row in rows]
    forest.set_yticks(range(len(rows)), labels, fontsize=8, color=INK, parse_math=False)
    forest.xaxis.set_major_formatter("{x:g} %")
    forest.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    forest.grid(axis="x", color=GRID, linewidth=0.8)
    forest.set_axisbelow(True)
    forest.spines[:].set_visible(False)
    if len(rows) <= len(COLORS) * len(STYLES):
        legend = figure.legend(
            [Line2D([], [], color=looks[r.record.run][0], ls=looks[r.record.run][1]) for r in rows],
            [_name(row) for row in rows],
            loc="outside lower left",
            ncols=min(6, len(rows)),
            frameon=False,
            fontsize=8.5,
            labelcolor=INK,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def _highest_loss(rows: Sequence[Row]) -> float:
    """Return where the axis of the losses ends; one run that diverged must not flatten the rest."""
    highest = [row.record.curves[["train/loss", "val/loss"]].to_numpy().max() for row in rows]
    finite = [value for value in highest if np.isfinite(value)]
    return 1.5 * float(np.median(finite)) if finite else 1.0


def _look(number: int) -> tuple[str, LineStyle]:
    return COLORS[number % len(COLORS)], STYLES[number // len(COLORS) % len(STYLES)]


def _draw_interval(axes: Axes, position: int, row: Row, color: str) -> None:
    low, high = row.record.val.interval
    axes.plot([100 * low, 100 * high], [position] * 2, color=color, linewidth=2)
    axes.plot(100 * row.record.val.accuracy, position, "o", color=color, markersize=6)


def _label(row: Row) -> str:
    return _name(row) if row.conclusion == "baseline" else f"{_name(row)}\n{row.conclusion}"


def _name(row: Row) -> str:
    return shortened(drawable(row.record.name), LONGEST_NAME)
