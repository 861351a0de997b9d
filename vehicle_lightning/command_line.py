"""From the command line to settings; imports nothing slow, so that it answers at once."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Self, TypeVar

import tyro
from pydantic import BaseModel, Field

from vehicle_lightning.config import (
    AugmentSettings,
    DataSettings,
    DeviceSettings,
    NetworkSettings,
    OptimizerSettings,
    RunSettings,
    Settings,
    changed_settings,
    read_settings,
)
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.runs.folder import RunFolder

Group = TypeVar("Group", bound=BaseModel)


class CommandOptions(BaseModel):
    """What to do, as opposed to how to train."""

    config: Path | None = Field(
        None, description="YAML file of settings; flags given beside it come on top."
    )
    print_config: bool = Field(False, description="Print the resolved settings as YAML and stop.")
    resume: Path | None = Field(
        None, description="Run folder to continue, with the settings it was started with."
    )


@dataclass(frozen=True)
class SettingsGroups:
    """All settings, group by group, as `--help` shows them."""

    data: Annotated[DataSettings, tyro.conf.OmitArgPrefixes]
    augmentation: Annotated[AugmentSettings, tyro.conf.OmitArgPrefixes]
    network: Annotated[NetworkSettings, tyro.conf.OmitArgPrefixes]
    optimization: Annotated[OptimizerSettings, tyro.conf.OmitArgPrefixes]
    device: Annotated[DeviceSettings, tyro.conf.OmitArgPrefixes]
    run: Annotated[RunSettings, tyro.conf.OmitArgPrefixes]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the same settings in groups."""

        def group(kind: type[Group]) -> Group:
            return kind(**{name: getattr(settings, name) for name in kind.model_fields})

        return cls(
            data=group(DataSettings),
            augmentation=group(AugmentSettings),
            network=group(NetworkSettings),
            optimization=group(OptimizerSettings),
            device=group(DeviceSettings),
            run=group(RunSettings),
        )

    def joined(self) -> Settings:
        """Return the settings as one.

        Raises:
            SettingsError: they do not go together.
        """
        groups = [getattr(self, field.name) for field in fields(self)]
        return Settings(**{name: value for group in groups for name, value in group})


@dataclass(frozen=True)
class FitArguments:
    """Train a network on a data set, or one for each fold and seed, and measure it.

    Results go to a run folder below --log-dir; `tensorboard --logdir logs` draws them.
    """

    command: Annotated[CommandOptions, tyro.conf.OmitArgPrefixes]
    settings: Annotated[SettingsGroups, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class FitCommand:
    """A parsed command line of `vehicle_lightning.fit`."""

    settings: Settings
    resume: RunFolder | None
    print_config: bool


def parse_fit(arguments: Sequence[str]) -> FitCommand:
    """Parse the command line of `vehicle_lightning.fit`.

    Exits with code 2, after printing what is wrong, where a flag is unknown or malformed.

    Raises:
        SettingsError: a value is out of range, or the settings file is wrong.
        RunError: the run to continue is no run folder.
    """
    options = read_ahead(arguments, "config", "resume")
    resume = RunFolder.open(options.resume) if options.resume else None
    if resume and options.config:
        raise SettingsError("--resume takes the settings of the run; leave out --config.")
    settings_file = resume.config if resume else options.config
    defaults = read_settings(settings_file) if settings_file else Settings()

    parsed = tyro.cli(
        FitArguments,
        prog="python -m vehicle_lightning.fit",
        args=list(arguments),
        default=FitArguments(CommandOptions(), SettingsGroups.of(defaults)),
    )
    settings = parsed.settings.joined()
    if resume:
        _check_resumable(defaults, settings, resume)
    return FitCommand(settings, resume, parsed.command.print_config)


def read_ahead(arguments: Sequence[str], *paths: str) -> argparse.Namespace:
    """Find the options that decide what the defaults of all other flags are.

    Args:
        arguments: the command line.
        paths: names of the options, each of which takes a path; None where it is not given.

    Returns:
        Them, and `help`: whether the help is asked for.

    Raises:
        SettingsError: an option lacks its path.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-h", "--help", action="store_true")
    for name in paths:
        parser.add_argument(f"--{name}", type=Path)
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise SettingsError(f"{error.argument_name}: {error.message}.") from error


def _check_resumable(saved: Settings, asked: Settings, run: RunFolder) -> None:
    if saved.is_repeated != asked.is_repeated:
        raise SettingsError(
            f"{run.path} is a {'run over several trainings' if saved.is_repeated else 'single run'}"
            f", and stays one when it is continued; start a new run instead."
        )
    if changed := changed_settings(saved, asked):
        flag = "--" + changed[0].replace("_", "-")
        raise SettingsError(
            f"{flag} cannot change when {run.path} is continued (it was started with "
            f"{getattr(saved, changed[0])}); start a new run instead."
        )
