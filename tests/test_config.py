import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vehicle_lightning.cli import parse_fit
from vehicle_lightning.config import Settings
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.settings_file import changed_settings, read_settings

# One value for each setting, none of them the default.
OTHER_VALUES: dict[str, Any] = {
    "data_dir": Path("photos"),
    "csv": Path("labels.csv"),
    "image_dir": Path("pictures"),
    "image_column": "file",
    "label_column": "class",
    "skip_unreadable": True,
    "test_fraction": 0.2,
    "duplicates": "exact",
    "split_column": "split",
    "group_column": "camera",
    "image_size": 64,
    "val_fraction": 0.25,
    "train_fraction": 0.5,
    "test_csv": Path("test.csv"),
    "folds": 5,
    "fold": 2,
    "split_seed": 3,
    "batch_size": 32,
    "cache": "none",
    "cache_dir": Path("cache"),
    "num_workers": 2,
    "augment": True,
    "trivial_augment": True,
    "flip": 0.25,
    "rotation": 30.0,
    "shear": 5.0,
    "scale": 0.3,
    "shift": 0.2,
    "brightness": 0.4,
    "contrast": 0.5,
    "saturation": 0.6,
    "erasing": 0.75,
    "flip_averaging": True,
    "channels": (8, 16, 32),
    "dropout": 0.5,
    "batchnorm": True,
    "first_stride": 2,
    "residual": True,
    "pooling": "average",
    "pretrained": Path("logs/drawn/0"),
    "backbone": "resnet18",
    "weights": Path("resnet18.pth"),
    "hidden": (64, 32),
    "epochs": 3,
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "weight_decay": 0.1,
    "schedule": "onecycle",
    "warmup_epochs": 2,
    "frozen_epochs": 1,
    "backbone_rate": 0.5,
    "patience": 4,
    "initial_size": 32,
    "label_smoothing": 0.1,
    "mixup": 0.2,
    "cutmix": 0.5,
    "focal": 2.0,
    "ema": 0.99,
    "balanced": True,
    "class_weights": True,
    "train_eval_fraction": 0.5,
    "seed": 7,
    "seeds": 3,
    "gradient_clip_val": 1.0,
    "accumulate_grad_batches": 2,
    "max_time": "00:01:00:00",
    "limit_train_batches": 10,
    "limit_val_batches": 0.5,
    "overfit_batches": 1,
    "fast_dev_run": True,
    "profiler": "simple",
    "deterministic": True,
    "logger": ("csv", "mlflow"),
    "accelerator": "cpu",
    "devices": "2",
    "strategy": "ddp",
    "num_nodes": 2,
    "precision": "bf16-mixed",
    "cuda_graphs": True,
    "name": "trial",
    "log_dir": Path("runs"),
}
# They stand in the place of other values above.
NOT_TOGETHER = {"test_csv", "trivial_augment", "balanced", "warmup_epochs"} | {
    *("pretrained", "limit_train_batches", "cuda_graphs")
}
NEEDS: dict[str, dict[str, Any]] = {
    "fold": {"folds": 5},
    "initial_size": {"pooling": "average"},
    "weights": {"backbone": "resnet18"},
    "frozen_epochs": {"backbone": "resnet18"},
}


def as_flags(values: dict[str, Any]) -> list[str]:
    flags: list[str] = []
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            flags.append(flag)
        elif isinstance(value, tuple):
            flags += [flag, *map(str, value)]
        else:
            flags += [flag, str(value)]
    return flags


def test_every_setting_has_another_value_here() -> None:
    assert set(OTHER_VALUES) == set(Settings.model_fields)
    for name, value in OTHER_VALUES.items():
        assert value != getattr(Settings(), name), name


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_every_flag_reaches_its_setting(name: str) -> None:
    values = {name: OTHER_VALUES[name]} | NEEDS.get(name, {})
    settings = parse_fit(as_flags(values)).settings
    assert settings == Settings(**values)
    assert getattr(settings, name) == OTHER_VALUES[name]


def test_settings_survive_yaml(tmp_path: Path) -> None:
    blocks = {"channels", "first_stride", "residual", "pooling"}  # in whose place a backbone stands
    left_out = blocks | NOT_TOGETHER
    settings = Settings(**{k: v for k, v in OTHER_VALUES.items() if k not in left_out})
    file = tmp_path / "config.yaml"
    file.write_text(settings.to_yaml())
    assert read_settings(file) == settings


