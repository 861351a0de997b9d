"""The rules of the walk, on trainings that are made up."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.improve.made import MadeTraining
from vehicle_lightning.config import Settings
from vehicle_lightning.errors import RunError, SettingsError, UntrainableError
from vehicle_lightning.improve import moves
from vehicle_lightning.improve import walk as walk_module
from vehicle_lightning.improve.moves import REMEDIES, TOGETHER, taken_back
from vehicle_lightning.improve.report import plot_walk, report
from vehicle_lightning.improve.state import (
    Step,
    Walk,
    is_behind,
    is_worth_keeping,
    level_of_next,
)
from vehicle_lightning.improve.walk import go_on
from vehicle_lightning.runs.paired import Difference
from vehicle_lightning.runs.power import Spread
from vehicle_lightning.runs.verdict import Verdict
from vehicle_lightning.settings_file import read_settings

FEW = (
    "a higher learning rate",
    "batch normalisation",
    "a deeper network",
    "augmentation",
    "more epochs",
    "dropout",
)
START = Settings(image_size=32, folds=5, test_fraction=0.2)


class Place:
    """A walk in an empty folder, over made trainings, with few of the moves."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch, self._every = monkeypatch, moves.MOVES
        self.only(*FEW)
        self.walk = self.new(1000)

    def only(self, *names: str) -> None:
        few = tuple(move for move in self._every if move.name in names)
        self._patch.setattr(moves, "MOVES", few)

    def train(self, training: MadeTraining) -> str:
        self._patch.setattr(walk_module, "train", training)
        self._patch.setattr(walk_module, "time", SimpleNamespace(monotonic=training.monotonic))
        return go_on(self.walk)

    def new(self, budget: float) -> Walk:
        return Walk(folder=self.folder, settings=START, budget=budget)

    @property
    def moves(self) -> list[str]:
        return [step.move for step in self.walk.steps]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def only_batchnorm(settings: Settings) -> float:
    return 0.9 if settings.batchnorm else 0.7


def only_batchnorm_alone(settings: Settings) -> float:
    return 0.9 if settings.batchnorm and settings.pooling == "none" else 0.7


def spoken(place: Place) -> str:
    """Return the report in one line."""
    return " ".join(report(place.walk, "tried all").split())


def says(*flags: str) -> Verdict:
    return Verdict("overfitting", "", flags)


def difference(value: float, error: float = 0.01) -> Difference:
    return Difference(200, 200, value, error, 4, error, 1.0, 0.0, 0.0, Spread(0.1, 0.1, 0.0), 5, 1)


@pytest.mark.parametrize(
    ("value", "cost", "expected"),
    [(0.011, 1, True), (0.009, 1, False), (-0.05, 1, False), (0.011, 1.6, False), (0.021, 9, True)],
)
def test_kept_above_one_error_or_two_where_slower(
    value: float, cost: float, expected: bool
) -> None:
    assert is_worth_keeping(difference(value), cost) is expected


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([0.78], False),
        ([0.76], True),
        ([0.82, 0.77], True),
        ([0.70, 0.90], False),
        ([0.80, 0.80, 0.75], True),
        ([0.80, 0.80, 0.80, 0.80], False),
    ],
)
def test_ended_early_where_behind(accuracies: list[float], expected: bool) -> None:
    assert is_behind(accuracies, [0.8] * 5) is expected


def test_levels_add_up_to_five_percent_and_are_inherited() -> None:
    def step(p_value: float | None, level: float) -> Step:
        return Step(move="", change={}, why="", base=0, p_value=p_value, level=level)

    missed: list[Step] = []
    for _ in range(100):
        missed.append(step(0.9, level_of_next(missed)))
    assert missed[0].level == 0.025
    assert sum(one.level for one in missed) == pytest.approx(0.05, abs=0.001)
    found = [step(0.001, 0.025)]
    assert level_of_next(found) == pytest.approx(0.025 + 0.05 / 6)
    assert level_of_next([*found, step(None, 0.033)]) == pytest.approx(0.05 / 12)


