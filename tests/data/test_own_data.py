"""One's own data: what is recognised, what is refused, and that no row is lost on the way."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vehicle_lightning.check.__main__ import main as check
from vehicle_lightning.config import Settings
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.data.paths import likely_reason
from vehicle_lightning.data.table import Table, read_names, read_table
from vehicle_lightning.errors import DataError

COUNT = 24
LABELS = [("car", "van")[number % 2] for number in range(COUNT)]


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((40, 40), Image.Resampling.NEAREST).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number in range(COUNT):
        picture(tmp_path / "data" / "images" / f"{number:02d}.png", number)
    return tmp_path / "data"


def write(data: Path, header: str, rows: list[str], name: str = "train.csv") -> None:
    (data / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def rows(form: str, **columns: list[str]) -> list[str]:
    """A row for each image: `form` with {name}, {label} and further columns."""
    return [
        form.format(
            name=f"{number:02d}.png",
            label=LABELS[number],
            **{key: values[number] for key, values in columns.items()},
        )
        for number in range(COUNT)
    ]


def table_of(data: Path, **settings: object) -> Table:
    return read_table(Settings(data_dir=data, **settings)).checked()


def module(data: Path, **settings: object) -> VehicleDataModule:
    places = {"data_dir": data, "cache_dir": data.parent / "cache", "image_size": 32}
    made = VehicleDataModule(Settings(**{**places, "val_fraction": 0.25, **settings}))
    made.setup()
    return made


USUAL = "image_names,emergency_or_not"


def test_names_and_labels_of_other_columns_and_another_csv(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(data, "id,file,remark,kind", rows("7{name},{name},a b,{label}"), "labels.csv")
    table = table_of(data)
    assert table.found == {
        "csv": Path("labels.csv"),
        "image_column": "file",
        "label_column": "kind",
    }
    assert [table.class_names[label] for label in table.labels] == LABELS
    said = capsys.readouterr().err
    assert "--csv labels.csv --image-dir images --image-column file --label-column kind" in said


@pytest.mark.parametrize(
    ("form", "folder", "found"),
    [
        ("images/{name},{label}", "images", Path()),
        ("{name},{label}", "pictures", Path("pictures")),
        ("{name},{label}", ".", Path()),
    ],
)
def test_the_image_folder_is_found(data: Path, form: str, folder: str, found: Path) -> None:
    if folder == "pictures":
        (data / "images").rename(data / "pictures")
    if folder == ".":
        for path in (data / "images").iterdir():
            path.rename(data / path.name)
        (data / "images").rmdir()
    write(data, USUAL, rows(form))
    table = table_of(data)
    assert table.found == {"image_dir": found}
    assert all(path.is_file() for path in table.paths)


def test_what_is_not_clear_is_asked_for_at_once(data: Path) -> None:
    (data / "images").rename(data / ".hidden")
    write(data, "a,b,c", rows("{name},1,2"), "other.csv")
    with pytest.raises(DataError) as told:
        table_of(data)
    sentence = str(told.value)
    assert "it has a, b, c" in sentence
    assert "the column of the labels" in sentence
    assert "the image folder" in sentence
    assert sentence.endswith(
        "--csv other.csv --image-dir FOLDER --image-column a --label-column COLUMN"
    )
    write(data, USUAL, rows("{name},{label}"), "third.csv")
    with pytest.raises(DataError, match=r"of other\.csv, third\.csv it is not clear"):
        table_of(data)


@pytest.mark.parametrize("root", [".", "images"])
def test_class_folders_need_no_csv(tmp_path: Path, root: str) -> None:
    data = tmp_path / "photos"
    for number, label in enumerate(LABELS):
        picture(data / root / label / "cam" / f"{number}.png", number)
    (data / root / "car" / "notes.txt").write_text("no image")
    table = table_of(data)
    assert (len(table), table.class_names) == (COUNT, ("car", "van"))
    assert table.names[0] == "car/cam/0.png"
    assert len(module(data).rows["val"]) == 6
    assert check(["--data-dir", str(data), "--strict"]) == 0


def test_class_folders_with_random_names_are_no_leak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are listed by class and were written class after class, which no picture shows."""
    for number in range(64):
        name = hashlib.md5(bytes([number])).hexdigest()
        picture(tmp_path / "photos" / ("car", "van")[number >= 40] / f"{name}.png", number)
    assert check(["--data-dir", str(tmp_path / "photos"), "--strict"]) == 0
    assert "the label is told" not in capsys.readouterr().out


def test_class_folders_of_one_class_spelt_in_two_ways_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(24):
        picture(tmp_path / "photos" / ("Cat", "cat", "dog")[number % 3] / f"{number}.png", number)
    check(["--data-dir", str(tmp_path / "photos")])
    assert "1 class is spelt in several ways" in capsys.readouterr().out


