"""The check through its command line: planted faults are found, sound data pass."""

import base64
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from tests.conftest import DataFolder, Fit
from vehicle_lightning.check.__main__ import main
from vehicle_lightning.data.findings import KINDS, Finding
from vehicle_lightning.errors import InputError, RunError
from vehicle_lightning.synthetic import make_vehicles

COUNT = 60


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data") / "sound"
    return make_vehicles(directory, count=COUNT, image_size=96, workers=1)


@pytest.fixture
def data(sound: Path, tmp_path: Path) -> Path:
    """A copy of sound data, to be spoilt."""
    shutil.copytree(sound, tmp_path / "data")
    return tmp_path / "data"


def findings(data: Path, *flags: str) -> dict[str, dict[str, Any]]:
    report = data.parent / "report"
    assert main(["--data-dir", str(data), "--report", str(report), *flags]) == 0
    content = json.loads((report / "findings.json").read_text(encoding="utf-8"))
    found = {finding["kind"]: finding for finding in content["findings"]}
    assert len(found) == len([f for f in content["findings"] if f["kind"] != "leak"]) + (
        "leak" in found
    )
    return found


def files(finding: dict[str, Any]) -> set[str]:
    return {name for group in finding["groups"] for name in group}


def rows(data: Path) -> list[str]:
    return (data / "train.csv").read_text().splitlines()


def add_row(data: Path, row: str) -> None:
    with (data / "train.csv").open("a", encoding="utf-8") as file:
        file.write(row + "\n")


def name_of(data: Path, row: int) -> str:
    return rows(data)[row].split(",")[0]


def test_sound_data_pass(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-dir", str(sound), "--strict"]) == 0
    printed = capsys.readouterr().out
    assert f"{COUNT} images" in printed
    assert "SERIOUS" not in printed


def spoil(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "missing"),
        (b"", "empty"),
        (b"hello", "no image"),
        (b"%PDF-1.7 ...", "a PDF, no image"),
        (b"<html>not found</html>", "a web page, no image"),
    ],
)
def test_files_that_cannot_be_used(data: Path, content: bytes | None, reason: str) -> None:
    name = name_of(data, 3)
    spoil(data / "images" / name, content)
    finding = findings(data)["unusable-file"]
    assert (finding["severity"], finding["count"]) == ("serious", 1)
    assert (files(finding), finding["details"]) == ({name}, [reason])


def test_a_truncated_file(data: Path) -> None:
    path = data / "images" / name_of(data, 1)
    path.write_bytes(path.read_bytes()[:-400])
    assert findings(data)["unusable-file"]["details"] == ["truncated"]


def test_a_folder_named_like_an_image(data: Path) -> None:
    path = data / "images" / name_of(data, 1)
    path.unlink()
    path.mkdir()
    assert findings(data)["unusable-file"]["details"] == ["a folder"]


def test_nothing_outside_of_the_folder_is_opened(data: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (64, 64)).save(secret)
    (data / "images" / "link.png").symlink_to(secret)
    add_row(data, "link.png,0")
    add_row(data, "../../secret.png,0")
    add_row(data, f"{secret},0")
    found = findings(data)
    assert found["unusable-file"]["details"] == ["a link out of the image folder"]
    assert files(found["outside"]) == {"../../secret.png", str(secret)}
    assert "base64" not in (tmp_path / "report" / "index.html").read_text().split("link.png")[1]


def test_rows(data: Path) -> None:
    name, other = name_of(data, 1), name_of(data, 2)
    label = rows(data)[1].split(",")[1]
    add_row(data, f"{name},{label}")
    add_row(data, f"{other},7")
    add_row(data, ",1")
    add_row(data, "x.jpg,")
    found = findings(data)
    assert files(found["repeated-row"]) == {name}
    assert found["repeated-row"]["details"] == [f"row {COUNT + 2}"]
    assert files(found["contradicting-rows"]) == {other}
    assert found["blank-name"]["count"] == found["blank-label"]["count"] == 1
    assert "unusable-file" not in found  # x.jpg has no label and is not looked for