def test_the_first_proposal_comes_first_and_the_others_behind_the_answers(place: Place) -> None:
    place.walk.budget = 60
    flags = ("--dropout 0.5", "--label-smoothing 0.2", "--batchnorm")
    place.train(MadeTraining(only_batchnorm, lambda s: says() if s.batchnorm else says(*flags)))
    tried = ["baseline", "dropout", "a deeper network", "augmentation", "label smoothing 0.2"]
    assert place.moves[:6] == [*tried, "batch normalisation"]
    assert [step.proposal for step in place.walk.steps[:7]] == [None, 1, None, None, 2, 3, None]
    assert [step.is_kept for step in place.walk.steps[:7]] == [True, *[False] * 4, True, False]
    assert {step.base for step in place.walk.steps[6:]} == {5}


def test_a_proposal_that_was_dropped_before_is_not_the_first_again(place: Place) -> None:
    place.walk.budget = 200
    place.train(MadeTraining(only_batchnorm, lambda _: says("--dropout 0.5", "--batchnorm")))
    better = place.moves.index("batch normalisation")
    again = place.moves.index("dropout", better)
    assert place.walk.steps[again].why == "once more, from a better start"
    new = {"a higher learning rate", "more epochs"}
    assert new <= set(place.moves[better:again])


def test_answers_to_the_verdict_come_before_the_rest(place: Place) -> None:
    place.walk.budget = 60
    place.train(MadeTraining(lambda _: 0.7, lambda _: says()))
    reasons = [step.why for step in place.walk.steps[1:]]
    assert reasons == sorted(reasons, key=["answers overfitting", "next on the list"].index)
    assert len(set(reasons)) == 2


def test_a_plain_network_is_given_the_usual_remedies_and_each_is_taken_back(place: Place) -> None:
    def accuracy(settings: Settings) -> float:
        fit = 0.1 * (settings.schedule == "constant") + 0.2 * settings.batchnorm
        return 0.6 + fit - 0.2 * (settings.pooling == "average" and len(settings.channels) < 4)

    place.only(TOGETHER, "dropout")
    training = MadeTraining(accuracy, lambda _: says("--dropout 0.5"))
    training.stopped_in = "4"
    with pytest.raises(KeyboardInterrupt):
        place.train(training)
    assert "Not tried: taking back channels 16 32 64 128, " in spoken(place)
    place.walk = Walk.read(place.folder)
    place.train(training)
    back = ["batchnorm", "channels 16 32 64 128", "pooling average", "learning rate 0.003"]
    back = [f"taking back {change}" for change in [*back, "schedule cosine", "batch size 32"]]
    assert place.moves[:9] == ["baseline", TOGETHER, "dropout", *back]
    kept = [number for number, step in enumerate(place.walk.steps) if step.is_kept]
    assert kept == [0, 1, 7]
    best = place.walk.settings_of(7)
    assert (best.batchnorm, best.schedule, best.learning_rate) == (True, "constant", 3e-3)
    text = spoken(place)
    assert f"{TOGETHER} +10.0 and taking back schedule cosine +10.0 points; taking back" in text
    assert "; taking back batchnorm -20.0 (ended early), taking back channels" in text
    assert text.count(f"{TOGETHER.capitalize()}: batchnorm, channels 16 32 64 128, pooling") == 1


def test_the_usual_remedies_that_bring_nothing_are_no_longer_first(place: Place) -> None:
    place.only(TOGETHER, "dropout", "batch normalisation")
    place.train(MadeTraining(only_batchnorm_alone, lambda _: says()))
    assert place.moves == ["baseline", TOGETHER, "dropout", "batch normalisation", "dropout"]
    assert not any(move.startswith("taking back") for move in place.moves)
    text = spoken(place)
    assert text.count(f"{TOGETHER.capitalize()}: ") == 1
    assert f"; {TOGETHER} and dropout nothing." in text


