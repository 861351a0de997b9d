import lightning as L
import pytest

from vehicle_lightning.fit.devices import announce_meeting, lost_process


def trainer(nodes: int) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        devices=1,
        num_nodes=nodes,
        strategy="ddp",
        barebones=True,
        default_root_dir="logs/run/0",
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
    lost = lost_process(RuntimeError("[gloo/transport] Connection reset"), two_machines)
    assert str(lost) == (
        "The training of 2 processes has ended, as another process ended or cannot be reached. "
        "To go on from the last whole epoch: --resume logs/run/0"
    )
    assert lost_process(RuntimeError("a bug"), two_machines) is None
    assert lost_process(RuntimeError("gloo"), trainer(1)) is None
