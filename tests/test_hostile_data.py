"""Anything a folder can hold: every case through both command lines, one case a row."""

import contextlib
import csv
import io
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import QUICK, quick_fit
from vehicle_lightning.check.__main__ import main as check
from vehicle_lightning.cli import parse_fit, run_command
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.data.paths import LEADS_OUTSIDE
from vehicle_lightning.errors import InputError
from vehicle_lightning.fit.__main__ import main as fit
from vehicle_lightning.fit.train import read_data
from vehicle_lightning.synthetic import make_vehicles

COUNT = 24
HEADER = ("image_names", "emergency_or_not")
Spoil = Callable[[Path], None]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data") / "small"
    return make_vehicles(directory, count=COUNT, image_size=48, workers=1)


@pytest.fixture
def data(small: Path, tmp_path: Path) -> Path:
    shutil.copytree(small, tmp_path / "data")
    return tmp_path / "data"


def rows(data: Path) -> list[list[str]]:
    with (data / "train.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))[1:]


def write(
    data: Path, rows: list[list[str]], *, encoding: str = "utf-8", **style: str | int
) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream, **style).writerows([HEADER, *rows])  # type: ignore[arg-type]
    (data / "train.csv").write_bytes(stream.getvalue().encode(encoding))


def rename(data: Path, row: int, new: str) -> None:
    listed = rows(data)
    target = data / "images" / new
    target.parent.mkdir(parents=True, exist_ok=True)
    (data / "images" / listed[row][0]).rename(target)
    listed[row][0] = new
    write(data, listed)


def rewritten(**style: str | int) -> Spoil:
    return lambda data: write(data, rows(data), **style)


def with_extra_columns(data: Path) -> None:
    lines = [[name, "a, b", label, ""] for name, label in rows(data)]
    stream = io.StringIO(newline="")
    header = ["image_names", "remark", "emergency_or_not", ""]
    csv.writer(stream).writerows([header, *lines])
    (data / "train.csv").write_text(stream.getvalue(), encoding="utf-8")


def read_only(data: Path) -> None:
    for path in [*data.rglob("*"), data]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def linked_within(data: Path) -> None:
    first = data / "images" / rows(data)[0][0]
    first.rename(data / "images" / "elsewhere.jpg")
    first.symlink_to("elsewhere.jpg")


def linked_image_dir(data: Path) -> None:
    (data / "images").rename(data / "store")
    (data / "images").symlink_to("store")


NAMES = [
    "a b  c.jpg",
    "Krankenwagen-Größe 🚑.jpg",
    "\"quoted\" 'name'.jpg",
    "one, two.jpg",
    "one; two.jpg",
    "two\nlines.jpg",
    "sub/folder/x.jpg",
    "..hidden..jpg",
    "X.JPG",
    "no extension",
    "jpeg.txt",
    "-rf.jpg",
    "[x]*?.jpg",
    "$(x) %s {0}.jpg",
    "x" * 196 + ".jpg",
]


def test_names_of_any_kind(data: Path, tmp_path: Path) -> None:
    for row, name in enumerate(NAMES):
        rename(data, row, name)
    assert check(["--data-dir", str(data), "--strict", "--report", str(tmp_path / "report")]) == 0
    run = quick_fit(data, tmp_path / "logs")("--epochs", "1", "--folds", "2")
    predictions = pd.read_csv(run.predictions, dtype=str, keep_default_na=False)
    assert set(NAMES) < set(predictions["file"])
    assert len(predictions) == COUNT


def is_inside(name: str) -> bool:
    return name not in ("", ".") and not re.search(LEADS_OUTSIDE, name)


# Whatever a file can be called; white space around a name is no part of it in a CSV.
FILE_NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=60)
    .map(str.strip)
    .filter(lambda name: is_inside(name) and len(name.encode()) <= 200),
    min_size=1,
    max_size=COUNT,
    unique=True,
)


