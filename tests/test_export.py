"""An exported file predicts what its run predicts, and is there whole or not at all."""

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import SIZE, Fit, quick_fit
from vehicle_lightning.errors import InputError
from vehicle_lightning.export import __main__ as command
from vehicle_lightning.export import program
from vehicle_lightning.export.__main__ import export, main
from vehicle_lightning.model.load import load
from vehicle_lightning.runs.folder import RunFolder

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

DEFAULT: list[str] = []
DROPOUT_BATCHNORM = ["--dropout", "0.5", "--batchnorm", "--hidden", "8"]
RESIDUAL = ["--residual", "--batchnorm", "--pooling", "average", "--flip-averaging"]
NETWORKS = [DEFAULT, DROPOUT_BATCHNORM, RESIDUAL]
SUFFIXES = pytest.mark.parametrize("suffix", [".onnx", ".pt2"])


def reader(file: Path) -> Predict:
    if file.suffix == ".onnx":
        session = onnxruntime.InferenceSession(file)
        return lambda images: session.run(["probabilities"], {"images": images})[0]
    module = torch.export.load(file).module()
    return lambda images: module(torch.from_numpy(images)).detach().numpy()


def metadata(file: Path) -> dict[str, str]:
    if file.suffix == ".onnx":
        return {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    found = dict.fromkeys(("class_names", "image_size", "white", "run", "checkpoint"), "")
    torch.export.load(file, extra_files=found)
    return {key: str(value) for key, value in found.items()}


@pytest.fixture(scope="module", params=NETWORKS, ids=" ".join)
def run(
    request: pytest.FixtureRequest, drawn: Path, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    fit = quick_fit(drawn, tmp_path_factory.mktemp("logs"))
    return fit(*request.param, "--learning-rate", "0.003", "--epochs", "4")


@SUFFIXES
def test_it_predicts_the_validation_images_as_the_run_did(
    run: RunFolder, drawn: Path, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / "made" / f"vehicle{suffix}"
    result = export(run.path, output)
    assert result.difference <= 1e-4
    assert result.size == output.stat().st_size
    assert list(output.parent.iterdir()) == [output]

    predictions = pd.read_csv(run.predictions)
    pictures = [Image.open(drawn / "images" / name) for name in predictions["file"]]
    images = np.stack([np.asarray(picture).transpose(2, 0, 1) for picture in pictures])
    predict = reader(output)
    probabilities = predict(images)
    np.testing.assert_allclose(probabilities, predictions[["p_0", "p_1"]], rtol=0, atol=1e-4)
    assert np.ptp(probabilities) > 0.01  # the network tells images apart
    for count in (1, 2, 5):
        np.testing.assert_allclose(predict(images[:count]), probabilities[:count], atol=1e-5)


@SUFFIXES
def test_several_classes_and_the_metadata(
    fit_quickly: Fit, drawn: Path, tmp_path: Path, suffix: str
) -> None:
    frame = pd.read_csv(drawn / "train.csv")
    names = ["fire engine", "Müllwagen", "0,5"]
    frame["emergency_or_not"] = [names[row % 3] for row in range(len(frame))]
    frame.to_csv(tmp_path / "three.csv", index=False)
    run = fit_quickly("--csv", str(tmp_path / "three.csv"), "--name", "three")
    output = tmp_path / f"three{suffix}"
    assert main([str(run.path), "--output", str(output)]) == 0
    found = metadata(output)
    assert json.loads(found["class_names"]) == ["0,5", "Müllwagen", "fire engine"]
    assert found["image_size"] == str(SIZE)
    assert json.loads(found["white"]) == {}
    assert (found["run"], found["checkpoint"]) == ("three/0", "best.ckpt")
    probabilities = reader(output)(np.zeros((2, 3, SIZE, SIZE), dtype=np.uint8))
    assert probabilities.shape == (2, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    for folder in (Path(torch.__file__).parent, Path(command.__file__).parent, run.path):
        assert str(folder).encode() not in output.read_bytes()  # it names none of this machine


@SUFFIXES
def test_the_lines_it_prints_predict_a_photograph(
    dropout_run: RunFolder,
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    picture = next((drawn / "images").iterdir())
    with Image.open(picture) as image:
        image.resize((90, 60)).save("picture.jpg")
    capfd.readouterr()
    assert main([str(dropout_run.path), "--output", f"it's{suffix}"]) == 0
    out, err = capfd.readouterr()  # of the process, as the exporters' chatter passes Python by
    assert err == ""
    report, code = out.split("\n\n", maxsplit=1)
    lines = report.splitlines()
    assert lines[0].startswith(f"saved   it's{suffix} (")
    assert lines[2:] == [
        "takes   images: RGB, uint8 (N, 3, 32, 32)",
        "gives   probabilities (N, 2): 0, 1",
    ]
    values: dict[str, NDArray[np.float32]] = {}
    exec(code, values)
    assert values["probabilities"].shape == (1, 2)


def test_a_checkpoint_file(dropout_run: RunFolder, tmp_path: Path) -> None:
    output = tmp_path / "last.pt2"
    export(dropout_run.last_checkpoint, output)
    found = metadata(output)
    assert (found["run"], found["checkpoint"]) == (dropout_run.label, "last.ckpt")
    moved = tmp_path / "weights.ckpt"
    moved.write_bytes(dropout_run.best_checkpoint.read_bytes())
    export(moved, output)
    assert metadata(output)["run"] == "weights.ckpt"


def test_a_run_over_folds_names_its_trainings(folds_run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"such as {folds_run.path / 'seed0-fold0'}"):
        export(folds_run.path, tmp_path / "vehicle.onnx")
    export(folds_run.path / "seed0-fold1", tmp_path / "vehicle.pt2")
    assert metadata(tmp_path / "vehicle.pt2")["run"] == f"{folds_run.label}/seed0-fold1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{run} --output net.pth", r"net\.pth must end in \.onnx .* or in \.pt2"),
        ("{run} --output net", r"net must end in \.onnx"),
        ("nowhere --output net.onnx", "There is no run folder or checkpoint nowhere"),
        ("{run}/.. --output net.onnx", "is no run folder"),
        ("{run}/config.yaml --output net.onnx", r"config\.yaml is no checkpoint"),
    ],
)
def test_mistakes_are_one_sentence(
    dropout_run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        main(arguments.format(run=dropout_run.path).split())
    assert not list(tmp_path.iterdir())


def test_mistakes_are_told_before_torch_is_imported(tmp_path: Path) -> None:
    probe = (
        "import sys; from vehicle_lightning.export.__main__ import main, run_command\n"
        "try: run_command(main)\n"
        "except SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
    )
    for arguments in (["nowhere", "--output", "a.onnx"], [str(tmp_path), "--output", "a.txt"], []):
        command = [sys.executable, "-c", probe, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "2 False"
        assert "Traceback" not in done.stderr


def test_a_run_without_weights(dropout_run: RunFolder, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_bytes(dropout_run.config.read_bytes())
    with pytest.raises(InputError, match=r"has no best\.ckpt; finish the run"):
        export(run, tmp_path / "vehicle.onnx")


def test_missing_packages(
    dropout_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(command.FORMATS, ".onnx", ("numpy", "onnx_that_is_not_there"))
    with pytest.raises(InputError, match=r"onnx_that_is_not_there must be .*\[export\]"):
        export(dropout_run.path, tmp_path / "vehicle.onnx")


def test_what_predicts_something_else_is_not_written(
    dropout_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = program.read_pt2
    monkeypatch.setattr(program, "read_pt2", lambda content: lambda x: read(content)(x) + 2e-4)
    output = tmp_path / "made" / "vehicle.pt2"
    with pytest.raises(InputError, match=r"not written: .* by up to 0\.0002, more than 0\.0001"):
        export(dropout_run.path, output)
    assert not output.parent.exists()


def test_probabilities_that_are_no_numbers_are_refused(dropout_run: RunFolder) -> None:
    predictor = program.Predictor(load(dropout_run.best_checkpoint))
    with pytest.raises(InputError, match="by up to nan"):
        program.largest_difference(lambda images: predictor(images) * torch.nan, predictor)


def test_a_network_too_large_for_onnx(
    dropout_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "LARGEST", 1000)
    with pytest.raises(InputError, match=r"holds 2 GB.* \.pt2"):
        export(dropout_run.path, tmp_path / "vehicle.onnx")


def test_a_full_disk_leaves_the_old_file(
    dropout_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "vehicle.pt2"
    output.write_text("old")

    def write_half(path: Path, content: bytes) -> None:
        with path.open("wb") as stream:
            stream.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match=r"vehicle\.") as failure:
        export(dropout_run.path, output)
    assert failure.value.filename == str(output)
    assert list(tmp_path.iterdir()) == [output]
    assert output.read_text() == "old"


def test_a_folder_that_cannot_be_made(dropout_run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        export(dropout_run.path, tmp_path / "file" / "vehicle.pt2")
