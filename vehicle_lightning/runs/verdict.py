"""The verdict on a run: which problem it has, the figures that say so, what to try next.

The problems are those of the case study: too little data, overfitting, underfitting, and slow
convergence. A run may also have diverged, have stopped too early to be judged, or be sound.

Everything compares like with like: `train/loss` and `train/accuracy` are measured as validation is
(evaluation mode, clean images). The running loss of the optimisation, which dropout and
augmentation raise, is only asked whether it is finite.

The rules stand in `_judge`, the first that holds is the verdict. Curves are smoothed by running
medians over a fifth of the run, as the lowest value of a noisy curve is low by luck, and something
counts only where the figures of `metrics.csv` that the sentence names say the same.

Sources:
    Goodfellow, Bengio, Courville (2016), Deep Learning.
    Kendall (1938), A new measure of rank correlation.
    Newcombe (1998), Interval estimation for the difference between independent proportions:
    comparison of eleven methods.
    Ng (2018), Machine Learning Yearning, chapters on bias and variance.
    Prechelt (1998), Early stopping - but when?
    Sen (1968), Estimates of the regression coefficient based on Kendall's tau.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import kendalltau, theilslopes

from vehicle_lightning.config import Settings
from vehicle_lightning.runs.statistics import Measurement, difference_interval

Kind = Literal[
    "too little data",
    "overfitting",
    "underfitting",
    "slow convergence",
    "diverged",
    "stopped too early",
    "sound",
]

FEWEST_EPOCHS = 5
FEWEST_TO_FLATTEN = 10  # epochs
SMALLEST_GAP = 0.05  # of accuracy
WIDEST_INTERVAL = 0.30  # of accuracy
TURNED_UP = 0.05  # of the lowest validation loss
BLOWN_UP = 0.10  # nats
SIGNIFICANCE = 0.05
FEWEST_FOR_TREND = 4  # epochs; fewer cannot be significant in Kendall's test
HALF_BRINGS = 0.20  # of the whole fall of the training loss
THIRD_BRINGS = 0.10  # of the whole fall of the validation loss
WORTHWHILE_FALL = 0.02  # of the validation loss
POOR = 0.20  # of the errors of always answering the most frequent class
STRAIGHT = 0.5  # of the whole fall of the training loss, what a straight line's half brings
SLOW = 3  # times the epochs run so far
HIGH_LEARNING_RATE = 3e-3
NEAR = (0.5, 1.5)  # times the limits

Curve = NDArray[np.float64]
FIGURES = ("train/running_loss", "train/loss", "val/loss", "train/accuracy", "val/accuracy")


@dataclass(frozen=True)
class Verdict:
    """What a run suffers from, and what to do about it."""

    kind: Kind
    because: str
    """One or two sentences with the figures and epochs that say so."""
    flags: Annotated[tuple[str, ...], Field(alias="try")] = ()
    """At most three command-line flags to try next, the most promising first."""


def diagnose(
    history: pd.DataFrame,
    train: Measurement,
    val: Measurement,
    *,
    train_sample: int,
    majority: float,
    settings: Settings,
) -> Verdict:
    """Judge a run; also say where it is a near thing.

    That is where the verdict would be another without the last epoch, or with limits half or one
    and a half times as strict.

    Args:
        history: one row an epoch, with the columns `epoch` (from 1), `train/running_loss`,
            `train/loss`, `val/loss` (nats), `train/accuracy` and `val/accuracy` (in [0, 1]).
        train: the best weights on all training images.
        val: the best weights on all validation images.
        train_sample: number of the training images that each epoch measures.
        majority: fraction of the most frequent class among the validation images, in [0, 1].
        settings: the settings of the run.

    Raises:
        ValueError: the history is empty.
    """
    if history.empty:
        raise ValueError("a run without a single epoch cannot be judged")
    run = _Run(history, train, val, train_sample, majority, settings)
    kind, because = _judge(run)
    if val.interval[0] <= majority:
        because = (
            f"The network is not shown to be better than always answering the most frequent class, "
            f"right on {_percent(majority)} of the validation images. {because}"
        )
    others = [] if len(history) <= FEWEST_EPOCHS else [replace(run, history=history[:-1])]
    others += [replace(run, limits=limits) for limits in NEAR]
    nearly = [other for one in others if (other := _judge(one)[0]) != kind]
    if nearly and kind != "diverged":
        because += f" A near thing: it is nearly {' or '.join(dict.fromkeys(nearly))}."
    return Verdict(kind, because, _flags(kind, run))


def agreed(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the most frequent of the verdicts on several trainings, and say how they agree.

    Args:
        verdicts: at least one.
    """
    counts = Counter(verdict.kind for verdict in verdicts).most_common()
    kind, count = counts[0]
    example = next(verdict for verdict in verdicts if verdict.kind == kind)
    if len(verdicts) == 1:
        return example
    others = "".join(f", {other} in {times}" for other, times in counts[1:])
    because = f"So in {count} of {len(verdicts)} trainings{others}. The first: {example.because}"
    return replace(example, because=because)