@given(names=FILE_NAMES)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_of_every_kind(small: Path, tmp_path: Path, names: list[str]) -> None:
    data, report = tmp_path / "data", tmp_path / "report"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(small, data)
    listed = rows(data)
    for row, name in zip(listed, names, strict=False):
        (data / "images" / row[0]).rename(data / "images" / name)
        row[0] = name
    write(data, listed)
    # Names that are drawn tell the label by luck at times, and to find out takes seconds.
    with patch.multiple("vehicle_lightning.data.leaks", PERMUTATIONS=1, SIGNIFICANCE=0):
        assert check(["--data-dir", str(data), "--strict", "--report", str(report)]) == 0
    found = json.loads((report / "findings.json").read_text(encoding="utf-8"))["findings"]
    assert [finding["kind"] for finding in found] == ["rare-class"]  # as they are few
    assert read(data, "--val-fraction", "0.4").table.names == tuple(name for name, _ in listed)


WORKS: dict[str, Spoil] = {
    "byte order mark": rewritten(encoding="utf-8-sig"),
    "UTF-16": rewritten(encoding="utf-16"),
    "semicolons": rewritten(delimiter=";"),
    "tabs": rewritten(delimiter="\t"),
    "LF": rewritten(lineterminator="\n"),
    "CRLF": rewritten(lineterminator="\r\n"),
    "every cell quoted": rewritten(quoting=csv.QUOTE_ALL),
    "extra columns": with_extra_columns,
    "a read-only folder": read_only,
    "a link within the folder": linked_within,
    "a linked image folder": linked_image_dir,
}


@pytest.mark.parametrize("spoil", WORKS.values(), ids=WORKS)
def test_it_works(data: Path, tmp_path: Path, spoil: Spoil) -> None:
    names = {name for name, _ in rows(data)}
    spoil(data)
    assert check(["--data-dir", str(data), "--strict", "--report", str(tmp_path / "report")]) == 0
    module = read(data, "--val-fraction", "0.4")
    assert len(module.rows["val"]) == 10
    assert len(set(module.table.names) - names) <= 1


def broken(content: bytes) -> Spoil:
    return lambda data: (data / "images" / rows(data)[0][0]).write_bytes(content) and None  # type: ignore[func-returns-value]


def a_folder(data: Path) -> None:
    path = data / "images" / rows(data)[0][0]
    path.unlink()
    path.mkdir()


def a_bomb(data: Path) -> None:
    stream = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(stream, "PNG")
    broken(stream.getvalue())(data)


def link_to(target: str) -> Spoil:
    def spoil(data: Path) -> None:
        outside = data.parent / "outside"
        outside.mkdir(exist_ok=True)
        first = data / "images" / rows(data)[0][0]
        shutil.move(first, outside / "x.jpg")
        if target == "file":
            first.symlink_to(outside / "x.jpg")
        else:
            (data / "images" / "linked").symlink_to(outside)
            listed = rows(data)
            listed[0][0] = "linked/x.jpg"
            write(data, listed)

    return spoil


def a_pipe(data: Path) -> None:
    path = data / "images" / rows(data)[0][0]
    path.unlink()
    os.mkfifo(path)


def unquoted_commas(data: Path) -> None:
    lines = [f"a, {name},{label}" for name, label in rows(data)]
    (data / "train.csv").write_text("\n".join([",".join(HEADER), *lines]), encoding="utf-8")


def a_link_to_itself(data: Path) -> None:
    first = data / "images" / rows(data)[0][0]
    first.unlink()
    first.symlink_to(first.name)


def named(name: str) -> Spoil:
    def spoil(data: Path) -> None:
        listed = rows(data)
        listed[0][0] = name
        write(data, listed)

    return spoil


def in_latin_1(data: Path) -> None:
    rename(data, 0, "grün.jpg")
    write(data, rows(data), encoding="latin-1")


def no_rows(data: Path) -> None:
    write(data, [])


