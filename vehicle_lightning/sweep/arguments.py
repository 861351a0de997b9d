"""From the command line of `sweep` to settings and a space; imports nothing slow."""

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
from vehicle_lightning.sweep.space import Space, read_space


class SearchOptions(SettingsGroup):
    """What to search, and how long."""

    trials: int = Field(50, ge=1, le=100_000)
    """Finished trials the study is to have, of all workers."""
    timeout: Duration | None = None
    """Stop after this time, as in 90, 30m or 2h; the same command goes on."""
    space: Path = Path("switches")
    """YAML file of settings, some with a range or values; or switches or training, as shipped."""
    study: str | None = None
    """Name of the study; by default that of the space's file."""
    storage: str | None = None
    """URL of a database to share, as postgresql://user@host/name; by default a SQLite file."""
    config: Path | None = None
    """YAML file of settings that the trials share; the space comes on top."""


@dataclass(frozen=True)
class SweepArguments:
    """Search for settings: many trainings, each with other settings, the best by validation loss.

    Each trial is a run folder LOG_DIR/STUDY/NUMBER. Any number of workers may join a study by the
    same command; what one of them leaves unfinished another goes on with. All other flags are those
    of `fit`, and the same in all trials.
    """

    search: Annotated[SearchOptions, tyro.conf.OmitArgPrefixes]
    settings: Annotated[SettingsGroups, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class SweepCommand:
    """A parsed command line of `vehicle_lightning.sweep`.

    Attributes:
        space: what is searched.
        base: what all trials share.
        study: name of the study.
        storage: URL of the database; None is a SQLite file in the study's folder.
        trials: how many finished trials the study is to have.
        timeout: seconds after which to stop, or None.
    """

    space: Space
    base: Settings
    study: str
    storage: str | None
    trials: int
    timeout: float | None

    @property
    def folder(self) -> Path:
        """The study's folder on this machine; trial n trains in its folder n."""
        return self.base.log_dir / self.study


def parse_sweep(arguments: Sequence[str]) -> SweepCommand:
    """Parse the command line of `vehicle_lightning.sweep`.

    Exits with code 2, after printing what is wrong, where a flag is unknown or malformed.

    Raises:
        SettingsError: a value is out of range, or the space or the settings file is wrong.
    """
    files = read_ahead(arguments, "space", "config")
    space = read_space(SearchOptions().space if files.help or not files.space else files.space)
    defaults = Settings()
    if not files.help:  # for which tyro ends the process
        below = {} if files.config is None else read_settings(files.config).model_dump()
        try:
            defaults = Settings(**(below | dict(space.fixed)))
        except SettingsError as error:
            raise SettingsError(f"Space {space.file}: {error}") from error
    parsed = tyro.cli(
        SweepArguments,
        prog="python -m vehicle_lightning.sweep",
        args=list(arguments),
        default=SweepArguments(SearchOptions(), SettingsGroups.of(defaults)),
    )
    options, base = parsed.search, parsed.settings.joined()
    _check_fixed(space, arguments)
    if base.name is not None:
        raise SettingsError("--name is that of a single run; name the search by --study.")
    if base.fast_dev_run:
        raise SettingsError("--fast-dev-run keeps nothing that could be compared; leave it out.")
    study = options.study or space.file.stem
    try:
        Settings(name=study)
    except SettingsError as error:
        raise SettingsError(f"--study {study} must be usable as one folder's name.") from error
    one_device = base.on_one_device()
    if one_device is None:
        raise SettingsError(
            "A trial trains on one device; leave out --devices and --num-nodes, and start one "
            "worker for each device, as in --devices 0, and --devices 1, (an index ends in a "
            "comma)."
        )
    space.check(one_device)
    timeout = None if options.timeout is None else seconds(options.timeout)
    return SweepCommand(space, one_device, study, options.storage, options.trials, timeout)


def _check_fixed(space: Space, arguments: Sequence[str]) -> None:
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        for name in space.domains:
            words = name.replace("_", "-")
            if flag in (f"--{words}", f"--no-{words}"):
                raise SettingsError(
                    f"{flag} fixes what {space.file} searches; leave out the flag, or take {name} "
                    f"out of the space."
                )
