"""What every kind of run says of its data at its start, and records."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from tests.conftest import quick_fit
from vehicle_lightning.check.__main__ import main


@pytest.fixture
def spoilt(drawn: Path, tmp_path: Path) -> Path:
    """Synthetic vehicles whose names begin with their label, one of them there twice, with both."""
    data = tmp_path / "data"
    shutil.copytree(drawn, data)
    header, *lines = (data / "train.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines]
    for name, label in rows:
        (data / "images" / name).rename(data / "images" / f"{label}_{name}")
    rows = [[f"{label}_{name}", label] for name, label in rows]
    name, label = rows[0]
    other = str(1 - int(label))
    shutil.copy(data / "images" / name, data / "images" / f"{other}_copy.jpg")
    rows.append([f"{other}_copy.jpg", other])
    (data / "train.csv").write_text("\n".join([header, *(",".join(row) for row in rows)]))
    return data


@pytest.mark.parametrize("flags", [[], ["--folds", "2"]], ids=["one training", "folds"])
def test_serious_findings_are_named_and_recorded(
    spoilt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    run = quick_fit(spoilt, tmp_path / "logs")("--epochs", "1", *flags)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "Serious" in line]
    assert "duplicates of 1 photograph have different labels" in line
    assert "first number in the file name" in line
    command = line.partition("See python -m vehicle_lightning.check ")[2]
    assert main(shlex.split(command)) == 0  # as it stands
    assert "1 groups of images, 2 files, show one photograph" in capsys.readouterr().out
    found = json.loads(run.findings.read_text(encoding="utf-8"))
    assert (found["images"], len(found["classes"])) == (81, 2)
    assert {finding["kind"] for finding in found["findings"]} == {
        "contradicting-duplicates",
        "leak",
    }
    assert all(finding["severity"] == "serious" for finding in found["findings"])


def test_sound_data_are_passed_over_in_silence(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = quick_fit(drawn, tmp_path / "logs")("--epochs", "1")
    assert "Serious" not in capsys.readouterr().err
    assert json.loads(run.findings.read_text(encoding="utf-8"))["findings"] == []
