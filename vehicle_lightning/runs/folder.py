"""The run folder: one place for everything a run writes."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vehicle_lightning.errors import RunError
from vehicle_lightning.files import remove_half_written


class _Inside:
    """A path inside each run folder."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run: "RunFolder", _: type) -> Path:
        return run.path / self._name


@dataclass(frozen=True)
class RunFolder:
    """`<log dir>/<name>/<n>/`, where `n` counts the runs of one name from 0.

    A run over several folds or seeds holds one more run folder for each of its trainings.
    """

    path: Path

    config = _Inside("config.yaml")  # all settings; can be fed back with `--config`
    environment = _Inside("environment.json")  # command, versions, git commit, hardware and data
    findings = _Inside("findings.json")  # what is serious about the data
    metrics = _Inside("metrics.csv")  # one row an epoch
    predictions = _Inside("predictions_val.csv")  # one row a validation image, worst first
    test_predictions = _Inside("predictions_test.csv")  # likewise; missing without test images
    summary = _Inside("summary.json")  # the final figures and the verdict
    calibration = _Inside("calibration.json")  # temperature and threshold
    checkpoints = _Inside("checkpoints")  # folder of the two below
    best_checkpoint = _Inside("checkpoints/best.ckpt")  # with the lowest validation loss
    last_checkpoint = _Inside("checkpoints/last.ckpt")  # the state after the last whole epoch

    @classmethod
    def create(cls, log_dir: Path, name: str) -> "RunFolder":
        """Make the next free folder; safe where several runs start at once.

        Raises:
            RunError: the folder cannot be made.
        """
        parent = log_dir / name
        try:
            parent.mkdir(parents=True, exist_ok=True)
            number = max((int(p.name) for p in parent.iterdir() if p.name.isdecimal()), default=-1)
            while True:
                number += 1
                try:
                    (parent / str(number)).mkdir()
                except FileExistsError:
                    continue
                return cls(parent / str(number))
        except OSError as error:
            raise RunError(
                f"Cannot make a run folder in {parent}: {error.strerror}; choose another --log-dir."
            ) from error

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Find an existing run folder.

        Raises:
            RunError: there is none at this path.
        """
        run = cls(path)
        if not run.config.is_file():
            raise RunError(
                f"{path} is no run folder (it has no {run.config.name}); "
                f"give one such as logs/default/0."
            )
        return run

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from training in this folder meanwhile.

        Raises:
            RunError: another process does.
        """
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{self.path} is in use by another process; let it finish.") from None
        try:
            for folder in (self.path, self.checkpoints):
                remove_half_written(folder)
            yield
        finally:
            with suppress(OSError):  # Windows keeps an open file
                Path(lock.lock_file).unlink()
            lock.release()

    @property
    def quoted(self) -> str:
        """The path, to be pasted into a shell."""
        return shlex.quote(str(self.path))

    @property
    def label(self) -> str:
        """`<name>/<n>`, or `<name>/<n>/<training>`, as TensorBoard shows the run."""
        path = self.path.absolute()
        above = RunFolder(path.parent).label if self.is_fold_run else path.parent.name
        return f"{above}/{path.name}"

    @property
    def is_fold_run(self) -> bool:
        """Whether this is one training of a run over several folds or seeds."""
        return RunFolder(self.path.absolute().parent).config.is_file()

    def fold_run(self, name: str) -> "RunFolder":
        """Return where one training of a run over several folds or seeds belongs."""
        return RunFolder(self.path / name)

    @property
    def fold_runs(self) -> list["RunFolder"]:
        """Those of the trainings inside a run over several folds or seeds."""
        return [RunFolder(path.parent) for path in sorted(self.path.glob("*/config.yaml"))]

    def read_environment(self) -> dict[str, Any] | None:
        """Return command, versions, hardware and data; None where the file is damaged."""
        try:
            content = json.loads(self.environment.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def data_facts(self) -> dict[str, Any]:
        """Return what is written down about the data.

        Raises:
            RunError: the file is missing or damaged.
        """
        facts = (self.read_environment() or {}).get("data")
        if not isinstance(facts, dict):
            raise RunError(f"{self.environment} is missing or damaged; start a new run instead.")
        return facts

    def picture(self, name: str) -> Path:
        """Return where the picture of this name belongs."""
        return self.path / f"{name}.png"


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint that a path means: a file itself, a run folder its best one.

    Raises:
        RunError: there is none.
    """
    if path.is_file():
        return path
    if not path.exists():
        raise RunError(f"There is no run folder or checkpoint {path}.")
    run = RunFolder.open(path)
    if parts := run.fold_runs:
        raise RunError(
            f"{path} is a run over several folds or seeds, with one network for each; "
            f"name one of its trainings, such as {parts[0].path}."
        )
    if not run.best_checkpoint.is_file():
        raise RunError(f"{path} has no {run.best_checkpoint.name}; finish the run.")
    return run.best_checkpoint


def name_of_run(checkpoint: Path) -> str:
    """Return the label of the run that a checkpoint belongs to; outside one, its own name."""
    folder = checkpoint.absolute().parent
    run = RunFolder(folder.parent)
    return run.label if run.checkpoints == folder and run.config.is_file() else checkpoint.name
