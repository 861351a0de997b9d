"""The pictures of a run folder.

Each function draws one figure and returns it; `save` writes it. Only matplotlib's object-oriented
API is used, never pyplot: it has no global state, so that threads may draw side by side.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from vehicle_lightning.files import atomic_write
from vehicle_lightning.runs.statistics import Measurement

# Blue and vermilion of Okabe and Ito's palette, which any colour vision tells apart.
TRAIN = "#0072B2"
VAL = "#D55E00"
INK = "#333333"
FAINT = "#808080"
GRID = "#E8E8E8"
SHARES = LinearSegmentedColormap.from_list("grey to blue", ["#F4F6F8", "#9CC7E3", TRAIN])

DPI = 150
MOST_CLASSES_WITH_NUMBERS = 20
LONGEST_CLASS_NAME = 18  # characters
LONGEST_CAPTION_LINE = 26  # characters
HEAT = colormaps["inferno"]
OPACITY = 0.65  # of the heat over the picture
GREY = np.array([0.299, 0.587, 0.114])  # Rec. 601 luma
COLUMNS = 8  # pictures side by side
MISTAKES = 32  # that are drawn, the worst
MARGIN = 0.15  # inches
HEADING = 0.5  # inches


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        # Packed harder it takes a fifth longer, and is a tenth smaller.
        figure.savefig(temporary, format="png", pil_kwargs={"compress_level": 1})


def plot_curves(history: pd.DataFrame, *, best_epoch: int, title: str) -> Figure:
    """Draw loss and accuracy over the epochs.

    Args:
        history: one row an epoch, with the columns `epoch` (from 1), `train/running_loss`,
            `train/loss`, `val/loss` (nats), `train/accuracy` and `val/accuracy` (in [0, 1]). What
            is not finite leaves a hole in its curve. Of several trainings also, as in
            `val/spread/loss_lowest` and `_highest`, how far they lie apart: a band.
        best_epoch: the epoch whose weights were kept.
        title: stands above both panels.
    """
    figure = begin_figure(10, 4.6, title)
    lay_out(figure)
    loss, accuracy = figure.subplots(1, 2)
    for axes, metric, name, number in (
        (loss, "loss", "Loss in nats", "{:.3f}"),
        (accuracy, "accuracy", "Accuracy", "{:.1%}"),
    ):
        prepare_epochs(axes, name, history["epoch"])
        for split, color, label in (
            ("train", TRAIN, "training images"),
            ("val", VAL, "validation images"),
        ):
            values = _finite(history[f"{split}/{metric}"])
            spread = [f"{split}/spread/{metric}_{end}" for end in ("lowest", "highest")]
            if set(spread) <= set(history):
                low, high = (_finite(history[end]) for end in spread)
                axes.fill_between(history["epoch"], low, high, color=color, alpha=0.15, lw=0)
            axes.plot(  # the markers keep a single epoch visible
                history["epoch"], values, "o-", color=color, lw=1.8, ms=2.7, label=label
            )
        axes.axvline(best_epoch, color=FAINT, linewidth=1, linestyle=":", zorder=1)
        for value in _finite(history.loc[history["epoch"] == best_epoch, f"val/{metric}"]):
            axes.plot(best_epoch, value, "o", color=VAL, markersize=6.5, markeredgecolor="white")
            text = f"best epoch {best_epoch}: {number.format(value).replace('%', ' %')}"
            axes.set_title(text, loc="right", fontsize=9, color=VAL)
    accuracy.yaxis.set_major_formatter(_percent)
    loss.plot(
        history["epoch"],
        _finite(history["train/running_loss"]),
        color=TRAIN,
        linewidth=0.9,
        linestyle=(0, (4, 3)),
        zorder=1.5,
        label="while training (dropout, augmentation on)",
    )
    # A running loss that starts very high would press the measured ones flat.
    measured = history[["train/loss", "val/loss"]].to_numpy(dtype=np.float64)
    highest = np.max(measured, initial=0, where=np.isfinite(measured))
    if loss.get_ylim()[1] > 3 * highest > 0:
        loss.set_ylim(0, 3 * highest)
    legend_below(figure, *loss.get_legend_handles_labels(), columns=3)
    return figure


def plot_confusion_matrix(
    matrix: NDArray[np.integer], class_names: Sequence[str], title: str
) -> Figure:
    """Draw how often each class is taken for which, shaded by the share of the row.

    Args:
        matrix: int, shape (C, C): number of images by label (row) and prediction (column).
        class_names: C names.
        title: stands above.

    Raises:
        ValueError: the matrix is not (C, C).
    """
    classes = len(class_names)
    if matrix.shape != (classes, classes):
        raise ValueError(f"{classes} classes need a matrix of that size, got {matrix.shape}")
    totals = matrix.sum(axis=1)
    shares = matrix / np.maximum(totals, 1)[:, np.newaxis]
    names = [drawable(name, LONGEST_CLASS_NAME) for name in class_names]

    cell = float(np.clip(10 / classes, 0.24, 1))  # inches
    font_size = 16 * cell
    name_size = float(np.clip(font_size, 5.5, 9))
    figure = begin_figure(classes * cell + 2.6, classes * cell + 2, title)
    lay_out(figure, compress=True)
    axes = figure.add_subplot()
    picture = axes.pcolormesh(
        shares, cmap=SHARES, vmin=0, vmax=1, edgecolors="white", linewidth=2 * cell
    )
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    centres = np.arange(classes) + 0.5
    counted = [f"{name} ({total:,})" for name, total in zip(names, totals, strict=True)]
    axes.set_yticks(centres, counted, fontsize=name_size, color=INK, parse_math=False)
    axes.set_xticks(centres, names, fontsize=name_size, color=INK, parse_math=False)
    if max(map(len, names)) * 0.6 * name_size > 72 * cell:  # points
        axes.set_xticks(centres, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlabel("Prediction", color=FAINT)
    axes.set_ylabel("Label (number of images)", color=FAINT)

    if classes <= MOST_CLASSES_WITH_NUMBERS:
        size = min(font_size, 12)
        for (row, column), count in np.ndenumerate(matrix):
            share = shares[row, column]
            color = "white" if share > 0.75 else INK if count else FAINT
            # Inside the axes anyway: leaving them out of the layout saves seconds.
            write = partial(axes.text, column + 0.5, color=color, ha="center", in_layout=False)
            write(row + 0.5, f"{count:,}", va="bottom" if count else "center", fontsize=size)
            if count:
                write(row + 0.56, f"{100 * share:.0f} %", va="top", fontsize=0.75 * size)
    else:
        bar = figure.colorbar(picture, ax=axes, shrink=0.4, aspect=30, pad=0.01, format=_percent)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0, labelsize=8, labelcolor=INK)
        bar.set_label("Share of the row", color=FAINT)
    return figure


def plot_images(images: NDArray[np.uint8], captions: Sequence[str], *, title: str) -> Figure:
    """Draw a grid of pictures, each with its caption beneath.

    Args:
        images: uint8, shape (N, H, W, 3), RGB; N may be 0.
        captions: N texts of up to three lines; long lines are cut in the middle.
        title: stands above.

    Raises:
        ValueError: images and captions are not equally many.
    """
    if len(images) != len(captions):
        raise ValueError(f"{len(images)} images, {len(captions)} captions do not go together")
    if len(images) == 0:
        figure = begin_figure(4, 1.5, title)
        figure.text(0.5, 0.4, "none", ha="center", va="center", fontsize=11, color=FAINT)
        return figure

    # All lengths are in inches. One pair of axes for all pictures, as a hundred pairs take seconds.
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    width, gap, caption_line = 1.45, 0.12, 0.14
    height = width * images.shape[1] / images.shape[2]
    texts = [
        "\n".join(drawable(line, LONGEST_CAPTION_LINE) for line in caption.split("\n")[:3])
        for caption in captions
    ]
    row_height = height + caption_line * max(text.count("\n") + 1 for text in texts) + 2 * gap
    figure_width = max(2 * MARGIN + columns * (width + gap) - gap, 4)
    figure_height = HEADING + rows * row_height
    figure = begin_figure(figure_width, figure_height, title)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    style: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 6.5, "linespacing": 1.25}
    for index, (image, text) in enumerate(zip(images, texts, strict=True)):
        row, column = divmod(index, columns)
        left, top = MARGIN + column * (width + gap), HEADING + row * row_height
        right, bottom = left + width, top + height
        axes.imshow(image, extent=(left, right, bottom, top))
        frame = Rectangle((left, top), width, height, fill=False, edgecolor=GRID, linewidth=0.8)
        axes.add_patch(frame)
        axes.text((left + right) / 2, bottom + gap / 2, text, color=INK, parse_math=False, **style)
    axes.set(xlim=(0, figure_width), ylim=(figure_height, 0), aspect="auto")
    return figure


def plot_mistakes(images: NDArray[np.uint8], mistakes: pd.DataFrame, *, title: str) -> Figure:
    """Draw wrongly predicted images, with what each was taken for.

    Args:
        images: uint8, shape (N, H, W, 3), RGB.
        mistakes: N rows, as `predictions_val.csv` has them.
        title: stands above.
    """
    captions = [
        f"{row['file']}\n{row['label']} taken for {row['prediction']} "
        f"({row['p_' + row['prediction']]:.0%})"
        for _, row in mistakes.iterrows()
    ]
    return plot_images(images, captions, title=title)


def heat_over(image: NDArray[np.uint8], evidence: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay the positive part of a map, float32 (H, W), over a grey picture; uint8 (H, W, 3)."""
    heat = np.nan_to_num(evidence).clip(min=0)
    colours = HEAT(heat / max(float(heat.max()), np.finfo(np.float32).tiny))[..., :3]
    grey = (image @ GREY)[..., np.newaxis] / 255
    mixed: NDArray[np.uint8] = (255 * (OPACITY * colours + (1 - OPACITY) * grey)).astype(np.uint8)
    return mixed


