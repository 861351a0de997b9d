import contextlib
import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vehicle_lightning.config import DataSettings
from vehicle_lightning.data.table import Table, read_table
from vehicle_lightning.errors import DataError

HEADER = "image_names,emergency_or_not\n"


def read(directory: Path, text: str | bytes, **settings: str) -> Table:
    content = text if isinstance(text, bytes) else text.encode()
    (directory / "train.csv").write_bytes(content)
    (directory / settings.get("image_dir", "images")).mkdir(exist_ok=True)
    return read_table(DataSettings(data_dir=directory, **settings)).checked()  # type: ignore[arg-type]


def test_names_labels_and_paths(tmp_path: Path) -> None:
    table = read(tmp_path, HEADER + "b.jpg,1\na.jpg,0\n")
    assert table.names == ("b.jpg", "a.jpg")
    assert table.class_names == ("0", "1")
    assert table.labels.tolist() == [1, 0]
    assert list(table.paths) == [tmp_path / "images" / "b.jpg", tmp_path / "images" / "a.jpg"]


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        (["10", "9", "2"], ("2", "9", "10")),
        (["van", "car", "bus"], ("bus", "car", "van")),
        (["007", "NA"], ("007", "NA")),
        (["b", "1"], ("1", "b")),
    ],
)
def test_classes_of_any_kind(tmp_path: Path, labels: list[str], class_names: list[str]) -> None:
    rows = "".join(f"{i}.jpg,{label}\n" for i, label in enumerate(labels))
    assert read(tmp_path, HEADER + rows).class_names == class_names


def test_other_columns_and_places(tmp_path: Path) -> None:
    text = "id,file,kind\n1,x.png,car\n2,y.png,van\n"
    table = read(tmp_path, text, image_column="file", label_column="kind", image_dir="pictures")
    assert table.paths[0] == tmp_path / "pictures" / "x.png"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEADER + "a.jpg,0\nb.jpg,1\n",
        (HEADER + "a.jpg,0\nb.jpg,1\n").replace("\n", "\r\n"),
        HEADER + "\na.jpg,0\n\nb.jpg,1\n",
        HEADER + " a.jpg , 0 \nb.jpg,1\n",
        HEADER + "a.jpg,0\na.jpg,0\nb.jpg,1\n",
    ],
    ids=["byte order mark", "CRLF", "blank lines", "spaces", "repeated row"],
)
def test_harmless_variations(tmp_path: Path, text: str) -> None:
    table = read(tmp_path, text)
    assert table.names == ("a.jpg", "b.jpg")
    assert table.labels.tolist() == [0, 1]


def test_rows_are_counted_as_they_stand_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"without a label \(row 5\);"):
        read(tmp_path, HEADER + "\n\na.jpg,0\nb.jpg,\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (HEADER, "has no rows"),
        ("image_names\na.jpg\n", r"not clear is the column of the labels \(--label-column\)"),
        ("number,emergency_or_not\n7,1\n", r"not clear is the column of the image names"),
        (HEADER + "a.jpg,0\nb.jpg,\nc.jpg,1\n", r"1 row of the CSV without a label \(row 3\);"),
        (HEADER + "a.jpg,0\n,1\nc.jpg,1\n", r"without an image name \(row 3\);"),
        (HEADER + "a.jpg,0\nb.jpg,0\n", "only the label '0'"),
        (HEADER + "a.jpg,0\nb.jpg,1\na.jpg,1\n", r"several labels \(a.jpg in row 2, 4: 0, 1\);"),
        (HEADER + "../a.jpg,0\nb.jpg,1\n", r"leads out of the image folder \(row 2\);"),
        (HEADER + "a.jpg,0\n/etc/passwd,1\n", r"leads out of the image folder \(row 3\);"),
        (HEADER + "a.jpg,0\nx/../../b.jpg,1\n", "leads out"),
        (HEADER + '"a.jpg,0\n', "is not a CSV file"),
        (HEADER + "a.jpg,0,x\nb.jpg,1,y\n", "more cells than its header"),
        (HEADER + "7,a.jpg,0\n8,b.jpg,1\n", "more cells than its header"),
        ((HEADER + "é.jpg,0\n").encode("latin-1"), "is not UTF-8"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "train.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_mistakes_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(row 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 15 more\);"):
        read(tmp_path, HEADER + "".join(f"{i}.jpg,\n" for i in range(25)))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no CSV file .*train\.csv"):
        read_table(DataSettings(data_dir=tmp_path))


def test_leaving_out_rows_keeps_the_classes_in_order(tmp_path: Path) -> None:
    table = read(tmp_path, HEADER + "a.jpg,x\nb.jpg,y\nc.jpg,z\nd.jpg,z\n").without([0, 2])
    assert table.names == ("b.jpg", "d.jpg")
    assert table.class_names == ("y", "z")
    assert table.labels.tolist() == [0, 1]
    with pytest.raises(DataError, match="only the label 'z'"):
        table.without([0]).checked()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/\\"), min_size=1).filter(
    lambda name: name.strip() == name and name not in ("", ".", "..") and "\ufeff" not in name
)


@given(st.dictionaries(NAMES, st.sampled_from(["0", "1", "two", "drei, vier", '"'])))
def test_any_names_come_through_unchanged(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, str]
) -> None:
    rows |= {"first.jpg": "0", "second.jpg": "1"}
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([("image_names", "emergency_or_not"), *rows.items()])
    directory = tmp_path_factory.getbasetemp()
    table = read(directory, stream.getvalue())
    read_back = {
        name: table.class_names[label]
        for name, label in zip(table.names, table.labels, strict=True)
    }
    assert read_back == rows


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    with contextlib.suppress(DataError):
        read(tmp_path_factory.getbasetemp(), HEADER.encode() + content)
