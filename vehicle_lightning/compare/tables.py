"""The comparison as text: a table in the terminal, as CSV and as Markdown."""

import math
import re

import pandas as pd

from vehicle_lightning.compare.ranking import Ranking, Row
from vehicle_lightning.console import GAP, aligned
from vehicle_lightning.runs.paired import SIGNIFICANCE, range_in_points
from vehicle_lightning.runs.statistics import Measurement

WIDTH = 100  # characters of the table that fits a screen
SMALLEST_P = 0.001  # smaller ones are printed as "< 0.001"
SENTENCES = 3  # of runs in which no difference is shown, of the best


def to_frame(ranking: Ranking) -> pd.DataFrame:
    """Return the content of `comparison.csv`; later versions may add columns at the end.

    Columns: `run`, `settings` (those that differ), `status`, `seeds`, `folds`; `accuracy`, `low`,
    `high`, `n`, `loss` of the validation images (accuracies in [0, 1], `low` and `high` the 95 %
    Wilson interval, losses in nats), the same with `train_` before it for the training images,
    `gap`; `metric` and `metric_value`, what the rows are sorted by; `best_epoch`, `epochs`,
    `target_loss`, `epochs_to_loss` (empty: not reached); `seconds`, `parameters`, `verdict`; and
    against the `baseline`, about the settings when trained again: `paired_n`, `difference`,
    `difference_low`, `difference_high` (Holm-adjusted, empty with one training a side), `p_value`,
    `p_adjusted` (Holm; with one training a side of `p_networks`), `conclusion`. `last_accuracy` is
    the validation accuracy after the last epoch, which unlike `accuracy` no epoch was chosen by;
    `path` is the run folder. `p_networks` is of the exact test of these trained networks;
    `smallest_shown` the difference that would have been shown with a power of 80 %;
    `test_accuracy`, `test_low`, `test_high`, `test_n` are of the test images, if any.
    `images_to_show` images with as many folds and seeds, or `seeds_to_show` seeds a side on these
    images, show a difference as large as the one seen, with that power.
    """
    whole = ("epochs_to_loss", "paired_n", "folds", "test_n", "images_to_show", "seeds_to_show")
    rows = [_flat(row, ranking) for row in ranking.rows]
    return pd.DataFrame(rows).astype(dict.fromkeys(whole, "Int64"))


def to_markdown(ranking: Ranking) -> str:
    """Return the content of `comparison.md`: the table, and how to read it."""
    header, *body = _cells(ranking, wide=True)
    table = [header, ["---"] * len(header), *body]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    return "\n".join([*lines, "", *notes(ranking)]) + "\n"


def to_text(ranking: Ranking, *, wide: bool = False) -> str:
    """Return the table as aligned text, one line a run: what fits a screen, or all columns."""
    cells = _cells(ranking, wide=wide)
    legend: list[str] = []
    if not wide:
        columns = list(zip(*cells, strict=True))[1:]
        room = WIDTH - sum(max(map(len, column)) + len(GAP) for column in columns)
        names, legend = _short_names(ranking, max(room, len("unfinished 99")))
        for row, name in zip(cells[1:], names, strict=True):
            row[0] = name
    return "\n".join(aligned(cells) + legend)


def _short_names(ranking: Ranking, room: int) -> tuple[list[str], list[str]]:
    """Return what differs between the names of the runs, and a legend of what has no room.

    The parts of a name that is made of settings are joined by hyphens; those that all runs share
    are left out, and so is the number, or what stands before it, where that is the same. What is
    still too long is numbered.
    """
    names = [row.record.name for row in ranking.rows]
    before, _, numbers = zip(*(name.rpartition("/") for name in names), strict=True)
    if len(set(numbers)) == 1:
        names = [folder or name for folder, name in zip(before, names, strict=True)]
    elif len(set(before)) == 1:
        names = list(numbers)
    if len(names) > 1:
        parts = [re.split("-(?=[a-z])", name) for name in names]  # no list of numbers is cut
        shared = set.intersection(*map(set, parts))
        differing = ["-".join(part for part in own if part not in shared) for own in parts]
        names = [name or "the settings all share" for name in differing]
    legend = []
    for index, row in enumerate(ranking.rows):
        if len(names[index] + _status(row)) > room:
            legend.append(f"{index + 1} = {names[index]}")
            names[index] = str(index + 1)
        names[index] += _status(row)
    return names, legend


