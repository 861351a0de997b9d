"""The verdict on a run: which of four troubles it has, the figures that say so, what to try next.

The troubles are too little data, overfitting, underfitting and slow convergence. A run may also
have stopped too early to be judged, or be sound.

Everything compares like with like: `train/loss` and `train/accuracy` are measured as validation is
(evaluation mode, clean images). The running loss of the optimisation, which dropout and
augmentation raise, is only asked whether it is finite.

What counts as evidence:

-   A **gap** between training and validation accuracy is real if Newcombe's 95 % interval of the
    difference excludes zero and the difference is at least 5 points. It is looked for at the end of
    the run, on the samples that each epoch measures, and in the best weights, on all images: those
    may be from before the gap opened.
-   The validation loss has **turned up** if it ends more than 5 % above its lowest value (Prechelt
    1998: generalisation loss GL > 5), and by more than it typically moves from one epoch to the
    next, while the training loss is lower than it was there. A running median over a fifth of the
    run smooths both first, as the lowest value of a noisy curve is low by luck.
-   The training loss **still falls** if its second half has a downward trend by Kendall's test
    (p < 0.05) that brings at least a fifth of the whole fall: a straight line brings a half, a
    curve that has bent into its floor next to nothing. The whole curve must have such a trend too,
    lest a flat one be taken to fall by chance. The validation loss still falls if its last third
    has such a trend, brings at least a tenth of the whole fall, and at least 2 % of the loss.
    The rate is the Theil-Sen slope (Sen 1968), which a single jump does not move.
-   Training is **poor** if the network makes on the training images more than a fifth of the errors
    of always answering the most frequent class (Ng 2018: avoidable bias, taking the best possible
    error to be zero).

The rules; the first that holds is the verdict:

1.  A figure is not finite: *slow convergence*. The steps are too large to arrive (Goodfellow et al.
    2016, ch. 11.4: of all settings look at the learning rate first).
2.  Fewer than 5 epochs: *stopped too early*. No trend can be told from so few.
3.  The training loss ends 0.1 nats above its lowest value or more, having lost over half of what it
    had gained: *slow convergence*, as in 1.
4.  The validation interval is wider than 30 points: *too little data* to measure anything.
5.  The training loss still falls, training is poor, there is no gap, and what is left of the loss
    would take more than three times the epochs run so far at this rate: *slow convergence*.
6.  The validation loss still falls: *stopped too early*, with or without a gap, as each epoch still
    brought something.
7.  A gap, the validation loss has turned up, and dropout is off: *overfitting*. The network learns
    its training images by heart and nothing holds it back; the remedy is in the network.
8.  Any other gap: *too little data*. Either dropout holds the network back and the gap persists, or
    further training does not even harm: what these images can teach has been learnt, and the remedy
    is in the images (Goodfellow et al. 2016, ch. 11.3).
9.  The training loss still falls, training is poor, and the validation loss has not turned up:
    *stopped too early*, by patience or by the number of epochs.
10. Training is poor and its loss has flattened: *underfitting* (Goodfellow et al. 2016, ch. 5.2:
    the training error itself is high). A schedule that anneals the learning rate to nothing
    flattens the loss too; such a run is judged as it stands.
11. *Sound*.

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
from dataclasses import dataclass
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
    "stopped too early",
    "sound",
]

FEWEST_EPOCHS = 5
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
SLOW = 3  # times the epochs run so far
HIGH_LEARNING_RATE = 3e-3

_FIGURES = ("train/running_loss", "train/loss", "val/loss", "train/accuracy", "val/accuracy")


class Remedies(Protocol):
    """The settings that remedy a trouble, as the run had them."""

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
    settings: Remedies,
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
    if run.not_finite is not None:
        return Verdict(
            "slow convergence",
            _says_not_finite(run, *run.not_finite),
            _with_smaller_steps(settings),
        )
    if run.length < FEWEST_EPOCHS:
        return Verdict("stopped too early", _says_too_few_epochs(run), _with_more_epochs(run))
    if run.train_loss_blew_up:
        return Verdict("slow convergence", _says_blew_up(run), _with_smaller_steps(settings))
    if run.val_is_too_small:
        return Verdict("too little data", _says_val_is_too_small(run))
    if run.gap is None and run.training_is_poor and run.would_take_too_long:
        return Verdict("slow convergence", _says_slow(run), _with_faster_steps(run))
    if run.val_loss_falls:
        return Verdict("stopped too early", _says_val_loss_falls(run), _with_more_epochs(run))
    if run.gap is not None and run.val_loss_turned_up and settings.dropout == 0:
        return Verdict("overfitting", _says_gap(run, *run.gap), _with_restraint(settings))
    if run.gap is not None:
        return Verdict("too little data", _says_gap(run, *run.gap), _with_more_to_see(settings))
    if run.training_is_poor and run.train_loss_falls and not run.val_loss_turned_up:
        return Verdict("stopped too early", _says_train_loss_falls(run), _with_more_epochs(run))
    if run.training_is_poor and not run.train_loss_falls:
        return Verdict("underfitting", _says_poor(run), _with_more_capacity(run))
    return Verdict("sound", _says_sound(run))


@dataclass(frozen=True)
class _Trend:
    """The straight line behind the last epochs of a loss curve."""

    epochs: int
    rate: float  # nats an epoch, positive where the loss falls
    is_significant: bool
    whole_fall: float  # nats, from the first to the last epochs of the whole curve

    @classmethod
    def of_last(cls, epochs: int, loss: NDArray[np.float64]) -> "_Trend":
        last = loss[-max(epochs, FEWEST_FOR_TREND) :]
        p = kendalltau(np.arange(len(last)), last, alternative="less").pvalue
        smooth = _smooth(loss)
        return cls(
            epochs=len(last),
            rate=-float(theilslopes(last).slope),
            is_significant=bool(p < SIGNIFICANCE),
            whole_fall=float(smooth[0] - smooth[-1]),
        )

    @property
    def fall(self) -> float:
        return self.rate * (self.epochs - 1)

    def brings(self, share: float) -> bool:
        return self.is_significant and self.rate > 0 and self.fall >= share * self.whole_fall


class _Run:
    """The evidence; its properties are the terms that the module's docstring explains."""

    def __init__(
        self,
        history: pd.DataFrame,
        train: Measurement,
        val: Measurement,
        train_sample: int,
        majority: float,
        settings: Remedies,
    ) -> None:
        self.history = history
        self.train = train
        self.val = val
        self.train_sample = train_sample
        self.majority = majority
        self.settings = settings

    def column(self, name: str) -> NDArray[np.float64]:
        return self.history[name].to_numpy(dtype=np.float64)

    def at_end(self, name: str) -> float:
        return float(_smooth(self.column(name))[-1])

    def epoch(self, row: int) -> int:
        return int(self.history["epoch"].iloc[row])

    @property
    def length(self) -> int:
        return len(self.history)

    @cached_property
    def not_finite(self) -> tuple[str, int] | None:
        """Column and epoch of a figure that is not finite."""
        for name in _FIGURES:
            (rows,) = np.nonzero(~np.isfinite(self.column(name)))
            if len(rows):
                return name, self.epoch(rows[0])
        return None

    @cached_property
    def train_loss_blew_up(self) -> bool:
        loss = _smooth(self.column("train/loss"))
        lost, gained = loss[-1] - loss.min(), loss[0] - loss.min()
        return bool(lost >= BLOWN_UP and lost > gained / 2)

    @property
    def val_is_too_small(self) -> bool:
        low, high = self.val.interval
        return high - low > WIDEST_INTERVAL

    @cached_property
    def gap(self) -> tuple[Measurement, Measurement] | None:
        """Training and validation accuracy where they really differ."""
        for train, val in (
            (
                self._measured_at_end("train", self.train_sample),
                self._measured_at_end("val", self.val.n),
            ),
            (self.train, self.val),
        ):
            difference = train.accuracy - val.accuracy
            if difference >= SMALLEST_GAP and difference_interval(train, val)[0] > 0:
                return train, val
        return None

    def _measured_at_end(self, split: str, n: int) -> Measurement:
        correct = round(self.at_end(f"{split}/accuracy") * n)
        interval = wilson_interval(correct, n)
        return Measurement(correct / n, interval, n, self.at_end(f"{split}/loss"))

    @cached_property
    def val_loss_turned_up(self) -> bool:
        train, val = _smooth(self.column("train/loss")), _smooth(self.column("val/loss"))
        best = val.argmin()
        unrest = np.median(np.abs(np.diff(self.column("val/loss"))))
        rise = val[-1] - val[best]
        return bool(rise > max(TURNED_UP * val[best], unrest) and train[-1] < train[best])

    @cached_property
    def train_trend(self) -> _Trend:
        return _Trend.of_last(math.ceil(self.length / 2), self.column("train/loss"))

    @cached_property
    def val_trend(self) -> _Trend:
        return _Trend.of_last(math.ceil(self.length / 3), self.column("val/loss"))

    @property
    def train_loss_falls(self) -> bool:
        whole = _Trend.of_last(self.length, self.column("train/loss"))
        return whole.is_significant and self.train_trend.brings(HALF_BRINGS)

    @property
    def val_loss_falls(self) -> bool:
        worthwhile = WORTHWHILE_FALL * self.at_end("val/loss")
        return self.val_trend.brings(THIRD_BRINGS) and self.val_trend.fall >= worthwhile

    @cached_property
    def best_train_accuracy(self) -> float:
        """Of the best weights or of the last ones, whichever fit the training images better."""
        return max(self.train.accuracy, self.at_end("train/accuracy"))

    @property
    def training_is_poor(self) -> bool:
        return 1 - self.best_train_accuracy > POOR * (1 - self.majority)

    @property
    def would_take_too_long(self) -> bool:
        return self.train_loss_falls and self.epochs_left > SLOW * self.length

    @property
    def epochs_left(self) -> float:
        """Epochs to a training loss of zero at the present rate, which must be positive."""
        return self.at_end("train/loss") / self.train_trend.rate

    @property
    def ended_by_patience(self) -> bool:
        return self.settings.patience is not None and self.length < self.settings.epochs


