from pathlib import Path

import lightning as L
import pytest

from vehicle_lightning.fit.devices import announce_meeting, lost_process
from vehicle_lightning.runs.folder import RunFolder


def trainer(nodes: int) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu", devices=1, num_nodes=nodes, strategy="ddp", logger=False, barebones=True
    )


@pytest.fixture
def two_machines(monkeypatch: pytest.MonkeyPatch) -> L.Trainer:
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.7")
    monkeypatch.setenv("MASTER_PORT", "2345")
    return trainer(2)


def test_what_is_waited_for_is_named(two_machines: L.Trainer) -> None:
    sentence = announce_meeting(two_machines)
    assert sentence is not None
    assert sentence.startswith("Waiting for 2 processes on 2 machines to meet at 10.0.0.7:2345.")
    assert "NODE_RANK=1" in sentence
    assert announce_meeting(trainer(1)) is None


def test_a_lost_connection_is_told_from_a_mistake(two_machines: L.Trainer) -> None:
    run = RunFolder(Path("logs/run/0"))
    lost = lost_process(RuntimeError("[gloo/transport] Connection reset"), two_machines, run)
    assert str(lost) == (
        "The training of 2 processes has ended, as another process ended or cannot be reached. "
        "To go on from the last whole epoch: --resume logs/run/0"
    )
    assert lost_process(RuntimeError("a bug"), two_machines, run) is None
    assert lost_process(RuntimeError("gloo"), trainer(1), run) is None
