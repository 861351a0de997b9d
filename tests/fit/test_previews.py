"""What can be seen before a training: layers, backbones, learning rates."""

from pathlib import Path

import pytest

from tests.conftest import QUICK
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.fit.__main__ import main


def test_backbones_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--backbone", "list"]) == 0
    (line,) = (one for one in capsys.readouterr().out.splitlines() if one.startswith("resnet18 "))
    assert line.split() == ["resnet18", "11,689,512", "224"]


def test_layers_are_shown_and_a_rate_is_found(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*QUICK, "--data-dir", str(drawn), "--log-dir", str(tmp_path / "logs"), "--name", "own"]
    assert main([*flags, "--summary", "--batchnorm"]) == 0
    out = capsys.readouterr().out
    assert "BatchNorm2d" in out
    assert "[1, 3, 32, 32]" in out
    assert not (tmp_path / "logs").exists()

    assert main([*flags, "--lr-find"]) == 0
    out = capsys.readouterr().out
    rate = float(out.partition("--learning-rate ")[2].split()[0])
    assert 1e-6 < rate < 1
    assert "An epoch has 5 batches" in out
    assert [path.name for path in (tmp_path / "logs" / "own" / "0").iterdir()] == ["lr_find.png"]
    with pytest.raises(SettingsError, match="leave out --folds"):
        main([*flags, "--lr-find", "--folds", "2"])
    with pytest.raises(SettingsError, match="--fast-dev-run"):
        main([*flags, "--lr-find", "--fast-dev-run"])