def _flags(kind: Kind, run: "_Run") -> tuple[str, ...]:
    """Return at most three flags against a problem, the most promising first; none that is on."""
    settings = run.settings
    augment = "" if settings.augment or settings.trivial_augment else "--augment"
    batchnorm = "" if settings.batchnorm else "--batchnorm"
    dropout = "" if settings.dropout > 0 else "--dropout 0.5"
    hidden = "" if settings.hidden else "--hidden 128"
    weight_decay = "" if settings.weight_decay > 0 else "--weight-decay 0.001"
    smaller_steps = f"--learning-rate {settings.learning_rate / 10:.2g}"
    larger_steps = f"--learning-rate {3 * settings.learning_rate:.2g}"
    no_dropout = ["--dropout 0", smaller_steps if run.is_stuck else ""]
    flags: dict[Kind, list[str]] = {
        "diverged": [smaller_steps, batchnorm],
        "slow convergence": [batchnorm, larger_steps, _more_epochs(run)],
        "stopped too early": [_more_epochs(run)],
        "overfitting": [dropout, augment, weight_decay],
        # No flag helps against too few validation images.
        "too little data": [] if run.val_is_too_small else [augment, dropout, weight_decay],
        "underfitting": [
            *(no_dropout if settings.dropout > 0 else []),
            _more_channels(settings),
            batchnorm,
            hidden,
        ],
        "sound": [],
    }
    return tuple(filter(None, flags[kind]))[:3]


def _more_epochs(run: "_Run") -> str:
    if run.settings.patience is not None and run.ended_by_patience:
        return f"--patience {2 * run.settings.patience}"
    # A run that was interrupted has not used up the epochs it was given.
    return f"--epochs {max(2 * len(run.history), FEWEST_EPOCHS, run.settings.epochs)}"


def _more_channels(settings: Settings) -> str:
    channels = settings.channels
    smallest = settings.initial_size or settings.image_size
    if len(channels) < 3 and settings.first_stride * 2 ** (len(channels) + 1) <= smallest:
        larger = (*channels, 2 * channels[-1])
    else:
        larger = tuple(2 * width for width in channels)
    is_too_much = settings.backbone is not None or max(larger) > 1024
    return "" if is_too_much else "--channels " + " ".join(map(str, larger))


