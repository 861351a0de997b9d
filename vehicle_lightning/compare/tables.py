"""The comparison as text: a table in the terminal, as CSV and as Markdown."""

import math
from collections.abc import Sequence

import pandas as pd

from vehicle_lightning.compare.ranking import Ranking, Row
from vehicle_lightning.runs.statistics import Measurement

GAP = "  "
SMALLEST_P = 0.001  # smaller ones are printed as "< 0.001"


def to_frame(ranking: Ranking) -> pd.DataFrame:
    """Return the content of `comparison.csv`; later versions may add columns at the end.

    Columns: `run`, `settings` (those that differ), `status`, `seeds`, `folds`; `accuracy`, `low`,
    `high`, `n`, `loss` of the validation images (accuracies in [0, 1], `low` and `high` the 95 %
    Wilson interval, losses in nats), the same with `train_` before it for the training images,
    `gap`; `metric` and `metric_value`, what the rows are sorted by; `best_epoch`, `epochs`,
    `target_loss`, `epochs_to_loss` (empty: not reached); `seconds`, `parameters`, `verdict`; and
    against the `baseline`: `paired_n`, `difference`, `difference_low`, `difference_high`,
    `p_value`, `p_adjusted` (Holm), `conclusion`. `last_accuracy` is the validation accuracy after
    the last epoch, which unlike `accuracy` no epoch was chosen by; `path` is the run folder;
    `test_accuracy`, `test_low`, `test_high`, `test_n` are those of the test images, if any.
    """
    return pd.DataFrame([_flat(row, ranking) for row in ranking.rows]).astype(
        {"epochs_to_loss": "Int64", "paired_n": "Int64", "folds": "Int64", "test_n": "Int64"}
    )


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


def to_text(ranking: Ranking, width: int | None = None) -> str:
    """Return the same table as aligned text, one line a run.

    Args:
        ranking: what to print.
        width: characters of a line; columns that do not fit follow below, behind the run again.
    """
    columns = [_aligned(column) for column in zip(*_cells(ranking), strict=True)]
    names, others = columns[0], columns[1:]
    blocks: list[list[tuple[str, ...]]] = [[names]]
    for column in others:
        wide = sum(len(c[0]) + len(GAP) for c in blocks[-1]) + len(column[0])
        if width is not None and wide > width and len(blocks[-1]) > 1:
            blocks.append([names])
        blocks[-1].append(column)
    return "\n\n".join(
        "\n".join(GAP.join(cells).rstrip() for cells in zip(*block, strict=True))
        for block in blocks
    )


def _aligned(column: Sequence[str]) -> tuple[str, ...]:
    width = max(map(len, column))
    return tuple(cell.ljust(width) for cell in column)


def notes(ranking: Ranking) -> list[str]:
    """Return how to read the table, and what was left out."""
    records = [row.record for row in ranking.rows]
    any_repeated = any(len(record.seed_accuracies) > 1 for record in records)
    lines = [
        "Accuracies in % with their 95 % interval (Wilson) and number of images n, in eval mode, "
        "with the weights of the lowest validation loss.",
        f"Difference: of validation accuracy from {ranking.baseline.name}, in points, on the "
        "images that both validated, with its 95 % interval (Bonett and Price); p: exact "
        f"{'paired permutation' if any_repeated else 'McNemar'} test, Holm-adjusted for "
        f"{len(ranking.rows) - 1} comparison{'s' * (len(ranking.rows) != 2)}.",
        f"Epochs to loss: the first epoch with a training loss of {ranking.target_loss:.3g} or "
        "less, measured in eval mode.",
    ]
    if any(record.settings.is_repeated for record in records):
        lines.append(
            "Of runs over folds or seeds: best epoch is the median, time the sum, the loss curve "
            "the mean, the verdict the most frequent one."
        )
    if any(len(record.seed_accuracies) == 1 for record in records):
        lines.append(
            "Where there is one seed, how much another would change is not in the intervals."
        )
    lines += [f"Left out: {one.name}: {one.reason}." for one in ranking.left_out]
    return lines


def _flat(row: Row, ranking: Ranking) -> dict[str, object]:
    record, difference = row.record, row.difference
    summary, settings = record.summary, record.settings
    val, train = record.val, record.train
    interval = (math.nan, math.nan) if difference is None else difference.interval
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
        "p_adjusted": row.p_adjusted,
        "conclusion": row.conclusion,
        "last_accuracy": record.curves["val/accuracy"].to_numpy()[-1],
        "path": str(record.run.path),
        **_test_figures(record.test),
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
        *(["test % (n)"] if has_test else []),
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
                *([_tested(record.test)] if has_test else []),
                *_measured(record.train),
                f"{100 * record.gap:+.1f}",
                f"{record.val.loss:.3f}",
                f"{summary['best_epoch']} of {summary['epochs']}",
                str(row.epochs_to_loss or "-"),
                f"{summary['seconds'] / 60:.1f}",
                f"{summary['parameters']:,}",
                record.verdict,
                _difference(row),
                _p(row.p_adjusted),
                row.conclusion,
            ]
        )
    return [header, *rows]


def _measured(side: Measurement) -> list[str]:
    accuracy, low, high = (100 * share for share in (side.accuracy, *side.interval))
    return [f"{accuracy:.1f} [{low:.1f}, {high:.1f}]", f"{side.n}"]


def _tested(test: Measurement | None) -> str:
    return "" if test is None else "{} ({})".format(*_measured(test))


def _test_figures(test: Measurement | None) -> dict[str, object]:
    values = (math.nan, math.nan, math.nan, None)
    if test is not None:
        values = (test.accuracy, *test.interval, test.n)
    return dict(zip(("test_accuracy", "test_low", "test_high", "test_n"), values, strict=True))


def _difference(row: Row) -> str:
    if row.difference is None:
        return ""
    low, high = row.difference.interval
    text = f"{100 * row.difference.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
    return text if row.difference.n == row.record.val.n else f"{text} (n={row.difference.n})"


def _p(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"< {SMALLEST_P}" if value < SMALLEST_P else f"{value:.3f}"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
