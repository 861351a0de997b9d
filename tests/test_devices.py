"""Several processes on several devices: they train as one, and end as one."""

import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.conftest import QUICK, curve, quick_fit
from tests.test_resume import assert_equal_runs
from vehicle_lightning.cli import INTERRUPTED, USAGE_ERROR, run_command
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.fit.__main__ import main
from vehicle_lightning.model.augment import Augment
from vehicle_lightning.runs.folder import RunFolder

SWITCHES = ("--augment", "--dropout", "0.5", "--batchnorm")
DEVICES = ("--devices", "2", "--strategy", "ddp")
LONG = 120  # seconds; what takes longer hangs

if sys.platform == "win32":
    pytest.skip("Windows cannot fork", allow_module_level=True)

# Forked from a process that has imported everything already.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["vehicle_lightning.fit.train"])


@pytest.fixture(scope="module")
def odd(drawn: Path) -> Path:
    """A CSV of 79 images, of which 70 train and 9 validate: not to be shared out evenly."""
    path = drawn / "odd.csv"
    path.write_text("".join((drawn / "train.csv").read_text().splitlines(keepends=True)[:80]))
    return path


class Together:
    """Two processes of one training, as torchrun starts them, or only the first one."""

    def __init__(self, place: Path, csv: Path, *flags: str, ranks: int = 2) -> None:
        arguments = [
            *(*QUICK, "--batch-size", "8", *DEVICES, "--val-fraction", "0.11", "--name", "run"),
            *("--data-dir", str(csv.parent), "--csv", csv.name, "--log-dir", str(place)),
            *flags,
        ]
        self._place = place
        place.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        self.processes: list[ForkServerProcess] = [
            processes.Process(target=be_process, args=(rank, port, arguments, place))
            for rank in range(ranks)
        ]
        for process in self.processes:
            process.start()

    @property
    def run(self) -> RunFolder:
        return RunFolder(self._place / "run" / "0")

    def wait_for_epoch(self, epoch: int) -> None:
        until = time.monotonic() + LONG
        while not (self.run.metrics.is_file() and len(pd.read_csv(self.run.metrics)) >= epoch):
            assert time.monotonic() < until
            assert all(process.is_alive() for process in self.processes), self.said(0)
            time.sleep(0.01)

    def end(self) -> list[int | None]:
        """Wait until both have ended; return their exit codes."""
        for process in self.processes:
            process.join(LONG)
        codes = [process.exitcode for process in self.processes]
        for process in self.processes:
            process.kill()
        return codes

    def said(self, rank: int) -> str:
        file = self._place / f"{rank}.txt"
        return file.read_text() if file.is_file() else ""

    def drawn_numbers(self, rank: int) -> list[list[float]]:
        """What each training step of one process drew for its first image."""
        lines = (self._place / f"drawn{rank}.txt").read_text().splitlines()
        return [json.loads(line) for line in lines]


