"""The ranking: one row a run, the best first, each against the baseline."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vehicle_lightning.compare.records import LeftOut, Record, read_records
from vehicle_lightning.config import PLACES, SPLIT_BY, Settings
from vehicle_lightning.errors import RunError
from vehicle_lightning.runs.paired import Conclusion, conclude, paired_difference
from vehicle_lightning.settings_file import setting_in_words

LOWER_IS_BETTER = frozenset(
    {"train/loss", "val/loss", "train/running_loss", "val/calibration_error"}
    | {"gap", "seconds", "parameters", "best_epoch", "epochs"}
)
# Where data and results lie does not matter for a figure; with what precision it came about does.
SHOWN_SETTINGS = [name for name in Settings.model_fields if name not in PLACES - {"precision"}]


@dataclass(frozen=True)
class Row:
    """One run in the comparison.

    Attributes:
        record: the run.
        settings: those that not all runs share and that are not the default, in words.
        metric: the figure that the rows are sorted by.
        epochs_to_loss: first epoch with the target training loss; None where it is not reached.
        test: of the difference from the baseline; None for the baseline itself, and where no image
            is common.
        conclusion: of the test in words; else "baseline" or "no common images".
    """

    record: Record
    settings: str
    metric: float
    epochs_to_loss: int | None
    test: Conclusion | None
    conclusion: str


@dataclass(frozen=True)
class Ranking:
    """All runs that may be compared, the best first.

    Attributes:
        rows: one a run.
        baseline: the run that all others are compared with.
        metric: name of the figure that the rows are sorted by.
        target_loss: training loss that the convergence is told by.
        left_out: runs that may not be compared with the baseline, or cannot be read.
    """

    rows: tuple[Row, ...]
    baseline: Record
    metric: str
    target_loss: float
    left_out: tuple[LeftOut, ...]


def compare(
    paths: Sequence[Path],
    *,
    baseline: Path | None = None,
    metric: str = "val/accuracy",
    target_loss: float | None = None,
) -> Ranking:
    """Compare all runs at or below the paths.

    Args:
        paths: run folders, or folders that hold some.
        baseline: run to compare the others with.
        metric: the figure to sort by, as in `metrics.csv`.
        target_loss: training loss to count the epochs to, in nats.

    Raises:
        RunError: a path holds no run, or nothing may be compared with the baseline.
    """
    records, left_out = read_records([*([] if baseline is None else [baseline]), *paths])
    chosen = _find_baseline(records, left_out, baseline)
    return rank(records, chosen, metric=metric, target_loss=target_loss, left_out=left_out)


def _find_baseline(
    records: Sequence[Record], left_out: Sequence[LeftOut], named: Path | None
) -> Record:
    candidates = list(records)
    if named is not None:
        place = named.resolve()
        below = [r for r in records if r.run.path.resolve().is_relative_to(place)]
        candidates = [r for r in below if r.run.path.resolve() == place] or below
    if not candidates:
        raise RunError(
            f"There is nothing to compare with{'' if named is None else f' in {named}'}: "
            + "; ".join(f"{one.name}: {one.reason}" for one in left_out[:3])
            + "."
        )
    if named is None:
        return choose_baseline(candidates)
    if len(candidates) > 1:
        raise RunError(f"{named} holds {len(candidates)} runs; name one of them as the --baseline.")
    return candidates[0]


def rank(
    records: Sequence[Record],
    baseline: Record,
    *,
    metric: str,
    target_loss: float | None = None,
    left_out: Sequence[LeftOut] = (),
) -> Ranking:
    """Compare every run with the baseline, which is among the records.

    Args:
        records: the runs.
        baseline: the run to compare the others with.
        metric: the figure to sort by.
        target_loss: training loss to count epochs to; by default the lowest of the baseline.
        left_out: runs that have been left out already.

    Raises:
        RunError: no other run may be compared with the baseline, or a run has no such metric.
    """
    compared, apart = [], []
    for record in records:
        if reason := why_not_comparable(record, baseline):
            apart.append(LeftOut(record.name, reason))
        else:
            compared.append(record)
    if len(compared) == 1 and apart:
        raise RunError(
            f"Nothing can be compared with {baseline.name}: "
            + "; ".join(f"{one.name}: {one.reason}" for one in apart[:3])
            + ("; and so on" if len(apart) > 3 else "")
            + ". Name runs on the same images, or keep those of each data set in a --log-dir."
        )
    if target_loss is None:
        target_loss = float(baseline.curves["train/loss"].min())
    others = (record for record in compared if record is not baseline)
    found = {one.run: paired_difference(one.outcomes, baseline.outcomes) for one in others}
    known = {run: difference for run, difference in found.items() if difference is not None}
    tests = dict(zip(known, conclude(list(known.values())), strict=True))
    differing = [
        name
        for name in SHOWN_SETTINGS
        if len({getattr(record.settings, name) for record in compared}) > 1
    ]
    rows = [
        Row(
            record=record,
            settings=_in_words(record, differing),
            metric=record.figure(metric),
            epochs_to_loss=record.epochs_to(target_loss),
            test=(test := tests.get(record.run)),
            conclusion="baseline" if record is baseline else str(test or "no common images"),
        )
        for record in compared
    ]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    rows.sort(key=lambda row: (math.isnan(row.metric), sign * row.metric))
    return Ranking(tuple(rows), baseline, metric, target_loss, (*left_out, *apart))


def choose_baseline(records: Sequence[Record]) -> Record:
    """Return the oldest finished run of the largest set that may be compared with one another."""
    sets = Counter(map(_images, records))
    largest = sets.most_common(1)[0][0]
    candidates = [record for record in records if _images(record) == largest]
    return min(candidates, key=lambda record: (not record.is_finished, record.started))


def _images(record: Record) -> tuple[str, object]:
    return record.fingerprint, record.settings.split


def why_not_comparable(record: Record, baseline: Record) -> str | None:
    """Return why the accuracies of two runs must not be compared; None where they may be."""
    if record.fingerprint != baseline.fingerprint:
        return f"it has other images or labels than {baseline.name}"
    if record.settings.split != baseline.settings.split:
        own, others = _split_in_words(record, baseline), _split_in_words(baseline, record)
        return f"it validates other images than {baseline.name} ({own} instead of {others})"
    return None


def _split_in_words(record: Record, other: Record) -> str:
    """Return the flags by which it splits the images in another way."""
    own, others = (one.settings.model_dump(include=set(SPLIT_BY)) for one in (record, other))
    flags = []
    for name, value in own.items():
        if value != others[name]:
            flag = f"--{name.replace('_', '-')}"
            flags.append(f"no {flag}" if value is None else f"{flag} {value}")
    return ", ".join(flags)


def _in_words(record: Record, differing: Sequence[str]) -> str:
    own = record.settings.model_dump(exclude_defaults=True, include=set(SHOWN_SETTINGS))
    words = [setting_in_words(name, own[name]) for name in differing if name in own]
    return ", ".join(words) or ("-" if own else "defaults")
