"""The search space: what a file may say, and each mistake in it."""

import random
import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vehicle_lightning.config import Settings
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.sweep.space import (
    SHIPPED,
    UNSEARCHABLE,
    Choice,
    Domain,
    Space,
    read_space,
)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "space.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_kind_of_entry(tmp_path: Path) -> None:
    space = read_space(
        written(
            tmp_path,
            """
            rotation: {low: 0, high: 30, when: {augment: true, optimizer: [adam, sgd]}}
            learning_rate: {low: 1e-5, high: 1.0e-2, log: true}
            batch_size: {low: 16, high: 128, log: true}
            channels: {values: [[16, 32], [16]]}
            patience: {values: [null, 5]}
            augment: {values: [false, true]}
            optimizer: {values: [adam, adamw, sgd]}
            epochs: 20
            hidden: [8]
            """,
        )
    )
    conditions = {"augment": [True], "optimizer": ["adam", "sgd"]}
    assert space.fixed == {"epochs": 20, "hidden": [8]}
    assert {name: domain.model_dump(mode="json") for name, domain in space.domains.items()} == {
        "augment": {"values": [False, True], "when": {}},
        "optimizer": {"values": ["adam", "adamw", "sgd"], "when": {}},
        "rotation": {"low": 0.0, "high": 30.0, "log": False, "when": conditions},
        "learning_rate": {"low": 1e-5, "high": 1e-2, "log": True, "when": {}},
        "batch_size": {"low": 16, "high": 128, "log": True, "when": {}},
        "channels": {"values": [[16, 32], [16]], "when": {}},
        "patience": {"values": [None, 5], "when": {}},
    }
    names = list(space.domains)
    assert names.index("rotation") > max(names.index("augment"), names.index("optimizer"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("droput: {low: 0, high: 1}", "unknown key droput. Perhaps you meant dropout"),
        (
            "dropout: {low: 0, high: 1.5}",
            "dropout: `high` 1.5 cannot be a value of dropout: .* less than 1",
        ),
        ("dropout: {low: 0.6, high: 0.2}", "dropout: `low` 0.6 must be below `high` 0.2"),
        ("dropout: {low: 0.3, high: 0.3}", "`low` 0.3 must be below `high` 0.3"),
        ("dropout: {low: 0}", "dropout: `high` Field required"),
        ("dropout: {low: true, high: 1}", "`low` True is no number"),
        ("dropout: {low: .nan, high: 0.5}", "dropout: `low` nan cannot be a value"),
        ("dropout: {low: 0, high: 0.5, step: 1}", "dropout: `step` Extra inputs are not permitted"),
        ("dropout: {}", "dropout: `low` Field required"),
        ("weight_decay: {low: 0, high: 1, log: true}", "with `log`, `low` must be above 0, got 0"),
        ("weight_decay: {low: 0.1, high: 1, log: 2}", "`log` Input should be a valid boolean"),
        ("batch_size: {low: 1.5, high: 8}", "1.5 cannot be a value of batch_size"),
        ("batchnorm: {low: 0, high: 1}", "`low` batchnorm is no number, and needs `values`"),
        ("channels: {low: 8, high: 16}", "channels is no number"),
        ("optimizer: {values: [adam, adagrad]}", "'adagrad' cannot be a value of optimizer"),
        ("optimizer: {values: [adam]}", "`values` List should have at least 2"),
        ("optimizer: {values: adam}", "`values` Input should be a valid list"),
        ("optimizer: {values: [adam, adam]}", "`values` adam stands there twice"),
        ("channels: {values: [16, 32]}", "16 cannot be a value of channels"),
        ("epochs: 20", "searches nothing"),
        ("", "searches nothing"),
        ("- 1", "must hold lines of the form"),
        ("dropout: {low: 0, high: [", "is not YAML"),
        ("seed: {low: 0, high: 5}", "seed cannot be searched"),
        ("val_fraction: {low: 0.1, high: 0.5}", "val_fraction cannot be searched"),
        ("test_fraction: {low: 0.1, high: 0.5}", "test_fraction cannot be searched"),
        ("duplicates: {values: [exact, near]}", "duplicates cannot be searched"),
        ("flip: {low: 0, high: 1, when: {augmnt: true}}", "no setting. Perhaps you meant augment"),
        ("flip: {low: 0, high: 1, when: {augment: true}}", "augment, which is not searched among"),
        ("flip: {low: 0, high: 1, when: true}", "`when` needs the form"),
        (
            "flip: {low: 0, high: 1, when: {dropout: 0.5}}\ndropout: {low: 0, high: 0.6}",
            "flip: `when` names dropout, which is not searched among `values`",
        ),
        (
            "flip: {low: 0, high: 1, when: {optimizer: sgd}}\noptimizer: {values: [adam, adamw]}",
            "`when` names optimizer sgd, which is none of its values",
        ),
        (
            "augment: {values: [false, true], when: {batchnorm: true}}\n"
            "batchnorm: {values: [false, true], when: {augment: true}}",
            "`when` goes in a circle: (augment|batchnorm) -> ",
        ),
        ("flip: {values: [0, 1], when: {flip: 1}}", "goes in a circle: flip -> flip"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        read_space(written(tmp_path, entry))
    assert "space.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_setting_depends_on_another(tmp_path: Path) -> None:
    text = "flip: {low: 0, high: 1, when: {augment: true}}\naugment: {values: [false, true]}"
    space = read_space(written(tmp_path, text))

    def picking(augment: bool) -> dict[str, Any]:
        return space.choose(lambda name, _: augment if name == "augment" else 0.25)

    assert picking(True) == {"augment": True, "flip": 0.25}
    assert picking(False) == {"augment": False}
    assert Settings(flip=0.9).changed(picking(False)).flip == 0.9


def test_settings_that_do_not_go_together_are_found(tmp_path: Path) -> None:
    space = read_space(written(tmp_path, "batchnorm: {values: [false, true]}"))
    space.check(Settings(batch_size=2))
    with pytest.raises(SettingsError, match=r"allows batchnorm on.*--batch-size of at least 2"):
        space.check(Settings(batch_size=1))


def test_values_have_labels(tmp_path: Path) -> None:
    text = "patience: {values: [null, 5]}\nchannels: {values: [[16], [16, 32]]}"
    patience, channels = read_space(written(tmp_path, text)).domains.values()
    assert isinstance(patience, Choice)
    assert isinstance(channels, Choice)
    assert channels.labels == ["[16]", "[16, 32]"]
    assert [channels.value(label) for label in channels.labels] == [(16,), (16, 32)]
    assert [patience.value(label) for label in patience.labels] == [None, 5]


@pytest.mark.parametrize("name", sorted(file.stem for file in SHIPPED.iterdir()))
def test_the_shipped_spaces_are_found_by_name_and_sound(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    space = read_space(Path(name))
    space.check(Settings(**space.fixed))
    assert space.file.stem == name
    assert space.file.read_text().startswith("# ")


NUMBERS = [
    name
    for name, field in Settings.model_fields.items()
    if field.annotation in (int, float) and name not in UNSEARCHABLE
]


ENDS = st.floats(0, 1) | st.floats(-10, 3000) | st.integers(1, 60)


@given(
    name=st.sampled_from(NUMBERS),
    ends=st.tuples(ENDS, ENDS),
    log=st.booleans(),
    seed=st.integers(0, 99),
)
def test_what_is_taken_gives_valid_settings(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    ends: tuple[float, float],
    log: bool,
    seed: int,
) -> None:
    whole = Settings.model_fields[name].annotation is int
    low, high = (round(end) if whole else end for end in ends)
    file = tmp_path_factory.mktemp("space") / "space.yaml"
    file.write_text(yaml.safe_dump({name: {"low": low, "high": high, "log": log}}))
    try:
        space = read_space(file)
    except SettingsError as error:
        assert str(file) in str(error)  # noqa: PT017
        return
    rng = random.Random(seed)
    for _ in range(5):
        value = space.choose(lambda _, domain: domain.draw(rng))[name]
        assert low <= value <= high
        assert isinstance(value, int) or not whole
        try:
            Settings().changed({name: value})
        except SettingsError as error:  # only what other settings stand against
            assert str(error).startswith("--")  # noqa: PT017


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(string.printable, max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["low", "high", "log", "values", "when", "augment", 1]), inner
        )
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["dropout", "channels", "augment", "epochs", "no"]), DOCUMENTS)
)
def test_any_document_is_a_space_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    file = tmp_path_factory.mktemp("space") / "space.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        space = read_space(file)
    except SettingsError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert isinstance(space, Space)
        assert all(isinstance(domain, Domain) for domain in space.domains.values())
