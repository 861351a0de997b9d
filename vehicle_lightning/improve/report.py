"""What a walk has come to: its table, its sentences, one picture, and the best settings."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vehicle_lightning.config import PLACES
from vehicle_lightning.console import aligned
from vehicle_lightning.files import write_text
from vehicle_lightning.improve.moves import listed
from vehicle_lightning.improve.state import Step, Walk, run_of, summary_of
from vehicle_lightning.improve.walk import End, in_short
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.paired import Outcomes, paired_difference
from vehicle_lightning.runs.plots import (
    FAINT,
    GRID,
    INK,
    TRAIN,
    VAL,
    begin_figure,
    drawable,
    lay_out,
    save,
)
from vehicle_lightning.runs.predictions import read_predictions
from vehicle_lightning.runs.statistics import Measurement

LONGEST_LABEL = 46  # characters in the picture
# What a settings file needs to find the same images; where results go is for whoever uses it.
KEPT_PLACES = {"data_dir", "csv", "image_dir", "image_column", "label_column", "weights"}
# Of the walk, not of the best settings.
WALKS_OWN = {"folds", "test_fraction"}
WIDTH = 100  # characters of a line
ENDED = ("finished", "ended early")
LEGEND = (
    "Accuracy: of the validation images, each counted once over the folds, with its 95 % interval. "
    "Difference: in points, from the best so far, on the same images; its 95 % interval is that "
    "for the settings. Kept: better by one standard error, or by two where it costs over 1.5 times "
    "as much. Shown: also when corrected for the number of steps."
)


def report(walk: Walk, folder: Path, end: End | None) -> str:
    """Write `best.yaml` and `improve.png` into the walk's folder.

    Args:
        walk: what was done.
        folder: where it lies.
        end: why the walk ended; None where a person stopped it, and then the test images are not
            looked at yet.

    Returns:
        The table, what to make of it, and the files.
    """
    again = f"python -m vehicle_lightning.improve --resume {RunFolder(folder).quoted}"
    more = f" --budget {math.ceil(walk.budget / 30)}m" if end else ""
    if not any(step.is_kept for step in walk.steps):
        ended = "The time was up" if end else "Stopped"
        return f"{ended} before the baseline was trained; to go on: {again}{more}"
    best_file, picture = folder / "best.yaml", folder / "improve.png"
    write_text(best_file, best_settings(walk, folder))
    save(plot_walk(walk, folder, with_test=end is not None), picture)
    lines = table(walk, folder)
    where_to = in_a_sentence(walk, folder, with_test=end is not None)
    for paragraph in (LEGEND, where_to, verdicts_in_words(walk)):
        lines += ["", *textwrap.wrap(paragraph, WIDTH, break_long_words=False)]
    lines += ["", f"saved   {best_file}", f"saved   {picture}"]
    if end == "tried all":
        lines.append("end     every move was tried from the best settings; none is left")
    else:
        why = "the time is up" if end else "stopped; the test images have not been looked at"
        lines.append(f"end     {why}; to go on: {again}{more}")
    place = RunFolder(folder).quoted
    see = f"tensorboard --logdir {place}, or python -m vehicle_lightning.compare {place}"
    return "\n".join([*lines, f"see     {see}"])


def _test_outcomes(folder: Path, number: int) -> Outcomes:
    """Return who was right on the test images, which the networks of all folds predicted."""
    frame = read_predictions(run_of(folder, number).test_predictions)
    network = frame.groupby(["seed", "fold"]).ngroup()
    return Outcomes.from_predictions(frame.drop(columns="fold").assign(seed=network))


def table(walk: Walk, folder: Path) -> list[str]:
    """Return one line a step under a heading."""
    rows = [["step", "change", "why", "accuracy %", "difference", "outcome", "minutes"]]
    for number, step in enumerate(walk.steps):
        rows.append(
            [
                str(number),
                step.label,
                step.why,
                _accuracy(folder, number, step),
                _difference(step),
                _end_of(step),
                f"{step.seconds / 60:.1f}",
            ]
        )
    return aligned(rows)


def _accuracy(folder: Path, number: int, step: Step) -> str:
    if step.status != "finished":  # of the images of fewer folds it would mislead
        return "-"
    val = summary_of(folder, number).val
    return f"{100 * val.accuracy:.1f} {_in_brackets(val.interval)}"


def _difference(step: Step) -> str:
    if step.difference is None:
        return "-"
    interval = f" {_in_brackets(step.interval, sign='+')}" if step.interval else ""
    return f"{100 * step.difference:+.1f}{interval}"


def _in_brackets(interval: tuple[float, float], sign: str = "") -> str:
    low, high = (100 * bound for bound in interval)
    return f"[{low:{sign}.1f}, {high:{sign}.1f}]"


def _end_of(step: Step) -> str:
    if step.base is None:
        return ""
    words = {"running": "not finished", "untrainable": "cannot be trained"}
    return words.get(step.status, in_short(step))


def in_a_sentence(walk: Walk, folder: Path, *, with_test: bool) -> str:
    """Return where the walk led, what each move brought, and what was not tried."""
    brought: dict[str, list[str]] = {}
    for step in walk.steps:
        if step.is_kept and step.difference is not None:
            brought.setdefault(step.move, []).append(f"{100 * step.difference:+.1f}")
    tried = list(dict.fromkeys(s.move for s in walk.steps if s.status in ENDED and s.change))
    in_vain = [move for move in tried if move not in brought]
    left = [one.move for one in listed(walk.settings_of(walk.best)) if one.move not in tried]
    gains = [f"{move} {' and '.join(points)}" for move, points in brought.items()]
    says = [f"{_listed(gains)} points"] if gains else []
    says += [f"{_listed(in_vain)} nothing"] if in_vain else []
    details = f" On the validation images, {'; '.join(says)}." if says else ""
    untried = f" Not tried: {_listed(left)}." if left else ""
    return f"{_from_to(walk, folder, with_test=with_test)}{details}{untried}"


def _from_to(walk: Walk, folder: Path, *, with_test: bool) -> str:
    first, best = (summary_of(folder, number) for number in (0, walk.best))
    if not with_test or first.test is None or best.test is None:
        return (
            f"From {_percent(first.val)} to {_percent(best.val)} of {best.val.n} validation images."
        )
    on = f"of the {best.test.n} test images, which decided nothing"
    difference = paired_difference(*(_test_outcomes(folder, one) for one in (walk.best, 0)))
    if difference is None or walk.best == 0:
        return f"{_percent(first.test)} {on}: no step was kept."
    return (
        f"From {_percent(first.test)} to {_percent(best.test)} {on}: "
        f"{100 * difference.value:+.1f} points {_in_brackets(difference.interval(), sign='+')}."
    )


def _percent(measured: Measurement) -> str:
    return f"{100 * measured.accuracy:.1f} % {_in_brackets(measured.interval)}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def verdicts_in_words(walk: Walk) -> str:
    """Return how often the proposals of a verdict helped."""
    outcomes = verdict_outcomes(walk)
    if not outcomes:
        return "No proposal of a verdict was tried."
    first, second, third = (outcomes.count(place) for place in (1, 2, 3))
    return (
        f"Verdicts with proposals that were tried: {len(outcomes)}. The first proposal helped in "
        f"{first}, the second in {second}, the third in {third}, none in {outcomes.count(0)}."
    )


def verdict_outcomes(walk: Walk) -> list[int]:
    """Return for each verdict whose proposals were tried which of them helped.

    That is the place of the one that was kept, from 1, or 0 where none was.
    """
    found: dict[int, int] = {}
    for step in walk.steps:
        if step.proposal is not None and step.base is not None and step.status != "running":
            found.setdefault(step.base, 0)
            if step.is_kept:
                found[step.base] = step.proposal
    return list(found.values())


def best_settings(walk: Walk, folder: Path) -> str:
    """Return the settings of the best step as an experiment."""
    differing = walk.settings_of(walk.best).model_dump(
        mode="json",
        exclude_defaults=True,
        exclude=set(PLACES - KEPT_PLACES - {"precision"}) | WALKS_OWN,
    )
    comment = (
        f"# Step {walk.best} of {folder}: {summary_of(folder, walk.best).val} in validation.\n"
    )
    text = yaml.safe_dump(differing, sort_keys=False, allow_unicode=True)
    return comment + (text if differing else "")


def plot_walk(walk: Walk, folder: Path, *, with_test: bool) -> Figure:
    """Draw the accuracy of every step with its interval, and the minutes it took."""
    tests = [summary_of(folder, number).test for number in (0, walk.best)] if with_test else []
    steps = [(number, step) for number, step in enumerate(walk.steps) if step.status in ENDED]
    rows = len(steps) + len(tests)
    figure = begin_figure(11, 1.5 + 0.3 * rows, f"{folder.name}: {len(steps) - 1} steps")
    lay_out(figure)
    accuracy, minutes = figure.subplots(1, 2, sharey=True, width_ratios=(2.2, 1))
    kept = []
    for row, (number, step) in enumerate(steps):
        val = summary_of(folder, number).val
        colour = VAL if step.is_kept else FAINT
        if step.status == "finished":
            _draw(accuracy, row, val, colour, filled=step.is_kept)
        elif step.base is not None and step.difference is not None:
            stands = summary_of(folder, step.base).val.accuracy + step.difference
            accuracy.plot(100 * stands, row, "x", color=colour, markersize=6)
        minutes.barh(row, step.seconds / 60, height=0.6, color=colour)
        kept += [(100 * val.accuracy, row)] * step.is_kept
    accuracy.plot(*zip(*kept, strict=True), color=VAL, linewidth=1.2, zorder=1)
    labels = [f"{number}  {step.label}" for number, step in steps]
    for row, measured in enumerate(tests, len(steps)):
        if measured is not None:
            _draw(accuracy, row, measured, TRAIN, filled=True)
    if tests:
        labels += ["test images: baseline", f"test images: step {walk.best}, the best"]
        accuracy.axhline(len(steps) - 0.5, color=FAINT, linewidth=0.8)
    accuracy.set_title("Accuracy, 95 % interval", loc="left", fontsize=10, color=INK)
    minutes.set_title("Minutes", loc="left", fontsize=10, color=INK)
    accuracy.set_yticks(
        range(rows),
        [drawable(label, LONGEST_LABEL) for label in labels],
        fontsize=8.5,
        parse_math=False,
    )
    accuracy.set_ylim(rows - 0.4, -0.6)
    accuracy.xaxis.set_major_formatter("{x:g} %")
    for axes in (accuracy, minutes):
        axes.tick_params(length=0, labelsize=8.5, labelcolor=INK)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
    accuracy.set_xlabel(
        "filled: kept; hollow: dropped; x: dropped early, at its difference from the best so far",
        fontsize=8.5,
        color=FAINT,
    )
    return figure


def _draw(axes: Axes, row: int, measured: Measurement, colour: str, *, filled: bool) -> None:
    low, high = measured.interval
    axes.plot([100 * low, 100 * high], [row, row], color=colour, linewidth=1.6)
    face = colour if filled else "white"
    axes.plot(
        100 * measured.accuracy,
        row,
        "o",
        color=colour,
        markersize=6,
        markerfacecolor=face,
        zorder=3,
    )