def test_what_was_changed_again_is_not_taken_back() -> None:
    before = Settings()
    together = before.model_copy(update=dict(REMEDIES))
    since = together.model_copy(update={"learning_rate": 1e-3, "channels": (16, 32, 64, 128, 256)})
    names = {one.move for one in taken_back(before, together, since)}
    left = ("batchnorm", "pooling average", "schedule cosine", "batch size 32")
    assert names == {f"taking back {change}" for change in left}


def test_a_move_that_was_kept_is_taken_again_before_those_that_were_dropped(place: Place) -> None:
    place.walk.budget = 50
    place.train(MadeTraining(lambda s: 0.5 + 0.1 * len(s.channels), lambda _: says()))
    first = place.moves.index("a deeper network")
    assert place.moves[first : first + 3] == ["a deeper network"] * 3  # 32 pixels, five blocks
    assert place.walk.steps[first + 1].why == "answers overfitting"


def test_it_ends_where_every_move_was_tried_and_trains_no_settings_twice(place: Place) -> None:
    training = MadeTraining(only_batchnorm)
    assert place.train(training) == "tried all"
    every = [place.walk.settings_of(number) for number in range(len(place.walk.steps))]
    assert len(set(every)) == len(every) == len(training.trained)
    assert place.walk.settings_of(place.walk.best) == START.model_copy(update={"batchnorm": True})


def test_what_is_shown_and_what_is_only_kept(place: Place) -> None:
    def accuracy(settings: Settings) -> float:
        return 0.6 + 0.2 * settings.batchnorm + 0.05 * settings.augment

    place.walk.budget = 30
    place.train(MadeTraining(accuracy, lambda _: says("--batchnorm")))
    by_move = {step.move: step.outcome for step in place.walk.steps[1:4]}
    assert by_move == {
        "batch normalisation": "kept, shown better",
        "a deeper network": "dropped",
        "augmentation": "kept, not shown",
    }


def test_a_step_that_is_behind_costs_one_fold(place: Place) -> None:
    training = MadeTraining(lambda s: 0.3 if s.dropout else 0.7, lambda _: says("--dropout 0.5"))
    place.train(training)
    step = place.walk.steps[1]
    assert (step.status, step.seconds, step.interval) == ("ended early", 1, None)
    assert step.difference == pytest.approx(-0.4)
    assert step.outcome == "dropped early"


def test_what_does_not_fit_into_the_budget_is_not_begun(place: Place) -> None:
    place.walk.budget = 11  # of which the baseline takes 5
    training = MadeTraining(lambda _: 0.7, lambda _: says("--epochs 20"))
    assert place.train(training) == "no time"
    assert place.moves == ["baseline", "a deeper network"]  # 1.2 times 5 seconds


def test_what_would_take_an_eighth_of_the_budget_waits(place: Place) -> None:
    place.walk.budget = 150
    training = MadeTraining(
        lambda _: 0.7,
        lambda _: says("--epochs 80"),
        lambda settings: settings.epochs / 10,
    )
    place.train(training)
    changes = [step.change for step in place.walk.steps]
    assert changes[1] == {"channels": (16, 32, 64)}
    assert changes.index({"epochs": 80}) > changes.index({"dropout": 0.2})


def test_the_time_runs_out_in_a_step_which_a_larger_budget_finishes(place: Place) -> None:
    training = MadeTraining(lambda _: 0.7, seconds=lambda s: 5.0 if s.epochs > 10 else 1.0)
    place.walk.budget = 12
    verdict = says("--epochs 11")
    training.verdict = lambda _: verdict
    assert place.train(training) == "no time"
    assert [step.status for step in place.walk.steps] == ["finished", "running"]
    place.walk.budget = 40
    place.train(training)
    assert place.walk.steps[1].status == "finished"
    assert training.trained[:3] == ["0", "1", "1"]


