"""What a person sees in the terminal."""

import time

import pytest

from vehicle_lightning import console


def test_piped_progress_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in console.progress_over(range(20), 20, "Drawing vehicles"):
        time.sleep(0.08)
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 2
    assert lines[0].startswith("Drawing vehicles: ")
    assert lines[0].endswith(" of 20")


def test_progress_counts_images_where_the_items_are_batches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter(range(0, 3600 * 100, 3600))
    monkeypatch.setattr(time, "monotonic", lambda: next(hours))
    batches = [list(range(32)), list(range(32)), [0]]
    assert list(console.progress_over(batches, 65, "Reading images", count=len)) == batches
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "Reading images: 32 of 65",
        "Reading images: 64 of 65",
    ]  # the last image is less than a twentieth
