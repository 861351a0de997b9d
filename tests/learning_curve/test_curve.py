"""The law, its intervals, and when nothing is said, on errors that are made up."""

import json

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from vehicle_lightning.learning_curve.curve import EXPONENTS, FARTHEST, Curve, PowerLaw, worth
from vehicle_lightning.learning_curve.report import describe, figures, tell_worth

IMAGES = np.array([165.0, 329, 658, 988, 1317])
FOLDS = 5


def law(
    images: NDArray[np.float64] | float, a: float = 1.5, c: float = 0.03
) -> NDArray[np.float64]:
    return a * np.asarray(images) ** -0.4 + c


def measured(
    rng: Generator, truth: NDArray[np.float64], of_fold: float = 0.01, of_training: float = 0.01
) -> NDArray[np.float64]:
    """Errors of five folds, some of them with difficult images."""
    difficult = of_fold * rng.standard_normal(FOLDS)
    return truth[:, None] + difficult + of_training * rng.standard_normal((len(truth), FOLDS))


@pytest.mark.parametrize(("exponent", "c"), [(10, 0.1), (30, 0.0), (50, 0.05)])
def test_a_law_without_noise_is_found(exponent: int, c: float) -> None:
    b = EXPONENTS[exponent]
    errors = 0.2 * (IMAGES / IMAGES[-1]) ** -b + c
    found = PowerLaw.fit(IMAGES, np.array([errors, errors]), np.array([3.0, 2, 1, 1, 1]))
    assert found.a == pytest.approx([0.2, 0.2], abs=1e-6)
    assert found.b == pytest.approx([b, b])
    assert found.c == pytest.approx([c, c], abs=1e-6)
    assert found.images(found.error(5000.0)) == pytest.approx([5000, 5000], rel=1e-6)
    assert np.isinf(found.images(c - 0.01)).all()


def test_neither_a_negative_floor_nor_a_rising_error_is_fitted() -> None:
    steep, rising = 0.5 - 0.06 * np.log(IMAGES), 0.1 + IMAGES / 1e5
    found = PowerLaw.fit(IMAGES, np.array([steep, rising]), np.ones(5))
    assert (found.a >= 0).all()
    assert (found.c >= 0).all()
    assert found.error(4000.0)[1] == pytest.approx(found.error(200.0)[1])


def test_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(60):
        curve = Curve.fit(IMAGES, measured(rng, law(IMAGES)))
        if not curve.holds:
            continue
        for times in (2, 4):
            images = times * curve.most
            accuracy, gain = curve.accuracy(images), curve.gain(images)
            held += [
                accuracy.low <= 1 - law(images) <= accuracy.high,
                gain.low <= law(curve.most) - law(images) <= gain.high,
            ]
    assert len(held) > 200
    assert np.mean(held) > 0.9


def test_more_images_than_the_curve_carries_are_not_named() -> None:
    curve = Curve.fit(IMAGES, measured(np.random.default_rng(1), law(IMAGES), 0.003, 0.003))
    text = "\n".join(describe(curve, 0.99))
    farthest = f"{FARTHEST * curve.most:,.0f}"
    assert f"95 % takes more than {farthest} training images; farther this curve does" in text
    assert "90 % takes" in text
    assert "More images help." in text
    assert figures(curve)["images_for"]["0.95"]["high"] is None


def test_nothing_is_said_where_no_law_fits() -> None:
    errors = measured(np.random.default_rng(2), np.array([0.3, 0.2, 0.3, 0.2, 0.3]), 0.003, 0.003)
    curve = Curve.fit(IMAGES, errors)
    assert not curve.holds
    text = "\n".join(describe(curve, 0.99))
    assert "nothing is said of more images" in text
    assert "twice as many" not in text
    assert "twice" not in figures(curve)
    assert "cannot be said" in tell_worth("--augment", curve, curve)


@pytest.mark.parametrize(
    ("train_accuracy", "why"), [(0.99, "look at the labels"), (0.81, "try a larger one")]
)
def test_a_flat_curve_says_why(train_accuracy: float, why: str) -> None:
    flat = measured(np.random.default_rng(3), np.full(5, 0.2), 0.01, 0.003)
    last = describe(Curve.fit(IMAGES, flat), train_accuracy)[-1]
    assert last.startswith("The curve is flat")
    assert why in last


def test_networks_that_are_always_right_have_a_curve() -> None:
    curve = Curve.fit(IMAGES, measured(np.random.default_rng(0), np.zeros(5), 0.0, 0.0))
    assert json.dumps(figures(curve), allow_nan=False)
    assert "nan" not in "\n".join(describe(curve, 1.0))


def test_what_a_switch_is_worth_in_images() -> None:
    rng = np.random.default_rng(4)
    truth = law(IMAGES)
    better = law(2 * IMAGES)  # as if there were twice as many
    first = measured(rng, truth, 0.0, 0.002)
    second = measured(rng, better, 0.0, 0.002)
    curve, other = Curve.fit(IMAGES, first), Curve.fit(IMAGES, second, 1)
    for images in (curve.images[0], curve.most):
        found = worth(curve, other, float(images))
        assert found.low < images < found.high
        assert found.value == pytest.approx(images, rel=0.5)
    says = tell_worth("--augment", curve, other)
    assert says.startswith("--augment is worth ")
    assert f"where there are {curve.images[0]:,.0f}, and " in says
    assert worth(other, curve, curve.most).high < 0
    assert tell_worth("--blur", other, curve).startswith("--blur is worth less than none where")


def test_no_accuracy_lies_beyond_100_percent() -> None:
    rng = np.random.default_rng(1)
    curve = Curve.fit(IMAGES, abs(measured(rng, law(IMAGES, 0.1, 0.0), 0.004, 0.004)))
    shown = [curve.measured(share) for share in range(len(IMAGES))]
    for one in (*shown, curve.accuracy(2 * curve.most), curve.accuracy(FARTHEST * curve.most)):
        assert 0 <= one.low <= one.value <= one.high <= 1
    assert shown[-1].high == 1


def test_of_an_error_of_next_to_nothing_little_can_be_gained() -> None:
    errors = np.tile([0.004, 0.003, 0.005, 0.004, 0.004], (5, 1))
    assert "little left to gain" in describe(Curve.fit(IMAGES, errors), 1.0)[-1]
