import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vehicle_lightning.errors import DataError
from vehicle_lightning.synthetic import dataset, make_vehicles
from vehicle_lightning.synthetic.dataset import Recipe

COUNT, SIZE = 200, 32


def labels_of(directory: Path) -> dict[str, int]:
    with (directory / "train.csv").open(newline="") as file:
        return {row["image_names"]: int(row["emergency_or_not"]) for row in csv.DictReader(file)}


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("drawn") / "vehicles"
    return make_vehicles(directory, count=COUNT, image_size=SIZE)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("small") / "vehicles"
    return make_vehicles(directory, count=30, image_size=32, workers=1)


def test_every_picture_opens_at_the_right_size_and_is_listed(drawn: Path) -> None:
    labels = labels_of(drawn)
    assert len(labels) == COUNT
    assert {path.name for path in (drawn / "images").iterdir()} == set(labels)
    for name in labels:
        with Image.open(drawn / "images" / name) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (SIZE, SIZE))


@pytest.mark.parametrize(("count", "emergencies"), [(1646, 681), (200, 83), (3, 1), (2, 1), (1, 0)])
def test_classes_keep_their_proportion(count: int, emergencies: int) -> None:
    labels = dataset._labels(Recipe(1, count, 224, 0))
    assert (len(labels), sum(labels)) == (count, emergencies)


def test_neither_order_nor_file_size_nor_jpeg_quality_tells_the_label(drawn: Path) -> None:
    labels = labels_of(drawn)
    truth = list(labels.values())
    sizes, strengths = [], []
    for name in labels:
        sizes.append((drawn / "images" / name).stat().st_size)
        with Image.open(drawn / "images" / name) as image:
            # The sum of the quantisation tables stands for the quality.
            strengths.append(sum(map(sum, image.quantization.values())))
    # Four standard errors of the area under the curve for sets of this size are about 0.16.
    for told in (range(COUNT), sizes, strengths):
        assert abs(roc_auc_score(truth, told) - 0.5) < 0.16
    assert len(set(strengths)) > 20


def test_mean_colour_does_not_tell_the_label(drawn: Path) -> None:
    labels = labels_of(drawn)
    means = [np.asarray(Image.open(drawn / "images" / name)).mean(axis=(0, 1)) for name in labels]
    model = make_pipeline(StandardScaler(), LogisticRegression())
    accuracy = cross_val_score(model, np.array(means), list(labels.values()), cv=10).mean()
    assert accuracy < 0.65


def test_the_number_of_processes_changes_nothing(small: Path, tmp_path: Path) -> None:
    again = make_vehicles(tmp_path / "b", count=30, image_size=32, workers=2)
    assert contents(again) == contents(small)


def test_another_seed_draws_other_pictures(small: Path, tmp_path: Path) -> None:
    other = make_vehicles(str(tmp_path / "b"), count=4, image_size=32, seed=1)
    drawn, drawn_other = contents(small), contents(other)
    assert all(drawn[f"images/000{i}.jpg"] != drawn_other[f"images/000{i}.jpg"] for i in (1, 2, 3))


def test_a_complete_set_is_reused(small: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    assert make_vehicles(small, count=30, image_size=32) == small
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_an_empty_directory_may_stand_under_the_name(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    make_vehicles(tmp_path / "set", count=2, image_size=32)
    assert sorted(labels_of(tmp_path / "set").values()) == [0, 1]


def test_an_interrupted_drawing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_batch = dataset._draw_batch

    def interrupted(images: Path, recipe: Recipe, pictures: dataset.Batch) -> dataset.Batch:
        if pictures[0][0] > 0:
            raise KeyboardInterrupt
        return draw_batch(images, recipe, pictures)

    monkeypatch.setattr(dataset, "_draw_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_vehicles(tmp_path / "set", count=20, image_size=32, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == [".set.lock"]


def test_what_a_killed_drawing_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / ".set.partial" / "images"
    left.mkdir(parents=True)
    (left / "0009.jpg").write_bytes(b"half a pict")
    make_vehicles(tmp_path / "set", count=2, image_size=32)
    assert len(list((tmp_path / "set" / "images").iterdir())) == 2
    assert not (tmp_path / ".set.partial").exists()


def test_two_processes_draw_only_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path;"
        "from vehicle_lightning.synthetic import make_vehicles;"
        "make_vehicles(Path(sys.argv[1]), count=14, image_size=32, workers=1)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "set")]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert len(labels_of(tmp_path / "set")) == 14


def test_a_script_without_main_guard_fails_instead_of_waiting_forever(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from vehicle_lightning.synthetic import make_vehicles\n"
        f"make_vehicles(Path({str(tmp_path / 'set')!r}), count=30, image_size=32, workers=2)\n"
    )
    run = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode != 0
    assert 'if __name__ == "__main__":' in run.stderr.splitlines()[-1]
    assert not (tmp_path / "set").exists()


def test_a_foreign_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(DataError, match="in the way"):
        make_vehicles(tmp_path, count=2, image_size=32)
    assert (tmp_path / "letters.txt").read_text() == "dear"


@pytest.mark.parametrize("damage", ["other settings", "a picture is missing"])
def test_another_set_is_refused_and_left_alone(tmp_path: Path, damage: str) -> None:
    directory = make_vehicles(tmp_path / "set", count=3, image_size=32)
    if damage == "a picture is missing":
        (directory / "images" / "0002.jpg").unlink()
    before = contents(directory)
    with pytest.raises(DataError, match="of other settings, or not all"):
        make_vehicles(directory, count=3, image_size=32, seed=int(damage == "other settings"))
    assert contents(directory) == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"Cannot write .*file/set") as caught:
        make_vehicles(tmp_path / "file" / "set", count=2, image_size=32)
    assert "choose another directory" in str(caught.value)


def test_a_full_disk_is_reported_and_cleaned_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataError, match=os.strerror(28)):
        make_vehicles(tmp_path / "set", count=2, image_size=32)
    assert [path.name for path in tmp_path.iterdir()] == [".set.lock"]


@pytest.mark.parametrize("numbers", [{"count": 0}, {"image_size": 8}, {"seed": -1}, {"workers": 0}])
def test_numbers_out_of_range_are_refused(tmp_path: Path, numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="needs count >= 1"):
        make_vehicles(tmp_path / "set", **numbers)


def test_the_recipe_is_recorded(small: Path) -> None:
    recipe = json.loads((small / "synthetic.json").read_text())
    assert recipe == {
        "version": dataset.VERSION, "count": 30, "image_size": 32, "seed": 0
    }  # fmt: skip


def test_the_import_is_light() -> None:
    heavy = ("torch", "pandas", "matplotlib", "PIL", "rich")
    script = (
        "import sys, vehicle_lightning.synthetic;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
