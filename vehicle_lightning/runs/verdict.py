"""The verdict on a run: which problem it has, the figures that say so, what to try next.

The problems are those of the case study: too little data, overfitting, underfitting, and slow
convergence. A run may also have diverged, have stopped too early to be judged, or be sound.

Everything compares like with like: `train/loss` and `train/accuracy` are measured as validation is
(evaluation mode, clean images). The running loss of the optimisation, which dropout and
augmentation raise, is only asked whether it is finite.

The rules stand in `RULES`, what counts as evidence in `_Run`. Curves are smoothed by running
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import kendalltau, theilslopes

from vehicle_lightning.config import Settings
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

FIGURES = ("train/running_loss", "train/loss", "val/loss", "train/accuracy", "val/accuracy")


@dataclass(frozen=True)
class Verdict:
    """What a run suffers from, and what to do about it."""

    kind: Kind
    because: str
    """One or two sentences with the figures and epochs that say so."""
    flags: Annotated[tuple[str, ...], Field(alias="try")] = ()
    """At most three command-line flags to try next, the most promising first."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"kind": self.kind, "because": self.because, "try": list(self.flags)}


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
    augment = "" if settings.augment else "--augment"
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
    return f"--epochs {max(2 * run.length, FEWEST_EPOCHS, run.settings.epochs)}"


def _more_channels(settings: Settings) -> str:
    channels = settings.channels
    if len(channels) < 3:  # each block halves the image, and the smallest image is 8 pixels wide
        larger = (*channels, 2 * channels[-1])
    else:
        larger = tuple(2 * width for width in channels)
    is_too_much = settings.backbone is not None or max(larger) > 1024
    return "" if is_too_much else "--channels " + " ".join(map(str, larger))


@dataclass(frozen=True)
class _Trend:
    """The straight line behind the last epochs of a loss curve.

    Its rate is the Theil-Sen slope (Sen 1968), which a single jump does not move.
    """

    epochs: int
    fall: float  # nats, from its first to its last epoch
    highest_fall: float  # upper end of its 90 % interval
    is_downward: bool  # by Kendall's test, and in the figures
    whole_fall: float  # nats, from the first to the last epochs of the whole curve

    @classmethod
    def of_last(cls, epochs: int, loss: NDArray[np.float64]) -> "_Trend":
        last = loss[-max(epochs, FEWEST_FOR_TREND) :]
        p = kendalltau(np.arange(len(last)), last, alternative="less").pvalue
        slope = theilslopes(last, alpha=0.9)
        smooth = _smooth(loss)
        steps = len(last) - 1
        return cls(
            epochs=len(last),
            fall=-float(slope.slope) * steps,
            highest_fall=-float(slope.low_slope) * steps,
            is_downward=bool(p < SIGNIFICANCE and slope.slope < 0 and last[-1] < last[0]),
            whole_fall=float(smooth[0] - smooth[-1]),
        )


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
    """The evidence that the verdict is found by."""

    history: pd.DataFrame
    train: Measurement
    val: Measurement
    train_sample: int
    majority: float
    settings: Settings
    limits: float = 1.0  # times those of the module

    def column(self, name: str) -> NDArray[np.float64]:
        return self.history[name].to_numpy(dtype=np.float64)

    def smooth(self, name: str) -> NDArray[np.float64]:
        return _smooth(self.column(name))

    def train_loss(self, row: int) -> str:
        """Return it as it stands in metrics.csv, and its epoch."""
        return f"{self.column('train/loss')[row]:.3g} in epoch {self.history['epoch'].iloc[row]}"

    def val_loss(self, row: int) -> str:
        """Return it likewise."""
        return f"{self.column('val/loss')[row]:.3g} in epoch {self.history['epoch'].iloc[row]}"

    @property
    def length(self) -> int:
        return len(self.history)

    @property
    def at_end(self) -> str:
        return f"after epoch {self.history['epoch'].iloc[-1]}"

    @property
    def lowest(self) -> int:
        """Row of the lowest validation loss."""
        return int(self.column("val/loss").argmin())

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
    def too_large_steps(self) -> str:
        """What makes a run diverge (Goodfellow et al. 2016, ch. 11.4)."""
        return f"the learning rate, {self.settings.learning_rate:g}, is too high"

    def _last_gap(self, *, smooth: bool) -> _Gap:
        train, val = (
            Measurement(round(share * n) / n, wilson_interval(round(share * n), n), n, math.nan)
            for split, n in (("train", self.train_sample), ("val", self.val.n))
            for curve in [self.column(f"{split}/accuracy")]
            for share in [float((_smooth(curve) if smooth else curve)[-1])]
        )
        return _Gap(train, val, self.at_end)

    @cached_property
    def gap(self) -> _Gap | None:
        """The gap between training and validation accuracy, if any.

        It is real if Newcombe's 95 % interval of the difference excludes zero and the difference is
        large enough. It is looked for after the last epoch, on the samples that each epoch
        measures, and in the best weights, on all images: those may be from before the gap opened.
        """
        smallest = SMALLEST_GAP * self.limits
        best = _Gap(self.train, self.val, "with the best weights")
        last = self._last_gap(smooth=False)
        if self._last_gap(smooth=True).is_real(smallest) and last.is_real(smallest):
            return last
        return best if best.is_real(smallest) else None

    @cached_property
    def val_loss_turned_up(self) -> bool:
        """Whether the validation loss ends above its lowest value by more than it typically moves.

        By more than 5 %, too (Prechelt 1998: generalisation loss GL > 5), and while the training
        loss is lower than it was there.
        """
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
        """Whether the second half of the training loss goes down and brings enough of its fall.

        A straight line brings a half, a curve that has bent into its floor next to nothing. The
        whole curve must go down too, lest a flat one be taken to fall by chance.
        """
        whole, half = _Trend.of_last(self.length, self.column("train/loss")), self.train_trend
        return (
            whole.is_downward
            and half.is_downward
            and half.fall >= HALF_BRINGS * self.limits * half.whole_fall
            and not self.val_loss_turned_up
        )

    @property
    def train_loss_flattened(self) -> bool:
        """Whether the interval of its slope excludes the straight line.

        Where it neither falls nor has flattened, the epochs are too few to tell.
        """
        whole_fall = self.column("train/loss")[0] - self.smooth("train/loss")[-1]
        could_fall = self.train_trend.highest_fall
        return not self.train_loss_falls and bool(could_fall <= STRAIGHT * whole_fall)

    @property
    def fit(self) -> str:
        """Training accuracy of the best or of the last weights, whichever is higher, and where."""
        last, where = float(self.column("train/accuracy")[-1]), self.at_end
        if last <= self.train.accuracy:
            last, where = self.train.accuracy, "with the best weights"
        return f"{_percent(last)} even of the training images {where},"

    @property
    def training_is_poor(self) -> bool:
        """Whether too many errors are left of those of always answering the most frequent class.

        That takes the best possible error to be zero (Ng 2018: avoidable bias).
        """
        best = max(self.train.accuracy, float(self.smooth("train/accuracy")[-1]))
        return 1 - best > POOR * (1 - self.majority)

    @property
    def ended_by_patience(self) -> bool:
        return self.settings.patience is not None and self.length < self.settings.epochs