def test_copies_and_contradictions(data: Path) -> None:
    images = data / "images"
    lines = rows(data)
    exact, near, wrong = (line.split(",") for line in lines[1:4])
    shutil.copy(images / exact[0], images / "exact.jpg")
    add_row(data, f"exact.jpg,{exact[1]}")
    with Image.open(images / near[0]) as image:
        image.crop((0, 3, 93, 96)).resize((120, 120)).save(images / "near.jpg", quality=50)
    add_row(data, f"near.jpg,{near[1]}")
    shutil.copy(images / wrong[0], images / "wrong.jpg")
    add_row(data, f"wrong.jpg,{1 - int(wrong[1])}")
    found = findings(data)
    assert {frozenset(group) for group in found["exact-duplicates"]["groups"]} == {
        frozenset({exact[0], "exact.jpg"}),
        frozenset({wrong[0], "wrong.jpg"}),
    }
    assert files(found["near-duplicates"]) == {near[0], "near.jpg"}
    assert files(found["contradicting-duplicates"]) == {wrong[0], "wrong.jpg"}
    assert found["contradicting-duplicates"]["severity"] == "serious"


def test_mirrored_copies_where_asked(data: Path) -> None:
    images = data / "images"
    first = rows(data)[1].split(",")
    with Image.open(images / first[0]) as image:
        ImageOps.mirror(image).save(images / "mirrored.jpg", quality=60)
    add_row(data, f"mirrored.jpg,{first[1]}")
    assert "mirrored-duplicates" not in findings(data)
    found = findings(data, "--mirrored")
    assert files(found["mirrored-duplicates"]) == {first[0], "mirrored.jpg"}
    assert "near-duplicates" not in found


def test_many_files_are_examined_in_processes(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_threads = findings(data)
    monkeypatch.setattr("vehicle_lightning.data.facts.MANY", 1)
    assert findings(data) == in_threads


def test_copies_across_the_test_csv(data: Path) -> None:
    images = data / "images"
    first, second = name_of(data, 1), name_of(data, 2)
    shutil.copy(images / first, images / "test1.jpg")
    fresh = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8))
    fresh.save(images / "test2.jpg")
    (data / "test.csv").write_text(f"image_names\ntest1.jpg\ntest2.jpg\n{second}\n")
    finding = findings(data, "--test-csv", "test.csv")["straddling-duplicates"]
    groups = {frozenset(group) for group in finding["groups"]}
    assert groups == {frozenset({first, "test1.jpg"}), frozenset({second})}


NAMES_THAT_TELL: dict[str, Callable[[int, int], str]] = {
    "the first word": lambda number, label: f"{('car', 'van')[label]}_{number}.jpg",
    "a word at the end": lambda number, label: f"{number * 7919 % 997}_{('car', 'van')[label]}.jpg",
    "a word in between": lambda number, label: f"v{number}_{('car', 'van')[label]}_photo.jpg",
    "the folder": lambda number, label: f"cam{label}/{number}.jpg",
    "a first number": lambda number, label: f"{label}_{number}.jpg",
    "a higher number": lambda number, label: f"{number + 500 * label}.jpg",
    "an even number": lambda number, label: f"{2 * number + label}.jpg",
    "the suffix": lambda number, label: f"{number}.{('jpg', 'JPG')[label]}",
}


@pytest.mark.parametrize("name", NAMES_THAT_TELL.values(), ids=NAMES_THAT_TELL)
def test_names_that_tell_the_label(data: Path, name: Callable[[int, int], str]) -> None:
    numbers = iter(np.random.default_rng(0).permutation(COUNT).tolist())

    def renamed(old: str, label: int) -> str:
        new = name(next(numbers), label)
        (data / "images" / new).parent.mkdir(exist_ok=True)
        (data / "images" / old).rename(data / "images" / new)
        return new

    found = leaks(data, spoil=renamed)
    assert found
    assert all("name" in title for title in found)


def test_an_order_that_tells_the_label(data: Path) -> None:
    lines = sorted(rows(data)[1:], key=lambda line: line.split(",")[1])
    (data / "train.csv").write_text("\n".join([rows(data)[0], *lines]))
    assert leaks(data) == ["order of the rows"]


def test_a_width_that_tells_the_label(data: Path) -> None:
    def widened(name: str, label: int) -> str:
        if label:
            with Image.open(data / "images" / name) as image:
                larger = image.resize((130, 96))
            larger.save(data / "images" / name)
        return name

    assert "width of the image" in leaks(data, spoil=widened)