@given(
    dropout=st.floats(0, 1, exclude_max=True),
    learning_rate=st.floats(1e-30, 100),
    channels=st.lists(st.integers(1, 512), min_size=1, max_size=5),
    image_column=st.text(string.printable, max_size=20),
)
def test_any_valid_value_survives_yaml(
    tmp_path_factory: pytest.TempPathFactory, **values: Any
) -> None:
    settings = Settings(**values)
    file = tmp_path_factory.getbasetemp() / "config.yaml"
    file.write_text(settings.to_yaml(), encoding="utf-8")
    assert read_settings(file) == settings


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("0,", "1,", []),
        ("1", "3,", []),
        ("1", "2", ["devices"]),
        ("0,1", "2,3", ["devices"]),
        ("auto", "1", ["devices"]),
    ],
)
def test_one_device_is_as_good_as_another(before: str, now: str, expected: list[str]) -> None:
    """A schedule is laid out over the steps, of which several devices take fewer."""
    laid_out = [Settings(schedule="cosine", devices=devices) for devices in (before, now)]
    assert changed_settings(*laid_out) == expected
    assert changed_settings(Settings(devices=before), Settings(devices=now)) == []
    assert changed_settings(Settings(), Settings(csv=Path("moved.csv"))) == []


def test_flags_come_on_top_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text("dropout: 0.3\nepochs: 7\n")
    settings = parse_fit(["--config", str(file), "--epochs", "9"]).settings
    assert settings == Settings(dropout=0.3, epochs=9)


def test_empty_file_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.touch()
    assert read_settings(file) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dropuot: 0.5", r"unknown key dropuot\. Perhaps you meant dropout"),
        ("zzzzzz: 1", r"unknown key zzzzzz\.$"),
        ("7: 1", r"unknown key 7\.$"),
        ("dropout: 1.5", r"dropout: .* less than 1 \(got 1\.5\)"),
        ("dropout: high", r"dropout: .*valid number.* \(got 'high'\)"),
        ("- dropout", "must hold lines of the form"),
        ("dropout: [", "is not YAML"),
        ("fold: 1", "--fold 1 needs --folds"),
        ("epochs: .inf", "epochs"),
        ("name: 2024-13-45", "is not YAML"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        read_settings(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: No such file"):
        read_settings(tmp_path / "none.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="is not YAML"):
        read_settings(binary)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dropout": -0.1}, "dropout"),
        ({"learning_rate": float("nan")}, "learning_rate.*finite"),
        ({"val_fraction": 1.0}, "val_fraction"),
        ({"folds": 5, "fold": 5}, "none of the folds 0 to 4"),
        ({"initial_size": 64}, "needs --pooling"),
        ({"initial_size": 256, "pooling": "max"}, "at most --image-size 96"),
        ({"batchnorm": True, "batch_size": 1}, "--batch-size"),
        ({"pretrained": "a", "weights": "b", "backbone": "resnet18"}, "leave out --weights"),
        ({"overfit_batches": 1, "limit_train_batches": 2}, "leave out --limit-train-batches"),
        ({"image_size": 8, "channels": (4, 4, 4, 4)}, "at least 16, as each of the 4 blocks"),
        ({"image_size": 31, "first_stride": 8}, "at least 32, as --first-stride 8 divides it"),
        ({"channels": ()}, "channels"),
        ({"channels": (0,)}, "channels"),
        ({"name": "a/b"}, "one folder"),
        ({"name": ".."}, "one folder"),
        ({"name": ""}, "one folder"),
        ({"devices": "some"}, "devices"),
        ({"augment": True, "trivial_augment": True}, "two ways to change images"),
        ({"balanced": True, "class_weights": True}, "leave one out"),
        ({"warmup_epochs": 1, "schedule": "onecycle"}, "leave out --warmup-epochs"),
        ({"warmup_epochs": 10}, "fewer than --epochs 10"),
        ({"no_such": 1}, "no_such"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        Settings(**values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "default"),
        ({"dropout": 0.5, "batchnorm": True}, "dropout0.5-batchnorm"),
        ({"channels": (8, 16)}, "channels8-16"),
        ({"learning_rate": 1e-3}, "learning-rate0.001"),
        ({"data_dir": Path("photos"), "devices": "1", "log_dir": Path("x")}, "default"),
        ({"dropout": 0.5, "name": "mine"}, "mine"),
    ],
)
def test_run_names(values: dict[str, Any], name: str) -> None:
    assert Settings(**values).run_name == name


def test_the_longest_run_name_is_a_folder_name(tmp_path: Path) -> None:
    no_backbone = {"backbone": None, "weights": None, "frozen_epochs": 0}
    blocks = {"channels": tuple(range(1000, 1005)), "first_stride": 1}
    together = {k: v for k, v in OTHER_VALUES.items() if k not in NOT_TOGETHER}
    values = together | no_backbone | blocks | {"name": None}
    (tmp_path / Settings(**values).run_name).mkdir()


def test_an_experiment_is_found_by_its_name_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings(Path("best")).pooling == "average"
    (tmp_path / "best").write_text("epochs: 3\n")
    assert read_settings(Path("best")) == Settings(epochs=3)
    with pytest.raises(SettingsError, match="Settings file worst: No such file"):
        read_settings(Path("worst"))


def test_settings_of_older_runs_are_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("compile: true\ndropout: 0.5\n")
    assert read_settings(file) == Settings(compile=False, dropout=0.5) == Settings(dropout=0.5)  # type: ignore[call-arg]