@dataclass(frozen=True)
class _Run:
    """What the verdict is found by, and the evidence that more than one rule asks for."""

    history: pd.DataFrame
    train: Measurement
    val: Measurement
    train_sample: int
    majority: float
    settings: Settings
    limits: float = 1.0  # times those of the module

    def curve(self, name: str) -> Curve:
        return self.history[name].to_numpy(dtype=np.float64)

    def told(self, name: str, row: int) -> str:
        """Return a figure as it stands in metrics.csv, and its epoch."""
        return f"{self.curve(name)[row]:.3g} in epoch {self.history['epoch'].iloc[row]}"

    @property
    def at_end(self) -> str:
        return f"after epoch {self.history['epoch'].iloc[-1]}"

    @property
    def val_is_too_small(self) -> bool:
        """Whether the validation interval is too wide to measure anything."""
        low, high = self.val.interval
        return high - low > WIDEST_INTERVAL

    @property
    def is_stuck(self) -> bool:
        """Whether at large steps nothing was learnt even of the training images."""
        is_fast = self.settings.learning_rate >= HIGH_LEARNING_RATE
        return is_fast and self.train.interval[0] <= self.majority

    @property
    def ended_by_patience(self) -> bool:
        patience, losses = self.settings.patience, self.curve("val/loss")
        if patience is None or len(losses) >= self.settings.epochs or np.isnan(losses).all():
            return False
        return len(losses) - 1 - int(np.nanargmin(losses)) >= patience

    def gap(self) -> "_Gap | None":
        """Find a gap between training and validation accuracy.

        It is looked for after the last epoch, on the samples that each epoch measures, and in the
        best weights, on all images: those may be from before the gap opened.
        """
        train, val = self.curve("train/accuracy"), self.curve("val/accuracy")
        last, smooth = (
            _Gap(
                _measured(t[-1], self.train_sample, like=self.train),
                _measured(v[-1], self.val.n, like=self.val),
                self.at_end,
            )
            for t, v in ((train, val), (_smooth(train), _smooth(val)))
        )
        best = _Gap(self.train, self.val, "with the best weights")
        smallest = SMALLEST_GAP * self.limits
        if smooth.is_real(smallest) and last.is_real(smallest):
            return last
        return best if best.is_real(smallest) else None


class _Gap(NamedTuple):
    train: Measurement
    val: Measurement
    where: str

    def is_real(self, smallest: float) -> bool:
        """Whether Newcombe's 95 % interval excludes zero and the difference is large enough."""
        is_certain = difference_interval(self.train, self.val)[0] > 0
        return is_certain and self.train.accuracy - self.val.accuracy >= smallest


def _measured(accuracy: float, n: int, like: Measurement) -> Measurement:
    """Return an accuracy on n images of which as many are duplicates as of others."""
    independent = n * like.independent / like.n
    return Measurement.of(accuracy, n, math.nan, independent=independent)


class _Trend(NamedTuple):
    """The straight line behind the last epochs of a loss curve.

    Its rate is the Theil-Sen slope (Sen 1968), which a single jump does not move.
    """

    epochs: int
    fall: float  # nats, from its first to its last epoch
    highest_fall: float  # upper end of its 90 % interval
    is_downward: bool  # by Kendall's test, and in the figures


def _trend(loss: Curve, epochs: int) -> _Trend:
    last = loss[-max(epochs, FEWEST_FOR_TREND) :]
    p = kendalltau(np.arange(len(last)), last, alternative="less").pvalue
    slope = theilslopes(last, alpha=0.9)
    steps = len(last) - 1
    return _Trend(
        epochs=len(last),
        fall=-float(slope.slope) * steps,
        highest_fall=-float(slope.low_slope) * steps,
        is_downward=bool(p < SIGNIFICANCE and slope.slope < 0 and last[-1] < last[0]),
    )


