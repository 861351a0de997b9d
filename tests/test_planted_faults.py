"""Two hundred planted faults of every kind: all are found, and nothing but them."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from vehicle_lightning.check.__main__ import main
from vehicle_lightning.synthetic import make_vehicles

SIDE = 128
HEADER = "image_names,emergency_or_not\n"
Spoil = Callable[["DataSet", str, str], str]


class DataSet:
    """Synthetic vehicles that are spoilt one by one; new rows and files look like the others."""

    def __init__(self, folder: Path) -> None:
        drawn = make_vehicles(folder, count=360, image_size=SIDE, workers=1, seed=5)
        self.folder, self.images = folder, folder / "images"
        lines = (drawn / "train.csv").read_text().splitlines()[1:]
        self.rows = [(name, label) for name, label in (line.split(",") for line in lines)]
        self.test_names: list[str] = []
        self._fresh: Iterator[tuple[str, str]] = iter(list(self.rows))
        self._rng = np.random.default_rng(0)
        self._suffix = Path(self.rows[0][0]).suffix
        self._free = iter(range(len(self.rows), 10_000))

    def plant(self, count: int, spoil: Spoil) -> set[str]:
        """Spoil so many images that are sound so far; return the names that are to be found."""
        return {spoil(self, *next(self._fresh)) for _ in range(count)}

    def new_name(self) -> str:
        return f"{next(self._free)}{self._suffix}"

    def add(self, name: str, label: str) -> str:
        """Add a row anywhere."""
        self.rows.insert(int(self._rng.integers(len(self.rows))), (name, label))
        return name

    def add_picture(self, picture: Image.Image, label: str, **options: object) -> str:
        name = self.new_name()
        picture.save(self.images / name, **{"format": "JPEG", "quality": 85, **options})  # type: ignore[arg-type]
        return self.add(name, label)

    def picture(self, name: str) -> Image.Image:
        with Image.open(self.images / name) as image:
            return image.convert("RGB")

    def write(self) -> None:
        rows = "".join(f"{name},{label}\n" for name, label in self.rows)
        (self.folder / "train.csv").write_text(HEADER + rows)
        (self.folder / "test.csv").write_text("image_names\n" + "\n".join(self.test_names))
        for name, _ in self.rows:  # when a file was planted must not tell its label
            if (self.images / name).is_file() and ".." not in name:
                os.utime(self.images / name, (10**9, 10**9))


def missing(data: DataSet, name: str, _: str) -> str:
    (data.images / name).unlink()
    return name


def truncated(data: DataSet, name: str, _: str) -> str:
    content = (data.images / name).read_bytes()
    (data.images / name).write_bytes(content[: len(content) * 2 // 3])
    return name


def empty(data: DataSet, name: str, _: str) -> str:
    (data.images / name).write_bytes(b"")
    return name


def text(data: DataSet, name: str, _: str) -> str:
    (data.images / name).write_text("<!DOCTYPE html><p>Not found")
    return name


def a_folder(data: DataSet, name: str, _: str) -> str:
    (data.images / name).unlink()
    (data.images / name).mkdir()
    return name


def link_outside(data: DataSet, name: str, _: str) -> str:
    (data.images / name).rename(data.folder / name)
    (data.images / name).symlink_to(data.folder / name)
    return name


def unlisted(data: DataSet, name: str, label: str) -> str:
    data.rows.remove((name, label))
    return name


def repeated(data: DataSet, name: str, label: str) -> str:
    return data.add(name, label)


def with_both_labels(data: DataSet, name: str, label: str) -> str:
    return data.add(name, str(1 - int(label)))


def unlabelled(data: DataSet, name: str, label: str) -> str:
    data.rows[data.rows.index((name, label))] = (name, "")
    return name


def labelled_unknown(data: DataSet, name: str, label: str) -> str:
    data.rows[data.rows.index((name, label))] = (name, "unknown")
    return name


def outside(data: DataSet, name: str, label: str) -> str:
    return data.add(f"../{name}", label)


def same_file(data: DataSet, name: str, label: str) -> str:
    shutil.copy(data.images / name, data.images / (copy := data.new_name()))
    return data.add(copy, label)


def same_file_with_another_label(data: DataSet, name: str, label: str) -> str:
    return same_file(data, name, str(1 - int(label)))


def compressed(data: DataSet, name: str, label: str) -> str:
    return data.add_picture(data.picture(name), label, quality=30)


def resized(data: DataSet, name: str, label: str) -> str:
    picture = data.picture(name).resize((200, 200), Image.Resampling.BICUBIC)
    return data.add_picture(picture, label)


def cropped(data: DataSet, name: str, label: str) -> str:
    picture = data.picture(name).crop((2, 0, SIDE - 6, SIDE - 8))
    return data.add_picture(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), label)


def brighter(data: DataSet, name: str, label: str) -> str:
    return data.add_picture(ImageEnhance.Brightness(data.picture(name)).enhance(1.2), label)


def mirrored(data: DataSet, name: str, label: str) -> str:
    return data.add_picture(ImageOps.mirror(data.picture(name)), label)


def in_the_test_csv(data: DataSet, name: str, _: str) -> str:
    data.test_names.append(name)
    return name


def replaced(data: DataSet, name: str, picture: Image.Image, **options: object) -> str:
    picture.save(data.images / name, **{"format": "PNG", **options})  # type: ignore[arg-type]
    return name


def tiny(data: DataSet, name: str, _: str) -> str:
    return replaced(data, name, data.picture(name).resize((24, 24)))


def long(data: DataSet, name: str, _: str) -> str:
    return replaced(data, name, data.picture(name).resize((200, 60)))


def huge(data: DataSet, name: str, _: str) -> str:
    return replaced(data, name, data.picture(name).resize((7200, 7200)), format="JPEG")


def grey(data: DataSet, name: str, _: str) -> str:
    return replaced(data, name, data.picture(name).convert("L"), format="JPEG")


def transparent(data: DataSet, name: str, _: str) -> str:
    return replaced(data, name, data.picture(name).convert("RGBA"))


def rotated(data: DataSet, name: str, _: str) -> str:
    exif = Image.Exif()
    exif[0x0112] = 6
    return replaced(data, name, data.picture(name), format="JPEG", exif=exif)


FAULTS: dict[str, list[tuple[int, Spoil]]] = {
    "unusable-file": [
        *((10, spoil) for spoil in (missing, truncated, empty, text)),
        *((4, spoil) for spoil in (a_folder, link_outside)),
    ],
    "unlisted-file": [(8, unlisted)],
    "repeated-row": [(12, repeated)],
    "contradicting-rows": [(10, with_both_labels)],
    "blank-label": [(10, unlabelled)],
    "unknown-label": [(4, labelled_unknown)],
    "outside": [(8, outside)],
    "exact-duplicates": [(20, same_file)],
    "contradicting-duplicates": [(12, same_file_with_another_label)],
    "near-duplicates": [*((8, spoil) for spoil in (compressed, resized, cropped, brighter))],
    "mirrored-duplicates": [(8, mirrored)],
    "straddling-duplicates": [(8, in_the_test_csv)],
    "tiny-image": [(5, tiny)],
    "odd-shape": [(5, long)],
    "huge-image": [(1, huge)],
    "grey-image": [(3, grey)],
    "transparent-image": [(3, transparent)],
    "rotated-image": [(3, rotated)],
}
INCIDENTAL = {"rare-class", "imbalance"}  # so few rows say `unknown`


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, set[str]]]:
    data = DataSet(tmp_path_factory.mktemp("planted") / "data")
    names = {
        kind: set().union(*(data.plant(count, spoil) for count, spoil in ways))
        for kind, ways in FAULTS.items()
    }
    data.write()
    return data.folder, names


def test_all_planted_faults_are_found_and_nothing_else(
    planted: tuple[Path, dict[str, set[str]]], tmp_path: Path
) -> None:
    folder, names = planted
    assert sum(map(len, names.values())) == 200
    flags = ["--mirrored", "--test-csv", "test.csv", "--report", str(tmp_path), "--strict"]
    assert main(["--data-dir", str(folder), *flags]) == 1
    content = json.loads((tmp_path / "findings.json").read_text(encoding="utf-8"))
    found = {finding["kind"]: finding["groups"] for finding in content["findings"]}
    assert found.keys() - INCIDENTAL == names.keys()

    # Exact copies with another label are exact copies too.
    names["exact-duplicates"] = names["exact-duplicates"] | names["contradicting-duplicates"]
    for kind, expected in names.items():
        assert len(found[kind]) == len(expected), kind
        for group in found[kind]:
            assert len(group) == (2 if "duplicates" in kind else 1), (kind, group)
            assert len(expected & set(group)) == 1, (kind, group)
