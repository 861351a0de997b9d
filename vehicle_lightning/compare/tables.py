"""The comparison as text: a table in the terminal, as CSV and as Markdown."""

import math
from collections.abc import Sequence

import pandas as pd

from vehicle_lightning.compare.ranking import Ranking, Row
from vehicle_lightning.runs.paired import SIGNIFICANCE
from vehicle_lightning.runs.statistics import Measurement

GAP = "  "
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
    header, *body = _cells(ranking)
    lines = [
        _markdown_row(header),
        _markdown_row(["---"] * len(header)),
        *(_markdown_row(cells) for cells in body),
        "",
        *notes(ranking),
    ]
    return "\n".join(lines) + "\n"


def to_text(ranking: Ranking, *, wide: bool = False) -> str:
    """Return the table as aligned text, one line a run: what fits a screen, or all columns."""
    cells, legend = (_cells(ranking), []) if wide else _narrow_cells(ranking)
    columns = [_aligned(column) for column in zip(*cells, strict=True)]
    lines = [GAP.join(row).rstrip() for row in zip(*columns, strict=True)]
    return "\n".join(lines + legend)


def _narrow_cells(ranking: Ranking) -> tuple[list[list[str]], list[str]]:
    """Return header and rows of the table that fits a screen, and what its numbers stand for."""
    shows_metric = ranking.metric != "val/accuracy"
    has_test = any(row.record.test is not None for row in ranking.rows)
    header = [
        *([ranking.metric] if shows_metric else []),
        "val %",
        *(["test %"] if has_test else []),
        "difference",
        "p",
        "conclusion",
    ]
    rows = [
        [
            *([f"{row.metric:.4g}"] if shows_metric else []),
            _measured(row.record.val)[0],
            *([_tested(row.record.test)] if has_test else []),
            _difference(row),
            _p(row),
            row.conclusion,
        ]
        for row in ranking.rows
    ]
    others = sum(max(map(len, column)) + len(GAP) for column in zip(header, *rows, strict=True))
    room = max(WIDTH - others, len("unfinished 99"))
    names, legend = [], []
    for number, (row, name) in enumerate(zip(ranking.rows, _short_names(ranking), strict=True)):
        status = "" if row.record.is_finished else f" ({row.record.summary['status']})"
        if len(name + status) > room:
            legend.append(f"{number + 1} = {name}")
            name = str(number + 1)
        names.append(name + status)
    body = [[name, *cells] for name, cells in zip(names, rows, strict=True)]
    return [["run", *header], *body], legend


def _short_names(ranking: Ranking) -> list[str]:
    """Return what differs between the names of the runs.

    The parts of a name that is made of settings are joined by hyphens; those that all runs share
    are left out, and so is the number where it is the same.
    """
    names = [row.record.name for row in ranking.rows]
    if len({name.rpartition("/")[2] for name in names}) == 1:
        names = [name.rpartition("/")[0] or name for name in names]
    if len(names) == 1:
        return names
    parts = [name.split("-") for name in names]
    shared = set.intersection(*map(set, parts))
    return [
        "-".join(part for part in own if part not in shared) or "the settings all share"
        for own in parts
    ]