def _smooth(curve: Curve) -> Curve:
    """Running medians over a fifth of the curve, at least three epochs; shorter by the rest."""
    width = min(max(3, len(curve) // 5), len(curve))
    medians: Curve = np.median(sliding_window_view(curve, width), axis=-1)
    return medians


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _judge(run: _Run) -> tuple[Kind, str]:
    """Return the first verdict that holds, and the sentence that says why."""
    settings, limits, length = run.settings, run.limits, len(run.history)
    # What makes a run diverge (Goodfellow et al. 2016, ch. 11.4).
    too_large_steps = f"the learning rate, {settings.learning_rate:g}, is too high"

    for name in FIGURES:
        (rows,) = np.nonzero(~np.isfinite(run.curve(name)))
        if len(rows):
            epoch = run.history["epoch"].iloc[rows[0]]
            return "diverged", (
                f"{name} is not a finite number in epoch {epoch}: most likely {too_large_steps}."
            )
    if length < FEWEST_EPOCHS:
        epochs = "1 epoch shows" if length == 1 else f"{length} epochs show"
        return "stopped too early", (
            f"{epochs} no trend, which takes at least {FEWEST_EPOCHS}; so far the network is right "
            f"on {_percent(run.train.accuracy)} of the training and {_percent(run.val.accuracy)} "
            f"of the validation images."
        )

    train_loss, val_loss = run.curve("train/loss"), run.curve("val/loss")
    smooth_train, smooth_val = _smooth(train_loss), _smooth(val_loss)
    lowest, best = int(val_loss.argmin()), int(smooth_val.argmin())

    # The training loss has risen far above its lowest value.
    lost, gained = smooth_train[-1] - smooth_train.min(), smooth_train[0] - smooth_train.min()
    if lost >= BLOWN_UP and lost > gained / 2 and train_loss[-1] > train_loss.min():
        return "diverged", (
            f"The training loss rose from {run.told('train/loss', int(train_loss.argmin()))} to "
            f"{run.told('train/loss', -1)}: {too_large_steps}."
        )

    # The validation loss has turned up where it ends above its lowest value by more than it
    # typically moves, by more than 5 %, too (Prechelt 1998: generalisation loss GL > 5), and while
    # the training loss is lower than it was there.
    rise, unrest = smooth_val[-1] - smooth_val[best], np.median(np.abs(np.diff(val_loss)))
    val_turned_up = (
        rise > max(TURNED_UP * limits * smooth_val[best], unrest)
        and smooth_train[-1] < smooth_train[best]
        and train_loss[-1] < train_loss[lowest]
    )
    # The training loss falls where its second half goes down and brings enough of the whole fall: a
    # straight line brings a half, a curve that has bent into its floor next to nothing. The whole
    # curve must go down too, lest a flat one be taken to fall by chance.
    half, last_third = _trend(train_loss, -(-length // 2)), _trend(val_loss, -(-length // 3))
    train_falls = (
        _trend(train_loss, length).is_downward
        and half.is_downward
        and half.fall >= HALF_BRINGS * limits * (smooth_train[0] - smooth_train[-1])
        and not val_turned_up
    )
    # It has flattened where the interval of its slope excludes the straight line. Where it neither
    # falls nor has flattened, or is lowest in the last of few, the epochs are too few to tell.
    straight = STRAIGHT * (train_loss[0] - smooth_train[-1])
    few = length < 2 * FEWEST_EPOCHS and train_loss.argmin() == length - 1
    train_flattened = not train_falls and not few and half.highest_fall <= straight
    # Training is poor where too many errors are left of those of always answering the most frequent
    # class. That takes the best possible error to be zero (Ng 2018: avoidable bias).
    smooth_accuracy = float(_smooth(run.curve("train/accuracy"))[-1])
    error = 1 - max(run.train.accuracy, smooth_accuracy)
    training_is_poor = error > POOR * (1 - run.majority)
    highest, where = float(run.curve("train/accuracy")[-1]), run.at_end
    if highest <= run.train.accuracy:
        highest, where = run.train.accuracy, "with the best weights"
    fit = f"{_percent(highest)} even of the training images {where},"
    half_ago, at_end = run.told("train/loss", -half.epochs), run.told("train/loss", -1)
    gap = run.gap()

    is_better = smooth_accuracy > run.majority + SMALLEST_GAP or train_falls
    if run.is_stuck and settings.dropout == 0 and not is_better:
        return "diverged", (
            f"The network is right on no more than {fit} as always answering the most frequent "
            f"class would be: most likely {too_large_steps}."
        )

    if run.val_is_too_small:
        return "too little data", (
            f"The validation accuracy of {run.val} is too uncertain to tell one problem from "
            f"another; hold out or collect more images."
        )

    if not gap and training_is_poor and train_falls:
        left = float(smooth_train[-1]) / (half.fall / (half.epochs - 1))  # epochs
        if left > SLOW * limits * length:
            return "slow convergence", (
                f"The training loss falls steadily but slowly, from {half_ago} to {at_end}; at "
                f"this rate what is left would take about {left:,.0f} more epochs."
            )

    # With or without a gap: each epoch still brought something.
    least = max(THIRD_BRINGS * (smooth_val[0] - smooth_val[-1]), WORTHWHILE_FALL * smooth_val[-1])
    if last_third.is_downward and last_third.fall >= least * limits:
        return "stopped too early", (
            f"The validation loss was still falling in the end, from "
            f"{run.told('val/loss', -last_third.epochs)} to {run.told('val/loss', -1)}."
        )

    if gap:
        return _judge_gap(run, gap, lowest, val_turned_up)

    # The training error itself is high (Goodfellow et al. 2016, ch. 5.2). A schedule that anneals
    # the learning rate to nothing flattens the loss too; such a run is judged as it stands.
    if training_is_poor and train_flattened:
        return "underfitting", (
            f"The network is right on no more than {fit} where always answering the most frequent "
            f"class is right on about {_percent(run.majority)}. The training loss has flattened: "
            f"{half_ago}, {at_end}."
        )

    if training_is_poor and not val_turned_up:
        ended = "Patience ended the run" if run.ended_by_patience else "The run ended"
        course = "too soon to tell whether the training loss still falls:"
        if train_falls:
            course = "while the training loss was still falling,"
        return "stopped too early", (
            f"{ended} {course} {half_ago} and {at_end}. Training and validation accuracy with the "
            f"best weights, {_percent(run.train.accuracy)} and {_percent(run.val.accuracy)}, have "
            f"not parted."
        )

    return "sound", (
        f"The network is right on {_percent(run.train.accuracy)} of the training and "
        f"{_percent(run.val.accuracy)} of the validation images with the best weights, no gap "
        f"beyond chance and {100 * SMALLEST_GAP:g} points; the validation loss was "
        f"{run.told('val/loss', lowest)}, the lowest, and {run.told('val/loss', -1)}."
    )


def _judge_gap(run: _Run, gap: _Gap, lowest: int, val_turned_up: bool) -> tuple[Kind, str]:
    settings, length = run.settings, len(run.history)
    at_lowest, at_end = run.told("val/loss", lowest), run.told("val/loss", -1)
    course = f"was {at_lowest}, the lowest, and {at_end}"
    if val_turned_up:
        course = (
            f"rose from {at_lowest} to {at_end}, while the training loss fell from "
            f"{run.told('train/loss', lowest)} to {run.told('train/loss', -1)}"
        )
    elif lowest == length - 1:
        course = f"was lowest, {at_end}, the last"
    # The gap persists with dropout, or further training does not even harm: what these images can
    # teach has been learnt (Goodfellow et al. 2016, ch. 11.3).
    kind: Kind = "too little data"
    if val_turned_up and settings.dropout == 0:
        kind = "overfitting"  # it learns its training images by heart, and nothing holds it back
    if not val_turned_up and length < FEWEST_TO_FLATTEN:
        kind = "stopped too early"
        course += f"; {length} epochs are too few to tell whether it still falls"
    elif settings.dropout > 0 and (settings.augment or settings.trivial_augment):
        course += "; dropout and augmentation are on already, so more images would help most"
    low, high = (100 * bound for bound in difference_interval(gap.train, gap.val))
    return kind, (
        f"The network is right on {_percent(gap.train.accuracy)} of the training but "
        f"{_percent(gap.val.accuracy)} of the validation images {gap.where}, a gap of {low:.1f} to "
        f"{high:.1f} points. The validation loss {course}."
    )
