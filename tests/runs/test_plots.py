"""What the figures say, read back from their artists, and that awkward input draws."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from vehicle_lightning.runs.plots import (
    TRAIN,
    VAL,
    plot_confusion_matrix,
    plot_curves,
    plot_images,
    save,
)

# A lone surrogate stands for a byte of a file name that is not UTF-8.
AWKWARD = "$\\frac_{$ a_b & 汽车 \udcff \t é"


def history_of(epochs: int, first: int = 1) -> pd.DataFrame:
    falling = np.linspace(0.7, 0.2, epochs)
    return pd.DataFrame(
        {
            "epoch": np.arange(first, first + epochs),
            "train/running_loss": falling + 0.1,
            "train/loss": falling,
            "train/accuracy": 1 - falling,
            "val/loss": falling + 0.05,
            "val/accuracy": 0.9 - falling,
        }
    )


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def drawn(figure: Figure) -> np.ndarray:
    """Pixels, shape (H, W, 4); drawing turns warnings into errors."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def curve(axes: Axes, color: str, style: str = "-") -> np.ndarray:
    (line,) = [
        line
        for line in axes.lines
        if line.get_color() == color
        and line.get_linestyle() == style
        and line.get_linewidth() > 0.5
        and len(line.get_xdata()) > 1
    ]
    return np.column_stack(line.get_data())


