"""The verdict on a run: which problem it has, the figures that say so, what to try next.

The problems are those of the case study: too little data, overfitting, underfitting, and slow
convergence. A run may also have diverged, have stopped too early to be judged, or be sound.

Everything compares like with like: `train/loss` and `train/accuracy` are measured as validation is
(evaluation mode, clean images). The running loss of the optimisation, which dropout and
augmentation raise, is only asked whether it is finite.

What counts as evidence. Each is decided on smoothed curves (running medians over a fifth of the
run, as the lowest value of a noisy curve is low by luck), and only where the figures of
`metrics.csv` that the sentence names say the same:

-   A **gap** between training and validation accuracy is real if Newcombe's 95 % interval of the
    difference excludes zero and the difference is at least 5 points. It is looked for after the
    last epoch, on the samples that each epoch measures, and in the best weights, on all images:
    those may be from before the gap opened.
-   The validation loss has **turned up** if it ends more than 5 % above its lowest value (Prechelt
    1998: generalisation loss GL > 5), and by more than it typically moves from one epoch to the
    next, while the training loss is lower than it was there.
-   The training loss **still falls** if its second half has a downward trend by Kendall's test
    (p < 0.05) that brings at least a fifth of the whole fall: a straight line brings a half, a
    curve that has bent into its floor next to nothing. The whole curve must have such a trend too,
    lest a flat one be taken to fall by chance, and the validation loss must not have turned up.
    The validation loss still falls if its last third has such a trend, brings at least a tenth of
    the whole fall, and at least 2 % of the loss. The rate is the Theil-Sen slope (Sen 1968), which
    a single jump does not move.
-   The training loss has **flattened** if the 90 % interval of that slope excludes the straight
    line. Where it neither falls nor has flattened, the epochs are too few to tell. From fewer than
    10 epochs it cannot be told that the validation loss no longer falls, unless it turned up.
-   Training is **poor** if the network makes on the training images more than a fifth of the errors
    of always answering the most frequent class (Ng 2018: avoidable bias, taking the best possible
    error to be zero).

The rules; the first that holds is the verdict:

1.  A figure is not finite; or the training loss ends 0.1 nats above its lowest value or more,
    having lost over half of what it had gained; or at a learning rate of 0.003 or more and without
    dropout the network ends no better on the training images than the most frequent class:
    *diverged*. The steps are too large (Goodfellow et al. 2016, ch. 11.4: of all settings look at
    the learning rate first).
2.  Fewer than 5 epochs: *stopped too early*. No trend can be told from so few.
3.  The validation interval is wider than 30 points: *too little data* to measure anything.
4.  The training loss still falls, training is poor, there is no gap, and what is left of the loss
    would take more than three times the epochs run so far at this rate: *slow convergence*.
5.  The validation loss still falls: *stopped too early*, with or without a gap, as each epoch still
    brought something.
6.  A gap, the validation loss has turned up, and dropout is off: *overfitting*. The network learns
    its training images by heart and nothing holds it back; the fix is in the network.
7.  A gap, no upturn, and fewer than 10 epochs: *stopped too early*.
8.  Any other gap: *too little data*. Either dropout holds the network back and the gap persists, or
    further training does not even harm: what these images can teach has been learnt, and the fix
    is in the images (Goodfellow et al. 2016, ch. 11.3).
9.  Training is poor and its loss has flattened: *underfitting* (Goodfellow et al. 2016, ch. 5.2:
    the training error itself is high). A schedule that anneals the learning rate to nothing
    flattens the loss too; such a run is judged as it stands.
10. Training is poor and the validation loss has not turned up: *stopped too early*, by patience or
    by the number of epochs.
11. *Sound*.

A run that is not shown to beat the most frequent class is told so first. A verdict that would be
another without the last epoch, or with limits half or one and a half times as strict, says so.

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
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.stats import kendalltau, theilslopes

from vehicle_lightning.runs.statistics import Measurement, difference_interval, wilson_interval

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

_FIGURES = ("train/running_loss", "train/loss", "val/loss", "train/accuracy", "val/accuracy")


class Fixes(Protocol):
    """The settings that fix a problem, as the run had them."""

    @property
    def epochs(self) -> int:
        """Greatest number of epochs."""

    @property
    def patience(self) -> int | None:
        """Epochs without a lower validation loss that end the run; None never ends it."""

    @property
    def learning_rate(self) -> float:
        """Greater than 0."""

    @property
    def weight_decay(self) -> float:
        """At least 0, which is off."""

    @property
    def dropout(self) -> float:
        """Probability in [0, 1); 0 is off."""

    @property
    def batchnorm(self) -> bool:
        """Whether batch normalisation is on."""

    @property
    def augment(self) -> bool:
        """Whether the training images are changed at random."""

    @property
    def backbone(self) -> str | None:
        """Network in place of the convolutional blocks."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each convolutional block."""

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of each hidden dense layer."""


@dataclass(frozen=True)
class Verdict:
    """What a run suffers from, and what to do about it."""

    kind: Kind
    because: str
    """One or two sentences with the figures and epochs that say so."""
    flags: tuple[str, ...] = ()
    """At most three command-line flags to try next, the most promising first."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"kind": self.kind, "because": self.because, "try": list(self.flags)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Verdict":
        """Return the verdict that `to_dict` gave."""
        return cls(content["kind"], content["because"], tuple(content["try"]))


