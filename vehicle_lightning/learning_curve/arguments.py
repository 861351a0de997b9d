"""From the command line of `learning_curve` to configurations; imports nothing slow."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field, field_validator

from vehicle_lightning.cli import SettingsGroups, read_ahead
from vehicle_lightning.config import LONGEST_NAME, Settings, SettingsGroup
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.settings_file import read_settings

PROGRAM = "python -m vehicle_lightning.learning_curve"
FOLDS = 5
FEWEST_SHARES = 4  # three numbers are fitted, and one more is needed to see whether they fit


class CurveOptions(SettingsGroup):
    """At how many images to measure."""

    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.125, 0.25, 0.5, 0.75, 1.0),
        description="Shares of the training images, at least four; each is part of the next.",
    )
    config: Path | None = Field(
        None, description="YAML file of settings, or the name of an experiment, such as best."
    )

    @field_validator("shares")
    @classmethod
    def _several(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(shares)) < FEWEST_SHARES:
            raise ValueError(f"a curve takes at least {FEWEST_SHARES} different shares")
        return tuple(sorted(set(shares)))


@dataclass(frozen=True)
class CurveArguments:
    """Train on shares of the training images, and say what more of them would bring.

    All other flags are those of `fit`; --folds is 5 unless another number is given, and --seeds
    repeats every training. Flags behind --against make a second configuration, on top of the first,
    as in `--config little_data --against --augment`: then it says what the difference is worth in
    images. The same command goes on where it was stopped.
    """

    curve: Annotated[CurveOptions, tyro.conf.OmitArgPrefixes]
    settings: Annotated[SettingsGroups, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class AgainstArguments:
    """Flags of the second configuration, behind --against."""

    settings: Annotated[SettingsGroups, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Configuration:
    """Settings whose curve is drawn.

    Attributes:
        name: what it is called in sentences.
        prefix: how the names of its run folders begin.
        settings: with all training images.
    """

    name: str
    prefix: str
    settings: Settings


@dataclass(frozen=True)
class CurveCommand:
    """A parsed command line: one configuration, or two; the shares; and where all goes."""

    configurations: tuple[Configuration, ...]
    shares: tuple[float, ...]
    folder: Path


def parse_curve(arguments: Sequence[str]) -> CurveCommand:
    """Parse the command line of `vehicle_lightning.learning_curve`.

    Exits with code 2, after printing what is wrong, where a flag is unknown or malformed.

    Raises:
        SettingsError: a value is out of range, the settings file is wrong, or the two
            configurations cannot be compared.
    """
    own, against = list(arguments), None
    if "--against" in own:
        place = own.index("--against")
        own, against = own[:place], shlex.split(" ".join(own[place + 1 :]))
    config = read_ahead(own, "config").config
    defaults = read_settings(config) if config else Settings()
    if not defaults.folds:
        defaults = defaults.model_copy(update={"folds": FOLDS})
    parsed = tyro.cli(
        CurveArguments,
        prog=PROGRAM,
        args=own,
        default=CurveArguments(CurveOptions(), SettingsGroups.of(defaults)),
    )
    first = parsed.settings.joined()
    _check(first)
    name = first.name or f"learning-curve-{config.stem if config else first.run_name}"
    first = first.model_copy(update={"name": None})
    configurations = [Configuration(config.stem if config else first.run_name, "", first)]
    if against is not None:
        second = tyro.cli(
            AgainstArguments,
            prog=f"{PROGRAM} ... --against",
            args=against,
            default=AgainstArguments(SettingsGroups.of(first)),
        ).settings.joined()
        _check(second)
        _check_comparable(first, second)
        flags = " ".join(against)
        slug = "-".join("".join(c for c in flag if c.isalnum() or c in "._") for flag in against)
        configurations.append(Configuration(f"with {flags}", f"{slug}-", second))
    return CurveCommand(
        tuple(configurations), parsed.curve.shares, first.log_dir / name[:LONGEST_NAME]
    )


def _check(settings: Settings) -> None:
    if settings.folds is None or settings.fold is not None:
        raise SettingsError("A learning curve is measured over all --folds; leave out --fold.")
    if settings.train_fraction != 1:
        raise SettingsError("The shares of the training images are --shares, no --train-fraction.")
    if settings.fast_dev_run:
        raise SettingsError("--fast-dev-run keeps nothing that could be measured; leave it out.")


def _check_comparable(first: Settings, second: Settings) -> None:
    if first == second:
        raise SettingsError("The flags behind --against change nothing; give some that do.")
    for name in ("data_dir", "csv", "log_dir", "seed", "seeds", "name"):
        if getattr(first, name) != getattr(second, name):
            raise SettingsError(
                f"--{name.replace('_', '-')} is the same on both sides; put it before --against."
            )
    if first.split != second.split:
        raise SettingsError(
            "The flags behind --against change which images validate, so that the "
            "two curves could not be compared; leave those out."
        )
