"""Leaks by name: planted ones are told, usual ways to name files are not accused."""

import hashlib
import uuid
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from vehicle_lightning.data.facts import no_facts
from vehicle_lightning.data.leaks import check_leaks

COUNT = 120


def serious(
    names: list[str], labels: list[str], modified: NDArray[np.int64] | None = None
) -> list[str]:
    facts = no_facts(len(names))
    rng = np.random.default_rng(5)
    facts["modified"] = rng.integers(0, 10**9, len(names)) if modified is None else modified
    found = check_leaks(names, labels, facts, np.arange(len(names)))
    return [finding.details[0] for finding in found if finding.severity == "serious"]


SOUND: dict[str, Callable[[int, str], str]] = {
    "class folders": lambda n, label: f"{label}/{n:03d}.png",
    "class folders in splits": lambda n, label: f"{('train', 'val')[n % 5 == 0]}/{label}/{n}.png",
    "class folders, spelt in another way": lambda n, label: (
        f"{label.title().replace(' ', '_')}/{n}.png"
    ),
    "UUIDs": lambda n, _: f"{uuid.UUID(int=int(hashlib.md5(bytes([n])).hexdigest(), 16))}.jpg",
    "hashes": lambda n, _: f"{hashlib.sha256(bytes([n])).hexdigest()}.jpg",
    "padded counters": lambda n, _: f"IMG_{n:05d}.jpg",
    "dates": lambda n, _: f"2024-{n % 12 + 1:02d}-{n % 28 + 1:02d}_{n}.jpg",
}


@pytest.mark.parametrize("name", SOUND.values(), ids=SOUND)
def test_usual_names_are_no_leak(name: Callable[[int, str], str]) -> None:
    for seed in range(2):
        labels = np.random.default_rng(seed).permutation(["fire van", "car"] * (COUNT // 2))
        assert serious([name(n, label) for n, label in enumerate(labels)], labels.tolist()) == []


@pytest.mark.parametrize(
    "name",
    [
        lambda n: f"{uuid.UUID(bytes=hashlib.md5(bytes([n])).digest())}.png",
        lambda n: f"{hashlib.sha256(bytes([n])).hexdigest()}.png",
        lambda n: f"{n}.png",
        lambda n: f"IMG_{n + 1:04d}.png",
    ],
    ids=["UUIDs", "hashes", "a counter in each", "a padded counter in each"],
)
@pytest.mark.parametrize("sizes", [(60, 60), (150, 40), (90, 60, 30, 5)], ids=str)
def test_what_follows_the_listing_of_class_folders_is_no_leak(
    name: Callable[[int], str], sizes: tuple[int, ...]
) -> None:
    """One folder after the other is listed and was copied; in each the files are counted anew."""
    labels = [label for label, size in zip("abcd", sizes, strict=False) for _ in range(size)]
    number = iter(range(sum(sizes)))
    is_counter = name(7) in ("7.png", "IMG_0008.png")
    names = [
        f"{label}/{name(place if is_counter else next(number))}"
        for label, size in zip("abcd", sizes, strict=False)
        for place in range(size)
    ]
    assert serious(names, labels, np.arange(len(names))) == []


def test_dates_weeks_apart_are_a_leak_in_class_folders_too() -> None:
    labels = ["a"] * COUNT + ["b"] * COUNT
    names = [f"{label}/{n % COUNT}.png" for n, label in enumerate(labels)]
    week = 7 * 86400
    found = serious(names, labels, np.arange(len(names)) + 3 * week * (np.array(labels) == "b"))
    assert found == ["file date"]


@pytest.mark.parametrize(
    "name",
    [
        lambda n, label: f"{label}/{label[0]}{n}.png",
        lambda n, label: f"{label}/cam{len(label)}/{n}.png",
        lambda n, label: f"cam{len(label)}/{n}.png",
        lambda n, label: f"{label}/{n + 500 * len(label)}.png",
    ],
    ids=["a prefix", "a camera folder in it", "a camera folder", "a number"],
)
def test_what_is_left_of_the_name_is_tested(name: Callable[[int, str], str]) -> None:
    labels = np.random.default_rng(0).permutation(["van", "car "] * (COUNT // 2)).tolist()
    labels = [label.strip() if label != "car " else "bicycle" for label in labels]
    assert serious([name(n, label) for n, label in enumerate(labels)], labels)