def _smooth(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running medians over a fifth of the curve, at least three epochs; shorter by the rest."""
    width = max(3, len(curve) // 5)
    medians: NDArray[np.float64] = np.median(sliding_window_view(curve, width), axis=-1)
    return medians


def _says_not_finite(run: _Run, name: str, epoch: int) -> str:
    return (
        f"{name} is not a finite number in epoch {epoch}: most likely the learning rate, "
        f"{run.settings.learning_rate:g}, is too high."
    )


def _says_too_few_epochs(run: _Run) -> str:
    epochs = "1 epoch shows" if run.length == 1 else f"{run.length} epochs show"
    return (
        f"{epochs} no trend, which takes at least {FEWEST_EPOCHS}; so far the network is right on "
        f"{_percent(run.train.accuracy)} of the training and {_percent(run.val.accuracy)} of the "
        f"validation images."
    )


def _says_blew_up(run: _Run) -> str:
    loss = run.column("train/loss")
    lowest = int(loss.argmin())
    return (
        f"The training loss rose from {loss[lowest]:.3g} in epoch {run.epoch(lowest)} to "
        f"{run.at_end('train/loss'):.3g} at the end: the learning rate, "
        f"{run.settings.learning_rate:g}, is too high."
    )


def _says_val_is_too_small(run: _Run) -> str:
    return (
        f"The validation accuracy of {run.val} is too uncertain to tell one trouble from another; "
        f"hold out or collect more images."
    )


def _says_slow(run: _Run) -> str:
    loss = run.column("train/loss")
    highest = int(loss.argmax())
    return (
        f"The training loss falls steadily but slowly, from {loss[highest]:.3g} in epoch "
        f"{run.epoch(highest)} to {run.at_end('train/loss'):.3g} in epoch {run.epoch(-1)}; at this "
        f"rate what is left would take about {run.epochs_left:,.0f} more epochs."
    )


def _says_val_loss_falls(run: _Run) -> str:
    return (
        f"The validation loss was still falling in the end, by {run.val_trend.rate:.2g} an epoch "
        f"over the last {run.val_trend.epochs}, to {run.at_end('val/loss'):.3g} in epoch "
        f"{run.epoch(-1)}."
    )


def _says_train_loss_falls(run: _Run) -> str:
    ended = "Patience ended the run" if run.ended_by_patience else "The run ended"
    return (
        f"{ended} in epoch {run.epoch(-1)} while the training loss was still falling by "
        f"{run.train_trend.rate:.2g} an epoch, and training and validation accuracy, "
        f"{_percent(run.train.accuracy)} and {_percent(run.val.accuracy)}, have not parted."
    )


def _says_gap(run: _Run, train: Measurement, val: Measurement) -> str:
    low, high = (100 * bound for bound in difference_interval(train, val))
    loss = run.column("val/loss")
    lowest = int(loss.argmin())
    since = f"{loss[lowest]:.3g} in epoch {run.epoch(lowest)}"
    if run.val_loss_turned_up:
        course = (
            f"rose from {since} to {run.at_end('val/loss'):.3g} at the end, while the training "
            f"loss fell from {run.column('train/loss')[lowest]:.3g} to "
            f"{run.at_end('train/loss'):.3g}"
        )
    else:
        course = f"no longer falls clearly after {since}"
    if run.settings.dropout > 0 and run.settings.augment:
        course += "; dropout and augmentation are on already, so more images would help most"
    return (
        f"The network is right on {_percent(train.accuracy)} of the training but "
        f"{_percent(val.accuracy)} of the validation images, a gap of {low:.1f} to {high:.1f} "
        f"points. The validation loss {course}."
    )


def _says_poor(run: _Run) -> str:
    return (
        f"The network is right on no more than {_percent(run.best_train_accuracy)} even of the "
        f"training images, where always answering the most frequent class is right on about "
        f"{_percent(run.majority)}. The training loss has flattened at "
        f"{run.at_end('train/loss'):.3g} by epoch {run.epoch(-1)}."
    )


def _says_sound(run: _Run) -> str:
    loss = run.column("val/loss")
    lowest = int(loss.argmin())
    return (
        f"The network is right on {_percent(run.train.accuracy)} of the training and "
        f"{_percent(run.val.accuracy)} of the validation images, no gap beyond chance and "
        f"{100 * SMALLEST_GAP:g} points; the validation loss no longer falls clearly after "
        f"{loss[lowest]:.3g} in epoch {run.epoch(lowest)}."
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _with_smaller_steps(settings: Remedies) -> tuple[str, ...]:
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


def _with_restraint(settings: Remedies) -> tuple[str, ...]:
    return (*_dropout(settings), *_augment(settings), *_weight_decay(settings))


def _with_more_to_see(settings: Remedies) -> tuple[str, ...]:
    return (*_augment(settings), *_dropout(settings), *_weight_decay(settings))


def _with_more_capacity(run: _Run) -> tuple[str, ...]:
    settings = run.settings
    flags: list[str] = []
    has_learnt_nothing = run.train.interval[0] <= run.majority
    if has_learnt_nothing and settings.learning_rate >= HIGH_LEARNING_RATE:
        flags += _smaller_steps(settings)
    if settings.dropout > 0:
        flags.append("--dropout 0")
    flags += _channels(settings)
    flags += _batchnorm(settings)
    if not settings.hidden:
        flags.append("--hidden 128")
    return tuple(flags[:3])


def _smaller_steps(settings: Remedies) -> tuple[str, ...]:
    return (f"--learning-rate {settings.learning_rate / 10:.2g}",)


def _batchnorm(settings: Remedies) -> tuple[str, ...]:
    return () if settings.batchnorm else ("--batchnorm",)


def _augment(settings: Remedies) -> tuple[str, ...]:
    return () if settings.augment else ("--augment",)


def _dropout(settings: Remedies) -> tuple[str, ...]:
    return () if settings.dropout > 0 else ("--dropout 0.5",)


def _weight_decay(settings: Remedies) -> tuple[str, ...]:
    return () if settings.weight_decay > 0 else ("--weight-decay 0.001",)


def _channels(settings: Remedies) -> tuple[str, ...]:
    channels = settings.channels
    if len(channels) < 3:  # each block halves the image, and the smallest image is 8 pixels wide
        larger = (*channels, 2 * channels[-1])
    else:
        larger = tuple(2 * width for width in channels)
    return ("--channels " + " ".join(map(str, larger)),) if max(larger) <= 1024 else ()