def diagnose(
    history: pd.DataFrame,
    train: Measurement,
    val: Measurement,
    *,
    train_sample: int,
    majority: float,
    settings: Fixes,
) -> Verdict:
    """Judge a run by the rules above.

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
    verdict = _judge(run)
    because = verdict.because
    if val.interval[0] <= majority:
        because = (
            f"The network is not shown to be better than always answering the most frequent class, "
            f"right on {_percent(majority)} of the validation images. {because}"
        )
    others = [] if len(history) <= FEWEST_EPOCHS else [replace(run, history=history[:-1])]
    others += [replace(run, limits=limits) for limits in NEAR]
    nearly = [other for one in others if (other := _judge(one).kind) != verdict.kind]
    if nearly and verdict.kind != "diverged":
        because += f" A near thing: it is nearly {' or '.join(dict.fromkeys(nearly))}."
    return replace(verdict, because=because)


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
    return Verdict(kind, because, example.flags)


def _judge(run: "_Run") -> Verdict:
    settings = run.settings
    if says := _says_diverged(run):
        return Verdict("diverged", says, _with_smaller_steps(settings))
    if run.length < FEWEST_EPOCHS:
        return Verdict("stopped too early", _says_too_few_epochs(run), _with_more_epochs(run))
    if run.val_is_too_small:
        return Verdict("too little data", _says_val_is_too_small(run))
    if run.gap is None and run.training_is_poor and run.would_take_too_long:
        return Verdict("slow convergence", _says_slow(run), _with_faster_steps(run))
    if run.val_loss_falls:
        return Verdict("stopped too early", _says_val_loss_falls(run), _with_more_epochs(run))
    if run.gap and run.val_loss_turned_up and settings.dropout == 0:
        return Verdict("overfitting", _says_gap(run, run.gap), _with_restraint(settings))
    if run.gap and not run.val_loss_turned_up and run.length < FEWEST_TO_FLATTEN:
        return Verdict("stopped too early", _says_gap(run, run.gap), _with_more_epochs(run))
    if run.gap:
        return Verdict("too little data", _says_gap(run, run.gap), _with_more_to_see(settings))
    if run.training_is_poor and run.train_loss_flattened:
        return Verdict("underfitting", _says_poor(run), _with_more_capacity(run))
    if run.training_is_poor and not run.val_loss_turned_up:
        return Verdict("stopped too early", _says_unfinished(run), _with_more_epochs(run))
    return Verdict("sound", _says_sound(run))


@dataclass(frozen=True)
class _Trend:
    """The straight line behind the last epochs of a loss curve."""

    epochs: int
    rate: float  # nats an epoch, positive where the loss falls
    highest_rate: float  # upper end of its 90 % interval
    is_downward: bool
    whole_fall: float  # nats, from the first to the last epochs of the whole curve

    @classmethod
    def of_last(cls, epochs: int, loss: NDArray[np.float64]) -> "_Trend":
        last = loss[-max(epochs, FEWEST_FOR_TREND) :]
        p = kendalltau(np.arange(len(last)), last, alternative="less").pvalue
        slope = theilslopes(last, alpha=0.9)
        smooth = _smooth(loss)
        return cls(
            epochs=len(last),
            rate=-float(slope.slope),
            highest_rate=-float(slope.low_slope),
            is_downward=bool(p < SIGNIFICANCE and slope.slope < 0 and last[-1] < last[0]),
            whole_fall=float(smooth[0] - smooth[-1]),
        )

    @property
    def fall(self) -> float:
        return self.rate * (self.epochs - 1)

    @property
    def highest_fall(self) -> float:
        return self.highest_rate * (self.epochs - 1)


@dataclass(frozen=True)
class _Gap:
    """Training and validation accuracy where they really differ."""

    train: Measurement
    val: Measurement
    where: str

    def is_real(self, smallest: float) -> bool:
        is_certain = difference_interval(self.train, self.val)[0] > 0
        return is_certain and self.train.accuracy - self.val.accuracy >= smallest


@dataclass(frozen=True)
class _Run:
    """The evidence; its properties are the terms that the module's docstring explains."""

    history: pd.DataFrame
    train: Measurement
    val: Measurement
    train_sample: int
    majority: float
    settings: Fixes
    limits: float = 1.0  # times those of the module

    def column(self, name: str) -> NDArray[np.float64]:
        return self.history[name].to_numpy(dtype=np.float64)

    def smooth(self, name: str) -> NDArray[np.float64]:
        return _smooth(self.column(name))

    def told(self, name: str, row: int) -> str:
        """Return a loss as it stands in metrics.csv, and its epoch."""
        return f"{self.column(name)[row]:.3g} in epoch {self.history['epoch'].iloc[row]}"

    @property
    def length(self) -> int:
        return len(self.history)

    @property
    def lowest(self) -> int:
        """Row of the lowest validation loss."""
        return int(self.column("val/loss").argmin())

    @property
    def val_is_too_small(self) -> bool:
        low, high = self.val.interval
        return high - low > WIDEST_INTERVAL

    def _at_end(self, *, smooth: bool) -> _Gap:
        train, val = (
            Measurement(round(share * n) / n, wilson_interval(round(share * n), n), n, math.nan)
            for split, n in (("train", self.train_sample), ("val", self.val.n))
            for curve in [self.column(f"{split}/accuracy")]
            for share in [float((_smooth(curve) if smooth else curve)[-1])]
        )
        return _Gap(train, val, f"after epoch {self.history['epoch'].iloc[-1]}")

    @cached_property
    def gap(self) -> _Gap | None:
        smallest = SMALLEST_GAP * self.limits
        best = _Gap(self.train, self.val, "with the best weights")
        last = self._at_end(smooth=False)
        if self._at_end(smooth=True).is_real(smallest) and last.is_real(smallest):
            return last
        return best if best.is_real(smallest) else None

    @cached_property
    def val_loss_turned_up(self) -> bool:
        train, val = self.column("train/loss"), self.column("val/loss")
        smooth_train, smooth_val = _smooth(train), _smooth(val)
        best = smooth_val.argmin()
        rise = smooth_val[-1] - smooth_val[best]
        unrest = np.median(np.abs(np.diff(val)))
        return bool(
            rise > max(TURNED_UP * self.limits * smooth_val[best], unrest)
            and smooth_train[-1] < smooth_train[best]
            and train[-1] < train[self.lowest]
        )

    @cached_property
    def train_trend(self) -> _Trend:
        return _Trend.of_last(math.ceil(self.length / 2), self.column("train/loss"))

    @cached_property
    def val_trend(self) -> _Trend:
        return _Trend.of_last(math.ceil(self.length / 3), self.column("val/loss"))

    @cached_property
    def train_loss_falls(self) -> bool:
        whole, half = _Trend.of_last(self.length, self.column("train/loss")), self.train_trend
        return (
            whole.is_downward
            and half.is_downward
            and half.fall >= HALF_BRINGS * self.limits * half.whole_fall
            and not self.val_loss_turned_up
        )

    @property
    def train_loss_flattened(self) -> bool:
        whole_fall = self.column("train/loss")[0] - self.smooth("train/loss")[-1]
        could_fall = self.train_trend.highest_fall
        return not self.train_loss_falls and bool(could_fall <= STRAIGHT * whole_fall)

    @cached_property
    def val_loss_falls(self) -> bool:
        trend, loss = self.val_trend, self.smooth("val/loss")[-1]
        least = max(THIRD_BRINGS * trend.whole_fall, WORTHWHILE_FALL * loss)
        return trend.is_downward and bool(trend.fall >= least * self.limits)

    @cached_property
    def fits(self) -> tuple[float, str]:
        """Training accuracy of the best or of the last weights, whichever is higher, and where."""
        last = float(self.column("train/accuracy")[-1])
        if last > self.train.accuracy:
            return last, f"after epoch {self.history['epoch'].iloc[-1]}"
        return self.train.accuracy, "with the best weights"

    @property
    def training_is_poor(self) -> bool:
        best = max(self.train.accuracy, float(self.smooth("train/accuracy")[-1]))
        return 1 - best > POOR * (1 - self.majority)

    @property
    def would_take_too_long(self) -> bool:
        return self.train_loss_falls and self.epochs_left > SLOW * self.limits * self.length

    @property
    def epochs_left(self) -> float:
        """Epochs to a training loss of zero at the present rate, which must be positive."""
        return float(self.smooth("train/loss")[-1]) / self.train_trend.rate

    @property
    def ended_by_patience(self) -> bool:
        return self.settings.patience is not None and self.length < self.settings.epochs


