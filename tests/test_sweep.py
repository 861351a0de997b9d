"""The search through its command line: trials, interruptions, pruning, several workers."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from tests.conftest import SIZE
from tests.test_resume import assert_equal_runs, interrupt_in_epoch
from vehicle_lightning.cli import INTERRUPTED, seconds
from vehicle_lightning.compare.ranking import compare
from vehicle_lightning.config import Settings
from vehicle_lightning.errors import DataError, InputError
from vehicle_lightning.fit.__main__ import main as fit_main
from vehicle_lightning.fit.train import train
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.settings_file import read_settings
from vehicle_lightning.sweep import study as study_module
from vehicle_lightning.sweep.__main__ import main, parse_sweep
from vehicle_lightning.sweep.study import Study, find_database
from vehicle_lightning.sweep.trials import TrialPruning

SPACE = f"""\
image_size: {SIZE}
batch_size: 16
epochs: 2
accelerator: cpu
dropout: {{low: 0, high: 0.6}}
learning_rate: {{low: 1.0e-4, high: 1.0e-2, log: true}}
channels: {{values: [[4], [4, 8]]}}
augment: {{values: [false, true]}}
rotation: {{low: 0, high: 30, when: {{augment: true}}}}
"""


class Place:
    """A folder with a space, from where searches are started."""

    def __init__(self, folder: Path, drawn: Path) -> None:
        self.logs = folder / "logs"
        self.study = self.logs / "small"
        self._flags = ["--space", str(folder / "small.yaml"), "--data-dir", str(drawn)]
        (folder / "small.yaml").write_text(SPACE)

    def flags(self, *more: str) -> list[str]:
        return [*self._flags, "--log-dir", str(self.logs), *more]

    def run(self, number: int) -> RunFolder:
        return RunFolder(self.study / str(number))

    def status(self, number: int) -> str:
        return str(json.loads(self.run(number).summary.read_text())["status"])

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        database = optuna.storages.RDBStorage(f"sqlite:///{self.study / 'study.db'}")
        try:
            trials = optuna.load_study(study_name="small", storage=database).get_trials()
            # One that was retried has failed.
            return [trial for trial in trials if trial.state.name != "FAIL"]
        finally:
            database.engine.dispose()


@pytest.fixture
def place(tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place to search at; the pictures, which take half of the time of such runs, stay blank."""
    blank = Image.new("RGB", (8, 8))
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: blank.save(file, format="png"))
    return Place(tmp_path, drawn)


@pytest.fixture(scope="module")
def searched(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, str]:
    """A finished search of four trials, and what it printed, for the tests that only read."""
    place = Place(tmp_path_factory.mktemp("search"), drawn)
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: printed.extend(map(str, words)))
        assert main(place.flags("--trials", "4")) == 0
    return place, "\n".join(printed)


def test_each_trial_is_an_ordinary_run(searched: tuple[Place, str]) -> None:
    place, _ = searched
    trials = place.trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
    for trial in trials:
        run = place.run(trial.number)
        summary = json.loads(run.summary.read_text())
        assert trial.value == pytest.approx(summary["val"]["loss"])
        assert trial.user_attrs["val"] == summary["val"]
        settings = read_settings(run.config)
        assert settings.dropout == trial.params["dropout"]
        assert json.dumps(settings.channels) == trial.params["channels"]
        assert settings.augment is trial.params["augment"]
        assert trial.user_attrs["run"] == str(trial.number)
        assert ("rotation" in trial.params) == settings.augment
        assert list(trial.intermediate_values) == [1, 2]
        assert list(run.path.glob("events.out.tfevents.*"))
    rows = compare([place.study]).rows
    assert {row.record.name for row in rows} == {f"small/{number}" for number in range(4)}