class TestSave:
    def test_writes_a_png_and_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "curves.png"
        path.write_text("old")
        save(plot_curves(history_of(3), best_epoch=3, title="run"), path)
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.width == 1500
        assert list(tmp_path.iterdir()) == [path]

    def test_keeps_the_old_picture_when_drawing_fails(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "curves.png"
        path.write_text("old")
        figure = Figure()
        monkeypatch.setattr(figure, "draw", lambda _renderer: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            save(figure, path)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]


class TestCurves:
    def test_shows_each_column_in_its_colour(self) -> None:
        history = history_of(25)
        loss, accuracy = plot_curves(history, best_epoch=20, title="run").axes
        for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
            for color, split in ((TRAIN, "train"), (VAL, "val")):
                assert curve(axes, color) == pytest.approx(
                    history[["epoch", f"{split}/{name}"]].to_numpy(float)
                )
        assert curve(loss, TRAIN, "--")[:, 1] == pytest.approx(history["train/running_loss"])

    def test_several_trainings_have_a_band(self) -> None:
        history = history_of(5)
        for split, name in itertools.product(("train", "val"), ("loss", "accuracy")):
            history[f"{split}/spread/{name}_lowest"] = history[f"{split}/{name}"] - 0.1
            history[f"{split}/spread/{name}_highest"] = history[f"{split}/{name}"] + 0.2
        for axes in plot_curves(history, best_epoch=2, title="folds").axes:
            assert len(axes.collections) == 2

    def test_says_what_is_what(self) -> None:
        said = texts(plot_curves(history_of(25), best_epoch=25, title="dropout=0.5"))
        assert {
            "dropout=0.5",
            "training images",
            "validation images",
            "while training (dropout, augmentation on)",
            "best epoch 25: 0.250",
            "best epoch 25: 70.0 %",
        } <= set(said)

    @pytest.mark.parametrize(("epochs", "first"), [(1, 1), (2, 1), (7, 4), (40, 101)])
    def test_ticks_are_whole_epochs(self, epochs: int, first: int) -> None:
        figure = plot_curves(history_of(epochs, first), best_epoch=first, title="run")
        drawn(figure)
        ticks = figure.axes[0].get_xticks()
        assert all(tick == round(tick) for tick in ticks)
        assert any(first <= tick < first + epochs for tick in ticks)

    def test_holes_and_infinities_stay_holes(self) -> None:
        history = history_of(10)
        history.loc[3:5, "val/loss"] = np.nan
        history.loc[7, "train/loss"] = np.inf
        figure = plot_curves(history, best_epoch=5, title="run")
        drawn(figure)
        assert np.isnan(curve(figure.axes[0], VAL)[3:6, 1]).all()
        assert np.isnan(curve(figure.axes[0], TRAIN)[7, 1])

    def test_a_run_without_a_finite_figure_draws(self) -> None:
        history = history_of(3)
        history.iloc[:, 1:] = np.nan
        drawn(plot_curves(history, best_epoch=1, title="run"))

    def test_an_exploding_running_loss_does_not_flatten_the_others(self) -> None:
        history = history_of(10)
        history.loc[0, "train/running_loss"] = 1e7
        bottom, top = plot_curves(history, best_epoch=10, title="run").axes[0].get_ylim()
        assert 0 <= bottom < 0.2
        assert 0.75 < top < 3


class TestConfusionMatrix:
    def test_writes_counts_and_shares_of_the_row(self) -> None:
        figure = plot_confusion_matrix(np.array([[90, 10], [0, 30]]), ["car", "bus"], "confusion")
        drawn(figure)
        cells = [
            [
                t.get_text()
                for t in sorted(figure.axes[0].texts, key=lambda t: t.get_position()[1])
                if t.get_position()[0] == x and int(t.get_position()[1]) == y
            ]
            for y in (0, 1)
            for x in (0.5, 1.5)
        ]
        assert cells == [["90", "90 %"], ["10", "10 %"], ["0"], ["30", "100 %"]]
        assert {"car (100)", "bus (30)", "Prediction"} <= set(texts(figure))

    def test_labels_run_downwards_and_predictions_to_the_right(self) -> None:
        figure = plot_confusion_matrix(np.array([[9, 0], [5, 4]]), ["car", "bus"], "confusion")
        pixels = drawn(figure)
        box = figure.axes[0].get_window_extent()
        height = pixels.shape[0]

        def darkness(column: float, row: float) -> float:
            x = int(box.x0 + column * box.width)
            y = int(height - box.y1 + row * box.height)
            return 255 - float(pixels[y, x, :3].mean())

        # Near the cells' corners, away from the numbers.
        top_left, top_right = darkness(0.05, 0.05), darkness(0.95, 0.05)
        bottom_left, bottom_right = darkness(0.05, 0.95), darkness(0.95, 0.95)
        assert top_left > bottom_left > bottom_right > top_right

    def test_a_class_without_images_has_no_share(self) -> None:
        figure = plot_confusion_matrix(np.array([[5, 0], [0, 0]]), ["car", "bus"], "confusion")
        drawn(figure)
        assert "bus (0)" in texts(figure)

    def test_many_classes_are_shaded_without_numbers(self) -> None:
        matrix = np.eye(50, dtype=int)
        figure = plot_confusion_matrix(matrix, [f"class {i}" for i in range(50)], "confusion")
        drawn(figure)
        assert not figure.axes[0].texts
        assert "class 49 (1)" in texts(figure)
        assert len(figure.axes) == 2

    def test_awkward_names_are_taken_literally(self) -> None:
        figure = plot_confusion_matrix(np.eye(2, dtype=int), [AWKWARD, "$x_1$"], AWKWARD)
        drawn(figure)
        assert "$x_1$ (1)" in texts(figure)

    def test_refuses_a_matrix_of_another_size(self) -> None:
        with pytest.raises(ValueError, match="3 classes"):
            plot_confusion_matrix(np.eye(2, dtype=int), ["a", "b", "c"], "confusion")


def pictures(n: int, height: int = 12, width: int = 16) -> np.ndarray:
    """One gray per picture."""
    grays = np.linspace(0, 255, n).astype(np.uint8)
    return np.broadcast_to(grays[:, None, None, None], (n, height, width, 3))


class TestImages:
    def test_shows_each_picture_above_its_caption_row_by_row(self) -> None:
        images = pictures(10)
        figure = plot_images(images, list("abcdefghij"), title="batch")
        pixels = drawn(figure)
        axes = figure.axes[0]
        assert [text.get_text() for text in axes.texts] == list("abcdefghij")
        lefts, tops = [], []
        for text, shown, image in zip(axes.texts, axes.images, images, strict=True):
            left, right, bottom, top = shown.get_extent()
            assert left < text.get_position()[0] < right
            assert bottom < text.get_position()[1]  # inches, downwards
            assert (right - left) / (bottom - top) == pytest.approx(16 / 12)
            x, y = (int(150 * middle) for middle in ((left + right) / 2, (top + bottom) / 2))
            assert abs(int(pixels[y, x, 0]) - int(image[0, 0, 0])) <= 1
            lefts.append(left)
            tops.append(top)
        assert lefts[0] < lefts[1] < lefts[2]
        assert lefts[8:] == lefts[:2]
        assert tops[0] == tops[1] == tops[7] < tops[8] == tops[9]

    def test_nothing_to_show_says_none(self) -> None:
        figure = plot_images(np.zeros((0, 8, 8, 3), np.uint8), [], title="Mistakes")
        drawn(figure)
        assert texts(figure) == ["Mistakes", "none"]

    def test_long_lines_lose_their_middle(self) -> None:
        name = "a_very_long_file_name_of_a_photograph_0815.jpeg"
        figure = plot_images(pictures(1), [f"{name}\ncar → bus 99 %"], title="Mistakes")
        first, second = figure.axes[0].texts[0].get_text().split("\n")
        assert len(first) == 26
        assert first.startswith("a_very_long_f…")
        assert first.endswith("_0815.jpeg")
        assert second == "car → bus 99 %"

    def test_awkward_captions_are_taken_literally(self) -> None:
        figure = plot_images(pictures(2), [AWKWARD, "$x_1$"], title=AWKWARD)
        drawn(figure)
        assert figure.axes[0].texts[1].get_text() == "$x_1$"
        assert figure.axes[0].texts[0].get_text() == "$\\frac_{$ a_b & ?? ? ? é"

    def test_refuses_lists_of_different_lengths(self) -> None:
        with pytest.raises(ValueError, match="2 images, 3 captions"):
            plot_images(pictures(2), ["x"] * 3, title="x")


def test_threads_draw_the_same_picture() -> None:
    def picture(_: int) -> bytes:
        return drawn(plot_curves(history_of(5), best_epoch=3, title="run")).tobytes()

    with ThreadPoolExecutor(2) as threads:
        assert len(set(threads.map(picture, range(3)))) == 1