def notes(ranking: Ranking, *, wide: bool = True) -> list[str]:
    """Return how to read the table, and what was left out."""
    records = [row.record for row in ranking.rows]
    tests = [row.test for row in ranking.rows if row.test is not None]
    lines = [
        f"Baseline: {ranking.baseline.name}. Accuracies in % of the validation images, in eval "
        "mode, with the weights of the lowest validation loss, and their 95 % interval (Wilson).",
    ]
    if any(test.difference.is_of_settings for test in tests):
        lines.append(
            "Difference, p: of the settings when trained again, in points of accuracy; images, "
            f"folds and seeds vary (Student's t). {_adjusted(len(tests))}"
        )
    if not all(test.difference.is_of_settings for test in tests):
        lines.append(
            "Difference and p with the word here: of these trained networks only, on other images "
            f"(McNemar's exact test). {_adjusted(len(tests))} One training each says nothing of "
            "the settings; train both with --seeds 3 or --folds 5."
        )
    unshown = [row for row in ranking.rows if row.test and row.test.p_adjusted >= SIGNIFICANCE]
    if unshown:
        smallest = [row.test.difference.smallest_shown for row in unshown if row.test]
        bound = f"{range_in_points(smallest)} points would have been"
        if min(smallest) >= 1:  # a share of the images cannot be larger
            bound = "any size would not have been; train with more folds or seeds"
        lines.append(
            f"No difference shown: one of {bound}, with a power of 80 %."
            + "".join(map(_to_show, unshown[:SENTENCES]))
        )
    if wide and any(record.settings.is_repeated for record in records):
        lines.append(
            "Of runs over folds or seeds: best epoch is the median, time the sum, the loss curve "
            "the mean, the verdict the most frequent one."
        )
    if wide:
        lines.append(
            "Epochs to loss: the first epoch with a training loss of "
            f"{ranking.target_loss:.3g} or less, measured in eval mode."
        )
    lines += [f"Left out: {one.name}: {one.reason}." for one in ranking.left_out]
    return lines


def _to_show(row: Row) -> str:
    """Say what it would take to show the difference that was seen."""
    if row.test is None or not row.test.difference.value:
        return ""
    difference = row.test.difference
    images, seeds = difference.images_to_show, difference.seeds_to_show
    ways = [f"{images:,} images"] if images is not None and images > difference.n else []
    ways += [f"{seeds} seeds"] if seeds is not None and seeds > difference.seeds else []
    seen = f"{100 * difference.value:+.1f} points of {row.record.name}"
    return f" To show the {seen} takes {' or '.join(ways) or 'more images and seeds'}."


def _adjusted(tests: int) -> str:
    return f"Both adjusted for {tests} comparisons (Holm)." if tests > 1 else ""