def test_the_line_by_which_excel_names_the_separator(data: Path) -> None:
    write(data, "sep=|\n" + USUAL.replace(",", "|"), rows("{name}|{label}"))
    assert len(table_of(data)) == COUNT


def test_class_folders_in_train_and_test(tmp_path: Path) -> None:
    data = tmp_path / "photos"
    for number, label in enumerate(LABELS):
        split = ("train", "train", "test")[number // 2 % 3]
        picture(data / split / label / f"{number}.png", number)
    made = module(data)
    assert {split: len(rows) for split, rows in made.rows.items()} == {
        "train": 12,
        "val": 4,
        "test": 8,
    }
    names = np.array(made.table.names)
    assert all(name.startswith("test/") for name in names[made.rows["test"]])
    tested = [row for batch in made.test_dataloader() for row in batch.rows.tolist()]
    assert tested == made.rows["test"].tolist()


def test_class_folders_have_no_columns(tmp_path: Path) -> None:
    for number, label in enumerate(LABELS):
        picture(tmp_path / label / f"{number}.png", number)
    with pytest.raises(DataError, match="--group-column names a column of a CSV, and"):
        read_table(Settings(data_dir=tmp_path, group_column="camera"))


def test_unlabelled_images_beside_class_folders_are_no_class(tmp_path: Path) -> None:
    data = tmp_path / "photos"
    for number, label in enumerate(LABELS):
        picture(data / "train" / label / f"{number}.png", number)
    picture(data / "test" / "unlabelled.png", 99)
    with pytest.raises(DataError, match=r"test/unlabelled\.png in no folder of a class; move it"):
        table_of(data)


def folders_of_classes(data: Path) -> Path:
    for number, label in enumerate(LABELS):
        picture(data / label / f"{number}.png", number)
    return data


def test_runs_beside_class_folders_are_no_class(tmp_path: Path) -> None:
    data = folders_of_classes(tmp_path / "photos")
    run = data / "logs" / "default" / "0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("epochs: 1\n")
    picture(run / "curves.png", 99)
    picture(data / "logs" / "comparison.png", 98)
    assert table_of(data).class_names == ("car", "van")


def test_folders_beside_those_of_splits_are_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        folders_of_classes(tmp_path / "photos" / split)
    picture(tmp_path / "photos" / "extra" / "car" / "1.png", 99)
    with pytest.raises(DataError, match="named like splits, and beside them extra; move these"):
        table_of(tmp_path / "photos")


def test_folders_of_splits_go_with_no_csv_of_test_images(tmp_path: Path) -> None:
    for split in ("train", "val"):
        folders_of_classes(tmp_path / "photos" / split)
    picture(tmp_path / "photos" / "more" / "0.png", 99)
    (tmp_path / "photos" / "more" / "0.png").rename(tmp_path / "0.png")
    (tmp_path / "test.csv").write_text("image_names,emergency_or_not\n0.png,car\n")
    with pytest.raises(DataError, match="name the splits; leave out --test-csv"):
        module(tmp_path / "photos", test_csv=tmp_path / "test.csv")


def test_a_linked_class_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = folders_of_classes(tmp_path / "photos")
    picture(tmp_path / "owl" / "1.png", 99)
    (data / "owl").symlink_to(tmp_path / "owl")
    assert table_of(data).class_names == ("car", "van")
    assert "owl is a link to a folder and is not followed" in capsys.readouterr().err


def test_what_predict_wrote_and_what_is_to_test_list_no_training_images(data: Path) -> None:
    write(data, USUAL, rows("{name},{label}"), "labels.csv")
    (data / "._labels.csv").write_bytes(b"\0\5\x16\7")
    (data / "predictions.csv").write_text("file,prediction,p_car,p_van\n01.png,car,0.9,0.1\n")
    write(data, USUAL, rows("{name},{label}")[:4], "test.csv")
    settings = Settings(data_dir=data, test_csv=Path("test.csv"))
    assert read_table(settings).source == str(data / "labels.csv")
    made = module(data, test_csv=Path("test.csv"))
    assert len(made.rows["test"]) == 4


def test_nothing_left_to_train_on(data: Path) -> None:
    write(data, USUAL + ",part", rows("{name},{label},test"))
    with pytest.raises(DataError, match="No image is left to train on: of 24, 24 are to test"):
        module(data, split_column="part")


def test_names_in_another_encoding(tmp_path: Path) -> None:
    data = folders_of_classes(tmp_path / "photos")
    try:
        (data / "car" / "0.png").rename(os.fsdecode(os.fsencode(data / "car") + b"/caf\xe9.png"))
    except OSError:
        pytest.skip("this file system takes no such name")
    assert len(module(data).fingerprint) == 24


def test_groups_of_a_table_may_be_an_array(data: Path) -> None:
    names = [f"{number:02d}.png" for number in range(COUNT)]
    labels = np.arange(COUNT) % 2
    paths = [data / "images" / name for name in names]
    table = Table(names, labels, ("car", "van"), paths, groups=np.arange(COUNT) // 4)
    made = VehicleDataModule(Settings(image_size=32, cache_dir=data.parent / "cache"), table)
    made.setup()
    assert made.table.groups is not None
    assert made.table.groups[5] == "1"


@pytest.mark.parametrize(
    "cells", [{3: '"tall van', 17: '"tall van'}, {3: '"tall van', 17: 'van"'}, {22: '"tall'}]
)
def test_a_stray_quote_loses_no_row(data: Path, cells: dict[int, str]) -> None:
    notes = [cells.get(number, "ok") for number in range(COUNT)]
    write(data, USUAL + ",note", rows("{name},{label},{note}", note=notes))
    first = min(cells) + 2
    with pytest.raises(DataError, match=rf"line {first}\b"):
        table_of(data)
    write(data, "image_names,note", rows("{name},{note}", note=notes), "test.csv")
    with pytest.raises(DataError, match=rf"line {first}\b"):
        read_names(data / "test.csv", "image_names")


def test_true_line_breaks_are_kept_and_said(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(data, USUAL + ",note", rows('{name},{label},"two, and\nmore"'))
    assert len(table_of(data)) == COUNT
    assert f"{COUNT} rows in {2 * COUNT + 1} lines" in capsys.readouterr().err


def test_every_row_is_accounted_for(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoilt = [",car", "a.png,", "../b.png,van", "00.png,car", "01.png,car", ""]
    write(data, USUAL, rows("{name},{label}") + spoilt)
    table = read_table(Settings(data_dir=data))
    dropped = sum(finding.count for finding in table.findings)
    assert len(table) + dropped == COUNT + len(spoilt) - 1  # one is blank
    assert f"{COUNT + 5} rows, {COUNT} images; 1 row of the CSV without" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["train.csv", "train.csv.gz"])
def test_a_packed_csv(data: Path, name: str) -> None:
    text = "\n".join([USUAL, *rows("{name},{label}")])
    (data / name).write_bytes(gzip.compress(text.encode()))
    assert len(table_of(data)) == COUNT


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"PK\x03\x04...", "an Excel workbook"), (b"PAR1...", "a Parquet file")],
)
def test_what_is_no_csv_is_named(data: Path, content: bytes, what: str) -> None:
    (data / "train.csv").write_bytes(content)
    with pytest.raises(DataError, match=what):
        table_of(data)