def test_the_report(searched: tuple[Place, str], capsys: pytest.CaptureFixture[str]) -> None:
    place, printed = searched
    best = min(place.trials(), key=lambda trial: trial.value or 0)
    assert printed.startswith("4 of 4 trials finished.")
    row = re.search(r"^trial .*\n(.*)$", printed, re.M)
    assert row is not None
    assert row[1].startswith(f"{best.number} ")
    assert re.search(r"\[\d+\.\d, \d+\.\d\]  8 ", row[1])  # the interval, and n
    assert "The best of 4 trials is chosen on these 8 validation images" in printed
    for name in ("importance", "slice"):
        with Image.open(place.study / f"{name}.png") as picture:
            assert picture.width > 600

    file = place.study / "best.yaml"
    expected = read_settings(place.run(best.number).config)
    own = {"log_dir": Path("logs"), "devices": "auto", "accelerator": "auto"}
    assert read_settings(file) == expected.model_copy(update=own)
    assert fit_main(["--config", str(file), "--print-config"]) == 0
    again = re.search(r"vehicle_lightning\.fit (--config .*)$", printed, re.M)
    assert again is not None
    assert fit_main([*again[1].split(), "--print-config"]) == 0
    assert "split_seed: 1" in capsys.readouterr().out


def test_a_finished_search_trains_nothing_more(
    searched: tuple[Place, str], capsys: pytest.CaptureFixture[str]
) -> None:
    place, _ = searched
    before = place.run(3).summary.stat().st_mtime_ns
    assert main(place.flags("--trials", "3")) == 0
    assert "4 of 3 trials finished." in capsys.readouterr().out
    assert (len(place.trials()), place.run(3).summary.stat().st_mtime_ns) == (4, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("high: 0.6", "high: 0.5"), "searches dropout among"),
        (lambda text: text + "flip: {low: 0, high: 1}\n", "searches flip among nothing"),
        (lambda text: text.replace("epochs: 2", "epochs: 4"), "was begun with epochs 2, and not 4"),
    ],
)
def test_another_space_or_other_settings_are_refused(
    searched: tuple[Place, str], tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    place, _ = searched
    (tmp_path / "small.yaml").write_text(change(SPACE))
    with pytest.raises(InputError, match=f"{message}.*another name by --study"):
        main(place.flags("--space", str(tmp_path / "small.yaml")))


def test_other_data_are_refused(searched: tuple[Place, str], drawn: Path, tmp_path: Path) -> None:
    place, _ = searched
    shutil.copytree(drawn, tmp_path / "data")
    lines = (tmp_path / "data" / "train.csv").read_text().splitlines()
    (tmp_path / "data" / "train.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(InputError, match="begun on data with other names"):
        main(place.flags("--data-dir", str(tmp_path / "data")))


def test_interrupted_and_continued_is_the_same_search(
    searched: tuple[Place, str],
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        interrupt_in_epoch(2, patch)
        assert main(place.flags("--trials", "2")) == INTERRUPTED
    assert "0 of 2 trials finished, 1 more begun. The same command goes on." in (
        capsys.readouterr().out
    )
    assert place.status(0) == "interrupted"
    assert main(place.flags("--trials", "2")) == 0
    assert "Trial 0 was left unfinished; going on in" in capsys.readouterr().err
    uninterrupted, _ = searched
    trials = place.trials()
    assert [trial.user_attrs["run"] for trial in trials] == ["0", "1"]
    for number, (trial, other) in enumerate(zip(trials, uninterrupted.trials(), strict=False)):
        assert (trial.params, trial.value) == (other.params, other.value)
        assert trial.intermediate_values == other.intermediate_values
        assert_equal_runs(place.run(number), uninterrupted.run(number))


def test_a_trial_whose_run_is_on_another_disk_starts_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("vehicle_lightning.sweep.trials.train", stopped)
        assert main(place.flags("--trials", "1")) == INTERRUPTED
    assert main(place.flags("--trials", "1", "--epochs", "2")) == 0
    assert "left by another worker; as its run is not here" in capsys.readouterr().err
    assert place.status(0) == "finished"


def test_a_run_in_use_is_left_for_later(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study_module, "DEAD_AFTER", 1)
    place.run(0).path.mkdir(parents=True)
    with place.run(0).lock():  # as a worker has that was suspended
        assert main(place.flags("--trials", "1", "--timeout", "4")) == 0
    said = capsys.readouterr().err
    assert said.count("The run of trial 0 is still in use by another process.") >= 2
    assert not place.run(0).config.exists()


def stopped(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_the_time_is_up(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(place.flags("--timeout", "0.001")) == 0
    assert "0 of 50 trials finished. The same command goes on. There is no best" in (
        capsys.readouterr().out
    )


def test_a_pruned_trial_says_so_and_can_be_finished(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(TrialPruning, "prunes_after_epoch", lambda *_: True)
        assert main(place.flags("--trials", "1")) == 0
    printed = capsys.readouterr()
    assert "1 of 1 trials finished, 1 of them pruned." in printed.out
    assert "pruned after 1 epoch;" in printed.err
    assert [trial.state.name for trial in place.trials()] == ["PRUNED"]
    assert place.status(0) == "pruned"
    assert list(pd.read_csv(place.run(0).metrics)["epoch"]) == [1]
    (row,) = compare([place.study]).rows
    assert not row.record.is_finished
    assert fit_main(["--resume", str(place.run(0).path)]) == 0
    assert place.status(0) == "finished"
    assert list(pd.read_csv(place.run(0).metrics)["epoch"]) == [1, 2]


def test_interrupted_while_a_pruned_trial_is_measured(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrialPruning, "prunes_after_epoch", lambda *_: True)
    with monkeypatch.context() as patch:
        patch.setattr("vehicle_lightning.fit.train.write_report", stopped)
        assert main(place.flags("--trials", "1")) == INTERRUPTED
    assert main(place.flags("--trials", "1")) == 0
    assert place.status(0) == "pruned"
    assert list(pd.read_csv(place.run(0).metrics)["epoch"]) == [1]


def test_with_folds_the_pooled_loss_counts_and_a_trial_that_cannot_win_ends(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = place.flags("--folds", "2", "--epochs", "1")
    assert main([*flags, "--trials", "1"]) == 0
    monkeypatch.setattr("vehicle_lightning.sweep.trials.cannot_win", lambda *_: True)
    assert main([*flags, "--trials", "2"]) == 0
    whole, pruned = place.trials()
    summaries = [json.loads(place.run(number).summary.read_text()) for number in (0, 1)]
    assert (whole.state.name, whole.value) == ("COMPLETE", summaries[0]["val"]["loss"])
    assert summaries[0]["val"]["n"] == 80
    assert pruned.state.name == "PRUNED"
    assert [summaries[1][k] for k in ("status", "finished", "fold_runs")] == ["pruned", 1, 2]
    val = summaries[1]["val"]
    assert pruned.user_attrs["fold_runs"] == [[val["loss"], val["n"]]]
    assert [part.path.name for part in place.run(1).fold_runs] == ["seed0-fold0"]


def test_a_trial_that_does_not_fit_into_memory_is_one_of_the_trials(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def too_large(settings: Settings, run: RunFolder, **parts: Any) -> Any:
        if run.path.name == "0":
            raise torch.OutOfMemoryError
        return train(settings, run, **parts)

    monkeypatch.setattr("vehicle_lightning.sweep.trials.train", too_large)
    assert main(place.flags("--trials", "2", "--epochs", "1")) == 0
    printed = capsys.readouterr()
    assert "2 of 2 trials finished, 1 could not be trained." in printed.out
    assert "Trial 0 cannot be trained: it needs more memory than" in printed.err


def test_a_foreign_run_in_the_place_of_a_trial_is_left_alone(place: Place) -> None:
    place.run(0).path.mkdir(parents=True)
    place.run(0).config.write_text(Settings(dropout=0.9).to_yaml())
    with pytest.raises(InputError, match=r"cannot change when .* choose another --study"):
        main(place.flags("--trials", "1"))
    assert [trial.state.name for trial in place.trials()] == ["WAITING"]  # for when it is gone


def test_without_optuna_one_sentence(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vehicle_lightning.sweep.__main__.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r'pip install -e "\.\[sweep\]"'):
        main(place.flags())


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("nonsense", "names no database"),
        ("oracle9://x", "names no database"),
        ("postgresql://me:secret@127.0.0.1:1/x", r"me:\*\*\*@127.* cannot be used: .*refused"),
        ("sqlite:////nowhere/study.db", "cannot be used: unable to open database file"),
        ("mysql+nodriver://me@host/x", "names no database"),
    ],
)
def test_a_database_that_cannot_be_had(tmp_path: Path, storage: str, message: str) -> None:
    with (
        pytest.raises(InputError, match=message) as caught,
        Study.open("study", find_database(storage, tmp_path), tmp_path, 0),
    ):
        pass
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_driver_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"needs psycopg: pip install 'psycopg\[binary\]'"):
        find_database("postgresql://me@127.0.0.1:1/x", tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--dropout", "0.3"), "--dropout fixes what .*small.yaml searches"),
        (("--no-augment",), "--no-augment fixes what"),
        (("--space", "nowhere.yaml"), "Space nowhere.yaml: No such file"),
        (("--space", "switch"), "Space switch: No such file"),
        (("--timeout", "soon"), "timeout: a time has the form"),
        (("--timeout", "2h30"), "timeout: a time has the form"),
        (("--trials", "0"), "trials"),
        (("--study", "a/b"), "one folder's name"),
        (("--name", "x"), "name the search by --study"),
        (("--devices", "2"), "on one device"),
        (("--image-size", "1"), "image_size"),
        (("--data-dir", "nowhere"), r"no data directory .*nowhere"),
    ],
)
def test_mistakes_are_one_sentence(place: Place, flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        main(place.flags(*flags))
    assert "\n" not in str(caught.value)
    assert not place.logs.exists()


def test_bad_data_leave_no_study(place: Place, tmp_path: Path) -> None:
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "train.csv").write_text("image_names,emergency_or_not\na.png,0\nb.png,1\n")
    with pytest.raises(DataError, match=r"a\.png"):
        main(place.flags("--data-dir", str(tmp_path / "data")))
    assert not place.logs.exists()


def test_a_settings_file_goes_above_what_the_space_fixes(place: Place, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("epochs: 7\nbatchnorm: true\nlearning_rate: 0.5\n")
    _, space, base = parse_sweep(
        place.flags("--config", str(tmp_path / "base.yaml"), "--seed", "4")
    )
    assert (base.epochs, base.batchnorm, base.seed) == (7, True, 4)
    assert base.image_size == SIZE  # which only the space says
    assert space.file.stem == "small"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("30s", 30), ("30m", 1800), ("2h", 7200), ("1.5h", 5400), ("1h30m", 5400)],
)
def test_times(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0h", "-5", "2w", "h", "30m1h", "inf", "1e3"])
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="30m, 2h or 2h30m"):
        seconds(text)


def start(flags: list[str]) -> "subprocess.Popen[str]":
    code = (
        "import sys; from vehicle_lightning.sweep import __main__, study; study.HEARTBEAT = 1;"
        "__main__.run_command(__main__.main)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )


def runs_of(process: int, study: Path) -> list[RunFolder]:
    """Return the runs that a process has begun; its number stands in the names of their events."""
    return [RunFolder(path.parent) for path in study.glob(f"*/events.out.tfevents.*.{process}.*")]


def wait_for_training(worker: "subprocess.Popen[str]", study: Path) -> RunFolder:
    """Return a run of the worker, as soon as one has an epoch behind it and is not at its end."""
    while worker.poll() is None:
        for run in runs_of(worker.pid, study):
            if run.last_checkpoint.is_file() and not run.summary.is_file():
                return run
        time.sleep(0.01)
    raise AssertionError(worker.communicate())


def test_two_workers_one_killed(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study_module, "DEAD_AFTER", 5)
    flags = place.flags("--trials", "3", "--epochs", "8")
    worker = start(flags)

    def kill() -> RunFolder:
        """Kill the worker in a training, once this process has begun one of its own."""
        while not runs_of(os.getpid(), place.study):
            assert worker.poll() is None
            time.sleep(0.01)
        run = wait_for_training(worker, place.study)
        worker.kill()
        worker.communicate()
        return run

    wait_for_training(worker, place.study)
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill)
        assert main(flags) == 0
    left = killed.result()
    printed = capsys.readouterr()
    assert "3 of 3 trials finished" in printed.out
    assert f"going on in {left.path}" in printed.err
    assert all(trial.state.is_finished() for trial in place.trials())
    assert sorted(trial.user_attrs["run"] for trial in place.trials()) == ["0", "1", "2"]
    assert [place.status(number) for number in range(3)] == ["finished"] * 3
    assert list(pd.read_csv(left.metrics)["epoch"]) == list(range(1, 9))
    assert "resumed" in json.loads(left.environment.read_text())
