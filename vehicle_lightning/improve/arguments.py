"""From the command line of `improve` to settings and a budget; imports nothing slow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from vehicle_lightning.cli import Duration, SettingsGroups, read_ahead, seconds
from vehicle_lightning.config import Settings, SettingsGroup
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.settings_file import read_settings

NAME = "improve"
FOLDS = 5
TEST_FRACTION = 0.2


class WalkOptions(SettingsGroup):
    """Where to start, and how long to go on."""

    budget: Duration | None = Field(
        None,
        description="Time for the whole walk, as in 30m, 1h or 2h30m; by default 1h. A walk that "
        "is resumed has what is left of it, or of the larger one given then.",
    )
    config: Path | None = Field(
        None, description="YAML file of the settings to start from; flags beside it come on top."
    )
    resume: Path | None = Field(None, description="Folder of a walk to go on with.")


@dataclass(frozen=True)
class ImproveArguments:
    """Find better settings: change one thing at a time and keep what helps.

    Starts from the defaults or --config, trains over --folds, and takes what the verdict proposes
    first. Each step is a run folder LOG_DIR/NAME/NUMBER. A test part of the images, --test-fraction
    or that of the data, decides nothing and is measured at the end. All other flags are those of
    `fit`; they are where the walk starts.
    """

    walk: Annotated[WalkOptions, tyro.conf.OmitArgPrefixes]
    settings: Annotated[SettingsGroups, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class ImproveCommand:
    """A parsed command line of `vehicle_lightning.improve`.

    Attributes:
        folder: the walk's folder; step n trains in its folder n.
        settings: where the walk starts.
        budget: seconds for the whole walk; None keeps that of the walk to be resumed.
        is_resumed: whether the folder holds a walk to go on with.
    """

    folder: Path
    settings: Settings
    budget: float | None
    is_resumed: bool


def parse_improve(arguments: Sequence[str]) -> ImproveCommand:
    """Parse the command line of `vehicle_lightning.improve`.

    Exits with code 2, after printing what is wrong, where a flag is unknown or malformed.

    Raises:
        SettingsError: a value is out of range, or the settings file is wrong.
        RunError: there is no walk to resume.
    """
    files = read_ahead(arguments, "config", "resume")
    if files.resume and files.config:
        raise SettingsError("--resume takes the settings of the walk; leave out --config.")
    defaults = Settings(test_fraction=TEST_FRACTION, folds=FOLDS)
    if not files.help and files.resume:
        from vehicle_lightning.improve.state import Walk  # not for --help: statistics take a second

        defaults = Walk.read(files.resume).settings
    elif not files.help and files.config:
        defaults = _completed(read_settings(files.config))
    parsed = tyro.cli(
        ImproveArguments,
        prog="python -m vehicle_lightning.improve",
        args=list(arguments),
        default=ImproveArguments(WalkOptions(), SettingsGroups.of(defaults)),
    )
    options, settings = parsed.walk, parsed.settings.joined()
    budget = None if options.budget is None else seconds(options.budget)
    if options.resume:
        if changed := [name for name, value in settings if value != getattr(defaults, name)]:
            raise SettingsError(
                f"--{changed[0].replace('_', '-')} cannot change when {options.resume} is "
                f"continued; start a new walk instead."
            )
        return ImproveCommand(options.resume, settings, budget, is_resumed=True)
    _check(settings)
    folder = settings.log_dir / (settings.name or NAME)
    settings = settings.model_copy(update={"name": None})
    return ImproveCommand(folder, settings, budget, is_resumed=False)


def _completed(settings: Settings) -> Settings:
    """Return the settings of a file with folds and a test part, which most files lack."""
    test_fraction = settings.test_fraction or TEST_FRACTION
    folds = settings.folds or FOLDS
    return Settings(**(settings.model_dump() | {"folds": folds, "test_fraction": test_fraction}))


def _check(settings: Settings) -> None:
    if settings.folds is None or settings.fold is not None:
        raise SettingsError("A walk trains over all folds; leave out --fold, and give --folds.")
    if settings.fast_dev_run:
        raise SettingsError("--fast-dev-run keeps nothing that could be compared; leave it out.")