def test_a_class_too_rare_to_tell_hides_no_leak(data: Path) -> None:
    lines = sorted(rows(data)[1:], key=lambda line: line.split(",")[1])
    lines[:4] = [line.replace(",0", ",2") for line in lines[:4]]
    (data / "train.csv").write_text("\n".join([rows(data)[0], *lines]))
    assert leaks(data) == ["order of the rows"]


def leaks(data: Path, spoil: Callable[[str, int], str] = lambda name, _: name) -> list[str]:
    """Spoil the images one by one; return what tells the label then."""
    lines = [line.split(",") for line in rows(data)[1:]]
    spoilt = [f"{spoil(name, int(label))},{label}" for name, label in lines]
    (data / "train.csv").write_text("\n".join([rows(data)[0], *spoilt]))
    report = data.parent / "report"
    main(["--data-dir", str(data), "--report", str(report)])
    content = json.loads((report / "findings.json").read_text(encoding="utf-8"))
    return [f["details"][0] for f in content["findings"] if f["kind"] == "leak"]


def test_noise_is_not_called_a_leak(data: Path) -> None:
    rng = np.random.default_rng(1)
    for name in (line.split(",")[0] for line in rows(data)[1:]):
        os.utime(data / "images" / name, (rng.integers(10**9), rng.integers(10**9)))
    assert "leak" not in findings(data)


