"""The pictures of a run folder.

Each function draws one figure and returns it; `save` writes it. Only matplotlib's object-oriented
API is used, never pyplot: there is no global state, so that threads may draw side by side and the
backend of whoever imports this stays as it is.
"""

from collections.abc import Sequence
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
MARGIN = 0.15  # inches
HEADING = 0.5  # inches


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")


def plot_curves(history: pd.DataFrame, *, best_epoch: int, title: str) -> Figure:
    """Draw loss and accuracy over the epochs.

    Args:
        history: one row an epoch, with the columns `epoch` (from 1), `train/running_loss`,
            `train/loss`, `val/loss` (nats), `train/accuracy` and `val/accuracy` (in [0, 1]). What
            is not finite leaves a hole in its curve.
        best_epoch: the epoch whose weights were kept.
        title: stands above both panels.
    """
    figure = begin_figure(10, 4.6, title)
    lay_out(figure)
    loss, accuracy = figure.subplots(1, 2)

    first, last = int(history["epoch"].min()), int(history["epoch"].max())
    prepare_panel(loss, "Loss in nats", first, last)
    _draw_curve(loss, history, "train/loss", TRAIN, "training images")
    _draw_curve(loss, history, "val/loss", VAL, "validation images")
    loss.plot(
        history["epoch"],
        _finite(history["train/running_loss"]),
        color=TRAIN,
        linewidth=0.9,
        linestyle=(0, (4, 3)),
        zorder=1.5,
        label="while training (dropout, augmentation on)",
    )
    _mark_best(loss, history, "val/loss", best_epoch, "{:.3f}")
    # A running loss that starts very high would press the measured ones flat.
    measured = history[["train/loss", "val/loss"]].to_numpy(dtype=np.float64)
    highest = np.max(measured, initial=0, where=np.isfinite(measured))
    if loss.get_ylim()[1] > 3 * highest > 0:
        loss.set_ylim(0, 3 * highest)

    prepare_panel(accuracy, "Accuracy", first, last)
    _draw_curve(accuracy, history, "train/accuracy", TRAIN)
    _draw_curve(accuracy, history, "val/accuracy", VAL)
    _mark_best(accuracy, history, "val/accuracy", best_epoch, "{:.1%}")
    accuracy.yaxis.set_major_formatter(_percent)

    figure.legend(
        *loss.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
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
    names = [shortened(drawable(name), LONGEST_CLASS_NAME) for name in class_names]

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
        _write_cells(axes, matrix, shares, min(font_size, 12))
    else:
        bar = figure.colorbar(picture, ax=axes, shrink=0.4, aspect=30, pad=0.01, format=_percent)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0, labelsize=8, labelcolor=INK)
        bar.set_label("Share of the row", color=FAINT)
    return figure


def plot_images(
    images: NDArray[np.uint8],
    captions: Sequence[str],
    *,
    title: str,
    columns: int = 8,
    highlight: Sequence[bool] | None = None,
) -> Figure:
    """Draw a grid of pictures, each with its caption beneath.

    Args:
        images: uint8, shape (N, H, W, 3), RGB; N may be 0.
        captions: N texts of up to three lines; long lines are shortened in the middle.
        title: stands above.
        columns: pictures side by side, at least 1.
        highlight: N truths: which pictures get a coloured frame.

    Raises:
        ValueError: images, captions and highlight are not equally many.
    """
    framed = [False] * len(images) if highlight is None else highlight
    if not len(images) == len(captions) == len(framed):
        raise ValueError(
            f"{len(images)} images, {len(captions)} captions and {len(framed)} highlights "
            f"do not go together"
        )
    if len(images) == 0:
        figure = begin_figure(4, 1.5, title)
        figure.text(0.5, 0.4, "none", ha="center", va="center", fontsize=11, color=FAINT)
        return figure

    # All lengths are in inches. One pair of axes for all pictures, as a hundred pairs take seconds.
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    width, gap, caption_line = 1.45, 0.12, 0.14
    height = width * images.shape[1] / images.shape[2]
    texts = [_caption(caption) for caption in captions]
    row_height = height + caption_line * max(text.count("\n") + 1 for text in texts) + 2 * gap
    figure_width = max(2 * MARGIN + columns * (width + gap) - gap, 4)
    figure_height = HEADING + rows * row_height
    figure = begin_figure(figure_width, figure_height, title)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()

    for index, (image, text, is_framed) in enumerate(zip(images, texts, framed, strict=True)):
        row, column = divmod(index, columns)
        left, top = MARGIN + column * (width + gap), HEADING + row * row_height
        right, bottom = left + width, top + height
        axes.imshow(image, extent=(left, right, bottom, top))
        axes.add_patch(
            Rectangle(
                (left, top),
                width,
                height,
                fill=False,
                edgecolor=VAL if is_framed else GRID,
                linewidth=2.5 if is_framed else 0.8,
            )
        )
        axes.text(
            (left + right) / 2,
            bottom + gap / 2,
            text,
            ha="center",
            va="top",
            fontsize=6.5,
            linespacing=1.25,
            color=INK,
            parse_math=False,
        )
    axes.set(xlim=(0, figure_width), ylim=(figure_height, 0), aspect="auto")
    return figure


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