def test_resumed_after_a_person_stopped_it(place: Place) -> None:
    place.walk.budget = 40
    training = MadeTraining(only_batchnorm)
    training.stopped_in = "2"
    with pytest.raises(KeyboardInterrupt):
        place.train(training)
    place.walk = Walk.read(place.folder)
    place.train(training)
    assert training.trained[:5] == ["0", "1", "2", "2", "3"]
    assert training.trained.count("0") == 1
    once = place.walk.model_dump_json()
    place.walk = place.new(40)
    place.train(MadeTraining(only_batchnorm))
    assert place.walk.model_dump_json() == once


def test_a_step_that_cannot_be_trained_is_passed_over(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.walk.budget = 20
    training = MadeTraining(only_batchnorm, lambda _: says("--dropout 0.5"))

    def picky(settings: Settings, run: object, callbacks: object) -> object:
        if settings.dropout:
            raise UntrainableError("No dropout here.")
        return training(settings, run, callbacks)  # type: ignore[arg-type]

    monkeypatch.setattr(walk_module, "train", picky)
    go_on(place.walk)
    step = next(step for step in place.walk.steps if step.move == "dropout")
    assert (step.status, step.reason) == ("untrainable", "No dropout here.")
    assert "cannot be trained" in report(place.walk, "tried all")


def test_what_is_wrong_with_no_step_ends_the_walk(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = MadeTraining(only_batchnorm)

    def train(settings: Settings, run: object, callbacks: object) -> object:
        if settings.batchnorm:
            raise SettingsError("No such device.")
        return training(settings, run, callbacks)  # type: ignore[arg-type]

    monkeypatch.setattr(walk_module, "train", train)
    with pytest.raises(SettingsError, match="No such device"):
        go_on(place.walk)
    assert [step.status for step in Walk.read(place.folder).steps] == ["finished", "running"]


def test_the_report(place: Place) -> None:
    place.walk.budget = 20
    training = MadeTraining(only_batchnorm, lambda s: says(*["--batchnorm"] * (not s.batchnorm)))
    assert place.train(training) == "no time"
    text = report(place.walk, "no time")
    assert "the time is up; to go on" in text
    assert f"--resume {place.folder} --budget 1m" in text
    text = " ".join(text.split())
    assert "From 70.0 % [54.6, 81.9] to 90.0 % [76.9, 96.0] of the 40 test images" in text
    assert "validation images, batch normalisation +20.0 points; a deeper network" in text
    assert "Not tried: " in text
    smallest = next(
        s.smallest for s in place.walk.steps if s.smallest is not None and not s.is_shown
    )
    assert smallest is not None
    assert f"Not shown: a difference of {100 * smallest:.1f} points would have been" in text
    assert len(plot_walk(place.walk, with_test=True).axes) == 2
    best = read_settings(place.folder / "best.yaml")
    assert best == Settings(image_size=32, batchnorm=True)


def test_the_report_of_a_walk_that_was_stopped_looks_at_no_test_image(place: Place) -> None:
    training = MadeTraining(only_batchnorm)
    training.stopped_in = "3"
    with pytest.raises(KeyboardInterrupt):
        place.train(training)
    for file in place.folder.glob("*/predictions_test.csv"):
        file.unlink()
    text = report(place.walk, None)
    assert "of the 40 test images" not in text
    assert "to 90.0 % [85.1, 93.4] of 200 validation images." in " ".join(text.split())
    assert "not finished" in text
    assert f"--resume {place.folder}" in text


def test_data_that_changed_are_not_compared(place: Place) -> None:
    place.walk.budget = 8
    training = MadeTraining(only_batchnorm)
    place.train(training)
    place.walk.budget, training.fingerprint = 20, "other"
    with pytest.raises(RunError, match="have changed since"):
        place.train(training)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no walk"):
        Walk.read(tmp_path)
    (tmp_path / "walk.json").write_text('{"settings": {}}')
    with pytest.raises(RunError, match="damaged"):
        Walk.read(tmp_path)