def _smooth(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running medians over a fifth of the curve, at least three epochs; shorter by the rest."""
    width = min(max(3, len(curve) // 5), len(curve))
    medians: NDArray[np.float64] = np.median(sliding_window_view(curve, width), axis=-1)
    return medians


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


# Each rule returns its verdict and the sentence that says why, or None where it does not hold.
_Finding = tuple[Kind, str] | None


def _not_finite(run: _Run) -> _Finding:
    for name in FIGURES:
        (rows,) = np.nonzero(~np.isfinite(run.column(name)))
        if len(rows):
            where = f"in epoch {run.history['epoch'].iloc[rows[0]]}"
            return "diverged", (
                f"{name} is not a finite number {where}: most likely {run.too_large_steps}."
            )
    return None


def _too_few_epochs(run: _Run) -> _Finding:
    if run.length >= FEWEST_EPOCHS:
        return None
    epochs = "1 epoch shows" if run.length == 1 else f"{run.length} epochs show"
    return "stopped too early", (
        f"{epochs} no trend, which takes at least {FEWEST_EPOCHS}; so far the network is right on "
        f"{_percent(run.train.accuracy)} of the training and {_percent(run.val.accuracy)} of the "
        f"validation images."
    )


def _blown_up(run: _Run) -> _Finding:
    loss, smooth = run.column("train/loss"), run.smooth("train/loss")
    lost, gained = smooth[-1] - smooth.min(), smooth[0] - smooth.min()
    if lost < BLOWN_UP or lost <= gained / 2 or loss[-1] <= loss.min():
        return None
    return "diverged", (
        f"The training loss rose from {run.train_loss(int(loss.argmin()))} to "
        f"{run.train_loss(-1)}: {run.too_large_steps}."
    )


def _nothing_learnt(run: _Run) -> _Finding:
    accuracy = run.smooth("train/accuracy")[-1]
    is_better = accuracy > run.majority + SMALLEST_GAP or run.train_loss_falls
    if not run.is_stuck or run.settings.dropout > 0 or is_better:
        return None
    return "diverged", (
        f"The network is right on no more than {run.fit} as always answering the most frequent "
        f"class would be: most likely {run.too_large_steps}."
    )


def _val_is_too_small(run: _Run) -> _Finding:
    if not run.val_is_too_small:
        return None
    return "too little data", (
        f"The validation accuracy of {run.val} is too uncertain to tell one problem from another; "
        f"hold out or collect more images."
    )


def _slow(run: _Run) -> _Finding:
    if run.gap or not run.training_is_poor or not run.train_loss_falls:
        return None
    trend = run.train_trend
    left = float(run.smooth("train/loss")[-1]) / (trend.fall / (trend.epochs - 1))  # epochs
    if left <= SLOW * run.limits * run.length:
        return None
    return "slow convergence", (
        f"The training loss falls steadily but slowly, from {run.train_loss(-trend.epochs)} to "
        f"{run.train_loss(-1)}; at this rate what is left would take about {left:,.0f} more epochs."
    )


def _val_loss_falls(run: _Run) -> _Finding:
    # With or without a gap: each epoch still brought something.
    trend, loss = run.val_trend, run.smooth("val/loss")[-1]
    least = max(THIRD_BRINGS * trend.whole_fall, WORTHWHILE_FALL * loss) * run.limits
    if not trend.is_downward or trend.fall < least:
        return None
    return "stopped too early", (
        f"The validation loss was still falling in the end, from {run.val_loss(-trend.epochs)} to "
        f"{run.val_loss(-1)}."
    )


def _gap(run: _Run) -> _Finding:
    gap, is_up = run.gap, run.val_loss_turned_up
    if gap is None:
        return None
    lowest, last = run.val_loss(run.lowest), run.val_loss(-1)
    course = f"was {lowest}, the lowest, and {last}"
    if is_up:
        course = (
            f"rose from {lowest} to {last}, while the training loss fell from "
            f"{run.train_loss(run.lowest)} to {run.train_loss(-1)}"
        )
    elif run.lowest == run.length - 1:
        course = f"was lowest, {last}, the last"
    # The gap persists with dropout, or further training does not even harm: what these images can
    # teach has been learnt (Goodfellow et al. 2016, ch. 11.3).
    kind: Kind = "too little data"
    if is_up and run.settings.dropout == 0:
        kind = "overfitting"  # it learns its training images by heart, and nothing holds it back
    if not is_up and run.length < FEWEST_TO_FLATTEN:
        kind = "stopped too early"
        course += f"; {run.length} epochs are too few to tell whether it still falls"
    elif run.settings.dropout > 0 and run.settings.augment:
        course += "; dropout and augmentation are on already, so more images would help most"
    low, high = (100 * bound for bound in difference_interval(gap.train, gap.val))
    return kind, (
        f"The network is right on {_percent(gap.train.accuracy)} of the training but "
        f"{_percent(gap.val.accuracy)} of the validation images {gap.where}, a gap of {low:.1f} to "
        f"{high:.1f} points. The validation loss {course}."
    )


def _underfitting(run: _Run) -> _Finding:
    # The training error itself is high (Goodfellow et al. 2016, ch. 5.2). A schedule that anneals
    # the learning rate to nothing flattens the loss too; such a run is judged as it stands.
    if not run.training_is_poor or not run.train_loss_flattened:
        return None
    return "underfitting", (
        f"The network is right on no more than {run.fit} where always answering the most frequent "
        f"class is right on about {_percent(run.majority)}. The training loss has flattened: "
        f"{run.train_loss(-run.train_trend.epochs)}, {run.train_loss(-1)}."
    )


def _unfinished(run: _Run) -> _Finding:
    if not run.training_is_poor or run.val_loss_turned_up:
        return None
    ended = "Patience ended the run" if run.ended_by_patience else "The run ended"
    course = "too soon to tell whether the training loss still falls:"
    if run.train_loss_falls:
        course = "while the training loss was still falling,"
    return "stopped too early", (
        f"{ended} {course} {run.train_loss(-run.train_trend.epochs)} and {run.train_loss(-1)}. "
        f"Training and validation accuracy with the best weights, {_percent(run.train.accuracy)} "
        f"and {_percent(run.val.accuracy)}, have not parted."
    )


def _sound(run: _Run) -> _Finding:
    return "sound", (
        f"The network is right on {_percent(run.train.accuracy)} of the training and "
        f"{_percent(run.val.accuracy)} of the validation images with the best weights, no gap "
        f"beyond chance and {100 * SMALLEST_GAP:g} points; the validation loss was "
        f"{run.val_loss(run.lowest)}, the lowest, and {run.val_loss(-1)}."
    )


RULES: tuple[Callable[[_Run], _Finding], ...] = (  # the first that holds is the verdict
    _not_finite,
    _too_few_epochs,
    _blown_up,
    _nothing_learnt,
    _val_is_too_small,
    _slow,
    _val_loss_falls,
    _gap,
    _underfitting,
    _unfinished,
    _sound,
)


def _judge(run: _Run) -> tuple[Kind, str]:
    return next(found for rule in RULES if (found := rule(run)))