def begin_figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure of this size in inches under a title."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.suptitle(
        shortened(drawable(title), int(9 * width)),
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


def prepare_panel(axes: Axes, name: str, first_epoch: int, last_epoch: int) -> None:
    """Give an empty panel its title, an x-axis of epochs, and quiet lines."""
    axes.set_title(name, loc="left", fontsize=10, color=INK)
    axes.set_xlabel("Epoch", fontsize=9, color=FAINT)
    axes.set_xlim(first_epoch - 0.5, last_epoch + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


def _draw_curve(
    axes: Axes, history: pd.DataFrame, column: str, color: str, label: str | None = None
) -> None:
    # The markers keep a single epoch visible.
    axes.plot(
        history["epoch"],
        _finite(history[column]),
        color=color,
        linewidth=1.8,
        marker="o",
        markersize=2.7,
        label=label,
    )


def _mark_best(
    axes: Axes, history: pd.DataFrame, column: str, best_epoch: int, number: str
) -> None:
    axes.axvline(best_epoch, color=FAINT, linewidth=1, linestyle=":", zorder=1)
    for value in _finite(history.loc[history["epoch"] == best_epoch, column]):
        axes.plot(best_epoch, value, "o", color=VAL, markersize=6.5, markeredgecolor="white")
        text = f"best epoch {best_epoch}: {number.format(value).replace('%', ' %')}"
        axes.set_title(text, loc="right", fontsize=9, color=VAL)


def _write_cells(
    axes: Axes, matrix: NDArray[np.integer], shares: NDArray[np.floating], font_size: float
) -> None:
    # Inside the axes anyway: leaving them out of the layout saves seconds.
    centred: dict[str, Any] = {"ha": "center", "in_layout": False}
    for (row, column), count in np.ndenumerate(matrix):
        share = shares[row, column]
        color = "white" if share > 0.75 else INK if count else FAINT
        x, y = column + 0.5, row + 0.5
        height = "bottom" if count else "center"
        axes.text(x, y, f"{count:,}", va=height, fontsize=font_size, color=color, **centred)
        if count:
            text = f"{100 * share:.0f} %"
            axes.text(
                x, y + 0.06, text, va="top", fontsize=0.75 * font_size, color=color, **centred
            )


def _finite(values: "pd.Series[float]") -> NDArray[np.float64]:
    numbers = values.to_numpy(dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _percent(fraction: float, _position: int) -> str:
    return f"{100 * fraction:g} %"


def _caption(text: str) -> str:
    lines = drawable(text).split("\n")[:3]
    return "\n".join(shortened(line, LONGEST_CAPTION_LINE) for line in lines)


def drawable(text: str) -> str:
    """Replace what the font cannot draw, which would warn at every drawing."""
    font = get_font(findfont(FontProperties()))
    return "".join(c if c == "\n" or font.get_char_index(ord(c)) else "?" for c in text)


def shortened(text: str, length: int) -> str:
    """Cut out the middle of a text of more characters: of a name both ends tell more."""
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[head + 1 - length :]}"
