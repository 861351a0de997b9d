"""The walk: choose a move, train it over the folds, keep it or not, and so on.

**Which move is next.** From a plain network the usual remedies together; the first proposal of the
verdict on the best so far; the moves of the list that answer such a verdict; its other proposals;
the rest of the list; each of the remedies that were kept together taken back alone; then, oldest
first, what was tried before and dropped. Settings that were trained before are never trained
again. A move that was kept may be taken again, in its place on the list.

**What fits.** A training is estimated to take as long as that of the best so far, times what the
move costs. One that does not fit into what is left of the budget is not begun. One that would take
more than an eighth of the budget, and more than two and a half times as long as the best so far,
waits until nothing cheaper is left to try: else a verdict that asks for twice the epochs again and
again would spend it all on one idea.
"""

import math
import time
from collections.abc import Sequence
from typing import Literal

import torch

from vehicle_lightning.console import notice
from vehicle_lightning.errors import InputError, UntrainableError
from vehicle_lightning.fit.callbacks import PruningCallback
from vehicle_lightning.fit.start import check_same_data
from vehicle_lightning.fit.train import train
from vehicle_lightning.improve.moves import (
    TOGETHER,
    Candidate,
    in_words,
    listed,
    proposed,
    taken_back,
)
from vehicle_lightning.improve.state import (
    Step,
    Walk,
    is_behind,
    is_worth_keeping,
    level_of_next,
)
from vehicle_lightning.runs.fold_runs import fold_runs
from vehicle_lightning.runs.paired import Outcomes, paired_difference
from vehicle_lightning.runs.predictions import read_predictions
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.runs.summary import Summary
from vehicle_lightning.runs.verdict import Verdict

BASELINE = "baseline"
SHARE = 1 / 8  # of the budget that a step may take while there are cheaper ones
ALWAYS_CHEAP = 2.5  # times as long as the best so far, or less

End = Literal["tried all", "no time"]


class StepPruning(PruningCallback):
    """Pauses a step when the time is up, and ends one early that is behind the best so far.

    Of that the accuracies of the fold runs are given; of the baseline, which has none, an empty
    list. The deadline is by `time.monotonic`.
    """

    def __init__(self, title: str, deadline: float, best: Sequence[float]) -> None:
        super().__init__(title)
        self._deadline = deadline
        self._best = best

    def must_pause(self) -> bool:
        """Return whether the time is up."""
        return time.monotonic() > self._deadline

    def prunes_after_fold_runs(self, measured: Sequence[Measurement]) -> bool:
        """Return whether the step is behind the best on the same folds."""
        return bool(self._best) and is_behind([one.accuracy for one in measured], self._best)


def go_on(walk: Walk) -> End:
    """Take steps until none is left to try or the time is up.

    The state is written after every step, and when a step is interrupted, which is then gone on
    with.

    Raises:
        InputError: something is wrong with the data or with the baseline.
        KeyboardInterrupt: a person stopped it.
    """
    deadline = time.monotonic() + walk.budget - walk.spent
    while True:
        if not walk.steps:
            walk.steps.append(Step(move=BASELINE, change={}, why="-"))
        elif walk.steps[-1].status != "running":
            step = next_step(walk, deadline - time.monotonic())
            if isinstance(step, str):
                return step
            walk.steps.append(step)
        walk.write()
        try:
            is_judged = _train_last(walk, deadline)
        except InputError:
            if not walk.run_of(0).path.exists():
                walk.remove()  # nothing was trained
            raise
        if not is_judged:
            return "no time"
        walk.write()
        notice(_outcome(walk))


def next_step(walk: Walk, left: float) -> Step | End:
    """Choose the next step for the seconds that are left, or say why there is none."""
    every = possible_steps(walk, walk.summary_of(walk.best).verdict)
    seconds = walk.steps[walk.best].seconds
    most = max(SHARE * walk.budget, ALWAYS_CHEAP * seconds)
    fitting = [step for step in every if step.cost * seconds <= left]
    cheap = [step for step in fitting if step.cost * seconds <= most]
    if not fitting:
        return "no time" if every else "tried all"
    step = (cheap or fitting)[0]
    notice(
        f"Step {len(walk.steps)}, {step.move} ({in_words(step.change)}), {step.why}: about "
        f"{step.cost * seconds / 60:.1f} min."
    )
    return step


