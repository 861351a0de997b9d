"""Verdicts on curves of known trouble, with the shapes and the noise of small CNNs.

The curves imitate runs on about 1,480 training and 165 validation images. Their noise is that of
optimisation, which moves training and validation loss together from epoch to epoch.
"""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter

from vehicle_lightning.config import Settings
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.runs.verdict import Verdict, diagnose

SEEDS = range(8)
MAJORITY = 0.58
KINDS = {
    "too little data",
    "overfitting",
    "underfitting",
    "slow convergence",
    "diverged",
    "stopped too early",
    "sound",
}
FLAG = re.compile(
    r"--(augment|batchnorm|dropout \S+|channels( \d+)+|hidden \d+|epochs \d+"
    r"|learning-rate \S+|weight-decay \S+|patience \d+)"
)
Curve = NDArray[np.float64]


def settings_of(**changes: Any) -> Settings:
    plain = {"epochs": 25, "learning_rate": 2.5e-4, "channels": (16, 32), "hidden": ()}
    return Settings(**{**plain, "augment": False, "patience": None, **changes})


PLAIN = settings_of()
ALL_ON = settings_of(weight_decay=0.001, dropout=0.5, batchnorm=True, augment=True, hidden=(128,))


def decay(start: float, floor: float, scale: float, epochs: int = 25) -> Curve:
    """An exponential from `start` to `floor` that gets closer by a factor e every `scale`."""
    return floor + (start - floor) * np.exp(-np.arange(epochs) / scale)


def upturn(start: float, lowest: float, turn: int, end: float, epochs: int = 25) -> Curve:
    """Down to `lowest` in epoch `turn`, then up in a straight line."""
    return np.interp(np.arange(1, epochs + 1), [1, turn, epochs], [start, lowest, end])


def history_of(
    train_loss: Curve,
    val_loss: Curve,
    *,
    train_end: float,
    val_end: float,
    seed: int = 0,
    noise: float = 0.02,
) -> pd.DataFrame:
    """Accuracies rise from chance to the given ends; `noise` is relative to the losses."""
    rng = np.random.default_rng(seed)
    epochs = len(train_loss)
    rise = 1 - np.exp(-np.arange(1, epochs + 1) / (epochs / 5))
    unrest = noise * rng.standard_normal(epochs)

    def accuracy(end: float) -> Curve:
        shaken = MAJORITY + (end - MAJORITY) * rise + 0.01 * rng.standard_normal(epochs)
        return np.round(np.clip(shaken, 0, 1) * 165) / 165

    return pd.DataFrame(
        {
            "epoch": np.arange(1, epochs + 1),
            "train/running_loss": train_loss * 1.2 + 0.1,
            "train/loss": train_loss * (1 + unrest),
            "train/accuracy": accuracy(train_end),
            "val/loss": val_loss * (1 + unrest + noise / 2 * rng.standard_normal(epochs)),
            "val/accuracy": accuracy(val_end),
            "learning_rate": 2.5e-4,
            "seconds": 1.0,
        }
    )


def measured(accuracy: float, n: int) -> Measurement:
    return Measurement.from_predictions(np.arange(n) < round(accuracy * n), np.full(n, 0.5))


def judge(
    history: pd.DataFrame,
    train: float,
    val: float,
    configured: Settings = PLAIN,
    n_val: int = 165,
) -> Verdict:
    return diagnose(
        history,
        measured(train, 1480),
        measured(val, n_val),
        train_sample=n_val,
        majority=MAJORITY,
        settings=configured,
    )


def overfitting_history(seed: int = 0) -> pd.DataFrame:
    return history_of(
        decay(0.66, 0.01, 6),
        upturn(0.65, 0.45, 9, 0.75),
        train_end=1.0,
        val_end=0.79,
        seed=seed,
    )


def plateau_history(seed: int = 0) -> pd.DataFrame:
    return history_of(
        decay(0.6, 0.01, 4), decay(0.62, 0.45, 3), train_end=1.0, val_end=0.8, seed=seed
    )


def flat_history(seed: int = 0) -> pd.DataFrame:
    return history_of(
        decay(0.69, 0.6, 2.5), decay(0.69, 0.61, 2.5), train_end=0.68, val_end=0.66, seed=seed
    )


def slow_history(seed: int = 0) -> pd.DataFrame:
    return history_of(
        np.linspace(0.69, 0.6, 25),
        np.linspace(0.69, 0.61, 25),
        train_end=0.68,
        val_end=0.67,
        seed=seed,
        noise=0.004,
    )


