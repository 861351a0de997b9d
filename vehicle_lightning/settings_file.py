"""Settings in YAML files, and which of them a run that goes on must keep."""

from collections.abc import Set
from pathlib import Path
from typing import Any

import yaml

from vehicle_lightning.config import PLACES, RETIRED, Settings, nearest_setting
from vehicle_lightning.errors import SettingsError, one_line

# The one in C, where PyYAML was built with it, reads hundreds of runs in no time.
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Beside the package in a checkout, inside it where it is installed.
EXPERIMENTS = (Path(__file__).parents[1] / "experiments", Path(__file__).parent / "experiments")

# What an experiment needs to find the same images and to come to the same figures.
KEPT_PLACES = frozenset(
    {"data_dir", "csv", "image_dir", "image_column", "label_column", "weights", "precision"}
)
# What may change when a run is continued; anything else would make it another run.
# Whether the images are the same, their fingerprint tells.
CHANGEABLE = (PLACES - {"fast_dev_run"}) | {"epochs", "patience", "seeds", "max_time"}


def changed_settings(
    before: Settings, now: Settings, changeable: frozenset[str] = CHANGEABLE
) -> list[str]:
    """Return the names of settings that differ though a continued run must keep them."""
    if before.schedule != "constant" or before.initial_size is not None or before.warmup_epochs:
        changeable -= {"epochs"}  # which it is laid out over
        if not (before.name_one_device and now.name_one_device):
            changeable -= {"devices", "num_nodes"}
    return [
        name for name, value in now if name not in changeable and value != getattr(before, name)
    ]


def check_unchanged(
    before: Settings,
    now: Settings,
    place: Path,
    fix: str,
    changeable: frozenset[str] = CHANGEABLE,
) -> None:
    """Check that a folder may go on with these settings.

    Args:
        before: those that it was started with.
        now: those that are asked for.
        place: the folder.
        fix: what to do where they differ, in words.
        changeable: names of those that may.

    Raises:
        SettingsError: one has changed that must not.
    """
    if changed := changed_settings(before, now, changeable):
        raise SettingsError(
            f"--{changed[0].replace('_', '-')} cannot change when {place} is continued (it was "
            f"started with {getattr(before, changed[0])}); {fix}."
        )


def experiment(settings: Settings, comment: str, without: Set[str] = frozenset()) -> str:
    """Return the settings that differ from the defaults as YAML, under a comment of some lines.

    Where results go is for whoever uses it, and left out; so are the settings `without`.
    """
    differing = settings.model_dump(
        mode="json", exclude_defaults=True, exclude={*(PLACES - KEPT_PLACES), *without}
    )
    text = yaml.safe_dump(differing, sort_keys=False, allow_unicode=True) if differing else ""
    return "".join(f"# {line}\n" for line in comment.splitlines()) + text


def setting_in_words(name: str, value: Any) -> str:
    """Return a setting and its value in words: `batchnorm`, `channels 16 32 64`."""
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if isinstance(value, tuple | list):
        return " ".join([words, *map(str, value)])
    return f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}"


def read_settings(path: Path) -> Settings:
    """Read settings from a YAML file; what it leaves out keeps its default.

    A bare name such as `best`, where there is no such file, is that of an experiment that ships.

    Raises:
        SettingsError: the file is missing, is not YAML, or a key or value in it is wrong.
    """
    for folder in EXPERIMENTS:
        if not path.exists() and (shipped := folder / f"{path}.yaml").is_file():
            path = shipped
    content = read_mapping(path, "Settings file")
    try:
        return Settings(**content)
    except SettingsError as error:
        raise SettingsError(f"Settings file {path}: {error}") from error


def read_mapping(path: Path, kind: str) -> dict[str, Any]:
    """Read a YAML file whose keys are settings; its values may be anything.

    Args:
        path: the file.
        kind: what it is called in messages.

    Raises:
        SettingsError: the file is missing, is not YAML, or a key in it is no setting.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=SafeLoader)
    except OSError as error:
        raise SettingsError(f"{kind} {path}: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{kind} {path} is not YAML: {one_line(error)}.") from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise SettingsError(f"{kind} {path} must hold lines of the form `key: value`.")
    for key in content:
        if key not in Settings.model_fields and key not in RETIRED:
            hint = nearest_setting(str(key), Settings.model_fields)
            raise SettingsError(f"{kind} {path} has the unknown key {key}.{hint}")
    return content
