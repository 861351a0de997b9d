"""The walk through its command line, really trained."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.conftest import QUICK
from vehicle_lightning.cli import INTERRUPTED
from vehicle_lightning.compare.ranking import compare
from vehicle_lightning.config import Settings
from vehicle_lightning.errors import InputError
from vehicle_lightning.fit.train import train
from vehicle_lightning.improve import moves
from vehicle_lightning.improve import walk as walk_module
from vehicle_lightning.improve.__main__ import main, parse_improve
from vehicle_lightning.improve.state import Walk
from vehicle_lightning.settings_file import read_settings


@pytest.fixture
def flags(drawn: Path, tmp_path: Path) -> list[str]:
    places = ["--data-dir", str(drawn), "--log-dir", str(tmp_path / "logs"), "--name", "walk"]
    return [*QUICK, *places, "--epochs", "1", "--folds", "2", "--budget", "1h"]


def test_a_walk_stopped_and_resumed(
    flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blank = Image.new("RGB", (8, 8))
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: blank.save(file, format="png"))
    one = tuple(move for move in moves.MOVES if move.name == "batch normalisation")
    monkeypatch.setattr(moves, "MOVES", one)
    monkeypatch.setattr(walk_module, "proposed", lambda *_: None)  # five times the epochs
    walk = tmp_path / "logs" / "walk"

    def stopped_in_step_1(settings: Any, run: Any, **parts: Any) -> Any:
        if run.path.name == "1":
            raise KeyboardInterrupt
        return train(settings, run, **parts)

    with monkeypatch.context() as patch:
        patch.setattr("vehicle_lightning.improve.walk.train", stopped_in_step_1)
        assert main(flags) == INTERRUPTED
    assert "the test images have not been looked at" in capsys.readouterr().out
    with pytest.raises(InputError, match="holds a walk already; go on with it by --resume"):
        main(flags)
    with pytest.raises(InputError, match="--epochs cannot change"):
        main(["--resume", str(walk), "--epochs", "3"])
    baseline = (walk / "0" / "summary.json").stat().st_mtime_ns
    assert main(["--resume", str(walk)]) == 0
    printed = capsys.readouterr().out
    assert (walk / "0" / "summary.json").stat().st_mtime_ns == baseline
    assert "of the 16 test images, which" in printed  # a fifth of 80
    steps = json.loads((walk / "walk.json").read_text())["steps"]
    assert [step["status"] != "running" for step in steps] == [True] * len(steps)
    for number in range(len(steps)):
        assert read_settings(walk / str(number) / "config.yaml").test_fraction == 0.2
    assert len(compare([walk]).rows) == len(steps)
    assert read_settings(walk / "best.yaml").image_size == 32
    assert (walk / "improve.png").is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--budget", "soon"), "budget: a time has the form"),
        (("--fold", "0"), "leave out --fold"),
        (("--fast-dev-run",), "--fast-dev-run keeps nothing"),
        (("--test-fraction", "0"), "needs test images"),
        (("--resume", "nowhere"), "nowhere holds no walk"),
        (("--resume", "a", "--config", "best"), "leave out --config"),
        (("--data-dir", "nowhere"), "no data directory"),
    ],
)
def test_mistakes_are_one_sentence(flags: list[str], more: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        main([*flags, *more])
    assert "\n" not in str(caught.value)


def test_a_walk_that_could_not_begin_leaves_nothing(
    flags: list[str], drawn: Path, tmp_path: Path
) -> None:
    images = tmp_path / "broken" / "images"
    shutil.copytree(drawn, tmp_path / "broken")
    next(images.iterdir()).write_bytes(b"nothing")
    for _ in range(2):  # not: holds a walk already
        with pytest.raises(InputError, match="cannot be read"):
            main([*flags, "--data-dir", str(tmp_path / "broken")])
    with pytest.raises(InputError, match="leave out --devices"):
        main([*flags, "--devices", "2"])
    assert not (tmp_path / "logs" / "walk").exists()


@pytest.mark.parametrize("more", [("--devices", "2"), ("--num-nodes", "2"), ("--devices", "2,3")])
def test_devices_that_cannot_be_had_leave_a_walk_as_it_was(
    drawn: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    settings = Settings(data_dir=drawn, folds=2, test_fraction=0.2)
    Walk(folder=tmp_path, settings=settings, budget=60).write()
    before = (tmp_path / "walk.json").read_bytes()
    with pytest.raises(InputError):
        main(["--resume", str(tmp_path), *more])
    assert (tmp_path / "walk.json").read_bytes() == before


def test_where_a_resumed_walk_trains_may_change(tmp_path: Path) -> None:
    Walk(folder=tmp_path, settings=Settings(folds=2, test_fraction=0.2), budget=60).write()
    _, settings, folder = parse_improve(["--resume", str(tmp_path), "--num-workers", "2"])
    assert (settings.num_workers, settings.folds, folder) == (2, 2, tmp_path)
    with pytest.raises(InputError, match="--fast-dev-run keeps nothing"):
        parse_improve(["--resume", str(tmp_path), "--fast-dev-run"])


def test_settings_of_a_file_get_folds_and_a_test_part(tmp_path: Path) -> None:
    (tmp_path / "start.yaml").write_text("epochs: 7\nbatchnorm: true\n")
    options, settings, folder = parse_improve(
        ["--config", str(tmp_path / "start.yaml"), "--name", "mine"]
    )
    assert (settings.epochs, settings.batchnorm) == (7, True)
    assert (settings.folds, settings.test_fraction, settings.name) == (5, 0.2, None)
    assert folder == Path("logs/mine")
    assert options.budget is None


def test_test_images_of_a_csv_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "start.yaml"
    file.write_text("test_csv: test.csv\n")
    for flags in (["--test-csv", "test.csv"], ["--config", str(file)]):
        settings = parse_improve(flags)[1]
        assert (settings.test_csv, settings.test_fraction) == (Path("test.csv"), 0)


def test_a_test_part_of_the_data_is_taken(
    colours: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv = colours.path / "train.csv"
    frame = pd.read_csv(csv)
    frame["part"] = ["test" if number < 10 else "train" for number in range(len(frame))]
    frame.to_csv(csv, index=False)
    begun: list[Walk] = []

    def begin(walk: Walk) -> str:
        begun.append(walk)
        return "no time"

    monkeypatch.setattr(walk_module, "go_on", begin)
    logs = tmp_path / "logs"
    places = ["--data-dir", str(colours.path), "--log-dir", str(logs), "--split-column", "part"]
    assert main(places) == 0
    assert begun[0].settings.test_fraction == 0