def _aligned(column: Sequence[str]) -> tuple[str, ...]:
    width = max(map(len, column))
    return tuple(cell.ljust(width) for cell in column)


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
            "Difference, p with the word here: of these trained networks on other images (exact "
            f"McNemar test). {_adjusted(len(tests))} Of the settings one training each tells "
            "nothing; train both with --seeds 3 or --folds 5."
        )
    unshown = [row for row in ranking.rows if row.test and row.test.p_adjusted >= SIGNIFICANCE]
    if unshown:
        smallest = [row.test.difference.smallest_shown for row in unshown if row.test]
        low, high = (f"{100 * bound:.1f}" for bound in (min(smallest), max(smallest)))
        lines.append(
            f"No difference shown: one of {low if low == high else f'{low} to {high}'} points "
            "would have been, with a power of 80 %." + "".join(map(_to_show, unshown[:SENTENCES]))
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
    val, train = record.val, record.train
    is_of_settings = difference is not None and difference.is_of_settings
    interval = test.interval if test is not None and is_of_settings else (math.nan, math.nan)
    return {
        "run": record.name,
        "settings": row.settings,
        "status": summary["status"],
        "seeds": settings.seeds,
        "folds": settings.folds,
        "accuracy": val.accuracy,
        "low": val.interval[0],
        "high": val.interval[1],
        "n": val.n,
        "loss": val.loss,
        "train_accuracy": train.accuracy,
        "train_low": train.interval[0],
        "train_high": train.interval[1],
        "train_n": train.n,
        "train_loss": train.loss,
        "gap": record.gap,
        "metric": ranking.metric,
        "metric_value": row.metric,
        "best_epoch": summary["best_epoch"],
        "epochs": summary["epochs"],
        "target_loss": ranking.target_loss,
        "epochs_to_loss": row.epochs_to_loss,
        "seconds": summary["seconds"],
        "parameters": summary["parameters"],
        "verdict": record.verdict,
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
        **_test_figures(record.test),
        "images_to_show": None if difference is None else difference.images_to_show,
        "seeds_to_show": None if difference is None else difference.seeds_to_show,
    }


def _cells(ranking: Ranking) -> list[list[str]]:
    """Return header and rows, all as text."""
    shows_metric = ranking.metric not in ("val/accuracy", "val/loss", "train/accuracy", "gap")
    has_test = any(row.record.test is not None for row in ranking.rows)
    header = [
        "run",
        "settings",
        *([ranking.metric] if shows_metric else []),
        "val %",
        "n",
        *(["test %", "n"] if has_test else []),
        "train %",
        "n",
        "gap",
        "val loss",
        "best epoch",
        f"epochs to loss {ranking.target_loss:.3g}",
        "minutes",
        "parameters",
        "verdict",
        "difference",
        "p",
        "conclusion",
    ]
    rows = []
    for row in ranking.rows:
        record, summary = row.record, row.record.summary
        rows.append(
            [
                record.name + ("" if record.is_finished else f" ({summary['status']})"),
                row.settings,
                *([f"{row.metric:.4g}"] if shows_metric else []),
                *_measured(record.val),
                *(
                    [_tested(record.test), f"{record.test.n}" if record.test else ""]
                    if has_test
                    else []
                ),
                *_measured(record.train),
                f"{100 * record.gap:+.1f}",
                f"{record.val.loss:.3f}",
                f"{summary['best_epoch']} of {summary['epochs']}",
                str(row.epochs_to_loss or "-"),
                f"{summary['seconds'] / 60:.1f}",
                f"{summary['parameters']:,}",
                record.verdict,
                _difference(row),
                _p(row),
                row.conclusion,
            ]
        )
    return [header, *rows]


def _measured(side: Measurement) -> list[str]:
    accuracy, low, high = (100 * share for share in (side.accuracy, *side.interval))
    return [f"{accuracy:.1f} [{low:.1f}, {high:.1f}]", f"{side.n}"]


def _tested(test: Measurement | None) -> str:
    return "" if test is None else _measured(test)[0]


def _test_figures(test: Measurement | None) -> dict[str, object]:
    values: tuple[object, ...] = (math.nan, math.nan, math.nan, None)
    if test is not None:
        values = (test.accuracy, *test.interval, test.n)
    return dict(zip(("test_accuracy", "test_low", "test_high", "test_n"), values, strict=True))


def _difference(row: Row) -> str:
    if row.test is None:
        return ""
    difference, (low, high) = row.test.difference, row.test.interval
    text = f"{100 * difference.value:+.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    return text if difference.n == row.record.val.n else f"{text} (n={difference.n})"


def _p(row: Row) -> str:
    if row.test is None:
        return ""
    p = row.test.p_adjusted
    text = f"< {SMALLEST_P}" if p < SMALLEST_P else f"{p:.3f}"
    return text if row.test.difference.is_of_settings else f"{text} here"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