def test_oddities(data: Path) -> None:
    images = data / "images"
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> Image.Image:
        return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))

    noise(20, 30, 3).save(images / "tiny.png")
    noise(60, 300, 3).save(images / "long.png")
    noise(64, 64).save(images / "grey.png")
    noise(64, 64, 4).save(images / "clear.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(64, 64, 3).save(images / "turned.jpg", exif=exif)
    for name in ("tiny.png", "long.png", "grey.png", "clear.png", "turned.jpg"):
        add_row(data, f"{name},0")
    (images / "extra.txt").write_text("not listed")
    found = findings(data)
    assert files(found["tiny-image"]) == {"tiny.png"}
    assert files(found["odd-shape"]) == {"long.png"}
    assert files(found["grey-image"]) == {"grey.png"}
    assert files(found["transparent-image"]) == {"clear.png"}
    assert files(found["rotated-image"]) == {"turned.jpg"}
    assert files(found["unlisted-file"]) == {"extra.txt"}


def test_a_decompression_bomb(data: Path) -> None:
    stream = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(stream, "PNG")
    (data / "images" / "bomb.png").write_bytes(stream.getvalue())
    add_row(data, "bomb.png,0")
    assert findings(data)["unusable-file"]["details"] == ["far too many pixels"]


def test_classes_out_of_balance(colours: DataFolder) -> None:
    colours.write_csv([(f"{number}.png", "car" if number else "van") for number in range(40)])
    found = findings(colours.path)
    assert "van has 1" in found["imbalance"]["what"]
    assert found["imbalance"]["severity"] == "warning"
    assert "van (1)" in found["rare-class"]["what"]
    colours.write_csv([(f"{number}.png", "car") for number in range(40)])
    assert findings(colours.path)["one-class"]["severity"] == "serious"


def test_label_errors_of_a_run(tmp_path: Path, fit_quickly: Fit) -> None:
    run = fit_quickly("--folds", "2")
    predictions = pd.read_csv(run.predictions, dtype={"label": str, "prediction": str})
    wrong = predictions["file"].iloc[5]
    row = predictions["file"] == wrong
    for label in ("0", "1"):
        is_label = predictions["label"] == label
        predictions.loc[is_label, f"p_{label}"] = 0.9
        predictions.loc[is_label, f"p_{1 - int(label)}"] = 0.1
    own = predictions.loc[row, "label"].iloc[0]
    predictions.loc[row, [f"p_{own}", f"p_{1 - int(own)}"]] = [0.02, 0.98]
    predictions.to_csv(run.predictions, index=False)
    report = tmp_path / "report"
    flags = ["--report", str(report), "--run", str(run.path)]  # a run remembers its data
    assert main(flags) == 0
    content = json.loads((report / "findings.json").read_text())
    (finding,) = [f for f in content["findings"] if f["kind"] == "label-error"]
    assert finding["groups"] == [[wrong]]
    assert finding["details"] == [f"{own}, but {1 - int(own)} with 98%"]


def test_what_is_asked_for_beside_a_run_comes_on_top(
    drawn: Path, dropout_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corrected = tmp_path / "corrected.csv"
    shutil.copy(drawn / "train.csv", corrected)
    assert main(["--run", str(dropout_run.path), "--csv", str(corrected)]) == 0
    assert "corrected.csv" in capsys.readouterr().out


def test_a_run_on_other_data_is_refused(data: Path, dropout_run: Any) -> None:
    with pytest.raises(RunError, match="other images or labels"):
        main(["--data-dir", str(data), "--run", str(dropout_run.path)])


def test_the_json_is_as_the_docs_say(data: Path) -> None:
    shutil.copy(data / "images" / name_of(data, 1), data / "images" / "copy.jpg")
    add_row(data, f"copy.jpg,{rows(data)[1].split(',')[1]}")
    finding = findings(data)["exact-duplicates"]
    assert list(finding) == ["kind", "severity", "what", "advice", "count", "groups", "details"]
    content = json.loads((data.parent / "report" / "findings.json").read_text(encoding="utf-8"))
    assert list(content) == ["csv", "images", "classes", "findings"]
    docs = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    described = docs.split("## What check finds")[1].split("\n## ")[0]
    assert tuple(re.findall(r"^\| `([a-z-]+)` \|", described, re.MULTILINE)) == KINDS
    for key in (*content, *finding):
        assert f'"{key}": ' in described


def test_a_kind_that_is_not_documented_is_refused() -> None:
    with pytest.raises(ValueError, match="missing in KINDS"):
        Finding("new-kind", "note", "What.", "Advice.", 1)


def test_names_cannot_break_the_page(data: Path) -> None:
    name = "<script>alert(1)</script>'\"&.jpg"
    add_row(data, f'"{name.replace(chr(34), chr(34) * 2)}",0')
    assert files(findings(data)["unusable-file"]) == {name}
    page = (data.parent / "report" / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


class Page(HTMLParser):
    """All tags of a page with their attributes, and which are left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(data: Path) -> None:
    first = name_of(data, 1)
    hostile = "'onerror='alert(1) <b>&.jpg"
    shutil.copy(data / "images" / first, data / "images" / hostile)
    add_row(data, f"{hostile},0")
    findings(data)
    text = (data.parent / "report" / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "base"})
    assert "url(" not in text
    assert "@import" not in text
    for tag, attributes in page.tags:
        assert not any(key.startswith("on") for key in attributes)
        source = attributes.get("src" if tag == "img" else "href") or "#"
        assert source.startswith(("#", "data:image/jpeg;base64,"))
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert hostile in {attributes["alt"] for attributes in pictures}
    for attributes in pictures:
        content = base64.b64decode(str(attributes["src"]).split(",")[1], validate=True)
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    anchors = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert anchors == {f"#{a['id']}" for tag, a in page.tags if tag == "section"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data-dir", "nowhere"], "There is no data directory"),
        (["--data-dir", "{data}", "--csv", "none.csv"], "There is no CSV file"),
        (["--data-dir", "{data}", "--image-column", "x"], "has no column x"),
        (["--data-dir", "{data}", "--test-csv", "none.csv"], "There is no CSV file"),
        (["--data-dir", "{data}", "--run", "nowhere"], "is no run folder"),
    ],
)
def test_mistakes_are_one_sentence(data: Path, flags: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        main([flag.format(data=data) for flag in flags])


def test_the_real_photographs(real_data: Path, tmp_path: Path) -> None:
    assert main(["--data-dir", str(real_data), "--report", str(tmp_path), "--strict"]) == 1
    content = json.loads((tmp_path / "findings.json").read_text())
    count = {f["kind"]: f["count"] for f in content["findings"]}
    assert count["exact-duplicates"] == 68
    assert count["contradicting-duplicates"] == 2
    assert count["near-duplicates"] == 6
    leaks = [f for f in content["findings"] if f["kind"] == "leak"]
    assert any(f["details"] == ["number in the file name"] for f in leaks)
