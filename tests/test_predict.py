"""Prediction through its command line: what a run says of images, whatever they are."""

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import SIZE, DataFolder, Fit
from vehicle_lightning.data.images import IMAGE_SUFFIXES, read_image
from vehicle_lightning.data.paths import ImageFile, listed_images
from vehicle_lightning.data.table import read_names
from vehicle_lightning.errors import InputError
from vehicle_lightning.model import ensemble, explanations
from vehicle_lightning.model.explanations import Subject
from vehicle_lightning.model.load import load
from vehicle_lightning.model.network import ImageClassifier
from vehicle_lightning.predict.__main__ import EXPLAINED, PredictOptions, main, predict
from vehicle_lightning.predict.inputs import find_images
from vehicle_lightning.runs.folder import RunFolder

CPU = ("--accelerator", "cpu")
FIGURES = ["p_0", "p_1"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: object, code: int = 0) -> pd.DataFrame:
    """Predict, and return the rows of the output."""
    assert main([*map(str, arguments), *CPU]) == code
    return read("predictions.csv")


def read(path: str | Path) -> pd.DataFrame:
    text = ["file", "prediction", "error"]
    return pd.read_csv(path, dtype=dict.fromkeys(text, str)).fillna(dict.fromkeys(text, ""))


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format="PNG")
    return path


def write_names(path: Path, names: Sequence[str]) -> None:
    frame = pd.DataFrame({"image_names": names})
    frame.to_csv(path, index=False, quoting=csv.QUOTE_ALL)


@pytest.mark.parametrize(
    "order",
    [
        "RUN --batch-size 7 PHOTOS",
        "--batch-size=7 RUN --flip-averaging PHOTOS",
        "RUN --flip-averaging PHOTOS --batch_size 7",
        "--batch-size 7 -- RUN PHOTOS",
    ],
)
def test_flags_and_paths_in_any_order(dropout_run: RunFolder, here: Path, order: str) -> None:
    save(here / "photos" / "a.png")
    arguments = order.replace("RUN", str(dropout_run.path)).replace("PHOTOS", "photos").split()
    assert main([*CPU, *arguments]) == 0
    assert len(read("predictions.csv")) == 1