def falling_history(seed: int = 0) -> pd.DataFrame:
    return history_of(
        decay(0.68, 0.1, 14),
        decay(0.68, 0.2, 16),
        train_end=0.88,
        val_end=0.86,
        seed=seed,
    )


def sound_history(seed: int = 0) -> pd.DataFrame:
    return history_of(
        decay(0.6, 0.07, 3), decay(0.6, 0.1, 3), train_end=0.98, val_end=0.96, seed=seed
    )


@pytest.mark.parametrize("seed", SEEDS)
class TestEveryTrouble:
    def test_overfitting(self, seed: int) -> None:
        verdict = judge(overfitting_history(seed), 0.86, 0.79)
        assert verdict.kind == "overfitting"
        assert verdict.flags == ("--dropout 0.5", "--augment", "--weight-decay 0.001")
        assert re.search(
            r"validation loss rose from 0\.4\d* in epoch \d+ to 0\.\d+", verdict.because
        )

    def test_overfitting_becomes_too_little_data_once_dropout_is_on(self, seed: int) -> None:
        verdict = judge(overfitting_history(seed), 0.86, 0.79, settings_of(dropout=0.5))
        assert verdict.kind == "too little data"
        assert verdict.flags == ("--augment", "--weight-decay 0.001")

    def test_too_little_data(self, seed: int) -> None:
        verdict = judge(plateau_history(seed), 0.99, 0.8)
        assert verdict.kind == "too little data"
        assert verdict.flags[0] == "--augment"
        assert re.search(
            r"validation loss was 0\.\d+ in epoch \d+, the lowest", verdict.because
        ) or (
            re.search(r"validation loss was lowest, 0\.\d+ in epoch 25, the last", verdict.because)
        )

    def test_underfitting(self, seed: int) -> None:
        verdict = judge(flat_history(seed), 0.68, 0.66)
        assert verdict.kind == "underfitting"
        assert verdict.flags == ("--channels 16 32 64", "--batchnorm", "--hidden 128")

    def test_slow_convergence(self, seed: int) -> None:
        verdict = judge(slow_history(seed), 0.68, 0.67)
        assert verdict.kind == "slow convergence"
        assert verdict.flags == ("--batchnorm", "--learning-rate 0.00075", "--epochs 50")

    def test_stopped_too_early(self, seed: int) -> None:
        verdict = judge(falling_history(seed), 0.88, 0.86)
        assert verdict.kind == "stopped too early"
        assert verdict.flags == ("--epochs 50",)

    def test_sound(self, seed: int) -> None:
        verdict = judge(sound_history(seed), 0.98, 0.96)
        assert verdict.kind == "sound"
        assert verdict.flags == ()


# Runs of the default network on 1,481 + 165 photographs of 32 x 32 pixels: verdict, settings,
# accuracies of the best weights, and in thousandths the running loss, train/loss, train/accuracy,
# val/loss and val/accuracy of 25 epochs.
MEASURED_RUNS = {
    "batch normalisation": (
        "overfitting",
        settings_of(learning_rate=1e-3, batchnorm=True),
        (0.979, 0.782),
        "678 442 349 282 245 214 176 141 112 94 75 62 50 42 37 33 28 22 20 23 17 14 14 12 11",
        "663 530 410 308 228 202 152 141 104 81 73 60 57 43 32 25 19 26 14 15 13 12 9 8 7",
        "527 824 867 891 945 939 970 970 988 994 982 1000 1000 1000 1000 1000 1000 1000 1000 1000 "
        "1000 1000 1000 1000 1000",
        "687 590 499 448 436 456 437 431 466 446 467 505 533 548 550 513 520 596 546 567 "
        "558 623 582 609 621",
        "491 685 758 788 782 806 812 782 806 800 770 794 800 788 794 806 812 818 800 794 "
        "800 806 812 812 824",
    ),
    "low learning rate": (
        "slow convergence",
        settings_of(learning_rate=1e-4),
        (0.768, 0.703),
        "685 668 660 650 641 630 619 607 596 587 579 574 568 558 552 547 545 538 532 529 "
        "521 519 516 509 503",
        "673 664 656 646 635 624 613 602 592 582 573 565 557 549 543 537 530 524 518 513 "
        "508 503 498 494 490",
        "588 588 588 612 636 642 697 697 703 721 715 745 758 752 764 745 758 758 764 764 "
        "776 764 782 776 800",
        "659 647 640 636 627 619 613 606 599 596 588 587 581 578 574 575 569 566 560 556 "
        "557 551 550 546 545",
        "624 624 642 679 673 661 679 685 679 655 667 661 661 685 679 673 679 673 673 685 "
        "691 703 691 697 703",
    ),
    "batch normalisation and augmentation: restless": (
        "stopped too early",
        settings_of(learning_rate=1e-3, batchnorm=True, augment=True),
        (0.860, 0.830),
        "730 589 553 517 536 487 494 456 451 463 466 455 462 427 431 439 460 403 388 387 "
        "392 397 400 385 401",
        "678 591 515 528 433 584 487 384 406 382 443 692 482 406 390 390 325 352 334 367 "
        "369 320 281 337 299",
        "479 721 758 709 764 703 764 836 794 824 782 679 782 812 794 836 861 824 830 812 "
        "842 812 855 824 879",
        "692 615 564 586 508 662 542 439 482 411 503 783 553 509 431 386 387 454 402 450 "
        "415 461 368 424 465",
        "485 642 703 655 764 697 739 800 758 794 733 636 752 752 776 830 818 794 830 770 "
        "794 782 830 806 800",
    ),
}