REFUSED: dict[str, tuple[Spoil, str]] = {
    "a missing file": (named("none.jpg"), r"none\.jpg \(missing\)"),
    "an empty file": (broken(b""), "cannot be read"),
    "a text file": (broken(b"hello"), "no image"),
    "a folder": (a_folder, "a folder"),
    "a pipe": (a_pipe, "not a file"),
    "unquoted commas": (unquoted_commas, "quote cells that contain commas"),
    "Latin-1": (in_latin_1, "save it as UTF-8"),
    "a decompression bomb": (a_bomb, "far too many pixels"),
    "a link to a file outside": (link_to("file"), "a link out of the image folder"),
    "a link to a folder outside": (link_to("folder"), "a link out of the image folder"),
    "a link in a circle": (a_link_to_itself, "a link out of the image folder"),
    "a way up": (named("../train.csv"), r"leads out of the image folder \(row 2\)"),
    "a way up on Windows": (named("..\\x.jpg"), r"leads out of the image folder \(row 2\)"),
    "an absolute path": (named("/etc/passwd"), r"leads out of the image folder \(row 2\)"),
    "a drive": (named("C:\\x.jpg"), r"leads out of the image folder \(row 2\)"),
    "a null byte": (named("x\0.jpg"), "cannot be read|null"),
    "no rows": (no_rows, "has no rows"),
    "an old encoding": (rewritten(encoding="cp037"), "not UTF-8|no column"),
}


@pytest.mark.parametrize(("spoil", "message"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_in_one_sentence(
    data: Path, tmp_path: Path, spoil: Spoil, message: str
) -> None:
    spoil(data)
    flags = ["--data-dir", str(data)]
    with pytest.raises(InputError, match=message) as caught:
        fit([*QUICK, *flags, "--log-dir", str(tmp_path / "logs")])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "logs").exists()
    report = ["--report", str(tmp_path / "report")]
    told = check_told(data, *report)
    assert told == "a finding" or "\n" not in told


def check_told(data: Path, *more: str) -> str:
    """How the check tells of serious faults: as a finding, or as a sentence that ends it."""
    try:
        return (
            "a finding" if check(["--data-dir", str(data), "--strict", *more]) == 1 else "nothing\n"
        )
    except InputError as error:
        return str(error)


TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


@given(lines=st.lists(st.lists(TEXT, max_size=4), max_size=6), separator=st.sampled_from(",;\t"))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_of_a_csv_ends_in_a_traceback(
    tmp_path: Path, lines: list[list[str]], separator: str
) -> None:
    (tmp_path / "images").mkdir(exist_ok=True)
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=separator).writerows([HEADER, *lines])
    (tmp_path / "train.csv").write_text(stream.getvalue(), encoding="utf-8", newline="")
    for command in (fit, check):
        flags = ["--data-dir", str(tmp_path)]
        logs = ["--log-dir", str(tmp_path / "logs")] if command is fit else []
        with contextlib.suppress(InputError):
            command([*flags, *logs])