def begin_figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure of this size in inches under a title."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.suptitle(
        drawable(title, int(9 * width)),
        x=MARGIN / width,
        y=1 - MARGIN / height,
        ha="left",
        va="top",
        fontsize=11,
        fontweight="bold",
        color=INK,
        parse_math=False,
        in_layout=False,
    )
    return figure


def lay_out(figure: Figure, *, compress: bool = False) -> None:
    """Fit the panels, with their labels, into the figure below its heading."""
    below_heading = (0, 0, 1, 1 - HEADING / figure.get_figheight())
    figure.set_layout_engine(
        ConstrainedLayoutEngine(rect=below_heading, w_pad=MARGIN, h_pad=0.08, compress=compress)
    )


def legend_below(figure: Figure, handles: Any, labels: Sequence[str], *, columns: int) -> None:
    """Put one legend for all panels below them."""
    legend = figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def prepare_panel(axes: Axes, name: str, across: str = "", up: str = "") -> None:
    """Give an empty panel its title, the names of its axes, and quiet lines."""
    axes.set_title(name, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(across, fontsize=9, color=FAINT, parse_math=False)
    axes.set_ylabel(up, fontsize=9, color=FAINT)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def prepare_epochs(axes: Axes, name: str, epochs: "pd.Series[int]") -> None:
    """Give an empty panel an x-axis of these epochs, too."""
    prepare_panel(axes, name, "Epoch")
    axes.set_xlim(int(epochs.min()) - 0.5, int(epochs.max()) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.spines["bottom"].set(visible=True, color=FAINT)


def prepare_accuracies(axes: Axes, name: str, labels: Sequence[str]) -> None:
    """Give an empty panel one row for each accuracy, the first on top."""
    prepare_panel(axes, name)
    axes.set_yticks(range(len(labels)), labels, fontsize=8, color=INK, parse_math=False)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.xaxis.set_major_formatter("{x:g} %")
    axes.grid(visible=False, axis="y")


def draw_accuracy(
    axes: Axes, row: int, measured: Measurement, color: str, *, filled: bool = True
) -> None:
    """Draw an accuracy and its interval into a row."""
    axes.plot([100 * bound for bound in measured.interval], [row, row], color=color, linewidth=2)
    face = color if filled else "white"
    axes.plot(100 * measured.accuracy, row, "o", color=color, markersize=6, markerfacecolor=face)


def _finite(values: "pd.Series[float]") -> NDArray[np.float64]:
    numbers = values.to_numpy(dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _percent(fraction: float, _position: int) -> str:
    return f"{100 * fraction:g} %"


def drawable(line: str, longest: int) -> str:
    """Return a line of at most so many characters that the font has.

    Others would warn at every drawing. A longer line loses its middle: of a name both ends tell
    more.
    """
    font = get_font(findfont(FontProperties()))
    text = "".join(c if font.get_char_index(ord(c)) else "?" for c in line)
    head = longest // 2
    return text if len(text) <= longest else f"{text[:head]}…{text[head + 1 - longest :]}"
