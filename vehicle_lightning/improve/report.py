"""What a walk has come to: its table, its sentences, one picture, and the best settings."""

import math
import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

from vehicle_lightning.console import aligned
from vehicle_lightning.errors import counted
from vehicle_lightning.files import write_text
from vehicle_lightning.improve.moves import TOGETHER, in_words, listed
from vehicle_lightning.improve.state import Step, Walk
from vehicle_lightning.improve.walk import End, remedies_taken_back
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.paired import Outcomes, paired_difference, range_in_points
from vehicle_lightning.runs.plots import (
    FAINT,
    TRAIN,
    VAL,
    begin_figure,
    draw_accuracy,
    drawable,
    lay_out,
    prepare_accuracies,
    prepare_panel,
    save,
)
from vehicle_lightning.runs.predictions import read_predictions
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.settings_file import experiment

LONGEST_LABEL = 46  # characters in the picture
WIDTH = 100  # characters of a line
ENDED = ("finished", "ended early")
LEGEND = (
    "Accuracy: of the validation images, each counted once over the folds, with its 95 % interval. "
    "Difference: in points, from the best so far, on the same images; its 95 % interval is that "
    "for the settings. Kept: better by one standard error, or by two where it costs over 1.5 times "
    "as much. Shown: also when corrected for the number of steps."
)


def report(walk: Walk, end: End | None) -> str:
    """Write `best.yaml` and `improve.png` into the walk's folder.

    Args:
        walk: what was done.
        end: why the walk ended; None where a person stopped it, and then the test images are not
            looked at yet.

    Returns:
        The table, what to make of it, and the files.
    """
    place = RunFolder(walk.folder).quoted
    again = f"python -m vehicle_lightning.improve --resume {place}"
    more = f" --budget {math.ceil(walk.budget / 30)}m" if end else ""
    if not any(step.is_kept for step in walk.steps):
        ended = "The time was up" if end else "Stopped"
        return f"{ended} before the baseline was trained; to go on: {again}{more}"
    best_file, picture = walk.folder / "best.yaml", walk.folder / "improve.png"
    best = f"Step {walk.best} of {walk.folder}: {walk.summary_of(walk.best).val} in validation."
    own = {"folds", "test_fraction"}  # of the walk, not of the settings
    write_text(best_file, experiment(walk.settings_of(walk.best), best, without=own))
    save(plot_walk(walk, with_test=end is not None), picture)
    lines = _table(walk)
    where_to = _where_to(walk, with_test=end is not None)
    for paragraph in (*_together(walk), LEGEND + _unshown(walk), where_to):
        lines += ["", *textwrap.wrap(paragraph, WIDTH, break_long_words=False)]
    lines += ["", f"saved   {best_file}", f"saved   {picture}"]
    if end == "tried all":
        lines.append("end     every move was tried from the best settings; none is left")
    else:
        why = "the time is up" if end else "stopped; the test images have not been looked at"
        lines.append(f"end     {why}; to go on: {again}{more}")
    see = f"tensorboard --logdir {place}, or python -m vehicle_lightning.compare {place}"
    return "\n".join([*lines, f"see     {see}"])


def _table(walk: Walk) -> list[str]:
    """Return one line a step under a heading."""
    words = {"running": "not finished", "untrainable": "cannot be trained"}
    rows = [["step", "change", "why", "accuracy %", "difference", "outcome", "minutes"]]
    for number, step in enumerate(walk.steps):
        # Of the images of fewer folds an accuracy would mislead.
        is_finished = step.status == "finished"
        accuracy = walk.summary_of(number).val.percent if is_finished else "-"
        outcome = words.get(step.status, step.outcome) if step.base is not None else ""
        minutes = f"{step.seconds / 60:.1f}"
        rows.append(
            [str(number), step.label, step.why, accuracy, _difference(step), outcome, minutes]
        )
    return aligned(rows)


def _together(walk: Walk) -> list[str]:
    """Return what the usual remedies are, where they were tried."""
    changes = [s.change for s in walk.steps if s.move == TOGETHER and s.status != "untrainable"]
    return [f"{TOGETHER.capitalize()}: {in_words(change)}." for change in changes[:1]]


def _unshown(walk: Walk) -> str:
    """Return how large a difference would have been shown, where one was not."""
    unshown = [s.smallest for s in walk.steps if s.smallest is not None and not s.is_shown]
    if not unshown or min(unshown) >= 1:  # of two folds nothing can be said
        return ""
    return (
        f" Not shown: a difference of {range_in_points(unshown)} points would have been, of a step "
        f"alone, with a power of 80 %; a new walk with --seeds {2 * walk.settings.seeds} shows "
        f"smaller ones."
    )


def _difference(step: Step) -> str:
    if step.difference is None:
        return "-"
    return _points(step.difference) + (f" {_bounds(step.interval)}" if step.interval else "")


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"


