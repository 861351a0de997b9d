"""What a learning curve says, in words and as plain JSON."""

import math
from dataclasses import asdict
from typing import Any

from vehicle_lightning.learning_curve.curve import FARTHEST, FLAT, Curve, Interval, worth

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
    lines.append(f"{law} fits (lack of fit p {curve.p_fit:.2f})")
    gain = curve.gain(2 * curve.most)
    lines.append(
        f"twice as many, {2 * curve.most:,.0f}: {_percent(curve.accuracy(2 * curve.most))}, "
        f"{_points(gain)} points more"
    )
    lines += [
        f"{100 * target:g} % takes {_images(curve.images_for(target), curve)}" for target in TARGETS
    ]
    return [*lines, _shape(curve, train_accuracy)]


def _shape(curve: Curve, train_accuracy: float) -> str:
    """Say whether more images are worth having."""
    gain = curve.law_gain(2 * curve.most)
    val_accuracy = 1 - float(curve.errors[-1].mean())
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
    """Say what the other settings are worth in images of the first."""
    if not curve.holds:
        return f"What {name} is worth in images cannot be said, as no law fits the first curve."
    interval = worth(curve, other)
    most, least = (FARTHEST - 1) * curve.most, curve.images[0] - curve.most
    value, low, high = (
        f"more than {most:,.0f}"
        if bound > most
        else f"less than {least:,.0f}"
        if bound < least
        else f"{bound:,.0f}"
        for bound in (interval.value, interval.low, interval.high)
    )
    return f"{name[:1].upper()}{name[1:]} is worth {value} [{low}, {high}] more training images."


def figures(curve: Curve) -> dict[str, Any]:
    """Return plain JSON types; null where no number is large enough, or nothing may be said."""
    twice, four = 2 * curve.most, FARTHEST * curve.most
    a, b, c = (float(one[0]) for one in (curve.law.a, curve.law.b, curve.law.c))
    content: dict[str, Any] = {
        "images": curve.images.tolist(),
        "accuracy": [_json(curve.measured(share)) for share in range(len(curve.images))],
        "errors": curve.errors.tolist(),
        "law": {"a": a, "b": b, "c": c, "unit": curve.most, "lack_of_fit_p": curve.p_fit},
        "holds": curve.holds,
    }
    if curve.holds:
        content |= {
            "twice": {"accuracy": _json(curve.accuracy(twice)), "gain": _json(curve.gain(twice))},
            "four_times": {
                "accuracy": _json(curve.accuracy(four)),
                "gain": _json(curve.gain(four)),
            },
            "images_for": {f"{target:g}": _json(curve.images_for(target)) for target in TARGETS},
        }
    return content


def _json(interval: Interval) -> dict[str, float | None]:
    return {k: v if math.isfinite(v) else None for k, v in asdict(interval).items()}


def _percent(interval: Interval) -> str:
    value, low, high = (100 * one for one in (interval.value, interval.low, interval.high))
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def _points(interval: Interval) -> str:
    value, low, high = (100 * one for one in (interval.value, interval.low, interval.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _images(interval: Interval, curve: Curve) -> str:
    """Say how many images, as far as the curve carries."""
    farthest = FARTHEST * curve.most
    if interval.low > farthest:
        return f"more than {farthest:,.0f} training images; farther this curve does not carry"
    value, low, high = (
        f"more than {farthest:,.0f}"
        if bound > farthest
        else f"fewer than {curve.images[0]:,.0f}"
        if bound < curve.images[0]
        else f"{bound:,.0f}"
        for bound in (interval.value, interval.low, interval.high)
    )
    return f"{value} [{low}, {high}] training images"