@pytest.mark.usefixtures("here")
def test_predictions_are_those_of_the_run(
    dropout_run: RunFolder, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = run(dropout_run.path, drawn / "images", "--batch-size", "7")
    assert list(rows.columns) == ["file", "prediction", *FIGURES, "entropy", "error"]
    assert list(rows["file"]) == sorted(map(str, (drawn / "images").iterdir()))
    rows.index = pd.Index([Path(name).name for name in rows["file"]])
    validated = pd.read_csv(dropout_run.predictions, dtype={"prediction": str}).set_index("file")
    same = rows.loc[validated.index]
    assert list(same["prediction"]) == list(validated["prediction"])
    np.testing.assert_allclose(same[FIGURES], validated[FIGURES], atol=1e-5)
    shares = rows[FIGURES].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(rows["entropy"], -(shares * np.log(shares)).sum(axis=1))
    counts = rows["prediction"].value_counts()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("80 images, ")
    assert printed[1:] == [f"  {c}  {counts.get(c, 0)}" for c in "01"] + ["saved   predictions.csv"]


def test_a_handful_of_answers_and_the_accuracy_of_labelled_images(
    dropout_run: RunFolder, drawn: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.read_csv(drawn / "train.csv", dtype=str).head(5)
    frame.to_csv(here / "some.csv", index=False)
    rows = run(dropout_run.path, "--csv", "some.csv", "--image-dir", drawn / "images")
    printed = capsys.readouterr().out.splitlines()
    for _, row in rows.iterrows():
        share = max(row["p_0"], row["p_1"])
        assert f"{row['file']}: {row['prediction']} ({share:.1%})" in printed
    accuracy = 100 * (rows["prediction"] == frame["emergency_or_not"]).mean()
    assert any(line.startswith(f"accuracy {accuracy:.1f} % [") for line in printed)


def test_the_run_alone_is_needed(
    fit_quickly: Fit, colours: DataFolder, here: Path, tmp_path: Path
) -> None:
    trained = fit_quickly(data_dir=colours.path)
    save(here / "a.png")
    before = run(trained.path, "a.png")
    moved = shutil.move(trained.best_checkpoint, tmp_path / "alone.ckpt")
    shutil.rmtree(trained.path)
    shutil.rmtree(colours.path)
    pd.testing.assert_frame_equal(run(moved, "a.png"), before)


@pytest.mark.usefixtures("here")
def test_a_run_over_folds_is_the_mean_of_its_members(folds_run: RunFolder, drawn: Path) -> None:
    images = drawn / "images"
    together = run(folds_run.path, images)
    members = [folds_run.fold_run(f"seed0-fold{fold}") for fold in (0, 1)]
    single = [run(fold_run.path, images)[FIGURES].to_numpy() for fold_run in members]
    np.testing.assert_allclose(together[FIGURES], np.mean(single, axis=0), atol=1e-12)
    assert np.abs(single[0] - single[1]).max() > 1e-4
    named = run(members[0].best_checkpoint, images, members[1].path, members[1].path)
    pd.testing.assert_frame_equal(named, together)
    pd.testing.assert_frame_equal(run(folds_run.path / "seed*", images), together)


@pytest.mark.usefixtures("here")
def test_models_of_different_image_sizes(
    fit_quickly: Fit, dropout_run: RunFolder, drawn: Path
) -> None:
    small = fit_quickly("--image-size", "16", "--epochs", "1")
    images = drawn / "images"
    both = run(dropout_run.path, small.path, images)[FIGURES]
    single = [run(one.path, images)[FIGURES].to_numpy() for one in (dropout_run, small)]
    np.testing.assert_allclose(both, np.mean(single, axis=0), atol=1e-12)


def test_models_of_different_classes_are_refused(
    dropout_run: RunFolder, fit_quickly: Fit, colours: DataFolder, here: Path
) -> None:
    table = (colours.path / "train.csv").read_text().replace(",1", ",red").replace(",0", ",blue")
    (colours.path / "train.csv").write_text(table)
    other = fit_quickly("--epochs", "1", data_dir=colours.path)
    save(here / "a.png")
    with pytest.raises(InputError, match=r"tells apart blue, red, but .* 0, 1; only"):
        run(dropout_run.path, other.path, "a.png")
    assert run(other.path, "a.png").columns[2:4].tolist() == ["p_blue", "p_red"]


def test_flip_averaging(dropout_run: RunFolder, fit_quickly: Fit, here: Path) -> None:
    save(here / "a.png", 1)
    Image.open("a.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("mirrored.png")
    plain, averaged = (
        run(dropout_run.path, "a.png", "mirrored.png", *flags)["p_1"]
        for flags in ([], ["--flip-averaging"])
    )
    assert abs(plain[0] - plain[1]) > 1e-6
    assert averaged[0] == pytest.approx(averaged[1], abs=1e-6)
    logits = np.log(plain / (1 - plain)).mean()
    assert averaged[0] == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)
    own = run(fit_quickly("--flip-averaging", "--epochs", "1").path, "a.png", "mirrored.png")
    assert own["p_1"][0] == pytest.approx(own["p_1"][1], abs=1e-6)


@pytest.mark.usefixtures("here")
def test_the_calibration_of_a_run_is_used(folds_run: RunFolder, drawn: Path) -> None:
    images, part = drawn / "images", folds_run.fold_runs[0].path
    with pytest.raises(InputError, match="belongs to no run that was calibrated"):
        run(folds_run.path, images, "--calibrated")
    before = run(part, images)
    temperatures = {"temperature": 4.0, "single_temperature": 4.0}
    calibration = {**temperatures, "positive": "0", "point": {"threshold": 0.45}}
    folds_run.calibration.write_text(json.dumps(calibration))
    after = run(part, images, "--calibrated")
    odds = np.log(before["p_0"] / before["p_1"]) / 4
    np.testing.assert_allclose(after["p_0"], 1 / (1 + np.exp(-odds)))
    assert list(after["prediction"]) == ["1" if p < 0.45 else "0" for p in after["p_0"]]

    every = [run(one.path, images, "--calibrated")[FIGURES] for one in folds_run.fold_runs]
    together = run(folds_run.path, images, "--calibrated")
    np.testing.assert_allclose(together[FIGURES], (every[0] + every[1]) / 2)

    folds_run.calibration.write_text('{"temperature": 0, "positive": null, "point": null}')
    with pytest.raises(InputError, match="is damaged; calibrate the run again"):
        run(folds_run.path, images, "--calibrated")
    folds_run.calibration.unlink()


def test_runs_with_other_thresholds_do_not_decide_together(
    dropout_run: RunFolder, here: Path
) -> None:
    other = RunFolder(shutil.copytree(dropout_run.path, here / "other" / "0"))
    for folder, threshold in ((dropout_run, 0.3), (other, 0.4)):
        temperatures = {"temperature": 1, "single_temperature": 1}
        calibration = {**temperatures, "positive": "1", "point": {"threshold": threshold}}
        folder.calibration.write_text(json.dumps(calibration))
    with pytest.raises(InputError, match="The runs have different thresholds"):
        run(dropout_run.path, other.path, save(here / "a.png"), "--calibrated")
    dropout_run.calibration.unlink()


def test_the_unsurest_images_are_explained(
    folds_run: RunFolder, here: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Subject] = []
    draw = explanations.explain_subjects

    def note(subjects: Sequence[Subject], *arguments: Any, **more: Any) -> Any:
        seen.extend(subjects)
        return draw(subjects, *arguments, **more)

    monkeypatch.setattr(explanations, "explain_subjects", note)
    (here / "broken.png").write_bytes(b"no image")
    rows = run(folds_run.path, drawn / "images", "broken.png", "--explain", code=1)
    assert (here / "predictions_explained.png").stat().st_size > 10_000
    unsure = rows.sort_values("entropy", ascending=False, kind="stable").head(EXPLAINED)
    assert [subject.name for subject in seen] == [Path(file).name for file in unsure["file"]]
    for subject, row in zip(seen, unsure.to_dict("records"), strict=True):
        assert len(subject.checkpoints) == 2
        label, probability = subject.prediction or ("", 0)
        assert (label, probability) == (row["prediction"], pytest.approx(row[f"p_{label}"]))


def test_maps_of_different_sizes_cannot_be_averaged(
    fit_quickly: Fit, dropout_run: RunFolder, here: Path
) -> None:
    larger = fit_quickly("--image-size", "48", "--epochs", "1")
    with pytest.raises(InputError, match="The networks take images of 32 and 48 pixels"):
        run(dropout_run.path, larger.path, save(here / "a.png"), "--explain")
    assert not (here / "predictions.csv").exists()


def test_a_submission(
    fit_quickly: Fit, colours: DataFolder, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(colours.path / "train.csv")
    table.columns = pd.Index(["photo", "kind"])
    table.to_csv(colours.path / "train.csv", index=False)
    trained = fit_quickly(
        *("--image-column", "photo", "--label-column", "kind", "--epochs", "1"),
        data_dir=colours.path,
    )
    names = ["7.png", "3.png", "11.png", "3.png"]  # a contest may list an image twice
    pd.DataFrame({"number": range(4), "photo": names}).to_csv(colours.path / "test.csv")
    flags = ["--csv", colours.path / "test.csv", "--submission", "submission.csv"]
    rows = run(trained.path, *flags)
    assert list(rows["file"]) == names
    text = Path("submission.csv").read_text()
    assert text.splitlines()[0] == "photo,kind"
    assert text.splitlines()[1:] == [
        f"{n},{p}" for n, p in zip(names, rows["prediction"], strict=True)
    ]
    assert "saved   submission.csv" in capsys.readouterr().out
    run(trained.path, *flags)  # what lists the same images is replaced
    labels = colours.path / "train.csv"
    with pytest.raises(InputError, match=r"train\.csv is there already and lists other images"):
        run(trained.path, *flags[:3], labels)
    write_names(here / "other.csv", names)
    other = ["--csv", "other.csv", "--image-dir", colours.path / "images"]
    pd.testing.assert_frame_equal(
        run(trained.path, *other, "--image-column", "image_names"), rows, check_exact=False
    )


def test_a_submission_is_not_written_with_a_gap(
    dropout_run: RunFolder, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(here / "images" / "a.png")
    names = ["a.png", "", "../secret.png", "/etc/passwd", "none.png", "x\0.png", "b" * 300]
    names.insert(5, "plink.png")
    pd.DataFrame({"id": range(8), "image_names": names}).to_csv(here / "test.csv", index=False)
    save(here / "secret.png")
    (here / "images" / "plink.png").symlink_to("../secret.png")
    rows = run(dropout_run.path, "--csv", "test.csv", "--submission", "s.csv", code=1)
    assert list(rows["error"]) == [
        "",
        "no name",
        "leads out of the image folder",
        "leads out of the image folder",
        "no such file or directory",
        "a link out of the image folder",
        "embedded null byte",
        "file name too long",
    ]
    assert rows.loc[1:, [*FIGURES, "entropy"]].isna().all(axis=None)
    assert rows["prediction"].ne("").tolist() == [True] + [False] * 7
    assert not Path("s.csv").exists()
    printed = capsys.readouterr().out
    assert "7 could not be predicted" in printed
    assert "No s.csv was written" in printed


BROKEN = {
    "empty.png": b"",
    "text.jpg": b"hello",
    "page.webp": b"<html>not found</html>",
    "phone.heic": b"\0\0\0\x18ftypheic",
}


def test_broken_images_do_not_stop_it(
    dropout_run: RunFolder, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = here / "photos"
    for number in range(5):
        save(photos / f"{number}.png", number)
    whole = (photos / "1.png").read_bytes()
    (photos / "1.png").write_bytes(whole[: len(whole) // 2])
    for name, content in BROKEN.items():
        (photos / name).write_bytes(content)
    os.mkfifo(photos / "pipe.png")
    (photos / "loop.png").symlink_to("loop.png")
    rows = run(dropout_run.path, "photos", "--batch-size", "2", code=1).set_index("file")
    assert len(rows) == 11
    assert set(rows.index[rows["error"] == ""]) == {f"photos/{n}.png" for n in (0, 2, 3, 4)}
    assert "truncated" in rows["error"]["photos/1.png"]
    assert rows["error"]["photos/text.jpg"] == "cannot identify image file 'the file'"
    assert rows["error"]["photos/pipe.png"] == "not a file"
    assert rows["p_0"].notna().sum() == 4
    assert "11 images" in capsys.readouterr().out


NAMES = [
    "a b  c.png",
    "Krankenwagen-Größe 🚑.png",
    "\"quoted\" 'name'.png",
    "one, two.png",
    "two\nlines.png",
    "carriage\rreturn.png",
    "X.JPG",
    "-rf.png",
    "[x]*?.png",
    "$(x) %s {0}.png",
    "folder.png/inside.png",
    "deep/er/x.png",
    "..shown..png/x.png",
]


def test_names_of_any_kind(dropout_run: RunFolder, here: Path) -> None:
    for name in NAMES[:-1]:
        save(here / "photos" / name)
    save(here / "photos" / ".hidden.png")
    save(here / "photos" / ".hidden" / "x.png")
    (here / "photos" / "notes.txt").write_text("not an image")
    rows = run(dropout_run.path, "photos")
    assert set(rows["file"]) == {f"photos/{name}" for name in NAMES[:-1]}
    np.testing.assert_allclose(rows["p_0"], rows["p_0"][0])
    write_names(here / "test.csv", NAMES[:-1])
    listed = run(dropout_run.path, "--csv", "test.csv", "--image-dir", "photos")
    assert list(listed["file"]) == NAMES[:-1]
    assert (listed["error"] == "").all()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_name_that_is_no_text(dropout_run: RunFolder, here: Path) -> None:
    save(here / "photos" / os.fsdecode(b"\xff.png"))
    assert list(run(dropout_run.path, "photos")["file"]) == ["photos/\\udcff.png"]


def test_files_folders_and_patterns(dropout_run: RunFolder, here: Path) -> None:
    for name in ("b.png", "a.png", "sub/c.png", "no extension", "[1].png"):
        save(here / "photos" / name)
    model = dropout_run.path
    assert list(run(model, "photos/*.png")["file"]) == [
        "photos/[1].png",
        "photos/a.png",
        "photos/b.png",
    ]
    assert list(run("photos/b.png", model, "photos/no extension")["file"]) == [
        "photos/b.png",
        "photos/no extension",
    ]
    assert list(run(model, "photos/[1].png")["file"]) == ["photos/[1].png"]
    assert list(run(model, "photos/sub", "photos")["file"]) == [
        "photos/sub/c.png",
        "photos/[1].png",
        "photos/a.png",
        "photos/b.png",
    ]
    assert len(run(model, "photos/**/*.png")) == 4
    assert list(run(model, here / "photos" / "?.png")["file"]) == [
        str(here / "photos" / name) for name in ("a.png", "b.png")
    ]


def test_links_out_of_the_folder(
    dropout_run: RunFolder, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(here / "secret" / "x.png")
    save(here / "photos" / "a.png")
    (here / "photos" / "b.png").symlink_to("a.png")
    (here / "photos" / "c.png").symlink_to("../secret/x.png")
    (here / "photos" / "linked").symlink_to("../secret")
    rows = run(dropout_run.path, "photos", code=1).set_index("file")
    assert rows["error"].to_dict() == {
        "photos/a.png": "",
        "photos/b.png": "",
        "photos/c.png": "a link out of the image folder",
    }
    assert "photos/linked is a link to a folder and is not followed" in capsys.readouterr().err
    assert list(run(dropout_run.path, "photos/linked")["file"]) == ["photos/linked/x.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{run}", "There are no images; give image files"),
        ("{run} empty", "There are no images in empty"),
        ("{run} nowhere", "There is no file or folder nowhere, and as a pattern"),
        ("{run} empty/*.png", "There is no file or folder"),
        ("photos", "There is no model"),
        ("", "There is no model"),
        ("nowhere/0 photos", "There is no file or folder nowhere/0"),
        ("none.ckpt photos", "There is no file or folder none.ckpt"),
        ("text.ckpt photos", "text.ckpt is no checkpoint of this package"),
        ("unfinished photos", "unfinished has no best.ckpt; finish the run"),
        ("{run} {run}/.. photos", "holds the run"),
        ("{run} --csv none.csv", "There is no CSV file none.csv"),
        ("{run} --csv test.csv --image-dir none", "There is no image folder none"),
        ("{run} --csv test.csv", "There is no image folder images"),
        ("{run} --csv empty.csv --image-dir photos", "empty.csv has no rows"),
        ("{run} --csv test.csv --image-dir photos --image-column x", "no column x"),
        ("{run} photos --csv test.csv --image-dir photos", "by --csv or as paths, not both"),
        ("{run} photos --submission s.csv", "--submission needs --csv"),
        ("{run} photos --image-dir photos", "--image-dir needs --csv"),
        ("{run} photos --output test.csv", "test.csv is there already and holds no predictions"),
        ("{run} photos --output none/x.csv", "There is no folder none to write x.csv to"),
        ("{run} photos --output empty", "empty is a folder"),
        ("{run} --csv test.csv --image-dir photos --submission ./test.csv", "are both test.csv"),
        ("{run} --csv test.csv --image-dir photos --submission predictions.csv", "are both"),
        ("{run} photos --accelerator mps", "--accelerator mps cannot be used here"),
        ("{run} photos --batch-size 0", "batch_size: "),
    ],
)
def test_mistakes_are_one_sentence(
    dropout_run: RunFolder, here: Path, arguments: str, message: str
) -> None:
    save(here / "photos" / "a.png")
    (here / "empty").mkdir()
    (here / "text.ckpt").write_text("no checkpoint")
    write_names(here / "test.csv", ["a.png"])
    write_names(here / "empty.csv", [])
    (here / "unfinished").mkdir()
    shutil.copy(dropout_run.config, here / "unfinished")
    before = set(here.rglob("*"))
    with pytest.raises(InputError, match=message) as caught:
        main(arguments.format(run=dropout_run.path).split())
    assert "\n" not in str(caught.value)
    assert set(here.rglob("*")) == before


def test_an_unfinished_run_over_folds_is_refused(
    folds_run: RunFolder, here: Path, tmp_path: Path
) -> None:
    save(here / "a.png")
    copied = RunFolder(shutil.copytree(folds_run.path, tmp_path / "copy"))
    copied.fold_run("seed0-fold1").best_checkpoint.unlink()
    with pytest.raises(InputError, match=r"1 of the 2 trainings of .* are missing"):
        run(copied.path, "a.png")


def test_only_earlier_predictions_are_replaced(dropout_run: RunFolder, here: Path) -> None:
    save(here / "a.png")
    save(here / "b.png")
    assert len(run(dropout_run.path, "a.png", "b.png")) == 2
    assert len(run(dropout_run.path, "a.png")) == 1


def test_interrupted_it_leaves_what_was_there(
    dropout_run: RunFolder, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        save(here / f"{number}.png", number)
    run(dropout_run.path, "0.png")
    before = Path("predictions.csv").read_bytes()
    measured, calls = ImageClassifier.forward, []

    def interrupted(self: ImageClassifier, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 1:  # a checkpoint is tried on one picture
            calls.append(len(images))
            if len(calls) == 2:
                os.kill(os.getpid(), signal.SIGINT)
        return measured(self, images)

    monkeypatch.setattr(ImageClassifier, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(dropout_run.path, "*.png", "--batch-size", "2")
    assert calls == [2, 2]
    assert Path("predictions.csv").read_bytes() == before
    assert {path.name for path in here.iterdir()} == {"predictions.csv"} | {
        f"{number}.png" for number in range(6)
    }


def test_few_images_are_held_at_a_time(
    dropout_run: RunFolder, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images decoded never run ahead of those written by more than three batches."""
    save(here / "photos" / "0.png")
    for number in range(1, 300):
        os.link(here / "photos" / "0.png", here / "photos" / f"{number}.png")
    decoded, ahead = [0], []

    def counted(path: Path, size: int, *_: object) -> Any:
        decoded[0] += 1
        return read_image(path, size)

    monkeypatch.setattr(ensemble, "read_or_fault", counted)
    measured, seen = ImageClassifier.forward, [0]

    def watched(self: ImageClassifier, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 1:  # a checkpoint is tried on one picture
            ahead.append(decoded[0] - seen[0])
            seen[0] += len(images)
        return measured(self, images)

    monkeypatch.setattr(ImageClassifier, "forward", watched)
    assert len(run(dropout_run.path, "photos", "--batch-size", "8")) == 300
    assert len(ahead) == 38
    assert max(ahead) <= 3 * 8 + 1


def test_a_network_that_gives_no_numbers(dropout_run: RunFolder, here: Path) -> None:
    save(here / "a.png")
    checkpoint = torch.load(dropout_run.best_checkpoint, weights_only=True)
    weights = checkpoint["state_dict"]
    weights[list(weights)[-1]].fill_(float("nan"))
    torch.save(checkpoint, here / "diverged.ckpt")
    rows = run("diverged.ckpt", "a.png", code=1)
    assert list(rows["error"]) == ["the network's output is not a number"]


def test_it_can_be_called(dropout_run: RunFolder, here: Path) -> None:
    image = save(here / "a.png")
    result = predict(PredictOptions(paths=(dropout_run.path, image), accelerator="cpu"))
    assert len(result.rows) == 1
    assert result.files == (Path("predictions.csv"),)


@pytest.mark.usefixtures("here")
def test_as_a_command(dropout_run: RunFolder) -> None:
    """An exit code, one sentence, no traceback; slips are told before torch is imported."""
    command = [sys.executable, "-X", "importtime", "-m", "vehicle_lightning.predict"]
    done = subprocess.run(
        [*command, str(dropout_run.path), "nowhere"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: There is no file or folder nowhere")
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "lightning", "pandas", "scipy"}


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(lines=st.lists(st.lists(TEXT, max_size=3), max_size=6), separator=st.sampled_from(",;\t"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_of_a_csv_ends_in_a_traceback(
    tmp_path: Path, lines: list[list[str]], separator: str
) -> None:
    (tmp_path / "images").mkdir(exist_ok=True)
    table = tmp_path / "test.csv"
    text = "\n".join(separator.join(line) for line in [["image_names", "x"], *lines])
    table.write_text(text, encoding="utf-8", newline="")
    images: list[ImageFile] = []
    with contextlib.suppress(InputError):
        images = listed_images(read_names(table, "image_names"), tmp_path / "images")
    for image in images:
        inside = (tmp_path / "images").resolve() in [image.path, *image.path.parents]
        assert image.fault or (inside and ".." not in image.path.parts)


@given(
    names=st.sets(
        st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20),
        max_size=8,
    ),
    suffix=st.sampled_from(IMAGE_SUFFIXES),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_image_of_a_folder_is_found_once(
    tmp_path: Path, names: set[str], suffix: str
) -> None:
    folder = tmp_path / "photos"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in names:
        (folder / (name + suffix)).touch()
        (folder / (name + ".txt")).touch()
    shown = {str(folder / (name + suffix)) for name in names if not name.startswith(".")}
    if not shown:
        with pytest.raises(InputError, match="There are no images"):
            find_images([folder])
        return
    found = [image.name for image in find_images([folder, folder / "..", folder])]
    assert found[: len(shown)] == sorted(shown)
    assert set(found[: len(shown)]) == shown


def test_the_size_of_the_run_is_used(dropout_run: RunFolder, here: Path) -> None:
    """An image that is not square and larger than the network's input, as training reads it."""
    save(here / "a.png")
    rows = run(dropout_run.path, "a.png")
    model = load(dropout_run.best_checkpoint)
    pixels = torch.from_numpy(read_image(here / "a.png", SIZE).copy()).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = model(pixels).double().softmax(1)[0].numpy()
    np.testing.assert_allclose(rows[FIGURES].to_numpy()[0], expected, atol=1e-6)
