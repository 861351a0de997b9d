"""The cleaned CSV: what it keeps, and that it never takes the place of the data."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Fit
from tests.test_check import add_row, rows
from vehicle_lightning.check.__main__ import main
from vehicle_lightning.errors import DataError
from vehicle_lightning.synthetic import make_vehicles

COUNT = 40


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data") / "sound"
    return make_vehicles(directory, count=COUNT, image_size=64, workers=1)


@pytest.fixture
def data(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "data")
    return tmp_path / "data"


def cleaned(data: Path) -> set[str]:
    """Clean the data; return the names that are kept."""
    target = data / "clean.csv"
    assert main(["--data-dir", str(data), "--write-clean", str(target)]) == 0
    return set(pd.read_csv(target, dtype=str, keep_default_na=False)["image_names"])


def test_the_cleaned_csv_trains(data: Path, fit_quickly: Fit) -> None:
    images = data / "images"
    lines = rows(data)
    copied, contradicted, missing = (line.split(",") for line in lines[1:4])
    shutil.copy(images / copied[0], images / "copy.jpg")
    add_row(data, f"copy.jpg,{copied[1]}")
    shutil.copy(images / contradicted[0], images / "twin.jpg")
    add_row(data, f"twin.jpg,{1 - int(contradicted[1])}")
    (images / missing[0]).unlink()
    before = (data / "train.csv").read_bytes()
    target = data / "clean.csv"
    assert main(["--data-dir", str(data), "--write-clean", str(target)]) == 0
    assert (data / "train.csv").read_bytes() == before
    clean = pd.read_csv(target)
    assert list(clean.columns) == ["image_names", "emergency_or_not"]
    assert len(clean) == COUNT - 2
    assert not {"copy.jpg", "twin.jpg", contradicted[0], missing[0]} & set(clean["image_names"])
    fit_quickly("--csv", "clean.csv", "--epochs", "1", data_dir=data)


def test_splits_and_groups_stay(data: Path) -> None:
    frame = pd.read_csv(data / "train.csv")
    frame["part"] = ["test" if number < 8 else "train" for number in range(len(frame))]
    frame["camera"] = [f"camera {number // 4}" for number in range(len(frame))]
    frame.to_csv(data / "train.csv", index=False)
    target = data / "clean.csv"
    flags = ["--split-column", "part", "--group-column", "camera", "--write-clean", str(target)]
    assert main(["--data-dir", str(data), *flags]) == 0
    clean = pd.read_csv(target)
    assert len(clean) == COUNT
    pd.testing.assert_frame_equal(clean, frame[clean.columns])
    assert set(clean.columns) == set(frame.columns)


def test_no_copy_of_a_contradicted_photograph_is_kept(data: Path) -> None:
    name, label = rows(data)[1].split(",")
    add_row(data, f"{name},{1 - int(label)}")
    shutil.copy(data / "images" / name, data / "images" / "copy.jpg")
    add_row(data, f"copy.jpg,{label}")
    kept = cleaned(data)
    assert len(kept) == COUNT - 1
    assert not {name, "copy.jpg"} & kept


def test_a_carriage_return_in_a_name_survives(data: Path, fit_quickly: Fit) -> None:
    name, label = rows(data)[1].split(",")
    new = "two\rlines.jpg"
    (data / "images" / name).rename(data / "images" / new)
    text = "\n".join([rows(data)[0], f'"{new}",{label}', *rows(data)[2:]])
    (data / "train.csv").write_bytes(text.encode())
    assert new in cleaned(data)
    run = fit_quickly("--csv", "clean.csv", "--epochs", "1", "--folds", "2", data_dir=data)
    predictions = pd.read_csv(run.predictions, dtype=str)
    assert len(predictions) == COUNT
    assert new in set(predictions["file"])


@pytest.mark.parametrize("target", ["images/../train.csv", "test.csv", "images/{image}"])
def test_the_data_are_never_overwritten(data: Path, target: str) -> None:
    image = rows(data)[1].split(",")[0]
    (data / "test.csv").write_text(f"image_names\n{image}\n")
    place = data / target.format(image=image)
    before = place.read_bytes()
    flags = ["--data-dir", str(data), "--test-csv", "test.csv", "--write-clean", str(place)]
    with pytest.raises(DataError, match="is part of the data; name another file"):
        main(flags)
    assert place.read_bytes() == before


def test_a_file_that_is_there_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt is there already"):
        main(["--data-dir", str(data), "--write-clean", str(notes)])
    assert notes.read_text() == "mine"


@pytest.mark.parametrize("target", ["", ".", "/", "none/clean.csv"])
def test_a_place_that_is_no_file_is_refused_before_anything_is_read(
    data: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="name a CSV file to write"):
        main(["--data-dir", str(data), "--write-clean", target])
    assert capsys.readouterr().out == ""
