"""Leaks by name: planted ones are told, usual ways to name files are not accused."""

import hashlib
import uuid
from collections.abc import Callable

import numpy as np
import pytest

from vehicle_lightning.data.facts import no_facts
from vehicle_lightning.data.leaks import check_leaks

COUNT = 120


def serious(names: list[str], labels: list[str]) -> list[str]:
    facts = no_facts(len(names))
    facts["modified"] = np.random.default_rng(5).integers(0, 10**9, len(names))
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
