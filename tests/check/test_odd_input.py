"""Odd input that once ended in a traceback, or in a wrong finding."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import DataFolder
from vehicle_lightning.check.__main__ import main
from vehicle_lightning.data import facts
from vehicle_lightning.data.images import read_image
from vehicle_lightning.errors import DataError


def findings(data: Path) -> list[dict[str, Any]]:
    report = data.parent / "report"
    assert main(["--data-dir", str(data), "--report", str(report)]) == 0
    content = json.loads((report / "findings.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = content["findings"]
    return found


def faults(data: Path) -> list[str]:
    return [text for f in findings(data) if f["kind"] == "unusable-file" for text in f["details"]]


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def exif_of(kind: int, value: bytes, more: bytes = b"") -> bytes:
    """EXIF data with an orientation, stored as a value of some kind."""
    entry = struct.pack("<HHI", 0x0112, kind, 1) + value.ljust(4, b"\0")
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4) + more


SENSELESS = {
    "zero": exif_of(3, b"\x00"),
    "ninety-nine": exif_of(3, b"\x63"),
    "of no kind": exif_of(7, b"\x06"),
    "six by zero": exif_of(5, struct.pack("<I", 26), struct.pack("<II", 6, 0)),
}


@pytest.mark.parametrize("exif", SENSELESS.values(), ids=SENSELESS)
def test_an_orientation_without_sense_is_passed_over(colours: DataFolder, exif: bytes) -> None:
    picture().save(colours.path / "images" / "0.png", "JPEG", exif=exif)
    kinds = {finding["kind"] for finding in findings(colours.path)}
    assert kinds.isdisjoint({"unusable-file", "rotated-image"})
    assert read_image(colours.path / "images" / "0.png", 64).shape == (64, 64, 3)


def test_no_other_program_is_started_for_an_image(colours: DataFolder) -> None:
    picture().save(colours.path / "images" / "0.png", "EPS")
    assert faults(colours.path) == ["EPS, which another program would have to draw"]


def test_a_file_far_too_large_is_not_read(
    colours: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "LARGEST_FILE", 2000)
    with (colours.path / "images" / "0.png").open("ab") as file:
        file.truncate(3000)
    assert faults(colours.path) == ["far too large for an image"]


def test_hidden_folders_do_not_count(colours: DataFolder) -> None:
    hidden = colours.path / "images" / ".git"
    hidden.mkdir()
    (hidden / "config").write_text("")
    assert "unlisted-file" not in {finding["kind"] for finding in findings(colours.path)}


@pytest.mark.parametrize("suffix", ["zip", "gz", "xz", "tar", "zst"])
def test_a_csv_is_text_whatever_it_is_called(colours: DataFolder, suffix: str) -> None:
    name = f"train.{suffix}"
    (colours.path / "train.csv").rename(colours.path / name)
    assert main(["--data-dir", str(colours.path), "--csv", name]) == 0


def test_a_header_of_any_length(colours: DataFolder) -> None:
    csv = colours.path / "train.csv"
    header, _, rest = csv.read_text().partition("\n")
    csv.write_text(f"{header} ,{'x' * 200_000}\n" + rest.replace("\n", ",\n"))
    assert main(["--data-dir", str(colours.path)]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("image_names\n", "has no rows"), ("image_names\n../train.csv\n", "leads out of the image")],
)
def test_a_test_csv_of_no_use_is_refused(colours: DataFolder, text: str, message: str) -> None:
    (colours.path / "test.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        main(["--data-dir", str(colours.path), "--test-csv", "test.csv"])


def test_names_cannot_write_to_the_terminal_as_they_like(
    colours: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    colours.write_csv([*((f"{n}.png", n % 2) for n in range(40)), ("\x1b[2J\nSERIOUS all", 0)])
    main(["--data-dir", str(colours.path)])
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert r"\x1b[2J\nSERIOUS all (missing)" in told


def test_any_letters_can_be_printed_to_any_terminal(colours: DataFolder) -> None:
    colours.write_csv([(f"{n}.png", ("ordinary", "🚑")[n % 2]) for n in range(40)])
    command = [sys.executable, "-m", "vehicle_lightning.check", "--data-dir", str(colours.path)]
    ended = subprocess.run(
        command, env={"PYTHONIOENCODING": "latin-1"}, capture_output=True, check=False
    )
    assert ended.returncode == 0
    assert rb"\U0001f691: 20" in ended.stdout