def _flat(row: Row, ranking: Ranking) -> dict[str, object]:
    record, test = row.record, row.test
    difference = None if test is None else test.difference
    summary, settings = record.summary, record.settings
    is_of_settings = difference is not None and difference.is_of_settings
    interval = test.interval if test is not None and is_of_settings else (math.nan, math.nan)
    return {
        "run": record.name,
        "settings": row.settings,
        "status": summary.status,
        "seeds": settings.seeds,
        "folds": settings.folds,
        **_figures("", summary.val),
        "loss": summary.val.loss,
        **_figures("train_", summary.train),
        "train_loss": summary.train.loss,
        "gap": summary.gap,
        "metric": ranking.metric,
        "metric_value": row.metric,
        "best_epoch": summary.best_epoch,
        "epochs": summary.epochs,
        "target_loss": ranking.target_loss,
        "epochs_to_loss": row.epochs_to_loss,
        "seconds": summary.seconds,
        "parameters": summary.parameters,
        "verdict": summary.verdict.kind,
        "baseline": ranking.baseline.name,
        "paired_n": None if difference is None else difference.n,
        "difference": math.nan if difference is None else difference.value,
        "difference_low": interval[0],
        "difference_high": interval[1],
        "p_value": math.nan if difference is None else difference.p_value,
        "p_adjusted": math.nan if test is None else test.p_adjusted,
        "conclusion": row.conclusion,
        "last_accuracy": record.curves["val/accuracy"].to_numpy()[-1],
        "path": str(record.run.path),
        "p_networks": math.nan if difference is None else difference.p_networks,
        "smallest_shown": math.nan if difference is None else difference.smallest_shown,
        **_figures("test_", summary.test),
        "images_to_show": None if difference is None else difference.images_to_show,
        "seeds_to_show": None if difference is None else difference.seeds_to_show,
    }


def _figures(prefix: str, measured: Measurement | None) -> dict[str, object]:
    figures: tuple[object, ...] = (math.nan, math.nan, math.nan, None)
    if measured is not None:
        figures = (measured.accuracy, *measured.interval, measured.n)
    names = [f"{prefix}{name}" for name in ("accuracy", "low", "high", "n")]
    return dict(zip(names, figures, strict=True))


def _cells(ranking: Ranking, *, wide: bool) -> list[list[str]]:
    """Return header and rows as text: all columns, or those that fit a screen."""
    shown = ("val/accuracy", "val/loss", "train/accuracy", "gap")[: None if wide else 1]
    has_test = any(row.record.summary.test is not None for row in ranking.rows)
    table: list[list[str]] = []
    for row in ranking.rows:
        summary = row.record.summary
        val, train, test = summary.val, summary.train, summary.test
        columns = [
            (True, "run", row.record.name + _status(row)),
            (wide, "settings", row.settings),
            (ranking.metric not in shown, ranking.metric, f"{row.metric:.4g}"),
            (True, "val %", val.percent),
            (wide, "n", str(val.n)),
            (has_test, "test %", test.percent if test else ""),
            (has_test and wide, "n", str(test.n) if test else ""),
            (wide, "train %", train.percent),
            (wide, "n", str(train.n)),
            (wide, "gap", f"{100 * summary.gap:+.1f}"),
            (wide, "val loss", f"{val.loss:.3f}"),
            (wide, "best epoch", f"{summary.best_epoch} of {summary.epochs}"),
            (wide, f"epochs to loss {ranking.target_loss:.3g}", str(row.epochs_to_loss or "-")),
            (wide, "minutes", f"{summary.seconds / 60:.1f}"),
            (wide, "parameters", f"{summary.parameters:,}"),
            (wide, "verdict", summary.verdict.kind),
            (True, "difference", _difference(row)),
            (True, "p", _p(row)),
            (True, "conclusion", row.conclusion),
        ]
        if not table:
            table.append([header for is_shown, header, _ in columns if is_shown])
        table.append([cell for is_shown, _, cell in columns if is_shown])
    return table


def _status(row: Row) -> str:
    return "" if row.record.is_finished else f" ({row.record.summary.status})"


def _difference(row: Row) -> str:
    if row.test is None:
        return ""
    difference, (low, high) = row.test.difference, row.test.interval
    text = f"{100 * difference.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
    return text if difference.n == row.record.summary.val.n else f"{text} (n={difference.n})"


def _p(row: Row) -> str:
    if row.test is None:
        return ""
    p = row.test.p_adjusted
    text = f"< {SMALLEST_P}" if p < SMALLEST_P else f"{p:.3f}"
    return text if row.test.difference.is_of_settings else f"{text} here"