def test_a_column_that_stands_twice(data: Path) -> None:
    write(data, USUAL + ",emergency_or_not ", rows("{name},{label},{label}"))
    with pytest.raises(DataError, match="the column emergency_or_not stands there twice"):
        table_of(data)


@pytest.mark.parametrize(
    ("spellings", "told"),
    [
        (("van", "Van"), "van (6) / Van (6)"),
        (("van", "van\u200b"), r"'van' (6) / 'van\u200b' (6)"),
        (("v\u00e4n", "va\u0308n"), r"'v\xe4n' (6) / 'va\u0308n' (6)"),
        (("fire van", "fire_van"), "fire van (6) / fire_van (6)"),
        (("1", "1.0"), "1 (6) / 1.0 (6)"),
        (("1", "01"), "1 (6) / 01 (6)"),
    ],
)
def test_labels_that_mean_the_same(data: Path, spellings: tuple[str, str], told: str) -> None:
    labels = [spellings[number // 2 % 2] if number % 2 else "car" for number in range(COUNT)]
    write(data, USUAL, rows("{name},{kind}", kind=labels))
    (finding,) = [f for f in table_of(data).findings if f.kind == "similar-labels"]
    assert finding.details == (told,)


@pytest.mark.parametrize("separator", ["|", ", ", ";", "/", " and "])
def test_several_labels_in_a_cell(data: Path, separator: str) -> None:
    labels = [f"car{separator}van" if number < 3 else LABELS[number] for number in range(COUNT)]
    write(data, USUAL, rows('{name},"{kind}"', kind=labels))
    with pytest.raises(DataError, match="list several others"):
        table_of(data)


MISSING = [
    ("with the ending .png", lambda name: name.removesuffix(".png")),
    ("with the ending .png", lambda name: name.replace(".png", ".jpg")),
    ("in upper or lower case", lambda name: name.replace("a", "A")),
    ("with / in the place of \\", lambda name: name.replace("/", "\\")),
    ("in another Unicode form", lambda name: name.replace("\u00e4", "a\u0308")),
    ("in another folder", lambda name: name.removeprefix("\u00e4/")),
]


@pytest.mark.parametrize(("told", "spell"), MISSING)
def test_why_files_are_missing(tmp_path: Path, told: str, spell: object) -> None:
    names = [f"\u00e4/a{number}.png" for number in range(5)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    spelt = [spell(name) for name in names]  # type: ignore[operator]
    assert told in likely_reason(spelt, tmp_path)
    assert likely_reason(["nothing.like"], tmp_path) == ""


def test_groups_are_never_cut(data: Path) -> None:
    cameras = [f"cam{number // 4}" if number < 20 else "" for number in range(COUNT)]
    write(data, USUAL + ",camera", rows("{name},{label},{camera}", camera=cameras))
    named = np.array(cameras)
    for flags in ({}, {"folds": 3, "fold": 1}, {"test_fraction": 0.25}):
        made = module(data, group_column="camera", **flags)
        splits = list(made.rows.values())
        assert sorted(np.concatenate(splits).tolist()) == list(range(COUNT))
        of_split = [set(named[rows]) - {""} for rows in splits]
        for one in range(len(splits)):
            for other in range(one):
                assert not of_split[one] & of_split[other]


def test_splits_of_the_csv(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = [
        ("train", "Train", "train", "validation", "test", "train")[n // 2 % 6] for n in range(COUNT)
    ]
    write(data, USUAL + ",split", rows("{name},{label},{split}", split=splits))
    (data / "images" / "00.png").write_bytes((data / "images" / "08.png").read_bytes())
    made = module(data, split_column="split")
    assert {split: len(rows) for split, rows in made.rows.items()} == {
        "train": 15,
        "val": 4,
        "test": 4,
    }
    assert made.left_out == 1  # the training image that stands in the test, too
    assert 0 not in made.rows["train"]
    write(data, USUAL + ",split", rows("{name},{label},{split}", split=["a", *splits[1:]]))
    with pytest.raises(DataError, match="column split holds a in row 2; it takes train, val and"):
        table_of(data, split_column="split")
    cameras = ["one"] * COUNT
    write(data, USUAL + ",split,camera", rows("{name},{label},{split},one", split=splits))
    assert cameras
    with pytest.raises(DataError, match=r"cut 1 groups of --group-column: one \(test and train"):
        module(data, split_column="split", group_column="camera")
    flags = ["--split-column", "split", "--group-column", "camera"]
    assert check(["--data-dir", str(data), "--strict", *flags]) == 1
    assert "1 groups of --group-column stand in several splits" in capsys.readouterr().out


def test_a_test_split_holds_no_duplicate_of_the_rest(data: Path) -> None:
    (data / "images" / "02.png").write_bytes((data / "images" / "04.png").read_bytes())
    write(data, USUAL, rows("{name},{label}"))
    for seed in range(4):
        made = module(data, test_fraction=0.25, split_seed=seed)
        assert len(made.rows["test"]) in (5, 6, 7)
        assert any({2, 4} <= set(rows.tolist()) for rows in made.rows.values())
    assert made.duplicates.exact == 1
    other = module(data, duplicates="off")
    assert (other.duplicates.exact, len(np.unique(other.groups))) == (0, COUNT)


@pytest.mark.parametrize(
    ("labels", "flags", "told"),
    [
        (["bus", *LABELS[1:]], {}, r"class bus \(1\) has fewer than 2"),
        (LABELS, {"val_fraction": 0.001}, r"--val-fraction 0.001 of 24 .* is 1, and each of the 2"),
        (LABELS, {"folds": 20, "fold": 0}, "12 different images or groups of the class car"),
    ],
)
def test_what_cannot_be_split_names_the_class(
    data: Path, labels: list[str], flags: dict[str, object], told: str
) -> None:
    write(data, USUAL, rows("{name},{kind}", kind=labels))
    with pytest.raises(DataError, match=told):
        module(data, **flags)


def test_pictures_that_are_all_one_value_are_not_trained_on(data: Path) -> None:
    for number in range(COUNT):
        Image.new("RGB", (40 + number, 40)).save(data / "images" / f"{number:02d}.png")
    write(data, USUAL, rows("{name},{label}"))
    with pytest.raises(DataError, match="are blank and look the same"):
        module(data)


def test_colours_that_are_equally_bright_are_no_blank_picture(data: Path) -> None:
    for number in range(COUNT):
        picture = Image.new("RGB", (40, 40), (200, 0, 0))
        picture.paste((0, 102, 0), (0, 0, 20, 10 + number % 20))  # as bright as the red
        picture.save(data / "images" / f"{number:02d}.png")
    write(data, USUAL, rows("{name},{label}"))
    assert module(data).contrast.min() > 20


def test_home_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings(data_dir="~/photos", log_dir="~/runs", cache_dir="~")
    assert (settings.data_dir, settings.log_dir) == (tmp_path / "photos", tmp_path / "runs")
    assert settings.cache_dir == tmp_path
