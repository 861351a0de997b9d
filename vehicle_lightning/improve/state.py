"""The state of a walk, and the rules by which a step is kept, dropped or ended early.

**Kept.** Step and best so far validated the same images in the same folds. Their difference in
accuracy comes with a standard error for the settings, over images and trainings
(`runs/paired.py`). A step is kept where its difference is above one standard error, or above two
where it costs more than one and a half times as much. Five folds of some hundred images cannot be
surer: where their differences scatter by 2.5 points (simulated, normal), 19 % of the steps that
bring nothing are kept, 79 % of those that bring two points, 95 % of those that bring three. A step
that changed nothing does little harm, and the walk as a whole is judged on the test images, which
decide nothing.

**Shown.** Whether a step is shown to be better or worse is another question, answered by the test
for settings. As it is asked once for each step, its level is that of the online fallback procedure
(Tian and Ramdas 2021, after Wiens 2003): step k has 0.05 / (k (k + 1)), and inherits the level of
the step before it where that one showed a difference. Under any dependence between the tests the
chance that any of them speaks falsely is at most 5 %. That the walk chooses its next step by the
same images is not in it.

**Ended early.** A step is given up where it is behind the best on the folds so far: by 3 points
after the first, where the best may owe its place to luck, and at all, on average, after any later
one. In the same simulation a step that loses two points takes 1.9 of its five folds so, and one
that brings nothing 3.1; of those that bring two points 74 % are kept then, of 79 % tried to the
end. What was given up may be tried again from a better start.

Sources:
    Tian and Ramdas (2021), Online control of the familywise error rate.
    Wiens (2003), A fixed sequence Bonferroni procedure for testing multiple endpoints.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError

from vehicle_lightning.config import Settings
from vehicle_lightning.errors import RunError
from vehicle_lightning.files import write_text
from vehicle_lightning.improve.moves import TAKING_BACK, in_words
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.paired import SIGNIFICANCE, Difference
from vehicle_lightning.runs.summary import Summary

FILE = "walk.json"
ERRORS, ERRORS_IF_SLOWER = 1.0, 2.0  # standard errors that a step must be better by
SLOWER = 1.5  # times the cost
BEHIND_AT_FIRST = 0.03  # of accuracy, after one fold
TIED = 1e-9  # of accuracy: a difference that rounding makes

Status = Literal["running", "finished", "ended early", "untrainable"]


class Step(BaseModel):
    """One step: what it changed, why, and what came of it.

    Attributes:
        move: what was changed, in words.
        change: the settings that were changed; nothing in the first step, the baseline.
        why: what led to it.
        proposal: which of the verdict's proposals it is, from 1; None where it is none.
        base: the step it starts from and is compared with; None in the first.
        cost: times the seconds of the base, estimated.
        status: how far it came.
        reason: why it cannot be trained.
        seconds: that it took so far, all included.
        difference: of its validation accuracy from the base's on the same images, in [-1, 1].
        interval: 95 % interval of the difference for the settings, not corrected for the number of
            steps; None where the step ended early.
        smallest: difference for the settings that would have been shown with a power of 80 %, were
            it the only step; None where the step ended early.
        p_value: of the test for settings; None where the step ended early.
        level: what p_value must be below for a difference to be shown.
        is_kept: whether the walk went on from here.
    """

    move: str
    change: dict[str, Any]
    why: str
    proposal: int | None = None
    base: int | None = None
    cost: float = 1.0
    status: Status = "running"
    reason: str = ""
    seconds: float = 0.0
    difference: float | None = None
    interval: tuple[float, float] | None = None
    smallest: float | None = None
    p_value: float | None = None
    level: float = 0.0
    is_kept: bool = False

    @property
    def takes_back(self) -> bool:
        """Whether it takes one of the usual remedies back."""
        return self.move.startswith(TAKING_BACK)

    @property
    def label(self) -> str:
        """What was changed: the settings, or the idea behind where they would not say it."""
        says_itself = self.takes_back or not 1 <= len(self.change) <= 2
        return self.move if says_itself else in_words(self.change)

    @property
    def is_shown(self) -> bool:
        """Whether a difference from the base is shown, for better or worse."""
        return self.p_value is not None and self.p_value < self.level

    @property
    def outcome(self) -> str:
        """Whether it was kept, in words."""
        if self.status == "ended early":
            return "dropped early"
        if self.is_kept:
            return "kept, shown better" if self.is_shown else "kept, not shown"
        return "dropped, shown worse" if self.is_shown else "dropped"


class Walk(BaseModel):
    """All steps of a walk, as `walk.json` holds them.

    Attributes:
        folder: where it lies; step n is the run folder n.
        settings: those of the first step.
        budget: seconds for the whole walk.
        steps: in their order.
    """

    folder: Path = Field(Path(), exclude=True)
    settings: Settings
    budget: float
    steps: list[Step] = []

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `walk.json`.

        Raises:
            RunError: there is none, or it is damaged.
        """
        file = folder / FILE
        try:
            walk = cls.model_validate_json(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise RunError(f"{folder} holds no walk: {FILE}: {error.strerror}.") from error
        except ValidationError as error:
            raise RunError(f"{file} is damaged; start a new walk instead.") from error
        walk.folder = folder
        return walk

    def write(self) -> None:
        """Write `walk.json`.

        Raises:
            OSError: it cannot be written.
        """
        write_text(self.folder / FILE, self.model_dump_json(indent=2) + "\n")

    def remove(self) -> None:
        """Remove `walk.json`."""
        (self.folder / FILE).unlink()

    @property
    def spent(self) -> float:
        """Seconds that all steps took."""
        return sum(step.seconds for step in self.steps)

    @property
    def best(self) -> int:
        """Number of the last step that was kept."""
        return max(number for number, step in enumerate(self.steps) if step.is_kept)

    def settings_of(self, number: int) -> Settings:
        """Return all settings of a step."""
        step = self.steps[number]
        if step.base is None:
            return self.settings
        return self.settings_of(step.base).changed(step.change)

    def run_of(self, number: int) -> RunFolder:
        """Return the run folder of a step."""
        return RunFolder(self.folder / str(number))

    def summary_of(self, number: int) -> Summary:
        """Return what the run of a step came to."""
        return Summary.read(self.run_of(number).summary)


def level_of_next(tried: Sequence[Step]) -> float:
    """Return the level of the test of the next step.

    Args:
        tried: the steps before it, without the first, which is compared with none.
    """
    place = len(tried) + 1
    inherited = tried[-1].level if tried and tried[-1].is_shown else 0.0
    return SIGNIFICANCE / (place * (place + 1)) + inherited


def is_worth_keeping(difference: Difference, cost: float) -> bool:
    """Return whether the walk goes on from a step.

    Args:
        difference: of the step from the best so far.
        cost: of the step, times the seconds of the best so far; estimated, lest it depend on what
            else the machine does.
    """
    errors = ERRORS_IF_SLOWER if cost > SLOWER else ERRORS
    return difference.value > errors * difference.error


def is_behind(accuracies: Sequence[float], best: Sequence[float]) -> bool:
    """Return whether a step is not worth another fold.

    Args:
        accuracies: of its fold runs so far, in [0, 1]; at least one.
        best: of all fold runs of the best so far, in the same order.
    """
    pairs = zip(accuracies, best, strict=False)
    behind = fmean(theirs - ours for ours, theirs in pairs)
    return behind > (BEHIND_AT_FIRST if len(accuracies) == 1 else TIED)
