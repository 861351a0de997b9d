"""What a run ran on: enough to repeat it, and to tell which runs may be compared."""

import json
import os
import platform
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vehicle_lightning.config import SourceSettings
from vehicle_lightning.data.cache import cache_folder
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.data.findings import read_report
from vehicle_lightning.data.serious import in_one_line, serious_findings
from vehicle_lightning.errors import RunError
from vehicle_lightning.files import write_text

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


def write_environment(path: Path, data: VehicleDataModule) -> None:
    """Write command, versions, git commit, hardware and data as JSON.

    Where a run is resumed, its first start stays, and this one is added under `resumed`.
    """
    environment = _read(path)
    if environment is None:
        environment = _this_start() | {
            "data": {
                "fingerprint": data.fingerprint,
                "images": len(data.table),
                "train": len(data.rows["train"]),
                "val": len(data.rows["val"]),
                "exact_duplicates": data.exact_duplicates,
                "near_duplicates": data.near_duplicates,
                "class_names": list(data.table.class_names),
            },
        }
    else:
        environment.setdefault("resumed", []).append(_this_start())
    write_text(path, json.dumps(environment, indent=2, ensure_ascii=False) + "\n")


def write_findings(path: Path, settings: SourceSettings, data: VehicleDataModule) -> str:
    """Write what is serious about the data as JSON, and return it in one line, or nothing.

    It is looked for once and then remembered for all runs on the same data.
    """
    remembered = cache_folder(settings) / f"{data.fingerprint}-findings{FINDINGS_VERSION}.json"
    try:
        report = read_report(remembered.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not known yet, or damaged
        report = serious_findings(data.table, data.duplicates.of_image, data.contrast)
        with suppress(OSError):  # then the next run looks again
            write_text(remembered, report.to_json())
    report = replace(report, csv=data.table.source)
    write_text(path, report.to_json())
    return in_one_line(report)


def read_data_facts(path: Path) -> dict[str, Any]:
    """Return what `write_environment` wrote about the data.

    Raises:
        RunError: the file is missing or damaged.
    """
    facts = (_read(path) or {}).get("data")
    if not isinstance(facts, dict):
        raise RunError(f"{path} is missing or damaged; start a new run instead.")
    return facts


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _this_start() -> dict[str, Any]:
    return {
        "command": [Path(sys.executable).name, *sys.orig_argv[1:]],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
        "git": _git_state(),
        "hardware": _hardware(),
    }


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


def _hardware() -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }
