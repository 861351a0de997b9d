"""How a run begins: its folder, and in it what it runs on, enough to repeat it."""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger

from vehicle_lightning.config import Settings, SourceSettings
from vehicle_lightning.console import is_first_process
from vehicle_lightning.data.cache import cache_folder
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.data.findings import read_report
from vehicle_lightning.data.leaks import in_one_line, serious_findings
from vehicle_lightning.errors import RunError, join_first
from vehicle_lightning.files import write_text
from vehicle_lightning.fit.other_data import Data
from vehicle_lightning.runs.folder import RunFolder

NAMES = {"train": "training", "val": "validation", "test": "test"}
FINDINGS_VERSION = 2  # raise it whenever the same data would have other serious findings
PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "numpy",
    "pillow",
    "pandas",
    "scikit-learn",
)


@contextmanager
def run_folder(settings: Settings, run: RunFolder | None) -> Iterator[RunFolder]:
    """Give the folder to train in, a new one where None is given, and keep other processes out.

    Of several processes that train together only the first one makes and fills it. What was made in
    vain, as the data turned out to be wrong, is removed.
    """
    if not is_first_process():
        yield run or RunFolder(settings.log_dir / settings.run_name / "unused")
        return
    was_there = settings.log_dir.exists()
    run = run or RunFolder.create(settings.log_dir, settings.run_name)
    try:
        with run.lock():
            yield run
    finally:
        with suppress(OSError):  # what is not empty stays
            for folder in (run.path, run.path.parent, *([] if was_there else [settings.log_dir])):
                folder.rmdir()


def check_same_class(run: RunFolder, classifier: type) -> None:
    """Check that a run that goes on is trained by the Lightning module that it began with.

    Raises:
        RunError: it is not.
    """
    name = (run.read_environment() or {}).get("classifier", classifier.__name__)
    if name != classifier.__name__:
        raise RunError(
            f"{run.path} was trained by {name}, not {classifier.__name__}; go on from Python by "
            f"train(settings, run, classifier={name})."
        )


def write_start(
    run: RunFolder,
    settings: Settings,
    data: Data,
    loggers: Sequence[Logger],
    classifier: type,
    epochs: int,
) -> list[str]:
    """Write down with what a run begins, or goes on after so many epochs; return what to say of it.

    Of a fold run the run that it is part of says it all.
    """
    run.summary.unlink(missing_ok=True)  # from here on it is not finished
    run.calibration.unlink(missing_ok=True)  # which was of other weights
    write_environment(run, data, classifier, epochs)
    write_text(run.config, settings.to_yaml())  # the last: it makes the run one to resume
    for logger in loggers:
        logger.log_hyperparams(settings.model_dump(mode="json"))
    if run.is_fold_run:
        return []
    said = [f"Run {run.path}: {_first_line(data, epochs)}"]
    if isinstance(data, VehicleDataModule) and (serious := write_findings(run, settings, data)):
        said.append(serious)
    return said


def write_environment(run: RunFolder, data: Data, classifier: type, epochs: int) -> None:
    """Write command, versions, git commit, hardware, data and what trains as JSON.

    Where a run is resumed after some epochs, its first start stays, and this one is added under
    `resumed`.
    """
    start: dict[str, Any] = {
        "command": [Path(sys.executable).name, *sys.orig_argv[1:]],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
        "git": _git_state(),
        "hardware": {
            "platform": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        },
    }
    environment = run.read_environment()
    if environment is None:
        environment = {**start, "classifier": classifier.__name__}
    else:
        environment.setdefault("resumed", []).append(start)
    if epochs == 0:  # one that begins anew may have other data
        environment["data"] = _facts_of(data)
    write_text(run.environment, json.dumps(environment, indent=2, ensure_ascii=False) + "\n")


def _facts_of(data: Data) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "fingerprint": data.fingerprint,
        "class_names": list(data.class_names),
    }
    if isinstance(data, VehicleDataModule):
        facts |= {split: len(rows) for split, rows in data.rows.items()}
        facts |= {
            "images": len(data.table),
            "folder": data.settings.data_dir and str(data.settings.data_dir.absolute()),
            "exact_duplicates": data.duplicates.exact,
            "near_duplicates": data.duplicates.near,
            "left_out": data.left_out,
        }
    return facts


def _first_line(data: Data, epochs: int) -> str:
    start = f"continuing after epoch {epochs}" if epochs else "starting"
    classes = f"classes {join_first(data.class_names, 20)}"
    if not isinstance(data, VehicleDataModule):
        return f"{start}; {classes}."
    exact, near = data.duplicates.exact, data.duplicates.near
    duplicates = f" ({exact} exact and {near} near duplicates)" if exact or near else ""
    counts = ", ".join(f"{len(rows)} {NAMES[split]}" for split, rows in data.rows.items())
    left_out = (
        f"; {data.left_out} are left out, as a duplicate of each is in another split"
        if data.left_out
        else ""
    )
    return f"{start}; {counts} images{duplicates}{left_out}, {classes}."


def write_findings(run: RunFolder, settings: Settings, data: VehicleDataModule) -> str:
    """Write what is serious about the data as JSON, and return it in one line, or nothing.

    It is looked for once and then remembered for all runs on the same data.
    """
    remembered = cache_folder(settings) / f"{data.fingerprint}-findings{FINDINGS_VERSION}.json"
    try:
        report = read_report(remembered.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not known yet, or damaged
        report = serious_findings(data.table, data.duplicates, data.contrast)
        with suppress(OSError):  # then the next run looks again
            write_text(remembered, report.to_json())
    report = replace(report, csv=data.table.source)
    write_text(run.findings, report.to_json())
    serious = in_one_line(report)
    if not serious or data.table.image_dir is None:  # a table of one's own, which no flags name
        return serious
    names = {*SourceSettings.model_fields, "test_csv"}
    own = settings.model_dump(include=names, exclude_defaults=True)
    flags = (f" --{name.replace('_', '-')} {shlex.quote(str(own[name]))}" for name in own)
    return f"{serious} See python -m vehicle_lightning.check{''.join(flags)}"


def check_same_data(
    run: RunFolder,
    fingerprint: str,
    fix: str = "start a new run instead",
    *,
    before: str | None = None,
) -> None:
    """Check that a run may be continued on data, or compared with another on them.

    Args:
        run: the run.
        fingerprint: of the data now.
        fix: what to do where they differ.
        before: fingerprint of the run's data; by default as it was written down at its start.

    Raises:
        RunError: it began with other data; the message ends in the `fix`.
    """
    if before is None:
        before = run.data_facts()["fingerprint"]
    if before == fingerprint:
        return
    if not before:
        raise RunError(
            f"The data of {run.path} were given from Python; go on with it there: train(settings, "
            f"run, data=...)."
        )
    raise RunError(
        f"The names, labels or images of the data have changed since {run.path} was started, so "
        f"its validation images may be training images now; {fix}."
    )


def _git_state() -> dict[str, Any] | None:
    """Return commit and cleanliness of the checkout the code runs from; None outside one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)  # fails if the repository is another one
        return {"commit": git("rev-parse", "HEAD"), "modified": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
