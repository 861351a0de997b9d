"""The moves: what each makes of settings, and what a verdict's flags become."""

from pathlib import Path

import pytest

from vehicle_lightning.config import Settings
from vehicle_lightning.improve import moves
from vehicle_lightning.improve.moves import MOVES, Candidate, in_words, listed, proposed
from vehicle_lightning.settings_file import read_settings

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))
STARTS = [Settings(), Settings(image_size=16), *map(read_settings, EXPERIMENTS)]


@pytest.fixture(autouse=True)
def _weights_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "weights_are_at_hand", lambda _: True)


def by_move(settings: Settings) -> dict[str, Candidate]:
    return {one.move: one for one in listed(settings)}


@pytest.mark.parametrize("start", STARTS, ids=["defaults", "small", *(e.stem for e in EXPERIMENTS)])
def test_a_move_changes_what_it_says_and_nothing_else(start: Settings) -> None:
    found = list(listed(start))
    assert len(found) >= 5
    for one in found:
        changed = {name for name, value in one.settings if value != getattr(start, name)}
        assert changed
        assert changed <= one.change.keys()
        assert one.cost >= 1


def test_every_move_applies_somewhere() -> None:
    assert {one.move for start in STARTS for one in listed(start)} == {move.name for move in MOVES}


def test_the_list_leads_from_the_articles_network_to_what_is_known_to_be_good() -> None:
    settings = Settings(image_size=64, learning_rate=1e-4)
    for move in (
        "a higher learning rate",
        "batch normalisation",
        "a deeper network",
        "a deeper network",
        "global average pooling",
        "dropout",
        "more epochs",
        "more epochs",
    ):
        settings = by_move(settings)[move].settings
    wanted = read_settings(Path("little_data"))
    assert settings == wanted.model_copy(update={"image_size": 64})


@pytest.mark.parametrize(
    ("start", "move"),
    [
        (Settings(image_size=8, channels=(4, 8, 8)), "a deeper network"),
        (Settings(channels=(512,)), "a wider network"),
        (Settings(), "global average pooling"),  # of 32 channels
        (Settings(), "stronger augmentation"),  # of none
        (Settings(learning_rate=0.003), "a higher learning rate"),
        (Settings(batchnorm=True), "batch normalisation"),
        (Settings(batchnorm=True), "the usual remedies together"),
        (Settings(channels=(8, 16, 32, 64)), "the usual remedies together"),
        (Settings(channels=(64, 256)), "the usual remedies together"),
        (Settings(pooling="max"), "the usual remedies together"),
        (Settings(residual=True), "the usual remedies together"),
        (Settings(optimizer="sgd"), "the usual remedies together"),
        (Settings(backbone="resnet18"), "the usual remedies together"),
        (Settings(backbone="resnet18"), "residual blocks"),
        (Settings(image_size=16), "a pretrained backbone"),
    ],
)
def test_moves_that_do_not_apply(start: Settings, move: str) -> None:
    assert move not in by_move(start)


def test_the_usual_remedies_are_what_changes_and_no_larger_batches() -> None:
    remedies = by_move(Settings(batch_size=16, schedule="cosine"))["the usual remedies together"]
    assert set(remedies.change) == {"batchnorm", "channels", "pooling", "learning_rate"}


def test_without_weights_at_hand_there_is_no_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "a pretrained backbone" in by_move(Settings())
    monkeypatch.setattr(moves, "weights_are_at_hand", lambda _: False)
    assert "a pretrained backbone" not in by_move(Settings())


def test_augmentation_gets_stronger_up_to_a_limit_and_gentler() -> None:
    start = Settings(augment=True)
    stronger = by_move(start)["stronger augmentation"].settings
    assert (stronger.rotation, stronger.scale, stronger.erasing) == (20, 0.3, 0.5)
    strongest = by_move(stronger)["stronger augmentation"].settings
    assert (strongest.rotation, strongest.scale, strongest.brightness) == (40, 0.5, 0.6)
    assert by_move(start)["gentler augmentation"].settings.rotation == 5


@pytest.mark.parametrize(
    ("flag", "move", "change"),
    [
        ("--epochs 20", "more epochs", {"epochs": 20}),
        ("--batchnorm", "batch normalisation", {"batchnorm": True}),
        ("--learning-rate 0.003", "a higher learning rate", {"learning_rate": 0.003}),
        ("--learning-rate 3e-05", "a lower learning rate", {"learning_rate": 3e-5}),
        ("--channels 16 32 64", "a deeper network", {"channels": (16, 32, 64)}),
        ("--channels 32 64", "a wider network", {"channels": (32, 64)}),
        ("--hidden 128", "a dense layer", {"hidden": (128,)}),
        ("--dropout 0.5", "dropout", {"dropout": 0.5}),
        ("--augment", "augmentation", {"augment": True, "epochs": 20}),
        ("--weight-decay 0.001", "weight decay", {"weight_decay": 0.001}),
    ],
)
def test_a_proposal_goes_by_the_name_of_the_move(
    flag: str, move: str, change: dict[str, object]
) -> None:
    found = proposed(flag, Settings())
    assert found is not None
    assert (found.move, found.change) == (move, change)
    assert found.settings == Settings(**change)


def test_a_proposal_that_no_move_makes() -> None:
    found = proposed("--patience 20", Settings(patience=10))
    assert found is not None
    assert (found.move, found.settings) == ("patience 20", Settings(patience=20))
    assert proposed("--channels 8 8 8 8 8 8", Settings(image_size=32)) is None


def test_costs() -> None:
    found = by_move(Settings(image_size=64))
    assert found["more epochs"].cost == 2
    assert found["larger images"].cost == 2.25
    assert found["residual blocks"].cost == 2.5


def test_words() -> None:
    change = {"channels": (16, 32), "augment": False, "batchnorm": True, "learning_rate": 0.0001}
    assert in_words(change) == "channels 16 32, no augment, batchnorm, learning rate 0.0001"
