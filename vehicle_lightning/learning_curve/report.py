"""What a learning curve says: in words, as plain JSON, and as a picture."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from vehicle_lightning.learning_curve.curve import FARTHEST, FLAT, Curve, Interval, worth
from vehicle_lightning.runs.plots import (
    FAINT,
    INK,
    TRAIN,
    VAL,
    begin_figure,
    drawable,
    lay_out,
    prepare_panel,
)

TARGETS = (0.9, 0.95)
GAP = 0.05  # of training and validation accuracy, below which the network knows neither better


def describe(curve: Curve, train_accuracy: float) -> list[str]:
    """Return what a curve says, one sentence a line.

    Args:
        curve: the curve.
        train_accuracy: of the training images, at the largest share.
    """
    lines = [
        f"{images:>7,.0f} training images: {_percent(curve.measured(share))}"
        for share, images in enumerate(curve.images)
    ]
    a, b, c = (float(one[0]) for one in (curve.law.a, curve.law.b, curve.law.c))
    law = f"error = {a:.3f} (n / {curve.most:,.0f})^-{b:.2f} + {c:.3f}"
    if not curve.holds:
        return [
            *lines,
            f"No power law fits these errors ({law}; lack of fit p {curve.p_fit:.3f}): nothing is "
            f"said of more images. More --seeds, or --shares of more images, may help.",
        ]
    twice = 2 * curve.most
    more = curve.gain(twice)
    gain, low, high = (f"{100 * one:+.1f}" for one in (more.value, more.low, more.high))
    return [
        *lines,
        f"{law} fits (lack of fit p {curve.p_fit:.2f})",
        f"twice as many, {twice:,.0f}: {_percent(curve.accuracy(twice))}, "
        f"{gain} [{low}, {high}] points more",
        *(f"{100 * target:g} % takes {_images_for(target, curve)}" for target in TARGETS),
        _shape(curve, train_accuracy),
    ]


def _images_for(accuracy: float, curve: Curve) -> str:
    """Say how many images an accuracy takes, as far as the curve carries."""
    interval, farthest = curve.images_for(accuracy), FARTHEST * curve.most
    if interval.low > farthest:
        return f"more than {farthest:,.0f} training images; farther this curve does not carry"
    return f"{_within(interval, curve.images[0], farthest)} training images"


def _shape(curve: Curve, train_accuracy: float) -> str:
    """Say whether more images are worth having."""
    gain = curve.law_gain(2 * curve.most)
    val_accuracy = 1 - float(curve.errors[-1].mean())
    if gain.high < FLAT and 1 - val_accuracy < FLAT:
        return "The curve is flat: hardly an image is wrong, so there is little left to gain."
    if gain.high < FLAT:
        why = (
            "the network knows its training images no better "
            f"({100 * train_accuracy:.1f} %), so try a larger one or longer training"
            if train_accuracy - val_accuracy < GAP
            else f"the network knows its training images ({100 * train_accuracy:.1f} %), so look "
            "at the labels and at what the images do not show (`check`)"
        )
        return f"The curve is flat: twice as many would bring less than a point; {why}."
    if not curve.falls:
        return "More images are not shown to help yet; more --seeds would tell."
    return "More images help." if gain.low > 0 else "More images have helped so far."


def tell_worth(name: str, curve: Curve, other: Curve) -> str:
    """Say what the other settings are worth in images of the first: with few images, and with all.

    Args:
        name: of what the other settings change.
        curve: of the first settings.
        other: of the other settings, on as many images.
    """
    if not (curve.holds and other.holds):
        return f"What {name} is worth in images cannot be said, as no law fits one of the curves."
    ends = (float(curve.images[0]), curve.most)
    few, all_of_them = (
        f"{_worth(curve, other, images)} where there are {images:,.0f}" for images in ends
    )
    return f"{name} is worth {few}, and {all_of_them}."


def _worth(curve: Curve, other: Curve, images: float) -> str:
    interval = worth(curve, other, images)
    if interval.high < 0:
        return "less than none"
    least, most = curve.images[0] - images, FARTHEST * curve.most - images
    if interval.low < least and interval.high > most:
        return "an unknown number of training images"
    return f"{_within(interval, least, most)} more training images"


def figures(curve: Curve) -> dict[str, Any]:
    """Return plain JSON types; null where no number is large enough, or nothing may be said."""
    a, b, c = (float(one[0]) for one in (curve.law.a, curve.law.b, curve.law.c))
    content: dict[str, Any] = {
        "images": curve.images.tolist(),
        "accuracy": [_json(curve.measured(share)) for share in range(len(curve.images))],
        "errors": curve.errors.tolist(),
        "law": {"a": a, "b": b, "c": c, "unit": curve.most, "lack_of_fit_p": curve.p_fit},
        "holds": curve.holds,
    }
    if curve.holds:
        for name, images in (("twice", 2 * curve.most), ("four_times", FARTHEST * curve.most)):
            accuracy, gain = curve.accuracy(images), curve.gain(images)
            content[name] = {"accuracy": _json(accuracy), "gain": _json(gain)}
        content["images_for"] = {f"{one:g}": _json(curve.images_for(one)) for one in TARGETS}
    return content


def _json(interval: Interval) -> dict[str, float | None]:
    return {k: v if math.isfinite(v) else None for k, v in asdict(interval).items()}


def _percent(interval: Interval) -> str:
    value, low, high = (100 * one for one in (interval.value, interval.low, interval.high))
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def _within(interval: Interval, least: float, most: float) -> str:
    """Return numbers of images, those that are too far off by their bound."""
    value, low, high = (
        f"more than {most:,.0f}"
        if number > most
        else f"less than {least:,.0f}"
        if number < least
        else f"{number:,.0f}"
        for number in (interval.value, interval.low, interval.high)
    )
    return f"{value} [{low}, {high}]"


def plot_learning_curves(curves: Mapping[str, Curve]) -> Figure:
    """Draw accuracy over the number of training images: measured, fitted, and as far as it carries.

    Args:
        curves: name of the configuration -> its curve, one or two.
    """
    figure = begin_figure(9, 5, "Accuracy on validation images by number of training images")
    lay_out(figure)
    axes = figure.add_subplot()
    prepare_panel(axes, "", "Training images (dotted line: all there are)")
    for (name, curve), color in zip(curves.items(), (TRAIN, VAL), strict=False):
        measured = [curve.measured(share) for share in range(len(curve.images))]
        reach = [(one.value - one.low, one.high - one.value) for one in measured]
        axes.errorbar(
            curve.images,
            [one.value for one in measured],
            np.transpose(reach),
            color=color,
            fmt="o",
            markersize=5,
            capsize=3,
            linewidth=1.4,
            label=drawable(name, 50),
        )
        axes.plot(curve.images, 1 - curve.errors, ".", color=color, markersize=3, alpha=0.35)
        if not curve.holds:
            continue
        until = np.geomspace(curve.images[0], FARTHEST * curve.most, 80)
        intervals = [curve.accuracy(images) for images in until]
        middle = np.array([one.value for one in intervals])
        inside = until <= curve.most * 1.001
        axes.plot(until[inside], middle[inside], color=color, linewidth=1.8)
        axes.plot(until, middle, color=color, linewidth=1.8, linestyle=(0, (4, 3)))
        low, high = [one.low for one in intervals], [one.high for one in intervals]
        axes.fill_between(until, low, high, color=color, alpha=0.15, linewidth=0)
    first = next(iter(curves.values()))
    axes.axvline(first.most, color=FAINT, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_xticks([*first.images, 2 * first.most, FARTHEST * first.most])
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    axes.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=INK)
    return figure
