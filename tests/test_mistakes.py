"""Each mistake gets one sentence and exit code 2; most before torch is imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import QUICK, DataFolder
from vehicle_lightning.cli import run_command
from vehicle_lightning.fit import checkpoints
from vehicle_lightning.fit.__main__ import main
from vehicle_lightning.runs.folder import RunFolder

# Runs the command line and tells afterwards which slow packages were imported.
PROBE = """
import json, sys
from vehicle_lightning.fit.__main__ import main, run_command
try:
    run_command(main)
except SystemExit as stop:
    imported = [name for name in ("torch", "lightning") if name in sys.modules]
    print(json.dumps({"code": stop.code, "imported": imported}))
"""


def probe(*arguments: str) -> tuple[dict[str, object], str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dropot", "0.5"], "--dropout"),
        (["--dropout", "1.5"], "error: dropout: Input should be less than 1 (got 1.5)."),
        (["--dropout", "high"], "--dropout"),
        (["--optimizer", "adm"], "adamw"),
        (["--folds", "5", "--fold", "5"], "error: --fold 5 is none of the folds 0 to 4."),
        (["--config", "none.yaml"], "error: Settings file none.yaml: No such file or directory."),
        (["--config"], "error: --config: expected one argument."),
        (["--data-dir", "nowhere"], "nowhere; see --data-dir."),
        (["--resume", "nowhere"], "error: nowhere is no run folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_in_flags_are_told_before_torch_is_imported(
    arguments: list[str], message: str
) -> None:
    outcome, output = probe(*arguments)
    assert outcome == {"code": 2, "imported": []}
    assert message in output
    assert "Traceback" not in output


def test_mistakes_in_a_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("dropuot: 0.5\n")
    outcome, output = probe("--config", str(file))
    assert outcome == {"code": 2, "imported": []}
    assert f"error: Settings file {file} has the unknown key dropuot. Perhaps you meant" in output


@pytest.mark.parametrize("flag", ["--help", "--print-config"])
def test_help_and_settings_are_printed_without_torch(flag: str) -> None:
    outcome, output = probe(flag)
    assert outcome == {"code": 0, "imported": []}
    assert "dropout" in output


def test_mistakes_in_the_csv_are_told_before_torch_is_imported(data_folder: DataFolder) -> None:
    (data_folder.path / "train.csv").write_text("name,number\na,1\n")
    outcome, output = probe("--data-dir", str(data_folder.path))
    assert outcome == {"code": 2, "imported": []}
    assert "not clear is the column of the image names" in output


def complaint(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run the entry point in this process; return its last line on standard error."""
    monkeypatch.setattr(sys, "argv", ["fit", *arguments])
    with pytest.raises(SystemExit) as stop:
        run_command(main)
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_mistakes_in_the_data(
    data_folder: DataFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = data_folder.path / "logs"
    arguments = [*QUICK, "--data-dir", str(data_folder.path), "--log-dir", str(logs)]
    csv, images = data_folder.path / "train.csv", data_folder.path / "images"

    def says(*more: str) -> str:
        return complaint([*arguments, *more], monkeypatch, capsys)

    assert says() == (
        f"error: There is no CSV file {csv}, and no folder for each class in its place; name the "
        f"CSV with --csv."
    )
    csv.touch()
    assert says() == f"error: {csv} is empty; its first line must name the columns."
    data_folder.write_csv([])
    assert says() == f"error: {csv} has no rows below its header; add one row for each image."
    data_folder.write_csv([("a.png", 0), ("b.png", 1)])
    assert says("--image-dir", "no") == (
        f"error: There is no image folder {data_folder.path / 'no'}; name it with --image-dir."
    )
    data_folder.write_csv([("a.png", 0), ("b.png", "")])
    assert says() == (
        f"error: {csv}: 1 row of the CSV without a label (row 3); label them or delete them."
    )
    data_folder.write_csv([("a.png", 1), ("b.png", 1)])
    assert "holds only the label '1'" in says()
    data_folder.write_csv([(f"{number}.png", number % 2) for number in range(30)])
    assert says() == (
        f"error: 30 of 30 images of {csv} cannot be read: "
        + ", ".join(f"{number}.png (missing)" for number in range(10))
        + f" and 20 more; there are no files in {images}; name another folder with --image-dir."
    )
    assert "holds images of 0 class(es)" in says("--skip-unreadable")
    for number in range(30):
        data_folder.add(f"{number}.png", (number, 0, 0))
    assert "--folds 40 is more than the 15 different images or groups of the class 0" in says(
        "--folds", "40", "--fold", "0"
    )
    assert "change --val-fraction" in says("--val-fraction", "0.01")
    assert not logs.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--accelerator", "tpu"], "--accelerator tpu"),
        (["--devices", "0,1"], "--devices 0,1"),
        (["--devices", "-1"], "--devices -1"),
        (["--devices", "100000"], "this machine has"),
        (["--precision", "16-mixed"], "fp16 is not supported on CPU"),
    ],
)
def test_devices_that_are_not_here(
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    arguments = [*QUICK, "--data-dir", str(drawn), "--log-dir", str(tmp_path / "logs"), *flags]
    assert message in complaint(arguments, monkeypatch, capsys)
    assert not list((tmp_path / "logs").glob("*/*"))


def test_a_log_dir_that_cannot_be_made(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").touch()
    arguments = [*QUICK, "--data-dir", str(drawn), "--log-dir", str(tmp_path / "logs")]
    assert "choose another --log-dir" in complaint(arguments, monkeypatch, capsys)


def test_a_full_disk_names_the_file_and_keeps_the_last_good_checkpoint(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = []

    def save(_: object, __: object, path: Path, *___: object) -> None:
        if len(saved) == 2:
            path.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        saved.append(path)
        path.write_bytes(b"whole")

    monkeypatch.setattr(checkpoints.TorchCheckpointIO, "save_checkpoint", save)
    arguments = [*QUICK, "--data-dir", str(drawn), "--log-dir", str(tmp_path), "--name", "run"]
    folder = tmp_path / "run" / "0" / "checkpoints"
    assert complaint(arguments, monkeypatch, capsys).startswith(
        f"error: No space left on the disk while writing {folder}"
    )
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert {path.read_bytes() for path in folder.iterdir()} == {b"whole"}


@pytest.mark.skipif(sys.platform == "win32", reason="there a pipe breaks in another way")
def test_a_reader_that_has_gone_is_no_mistake(dropout_run: RunFolder) -> None:
    command = [sys.executable, "-m", "vehicle_lightning.compare", str(dropout_run.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 141
