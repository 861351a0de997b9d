"""The verdict on real short runs, each made to have one trouble."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import DataFolder, Fit

IMAGES, SIZE = 160, 16
COMMON = ("--image-size", str(SIZE), "--batch-size", "20", "--val-fraction", "0.5")


def verdict(fit_quickly: Fit, data_dir: Path, *flags: str) -> dict[str, Any]:
    run = fit_quickly(*COMMON, *flags, data_dir=data_dir)
    content: dict[str, Any] = json.loads(run.summary.read_text())["verdict"]
    return content


def fill(data_folder: DataFolder, *, shades: bool) -> Path:
    """Noise with random labels, or with a brightness that tells the label."""
    rng = np.random.default_rng(0)
    rows: list[tuple[str, object]] = []
    for number in range(IMAGES):
        label = number % 2
        pixels = rng.integers(0, 256, (SIZE, SIZE, 3))
        if shades:
            pixels = pixels // 2 + 100 * label
        name = f"{number}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(data_folder.path / "images" / name)
        rows.append((name, label))
    data_folder.write_csv(rows)
    return data_folder.path


@pytest.fixture
def noise(data_folder: DataFolder) -> Path:
    return fill(data_folder, shades=False)


@pytest.fixture
def shades(data_folder: DataFolder) -> Path:
    return fill(data_folder, shades=True)


def test_noise_learnt_by_heart_is_overfitting(fit_quickly: Fit, noise: Path) -> None:
    found = verdict(fit_quickly, noise, "--epochs", "20", "--learning-rate", "0.003")
    assert found["kind"] == "overfitting"
    assert "--dropout 0.5" in found["try"]


def test_noise_learnt_by_heart_in_spite_of_dropout_is_too_little_data(
    fit_quickly: Fit, noise: Path
) -> None:
    flags = ("--dropout", "0.1", "--epochs", "25", "--learning-rate", "0.003")
    found = verdict(fit_quickly, noise, *flags)
    assert found["kind"] == "too little data"
    assert found["try"][0] == "--augment"


def test_a_network_held_back_too_much_is_underfitting(fit_quickly: Fit, noise: Path) -> None:
    flags = ("--dropout", "0.9", "--pooling", "average", "--epochs", "30")
    found = verdict(fit_quickly, noise, *flags, "--learning-rate", "0.003")
    assert found["kind"] == "underfitting"
    assert "--dropout 0" in found["try"]


def test_small_steps_are_slow_convergence(fit_quickly: Fit, shades: Path) -> None:
    flags = ("--hidden", "8", "--epochs", "12", "--learning-rate", "0.000001")
    found = verdict(fit_quickly, shades, *flags)
    assert found["kind"] == "slow convergence"
    assert found["try"][0] == "--batchnorm"


def test_a_falling_validation_loss_is_stopped_too_early(fit_quickly: Fit, shades: Path) -> None:
    found = verdict(fit_quickly, shades, "--epochs", "8", "--learning-rate", "0.0001")
    assert found["kind"] == "stopped too early"
    assert found["try"] == ["--epochs 16"]


def test_an_easy_task_learnt_to_the_end_is_sound(fit_quickly: Fit, shades: Path) -> None:
    flags = ("--epochs", "25", "--learning-rate", "0.03", "--schedule", "cosine")
    found = verdict(fit_quickly, shades, *flags)
    assert found["kind"] == "sound"
    assert found["try"] == []


def test_steps_far_too_large_are_told(fit_quickly: Fit, noise: Path) -> None:
    found = verdict(
        fit_quickly, noise, "--epochs", "6", "--learning-rate", "90", "--optimizer", "sgd"
    )
    assert found["kind"] == "diverged"
    assert any("--learning-rate" in flag for flag in found["try"])
