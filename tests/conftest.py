"""What several tests share: small drawn data, a cache of its own, and one way to run `fit`."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # more are slower on 32-pixel images; read when torch loads

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vehicle_lightning.fit.__main__ import main
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.synthetic import make_vehicles

# No deadline: how long an example takes says more of the machine than of the code.
settings.register_profile("project", deadline=None, max_examples=50)
settings.load_profile("project")

SIZE = 32
QUICK = ("--image-size", str(SIZE), "--batch-size", "16", "--epochs", "2", "--accelerator", "cpu")


def curve(run: RunFolder, name: str) -> list[tuple[int, float]]:
    """Step and value of what TensorBoard shows of a logged figure, such as `val/loss`."""
    split, _, figure = name.partition("/")
    place, tag = run.path / split, figure
    if split not in ("train", "val") or not figure.startswith(("loss", "accuracy", "spread")):
        place, tag = run.path, name
    events = EventAccumulator(str(place)).Reload()
    return [(scalar.step, scalar.value) for scalar in events.Scalars(tag)]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["VEHICLE_LIGHTNING_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of 80 synthetic vehicles of 32 x 32 pixels."""
    directory = tmp_path_factory.mktemp("data") / "drawn"
    return make_vehicles(directory, count=80, image_size=SIZE, workers=1)


@pytest.fixture
def real_data() -> Path:
    """The real photographs, where they are at hand."""
    beside = Path(__file__).parents[2] / "shared" / "data" / "emergency_vehicles"
    place = Path(os.environ.get("VEHICLE_LIGHTNING_DATA", beside))
    if not (place / "train.csv").is_file():
        pytest.skip("the photographs are not here; VEHICLE_LIGHTNING_DATA may name their folder")
    return place


@dataclass
class DataFolder:
    """A data directory to be filled with single-coloured images."""

    path: Path

    def add(self, name: str, colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> None:
        target = self.path / "images" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(target)

    def write_csv(self, rows: list[tuple[str, object]]) -> None:
        frame = pd.DataFrame(rows, columns=["image_names", "emergency_or_not"])
        frame.to_csv(self.path / "train.csv", index=False)


@pytest.fixture
def data_folder(tmp_path: Path) -> DataFolder:
    (tmp_path / "data" / "images").mkdir(parents=True)
    return DataFolder(tmp_path / "data")


@pytest.fixture
def colours(data_folder: DataFolder) -> DataFolder:
    """Forty images of two classes that differ in colour, each image its own shade."""
    rng = np.random.default_rng(0)
    rows: list[tuple[str, object]] = []
    for number in range(40):
        label = number % 2
        red, blue = (200, 40) if label else (40, 200)
        noise = rng.integers(-30, 30, 3)
        colour = (int(red + noise[0]), int(100 + noise[1]), int(blue + noise[2]))
        data_folder.add(f"{number}.png", colour, (SIZE, SIZE))
        rows.append((f"{number}.png", label))
    data_folder.write_csv(rows)
    return data_folder


Fit = Callable[..., RunFolder]


@pytest.fixture(scope="session")
def dropout_run(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One finished run of three epochs, for the tests that only read."""
    return quick_fit(drawn, tmp_path_factory.mktemp("logs"))(
        "--dropout", "0.5", "--batchnorm", "--epochs", "3"
    )


@pytest.fixture(scope="session")
def folds_run(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One finished run over two folds, likewise."""
    return quick_fit(drawn, tmp_path_factory.mktemp("logs"))("--folds", "2", "--epochs", "1")


@pytest.fixture(scope="session")
def seeds_run(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One finished run over two folds and two seeds, likewise."""
    flags = ("--folds", "2", "--seeds", "2", "--epochs", "1")
    return quick_fit(drawn, tmp_path_factory.mktemp("logs"))(*flags)


@pytest.fixture
def fit_quickly(drawn: Path, tmp_path: Path) -> Fit:
    """Run `fit` on the synthetic vehicles for a few steps; further flags come on top."""
    return quick_fit(drawn, tmp_path / "logs")


def quick_fit(drawn: Path, log_dir: Path) -> Fit:
    def run(*flags: str, data_dir: Path = drawn) -> RunFolder:
        before = set(log_dir.glob("*/*"))
        arguments = [*QUICK, "--data-dir", str(data_dir), "--log-dir", str(log_dir), *flags]
        assert main(arguments) == 0
        (made,) = set(log_dir.glob("*/*")) - before
        return RunFolder(made)

    return run