def test_a_file_that_changes_between_two_runs_is_read_anew(data: Path) -> None:
    first = read(data, "--val-fraction", "0.4")
    path = first.table.paths[0]
    before, times = path.stat().st_size, (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    content = io.BytesIO()
    Image.new("RGB", (48, 48), (255, 0, 255)).save(content, "JPEG")
    path.write_bytes(content.getvalue().ljust(before, b"\0"))  # of the same size and time
    os.utime(path, ns=times)
    second = read(data, "--val-fraction", "0.4")
    assert np.abs(second.pixels(np.array([0])).astype(int) - [255, 0, 255]).max() < 9
    assert second.fingerprint != first.fingerprint


def gone(data: Path) -> None:
    (data / "images" / rows(data)[0][0]).unlink()


def spoil_after(name: str, data: Path, spoil: Spoil, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spoil the data when a function has done its work, so that what follows finds it changed."""
    real = pkgutil.resolve_name(name)

    def then_spoil(*arguments: object, **options: object) -> object:
        result = real(*arguments, **options)
        spoil(data)
        return result

    monkeypatch.setattr(name, then_spoil)


CHANGED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "while it trains": ("data.reading.group_images", ("--cache", "none"), "with --resume"),
    "while worker processes read": (
        "data.reading.group_images",
        ("--cache", "none", "--num-workers", "1"),
        "with --resume",
    ),
}


@pytest.mark.parametrize("spoil", [gone, broken(b"hello")], ids=["gone", "broken"])
@pytest.mark.parametrize(("after", "flags", "remedy"), CHANGED.values(), ids=CHANGED)
def test_a_file_that_changes_under_a_run_is_named(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Spoil,
    after: str,
    flags: tuple[str, ...],
    remedy: str,
) -> None:
    name = rows(data)[0][0]
    spoil_after(f"vehicle_lightning.{after}", data, spoil, monkeypatch)
    places = ["--data-dir", str(data), "--log-dir", str(tmp_path / "logs")]
    places += ["--cache-dir", str(tmp_path / "cache")]
    told = complaint(fit, *QUICK, *places, *flags)
    assert told.startswith(f"error: {data / 'images' / name} could be read when")
    assert remedy in told


@pytest.mark.parametrize("spoil", [gone, broken(b"hello")], ids=["gone", "broken"])
def test_a_file_that_changes_between_check_and_fit_is_named(
    data: Path, tmp_path: Path, spoil: Spoil
) -> None:
    places = ["--data-dir", str(data), "--cache-dir", str(tmp_path / "cache")]
    assert check([*places, "--strict"]) == 0
    spoil(data)
    told = complaint(fit, *QUICK, *places, "--log-dir", str(tmp_path / "logs"))
    assert f"1 of {COUNT} images" in told
    assert rows(data)[0][0] in told
    assert check([*places, "--strict"]) == 1


def halved(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def of_another_version(file: Path) -> None:
    with file.open("wb") as stream:
        if file.suffix == ".npz":
            np.savez(stream, means=np.zeros(3))
        else:
            np.save(stream, np.full((3, 2), 10**6))


DAMAGED: dict[str, list[Callable[[Path], None]]] = {
    "pixels.npy": [halved],  # all damages of these: tests/data/test_cache.py
    "index.npz": [Path.unlink],
    "files.npz": [of_another_version],
    "near.npz": [halved, of_another_version, Path.unlink],
}


def read(data: Path, *flags: str) -> VehicleDataModule:
    """Read and split data as fit does."""
    return read_data(parse_fit([*QUICK, "--data-dir", str(data), *flags]).settings)


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [(suffix, damage) for suffix, damages in DAMAGED.items() for damage in damages],
)
def test_a_damaged_cache_is_made_anew(
    small: Path, tmp_path: Path, suffix: str, damage: Callable[[Path], None]
) -> None:
    cache = tmp_path / "cache"
    place = ("--cache-dir", str(cache), "--val-fraction", "0.4")
    first = read(small, *place)
    every = np.arange(COUNT)
    pixels = first.pixels(every).copy()
    (file,) = cache.glob(f"*-{suffix}")
    whole = file.read_bytes()
    damage(file)
    again = read(small, *place)
    assert (again.pixels(every) == pixels).all()
    assert (again.fingerprint, again.mean.tolist()) == (first.fingerprint, first.mean.tolist())
    assert np.array_equal(*map(loaded, (whole, file.read_bytes())))
    damage(file)
    assert check(["--data-dir", str(small), "--cache-dir", str(cache), "--strict"]) == 0


def loaded(content: bytes) -> Any:
    found = np.load(io.BytesIO(content))
    return found[found.files[0]] if isinstance(found, np.lib.npyio.NpzFile) else found


def test_two_processes_build_one_cache(data: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "vehicle_lightning.fit", *QUICK, "--epochs", "1"),
        *("--data-dir", str(data), "--cache-dir", str(tmp_path / "cache")),
        *("--log-dir", str(tmp_path / "logs"), "--name", "same"),
    ]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.communicate()[1].count("epoch 1/1") == 1
        assert process.returncode == 0
    assert len(list((tmp_path / "cache").glob("*-pixels.npy"))) == 1
    assert not list((tmp_path / "cache").glob(".*"))
    assert {path.name for path in (tmp_path / "logs" / "same").iterdir()} == {"0", "1"}


def test_a_hundred_thousand_missing_files_are_told_at_once(data: Path, tmp_path: Path) -> None:
    count = 100_000
    write(data, [[f"{number}.jpg", str(number % 2)] for number in range(count)])
    with pytest.raises(InputError, match=rf"{count} of {count} images .* and 99990 more"):
        fit([*QUICK, "--data-dir", str(data), "--log-dir", str(tmp_path / "logs")])
    report = tmp_path / "report"
    assert check(["--data-dir", str(data), "--strict", "--report", str(report)]) == 1
    found = json.loads((report / "findings.json").read_text(encoding="utf-8"))["findings"]
    assert found[0]["kind"] == "unusable-file"
    assert found[0]["count"] == len(found[0]["groups"]) == count


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as where a disk is full or a quota is used up."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def complaint(command: Callable[[list[str]], int], *arguments: str) -> str:
    """The one sentence with which a command ends that cannot write."""
    with (
        patch.object(sys, "argv", ["command", *arguments]),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as told,
        pytest.raises(SystemExit) as ended,
    ):
        run_command(command)
    assert ended.value.code == 2
    (sentence,) = [line for line in told.getvalue().splitlines() if line.startswith("error: ")]
    assert "Traceback" not in told.getvalue()
    return sentence


def test_a_cache_that_the_disk_cannot_hold(data: Path, tmp_path: Path) -> None:
    cache, logs = tmp_path / "cache", tmp_path / "logs"
    places = ["--data-dir", str(data), "--cache-dir", str(cache)]
    with largest_file(8000):
        assert "choose another --cache-dir" in complaint(
            fit, *QUICK, *places, "--log-dir", str(logs)
        )
    assert not logs.exists()
    assert not list(cache.glob("*.np*"))
    with largest_file(100):
        assert "choose another --cache-dir" in complaint(check, *places)
    assert not list(cache.glob("*.np*"))


def test_a_checkpoint_that_the_disk_cannot_hold(data: Path, tmp_path: Path) -> None:
    flags = ["--data-dir", str(data), "--log-dir", str(tmp_path), "--name", "run"]
    large = ["--channels", "64", "128"]  # larger than every other file of the run
    with largest_file(200_000):
        assert "checkpoints" in complaint(fit, *QUICK, *flags, *large)
    assert not list((tmp_path / "run" / "0" / "checkpoints").iterdir())


def test_a_report_that_the_disk_cannot_hold(data: Path, tmp_path: Path) -> None:
    named("none.jpg")(data)
    places = ["--data-dir", str(data)]
    assert check(places) == 0  # what is remembered of the pictures is written
    report, clean = tmp_path / "report", tmp_path / "clean.csv"
    with largest_file(100):
        assert "findings.json" in complaint(check, *places, "--report", str(report))
        assert "clean.csv" in complaint(check, *places, "--write-clean", str(clean))
    assert not list(report.iterdir())
    assert not clean.exists()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few kilobytes, where the tests may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(place)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own takes the right to mount one")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_named(data: Path, full_disk: Path) -> None:
    named("none.jpg")(data)
    (full_disk / "filler").write_bytes(bytes(4096))
    places = ["--data-dir", str(data)]
    assert "No space left on device" in complaint(
        fit, *QUICK, *places, "--cache-dir", str(full_disk), "--skip-unreadable"
    )
    report = full_disk / "report"
    assert complaint(check, *places, "--report", str(report)).startswith(
        f"error: No space left on the disk while writing {report}"
    )
    assert {path.name for path in full_disk.iterdir()} <= {"filler", "report"} | {
        path.name for path in full_disk.glob("*.lock")
    }
    assert not list(report.iterdir())


@pytest.fixture
def read_only_data(data: Path) -> Iterator[Path]:
    """The data on a disk that cannot be written to, where the tests may mount one."""
    mount = shutil.which("mount")
    place = str(data)
    if mount is None or subprocess.run([mount, "--bind", place, place], check=False).returncode:
        pytest.skip("a disk of its own takes the right to mount one")
    subprocess.run([mount, "-o", "remount,bind,ro", place], check=True)
    yield data
    subprocess.run(["umount", place], check=True)


def test_data_on_a_read_only_disk(read_only_data: Path, tmp_path: Path) -> None:
    places = ["--data-dir", str(read_only_data)]
    assert check([*places, "--strict"]) == 0
    run = quick_fit(read_only_data, tmp_path / "logs")("--epochs", "1", "--val-fraction", "0.4")
    assert len(pd.read_csv(run.predictions)) == 10
    for flag in ("--report", "--write-clean", "--cache-dir"):
        told = complaint(check, *places, flag, str(read_only_data / "new"))
        assert "Read-only file system" in told
        assert str(read_only_data / "new") in told