def _smooth(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running medians over a fifth of the curve, at least three epochs; shorter by the rest."""
    width = min(max(3, len(curve) // 5), len(curve))
    medians: NDArray[np.float64] = np.median(sliding_window_view(curve, width), axis=-1)
    return medians


def _says_diverged(run: _Run) -> str | None:
    rate = f"the learning rate, {run.settings.learning_rate:g}, is too high"
    for name in _FIGURES:
        (rows,) = np.nonzero(~np.isfinite(run.column(name)))
        if len(rows):
            epoch = run.history["epoch"].iloc[rows[0]]
            return f"{name} is not a finite number in epoch {epoch}: most likely {rate}."
    if run.length < FEWEST_EPOCHS:
        return None
    loss, smooth = run.column("train/loss"), run.smooth("train/loss")
    lost, gained = smooth[-1] - smooth.min(), smooth[0] - smooth.min()
    if lost >= BLOWN_UP and lost > gained / 2 and loss[-1] > loss.min():
        return (
            f"The training loss rose from {run.told('train/loss', int(loss.argmin()))} to "
            f"{run.told('train/loss', -1)}: {rate}."
        )
    accuracy, where = run.fits
    if (
        run.settings.learning_rate >= HIGH_LEARNING_RATE
        and run.settings.dropout == 0
        and run.train.interval[0] <= run.majority
        and not run.train_loss_falls
        and run.smooth("train/accuracy")[-1] <= run.majority + SMALLEST_GAP
    ):
        return (
            f"The network is right on no more than {_percent(accuracy)} even of the training "
            f"images {where}, as always answering the most frequent class would be: most likely "
            f"{rate}."
        )
    return None


def _says_too_few_epochs(run: _Run) -> str:
    epochs = "1 epoch shows" if run.length == 1 else f"{run.length} epochs show"
    return (
        f"{epochs} no trend, which takes at least {FEWEST_EPOCHS}; so far the network is right on "
        f"{_percent(run.train.accuracy)} of the training and {_percent(run.val.accuracy)} of the "
        f"validation images."
    )


def _says_val_is_too_small(run: _Run) -> str:
    return (
        f"The validation accuracy of {run.val} is too uncertain to tell one problem from another; "
        f"hold out or collect more images."
    )


def _says_slow(run: _Run) -> str:
    return (
        f"The training loss falls steadily but slowly, from "
        f"{run.told('train/loss', -run.train_trend.epochs)} to {run.told('train/loss', -1)}; at "
        f"this rate what is left would take about {run.epochs_left:,.0f} more epochs."
    )


def _says_val_loss_falls(run: _Run) -> str:
    return (
        f"The validation loss was still falling in the end, from "
        f"{run.told('val/loss', -run.val_trend.epochs)} to {run.told('val/loss', -1)}."
    )


def _says_unfinished(run: _Run) -> str:
    ended = "Patience ended the run" if run.ended_by_patience else "The run ended"
    course = (
        "while the training loss was still falling,"
        if run.train_loss_falls
        else "too soon to tell whether the training loss still falls:"
    )
    return (
        f"{ended} {course} {run.told('train/loss', -run.train_trend.epochs)} and "
        f"{run.told('train/loss', -1)}. Training and validation accuracy with the best weights, "
        f"{_percent(run.train.accuracy)} and {_percent(run.val.accuracy)}, have not parted."
    )


def _says_gap(run: _Run, gap: _Gap) -> str:
    low, high = (100 * bound for bound in difference_interval(gap.train, gap.val))
    if run.val_loss_turned_up:
        course = (
            f"rose from {run.told('val/loss', run.lowest)} to {run.told('val/loss', -1)}, while "
            f"the training loss fell from {run.told('train/loss', run.lowest)} to "
            f"{run.told('train/loss', -1)}"
        )
    elif run.lowest == run.length - 1:
        course = f"was lowest, {run.told('val/loss', -1)}, the last"
    else:
        course = (
            f"was {run.told('val/loss', run.lowest)}, the lowest, and {run.told('val/loss', -1)}"
        )
    if not run.val_loss_turned_up and run.length < FEWEST_TO_FLATTEN:
        course += f"; {run.length} epochs are too few to tell whether it still falls"
    elif run.settings.dropout > 0 and run.settings.augment:
        course += "; dropout and augmentation are on already, so more images would help most"
    return (
        f"The network is right on {_percent(gap.train.accuracy)} of the training but "
        f"{_percent(gap.val.accuracy)} of the validation images {gap.where}, a gap of {low:.1f} to "
        f"{high:.1f} points. The validation loss {course}."
    )


def _says_poor(run: _Run) -> str:
    accuracy, where = run.fits
    return (
        f"The network is right on no more than {_percent(accuracy)} even of the training images "
        f"{where}, where always answering the most frequent class is right on about "
        f"{_percent(run.majority)}. The training loss has flattened: "
        f"{run.told('train/loss', -run.train_trend.epochs)}, {run.told('train/loss', -1)}."
    )


def _says_sound(run: _Run) -> str:
    return (
        f"The network is right on {_percent(run.train.accuracy)} of the training and "
        f"{_percent(run.val.accuracy)} of the validation images with the best weights, no gap "
        f"beyond chance and {100 * SMALLEST_GAP:g} points; the validation loss was "
        f"{run.told('val/loss', run.lowest)}, the lowest, and {run.told('val/loss', -1)}."
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _with_smaller_steps(settings: Fixes) -> tuple[str, ...]:
    return (*_smaller_steps(settings), *_batchnorm(settings))


def _with_faster_steps(run: _Run) -> tuple[str, ...]:
    return (
        *_batchnorm(run.settings),
        f"--learning-rate {3 * run.settings.learning_rate:.2g}",
        *_with_more_epochs(run),
    )


def _with_more_epochs(run: _Run) -> tuple[str, ...]:
    if run.settings.patience is not None and run.ended_by_patience:
        return (f"--patience {2 * run.settings.patience}",)
    # A run that was interrupted has not used up the epochs it was given.
    return (f"--epochs {max(2 * run.length, FEWEST_EPOCHS, run.settings.epochs)}",)


def _with_restraint(settings: Fixes) -> tuple[str, ...]:
    return (*_dropout(settings), *_augment(settings), *_weight_decay(settings))


def _with_more_to_see(settings: Fixes) -> tuple[str, ...]:
    return (*_augment(settings), *_dropout(settings), *_weight_decay(settings))


def _with_more_capacity(run: _Run) -> tuple[str, ...]:
    settings = run.settings
    flags: list[str] = []
    if settings.dropout > 0:
        flags.append("--dropout 0")
        if settings.learning_rate >= HIGH_LEARNING_RATE and run.train.interval[0] <= run.majority:
            flags += _smaller_steps(settings)
    flags += _channels(settings)
    flags += _batchnorm(settings)
    if not settings.hidden:
        flags.append("--hidden 128")
    return tuple(flags[:3])


def _smaller_steps(settings: Fixes) -> tuple[str, ...]:
    return (f"--learning-rate {settings.learning_rate / 10:.2g}",)


def _batchnorm(settings: Fixes) -> tuple[str, ...]:
    return () if settings.batchnorm else ("--batchnorm",)


def _augment(settings: Fixes) -> tuple[str, ...]:
    return () if settings.augment else ("--augment",)


def _dropout(settings: Fixes) -> tuple[str, ...]:
    return () if settings.dropout > 0 else ("--dropout 0.5",)


def _weight_decay(settings: Fixes) -> tuple[str, ...]:
    return () if settings.weight_decay > 0 else ("--weight-decay 0.001",)


def _channels(settings: Fixes) -> tuple[str, ...]:
    channels = settings.channels
    if settings.backbone is not None:
        return ()
    if len(channels) < 3:  # each block halves the image, and the smallest image is 8 pixels wide
        larger = (*channels, 2 * channels[-1])
    else:
        larger = tuple(2 * width for width in channels)
    return ("--channels " + " ".join(map(str, larger)),) if max(larger) <= 1024 else ()