def possible_steps(walk: Walk, verdict: Verdict) -> list[Step]:
    """Return all steps that can be tried next, in order; the verdict is on the best so far."""
    settings, kind = walk.settings_of(walk.best), verdict.kind
    # What was kept may go on as if it were new: deeper still.
    kept = {step.move: number for number, step in enumerate(walk.steps) if step.is_kept}
    dropped = {
        step.move: number
        for number, step in enumerate(walk.steps)
        if number > kept.get(step.move, -1)
    }
    proposals = [
        (one, f"verdict {kind}, proposal {place}", place)
        for place, flag in enumerate(verdict.flags, 1)
        if (one := proposed(flag, settings)) is not None
    ]
    # Once they were kept, what is taken back of them may leave a plain network.
    moves = [one for one in listed(settings) if one.move != TOGETHER or TOGETHER not in kept]
    together = [(one, "a plain network", None) for one in moves if one.move == TOGETHER]
    answers = [(one, f"answers {kind}", None) for one in moves if kind in one.aims]
    rest = [(one, "next on the list", None) for one in moves if kind not in one.aims]
    back = [(one, "which remedy it was", None) for one in remedies_taken_back(walk)]
    candidates = [*together, *proposals[:1], *answers, *proposals[1:], *rest, *back]
    # What was dropped before comes last, the oldest first.
    candidates.sort(key=lambda candidate: dropped.get(candidate[0].move, -1))
    known = {walk.settings_of(number) for number in range(len(walk.steps))}
    steps = []
    for candidate, why, place in candidates:
        if candidate.settings not in known:
            known.add(candidate.settings)
            move, change, cost = candidate.move, dict(candidate.change), candidate.cost
            if move in dropped and walk.steps[dropped[move]].base != walk.best:
                why = "once more, from a better start"
            steps.append(
                Step(move=move, change=change, why=why, proposal=place, base=walk.best, cost=cost)
            )
    return steps


def remedies_taken_back(walk: Walk) -> list[Candidate]:
    """Return the best so far with each of the usual remedies taken back, if they were kept."""
    return [
        one
        for number, step in enumerate(walk.steps)
        if step.is_kept and step.move == TOGETHER and step.base is not None
        for one in taken_back(
            walk.settings_of(step.base), walk.settings_of(number), walk.settings_of(walk.best)
        )
    ]


def _train_last(walk: Walk, deadline: float) -> bool:
    """Train the last step and judge it; return False where the time is up before it is finished."""
    number, step = len(walk.steps) - 1, walk.steps[-1]
    settings, run = walk.settings_of(number), walk.run_of(number)
    best = [] if step.base is None else _fold_accuracies(walk, step.base)
    run.path.mkdir(exist_ok=True)
    pruning = StepPruning(f"Step {number}, {step.move}", deadline, best)
    started = time.monotonic()
    try:
        summary = train(settings, run, callbacks=[pruning]).summary
    except (torch.OutOfMemoryError, UntrainableError) as error:
        if step.base is None:
            raise
        step.status = "untrainable"
        is_full = isinstance(error, torch.OutOfMemoryError)
        step.reason = "it needs more memory than the device has" if is_full else str(error)
        return True
    finally:
        step.seconds += time.monotonic() - started
        walk.write()
    if summary is None or summary.status == "interrupted":
        if pruning.must_pause():
            return False
        raise KeyboardInterrupt
    _judge(walk, summary)
    return True


def _fold_accuracies(walk: Walk, number: int) -> list[float]:
    run, names = walk.run_of(number), fold_runs(walk.settings_of(number))
    return [Summary.read(run.fold_run(name).summary).val.accuracy for name in names]


def _judge(walk: Walk, summary: Summary) -> None:
    """Write down what the last step came to."""
    step = walk.steps[-1]
    step.status = "ended early" if summary.status == "pruned" else "finished"
    if step.base is None:
        step.is_kept = True
        return
    runs = [walk.run_of(number) for number in (len(walk.steps) - 1, step.base)]
    fingerprint = runs[0].data_facts()["fingerprint"]
    check_same_data(runs[1], fingerprint, "start a new walk instead")
    ours, theirs = (Outcomes.from_predictions(read_predictions(run.predictions)) for run in runs)
    difference = paired_difference(ours, theirs)
    assert difference is not None  # the images of the first fold, at least
    step.difference = difference.value
    step.level = level_of_next(walk.steps[1:-1])
    if step.status == "finished" and math.isfinite(difference.error):
        step.interval, step.smallest = difference.interval(), difference.smallest_shown
        step.p_value = difference.p_value
        step.is_kept = is_worth_keeping(difference, step.cost)


def _outcome(walk: Walk) -> str:
    """Return a line on the last step."""
    number, step = len(walk.steps) - 1, walk.steps[-1]
    if step.status == "untrainable":
        return f"Step {number} cannot be trained: {step.reason}"
    says = f"Step {number}, {step.move}: {walk.summary_of(number).val}"
    if step.difference is not None:
        says += f", {100 * step.difference:+.1f} points from step {step.base}, {step.outcome}"
    return f"{says}; {step.seconds / 60:.1f} min."