def _bounds(interval: tuple[float, float]) -> str:
    return f"[{', '.join(map(_points, interval))}]"


def _where_to(walk: Walk, *, with_test: bool) -> str:
    """Return where the walk led, what each move brought, and what was not tried."""
    possible = [*listed(walk.settings_of(walk.best)), *remedies_taken_back(walk)]
    settled = {step.move for step in walk.steps if step.status != "running"}
    left = [one.move for one in possible if one.move not in settled]
    untried = f" Not tried: {_listed(left)}." if left else ""
    return f"{_from_to(walk, with_test=with_test)}{_brought(walk)}{untried}"


def _brought(walk: Walk) -> str:
    """Return what each move brought that was tried, and what it cost to take a remedy back."""
    brought: dict[str, list[str]] = {}
    lost: dict[str, str] = {}
    dropped: list[str] = []
    for step in walk.steps:
        if step.status not in ENDED or step.difference is None:
            continue
        points = _points(step.difference)
        if step.is_kept:
            brought.setdefault(step.move, []).append(points)
        elif step.takes_back:
            lost[step.move] = points + " (ended early)" * (step.interval is None)
        else:
            dropped.append(step.move)
    in_vain = [move for move in dict.fromkeys(dropped) if move not in brought]
    gains = [f"{move} {' and '.join(points)}" for move, points in brought.items()]
    losses = [f"{move} {points}" for move, points in lost.items()]
    says = [f"{_listed(words)} points" for words in (gains, losses) if words]
    says += [f"{_listed(in_vain)} nothing"] if in_vain else []
    return f" On the validation images, {'; '.join(says)}." if says else ""


def _from_to(walk: Walk, *, with_test: bool) -> str:
    first, best = (walk.summary_of(number) for number in (0, walk.best))
    if not with_test or first.test is None or best.test is None:
        return (
            f"From {_percent(first.val)} to {_percent(best.val)} of {best.val.n} validation images."
        )
    on = f"of the {best.test.n} test images, which decided nothing"
    difference = paired_difference(*(_test_outcomes(walk, one) for one in (walk.best, 0)))
    if difference is None or walk.best == 0:
        return f"{_percent(first.test)} {on}: no step was kept."
    return (
        f"From {_percent(first.test)} to {_percent(best.test)} {on}: "
        f"{_points(difference.value)} points {_bounds(difference.interval())}."
    )


def _test_outcomes(walk: Walk, number: int) -> Outcomes:
    """Return who was right on the test images, which the networks of all folds predicted."""
    frame = read_predictions(walk.run_of(number).test_predictions)
    network = frame.groupby(["seed", "fold"]).ngroup()
    return Outcomes.from_predictions(frame.drop(columns="fold").assign(seed=network))


def _percent(measured: Measurement) -> str:
    return measured.percent.replace(" ", " % ", 1)


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plot_walk(walk: Walk, *, with_test: bool) -> Figure:
    """Draw the accuracy of every step with its interval, and the minutes it took."""
    tests = [walk.summary_of(number).test for number in (0, walk.best)] if with_test else []
    steps = [(number, step) for number, step in enumerate(walk.steps) if step.status in ENDED]
    labels = [drawable(f"{number}  {step.label}", LONGEST_LABEL) for number, step in steps]
    if tests:
        labels += ["test images: baseline", f"test images: step {walk.best}, the best"]
    title = f"{walk.folder.name}: {counted(len(steps) - 1, 'step')}"
    figure = begin_figure(11, 1.5 + 0.3 * len(labels), title)
    lay_out(figure)
    accuracy, minutes = figure.subplots(1, 2, sharey=True, width_ratios=(2.2, 1))
    prepare_panel(minutes, "Minutes")
    prepare_accuracies(accuracy, "Accuracy, 95 % interval", labels)
    minutes.grid(visible=False, axis="y")
    kept = []
    for row, (number, step) in enumerate(steps):
        val = walk.summary_of(number).val
        color = VAL if step.is_kept else FAINT
        if step.status == "finished":
            draw_accuracy(accuracy, row, val, color, filled=step.is_kept)
        elif step.base is not None and step.difference is not None:
            stands = walk.summary_of(step.base).val.accuracy + step.difference
            accuracy.plot(100 * stands, row, "x", color=color, markersize=6)
        minutes.barh(row, step.seconds / 60, height=0.6, color=color)
        kept += [(100 * val.accuracy, row)] * step.is_kept
    accuracy.plot(*zip(*kept, strict=True), color=VAL, linewidth=1.2, zorder=1)
    for row, measured in enumerate(tests, len(steps)):
        if measured is not None:
            draw_accuracy(accuracy, row, measured, TRAIN)
    if tests:
        accuracy.axhline(len(steps) - 0.5, color=FAINT, linewidth=0.8)
    accuracy.set_xlabel(
        "filled: kept; hollow: dropped; x: dropped early, at its difference from the best so far"
    )
    return figure