def be_process(rank: int, port: str, arguments: list[str], place: Path) -> None:
    """Train as one of two processes, and record what the augmentation draws."""
    with (place / f"{rank}.txt").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    number = str(rank)
    os.environ |= {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    affine = Augment._affine

    def recorded(self: Augment, images: Tensor) -> Tensor:
        maps = affine(self, images)
        with (place / f"drawn{rank}.txt").open("a") as stream:
            stream.write(json.dumps(maps[0].flatten().tolist()) + "\n")
        return maps

    Augment._affine = recorded  # type: ignore[method-assign]
    torch.set_num_threads(1)
    sys.argv = ["fit", *arguments]
    run_command(main)


@pytest.fixture(scope="module")
def random_run(odd: Path, tmp_path_factory: pytest.TempPathFactory) -> Together:
    """A finished training that draws random numbers."""
    together = Together(tmp_path_factory.mktemp("two"), odd, *SWITCHES, "--epochs", "3")
    assert together.end() == [0, 0], together.said(0)
    return together


def test_two_devices_train_as_one(odd: Path, tmp_path: Path) -> None:
    """The same global batches: the same losses, each image measured once, one run folder."""
    flags = ("--csv", odd.name, "--val-fraction", "0.11")
    one = quick_fit(odd.parent, tmp_path / "one")(*flags, "--batch-size", "16")
    together = Together(tmp_path / "two", odd, "--cache-dir", str(tmp_path / "cache"))
    assert together.end() == [0, 0], together.said(0)
    two = together.run
    assert [path.name for path in two.path.parent.iterdir()] == ["0"]
    metrics = [pd.read_csv(run.metrics).drop(columns="seconds") for run in (one, two)]
    pd.testing.assert_frame_equal(*metrics, rtol=1e-5)
    predictions = [pd.read_csv(run.predictions) for run in (one, two)]
    assert len(predictions[0]) == 9
    assert set(predictions[0]["file"]) == set(predictions[1]["file"])
    assert [step for step, _ in curve(two, "val/loss")] == [1, 2]
    writers = {path.name.split(".")[-2] for path in two.path.glob("events*")}
    assert writers == {str(together.processes[0].pid)}
    assert len(list((tmp_path / "cache").glob("*-pixels.npy"))) == 1
    assert together.said(0).count("epoch 2/2") == 1
    assert "Warning" not in together.said(0)


def test_each_process_draws_numbers_of_its_own_and_the_same_again(
    random_run: Together, odd: Path, tmp_path: Path
) -> None:
    again = Together(tmp_path, odd, *SWITCHES, "--epochs", "3")
    again.wait_for_epoch(1)
    os.kill(again.processes[1].pid or 0, signal.SIGTERM)
    assert again.end() == [INTERRUPTED, 0], again.said(0)
    assert "go on   " in again.said(0)
    before = len(pd.read_csv(again.run.metrics)) * 5  # steps of whole epochs

    resumed = Together(tmp_path, odd, "--epochs", "3", "--resume", str(again.run.path))
    assert resumed.end() == [0, 0], resumed.said(0)
    assert_equal_runs(random_run.run, resumed.run)
    for rank in range(2):
        numbers = random_run.drawn_numbers(rank)
        assert len(numbers) == 3 * 5
        assert resumed.drawn_numbers(rank)[:before] == numbers[:before]
        assert resumed.drawn_numbers(rank)[before - 15 :] == numbers[before:]
    one, other = (random_run.drawn_numbers(rank) for rank in range(2))
    assert all(a != b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_other_with_a_reason(
    odd: Path, tmp_path: Path, rank: int
) -> None:
    together = Together(tmp_path, odd, "--epochs", "1000")
    together.wait_for_epoch(1)
    together.processes[rank].kill()
    codes = together.end()
    assert codes[rank] == -signal.SIGKILL
    assert codes[1 - rank] == USAGE_ERROR
    last = together.said(1 - rank).splitlines()[-1]
    who = "error on process 1" if rank == 0 else "error"
    assert last.startswith(
        f"{who}: The training of 2 processes has ended, as another process ended or cannot be "
        f"reached."
    )
    assert (f"--resume {together.run.path}" in last) == (rank == 1)
    assert "Traceback" not in together.said(1 - rank)


def test_lightning_too_ends_all_with_a_reason(odd: Path, tmp_path: Path) -> None:
    """The same where it started the other process itself, and that one has bad data."""
    arguments = ["--data-dir", str(odd.parent), "--log-dir", str(tmp_path), "--name", "run"]
    script = tmp_path / "script.py"
    script.write_text(ONE_WITHOUT_DATA)
    command = [*(sys.executable, str(script)), *QUICK, *DEVICES, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
    assert done.returncode != 0
    first, reason, consequence = done.stderr.splitlines()
    assert first.startswith("Run ")
    assert reason.startswith("error on process 1: There is no data directory")
    assert re.match(r"error: .*Child process .* terminated with code 2", consequence)


ONE_WITHOUT_DATA = """
import os, sys
from vehicle_lightning.cli import run_command
from vehicle_lightning.fit.__main__ import main
if os.environ.get("LOCAL_RANK") == "1":
    sys.argv[sys.argv.index("--data-dir") + 1] = "nowhere"
run_command(main)
"""


def test_waiting_for_another_machine_is_said_and_can_be_ended(odd: Path, tmp_path: Path) -> None:
    lone = Together(tmp_path, odd, "--num-nodes", "2", "--devices", "1", ranks=1)
    until = time.monotonic() + LONG
    while "Waiting for 2 processes on 2 machines" not in lone.said(0):
        assert lone.processes[0].is_alive()
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(1)  # it waits by now
    lone.processes[0].terminate()
    lone.processes[0].join(10)
    assert lone.end() == [-signal.SIGTERM]


def test_folds_and_a_wrong_number_of_processes_are_refused(
    odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    flags = [*QUICK, "--data-dir", str(odd.parent), "--log-dir", str(tmp_path)]
    with pytest.raises(SettingsError, match="in one process on one device"):
        main([*flags, "--folds", "2"])
    with pytest.raises(SettingsError, match=r"2 processes were started, .* is 1"):
        main(flags)
    assert not list(tmp_path.iterdir())