@pytest.mark.parametrize("name", MEASURED_RUNS)
def test_measured_runs(name: str) -> None:
    kind, configured, (train, val), *curves = MEASURED_RUNS[name]
    columns = ["train/running_loss", "train/loss", "train/accuracy", "val/loss", "val/accuracy"]
    history = pd.DataFrame({"epoch": np.arange(1, 26)})
    for column, curve in zip(columns, curves, strict=True):
        history[column] = np.array(curve.split(), float) / 1000
    assert judge(history, train, val, configured).kind == kind


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_a_few_epochs_show_no_trend(epochs: int) -> None:
    verdict = judge(overfitting_history()[:epochs], 0.7, 0.6, settings_of(epochs=epochs))
    assert verdict.kind == "stopped too early"
    assert f"{epochs} epoch" in verdict.because
    assert verdict.flags == (f"--epochs {max(5, 2 * epochs)}",)


def test_an_empty_history_is_refused() -> None:
    with pytest.raises(ValueError, match="single epoch"):
        judge(overfitting_history()[:0], 0.7, 0.6)


@pytest.mark.parametrize("column", ["train/running_loss", "train/loss", "val/loss"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_asks_for_smaller_steps(column: str, value: float) -> None:
    history = sound_history()
    history.loc[2:, column] = value
    for epochs in (3, 25):
        verdict = judge(history[:epochs], 0.58, 0.58, settings_of(learning_rate=0.1))
        assert verdict.kind == "diverged"
        assert f"{column} is not a finite number in epoch 3" in verdict.because
        assert verdict.flags == ("--learning-rate 0.01", "--batchnorm")


def test_a_training_loss_that_blows_up_asks_for_smaller_steps() -> None:
    loss = upturn(0.69, 0.5, 8, 1.4)
    history = history_of(loss, loss, train_end=0.6, val_end=0.6)
    verdict = judge(history, 0.75, 0.74, settings_of(learning_rate=0.01, batchnorm=True))
    assert verdict.kind == "diverged"
    assert re.search(r"rose from 0\.\d+ in epoch \d+ to 1\.\d+ in epoch 25", verdict.because)
    assert verdict.flags == ("--learning-rate 0.001",)


@pytest.mark.parametrize(
    ("rate", "kind", "first"),
    [(0.1, "diverged", "--learning-rate 0.01"), (1e-3, "underfitting", "--channels")],
)
def test_a_network_stuck_at_chance_is_told_first(rate: float, kind: str, first: str) -> None:
    flat = np.full(25, 0.68)
    history = history_of(flat, flat, train_end=MAJORITY, val_end=MAJORITY, noise=0)
    verdict = judge(history, MAJORITY, MAJORITY, settings_of(learning_rate=rate))
    assert verdict.because.startswith("The network is not shown to be better than always")
    assert "58.0 % of the validation images" in verdict.because
    assert verdict.kind == kind
    assert verdict.flags[0].startswith(first)


def test_a_network_that_dropout_holds_back_is_let_go() -> None:
    verdict = judge(flat_history(), 0.68, 0.66, settings_of(dropout=0.5, hidden=(64,)))
    assert verdict.flags == ("--dropout 0", "--channels 16 32 64", "--batchnorm")


@pytest.mark.parametrize(
    ("channels", "flag"),
    [
        ((8,), "--channels 8 16"),
        ((16, 32, 64), "--channels 32 64 128"),
        ((512, 1024, 1024), "--batchnorm"),
    ],
)
def test_a_larger_network_is_deeper_up_to_three_blocks_and_then_wider(
    channels: tuple[int, ...], flag: str
) -> None:
    assert judge(flat_history(), 0.68, 0.66, settings_of(channels=channels)).flags[0] == flag


def test_no_deeper_network_is_proposed_than_the_images_allow() -> None:
    small = settings_of(image_size=48, first_stride=8, channels=(8, 16))
    assert judge(flat_history(), 0.68, 0.66, small).flags[0] == "--channels 16 32"


def test_too_few_validation_images_say_so() -> None:
    verdict = judge(overfitting_history(), 0.86, 0.786, n_val=14)
    assert verdict.kind == "too little data"
    assert "78.6 % [52.4, 92.4] (n=14)" in verdict.because
    assert verdict.flags == ()


def test_small_gaps_are_no_trouble_however_certain() -> None:
    """3.5 points on 20,000 images are significant, and yet nothing to act on."""
    history = history_of(decay(0.6, 0.01, 3), decay(0.6, 0.1, 3), train_end=1.0, val_end=0.965)
    assert judge(history, 0.999, 0.964, n_val=20_000).kind == "sound"


def test_gaps_within_chance_are_no_trouble_however_large() -> None:
    """6 points between 1,480 and 60 images are not told from none."""
    history = history_of(decay(0.6, 0.1, 3), decay(0.6, 0.2, 3), train_end=0.95, val_end=0.93)
    assert judge(history, 0.94, 0.883, n_val=60).kind == "sound"
    assert judge(history, 0.94, 0.883, n_val=600).kind == "too little data"


def test_a_gap_that_opened_after_the_best_weights_counts() -> None:
    """The weights of epoch 4 have no gap; those of epoch 25 know the training images by heart."""
    history = history_of(
        decay(0.66, 0.01, 6), upturn(0.65, 0.5, 4, 1.0), train_end=1.0, val_end=0.78
    )
    verdict = judge(history, 0.78, 0.77)
    assert verdict.kind == "overfitting"
    assert "right on 99." in verdict.because or "right on 100.0 %" in verdict.because


def test_a_gap_with_both_losses_rising_is_not_learning_by_heart() -> None:
    history = history_of(
        upturn(0.66, 0.3, 12, 0.36), upturn(0.65, 0.42, 12, 0.52), train_end=0.92, val_end=0.78
    )
    assert judge(history, 0.92, 0.78).kind == "too little data"


def test_a_slow_run_with_a_gap_is_not_slow_first() -> None:
    history = history_of(
        np.linspace(0.69, 0.55, 25), np.full(25, 0.68), train_end=0.78, val_end=0.62, noise=0.004
    )
    assert judge(history, 0.78, 0.62).kind == "too little data"


def test_a_training_loss_that_creeps_has_flattened() -> None:
    """Without noise any fall is significant; the second half brings 4 % of it."""
    loss = decay(0.69, 0.6, 4)
    history = history_of(loss, loss, train_end=0.68, val_end=0.67, noise=0)
    assert judge(history, 0.68, 0.67).kind == "underfitting"


def test_a_trend_without_a_rate_is_none() -> None:
    """Most pairs of epochs are equal: Kendall sees the fall of two, the median slope is zero."""
    loss = np.array([0.6] * 12 + [0.68, 0.66] + [0.6] * 10)
    history = history_of(loss, loss, train_end=0.68, val_end=0.67, noise=0)
    assert judge(history, 0.68, 0.67).kind == "underfitting"


def test_a_validation_loss_that_creeps_is_not_worth_more_epochs() -> None:
    history = history_of(
        decay(0.5, 0.1, 2), np.linspace(0.2, 0.192, 25), train_end=0.97, val_end=0.95, noise=0
    )
    assert judge(history, 0.97, 0.95).kind == "sound"


def test_an_upturn_without_a_gap_was_stopped_in_time() -> None:
    history = history_of(
        np.linspace(0.66, 0.45, 12), upturn(0.65, 0.5, 7, 0.6, 12), train_end=0.79, val_end=0.78
    )
    assert judge(history, 0.77, 0.76, settings_of(patience=5)).kind == "sound"


def test_a_partial_rebound_of_the_training_loss_is_no_blow_up() -> None:
    loss = upturn(0.9, 0.2, 15, 0.5)
    history = history_of(loss, loss, train_end=0.9, val_end=0.89)
    assert judge(history, 0.94, 0.93).kind == "sound"


def test_early_best_weights_do_not_make_the_training_poor() -> None:
    """The loss was lowest early, but the network went on to fit its training images."""
    history = history_of(
        decay(0.5, 0.05, 3), decay(0.45, 0.3, 1), train_end=0.98, val_end=0.96, noise=0.01
    )
    assert judge(history, 0.8, 0.79).kind == "sound"


def test_the_running_loss_does_not_make_a_gap() -> None:
    """Dropout and augmentation raise it; it says nothing about training against validation."""
    history = sound_history()
    kinds = set()
    for factor in (0.1, 1, 10):
        history["train/running_loss"] *= factor
        kinds.add(judge(history, 0.98, 0.96).kind)
    assert kinds == {"sound"}


def test_an_upturn_of_a_near_perfect_network_is_no_trouble() -> None:
    history = history_of(
        decay(0.4, 0.001, 3), upturn(0.4, 0.04, 10, 0.06), train_end=1.0, val_end=0.985
    )
    assert judge(history, 1.0, 0.988).kind == "sound"


def test_impatience_is_told_from_too_few_epochs() -> None:
    losses = decay(0.64, 0.5, 2, 12)
    steady, losses[8] = losses.copy(), losses[8] - 0.04  # by luck
    history = history_of(np.linspace(0.66, 0.35, 12), losses, train_end=0.82, val_end=0.8)
    impatient = judge(history, 0.8, 0.79, settings_of(patience=3))
    assert impatient.kind == "stopped too early"
    assert impatient.because.startswith("Patience ended the run while")
    assert "in epoch 12" in impatient.because
    assert impatient.flags == ("--patience 6",)
    interrupted = history_of(np.linspace(0.66, 0.35, 12), steady, train_end=0.82, val_end=0.8)
    other_end = judge(interrupted, 0.8, 0.79, settings_of(patience=3))
    assert other_end.because.startswith("The run ended while")
    too_few = judge(history, 0.8, 0.79, settings_of(epochs=12, patience=3))
    assert too_few.because.startswith("The run ended while")
    assert too_few.flags == ("--epochs 24",)


def test_an_interrupted_run_is_to_be_run_to_its_end() -> None:
    assert judge(falling_history()[:15], 0.8, 0.79, settings_of(epochs=100)).flags == (
        "--epochs 100",
    )


def test_a_resumed_history_counts_epochs_by_their_number() -> None:
    history = overfitting_history()
    history["epoch"] += 10
    assert re.search(r"in epoch (1[6-9]|2\d)", judge(history, 0.86, 0.79).because)


def test_a_verdict_becomes_plain_types() -> None:
    verdict = judge(falling_history(), 0.88, 0.86)
    assert TypeAdapter(Verdict).dump_python(verdict, mode="json", by_alias=True) == {
        "kind": "stopped too early",
        "because": verdict.because,
        "try": ["--epochs 50"],
    }


@pytest.mark.parametrize(
    "history",
    [overfitting_history(), plateau_history(), flat_history(), slow_history(), falling_history()],
)
def test_no_verdict_advises_what_is_on(history: pd.DataFrame) -> None:
    advice = " ".join(judge(history, 0.86, 0.79, ALL_ON).flags)
    assert not re.search(r"--augment|--batchnorm|--hidden|--weight-decay|--dropout 0\.", advice)


LOSSES = st.floats(0, 1e6) | st.sampled_from([0.0, 0.69, np.nan, np.inf])
FRACTIONS = st.integers(0, 165).map(lambda correct: correct / 165)


@st.composite
def histories(draw: st.DrawFn) -> pd.DataFrame:
    epochs = draw(st.integers(1, 30))

    def column(values: st.SearchStrategy[float]) -> list[float]:
        return draw(st.lists(values, min_size=epochs, max_size=epochs))

    losses = draw(st.sampled_from([LOSSES, st.floats(0, 2), st.sampled_from([0.1, 0.5])]))
    return pd.DataFrame(
        {
            "epoch": np.arange(1, epochs + 1),
            "train/running_loss": column(losses),
            "train/loss": column(losses),
            "train/accuracy": column(FRACTIONS),
            "val/loss": column(losses),
            "val/accuracy": column(FRACTIONS),
        }
    )


@settings(max_examples=50, deadline=None)
@given(
    histories(),
    FRACTIONS,
    FRACTIONS,
    st.sampled_from([1, 14, 165, 3000]),
    st.sampled_from([PLAIN, ALL_ON, settings_of(patience=2, epochs=100)]),
)
def test_every_history_has_a_verdict(
    history: pd.DataFrame, train: float, val: float, n_val: int, configured: Settings
) -> None:
    verdict = judge(history, train, val, configured, n_val)
    assert verdict.kind in KINDS
    assert re.search(r"\d", verdict.because)
    assert verdict.because.endswith(".")
    assert len(verdict.flags) <= 3
    assert all(FLAG.fullmatch(flag) for flag in verdict.flags)
    if configured is ALL_ON:
        assert not {"--augment", "--batchnorm", "--dropout 0.5"} & set(verdict.flags)
