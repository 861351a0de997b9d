"""Under SLURM: the batch script submits itself again, and Lightning keeps its hands off."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Fit
from tests.test_resume import assert_equal_runs, interrupt_in_epoch, quick
from vehicle_lightning.cli import INTERRUPTED
from vehicle_lightning.fit.__main__ import main
from vehicle_lightning.runs.folder import RunFolder

SCRIPT = Path(__file__).parents[1] / "experiments" / "slurm.sh"
ONE_TASK = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NAME": "vehicles",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_NNODES": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}
# The first time it makes a run and is stopped; then it ends well.
SRUN = """#!/bin/bash
echo "$@" >> srun.txt
if [ -f logs/slurm-4711/1/config.yaml ]; then exit 0; fi
mkdir -p logs/slurm-4711/0 logs/slurm-4711/1
touch logs/slurm-4711/1/config.yaml
exit 130
"""

SCONTROL = """#!/bin/bash
echo "$@" >> scontrol.txt
"""


def test_a_stopped_job_is_requeued_and_resumes(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    for name, content in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    environment = os.environ | ONE_TASK | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", str(SCRIPT), "--dropout", "0.5", "--name", "mine"]
    codes = [
        subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode
        for _ in range(2)
    ]
    assert codes == [INTERRUPTED, 0]
    started = (tmp_path / "srun.txt").read_text().splitlines()
    assert (
        "fit --dropout 0.5 --name mine --name slurm-4711 --log-dir logs --accelerator gpu"
        in started[0]
    )
    assert "fit --resume logs/slurm-4711/1 --accelerator gpu" in started[1]
    assert (tmp_path / "scontrol.txt").read_text() == "requeue 4711\n"


def test_a_job_is_stopped_and_resumed_like_any_run(
    fit_quickly: Fit, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning would save into the working directory, and start later runs from there."""
    uninterrupted = fit_quickly("--epochs", "3")
    for name, value in ONE_TASK.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hpc_ckpt_1.ckpt").write_text("of another run")
    run = RunFolder(tmp_path / "other" / "run" / "0")
    with monkeypatch.context() as patch:
        interrupt_in_epoch(2, patch, signal.SIGTERM)
        assert main(quick(drawn, tmp_path / "other", "--epochs", "3")) == INTERRUPTED
    assert pd.read_csv(run.metrics)["epoch"].tolist() == [1]
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert main(["--resume", str(run.path)]) == 0
    assert_equal_runs(uninterrupted, run)
    assert [path.name for path in tmp_path.glob("hpc*")] == ["hpc_ckpt_1.ckpt"]
