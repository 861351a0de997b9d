"""Would more images help? `python -m vehicle_lightning.learning_curve --config best`."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from vehicle_lightning.cli import (
    INTERRUPTED,
    check_over_folds,
    parse_training,
    read_ahead,
    run_command,
)
from vehicle_lightning.config import LONGEST_NAME, Settings, SettingsGroup, SourceSettings, limited
from vehicle_lightning.console import notice
from vehicle_lightning.data.table import table_of
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.files import write_text
from vehicle_lightning.parallel import keep_freed_memory
from vehicle_lightning.runs.fold_runs import first_fold_run
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.summary import Summary
from vehicle_lightning.settings_file import check_unchanged, read_settings

if TYPE_CHECKING:
    from vehicle_lightning.data.datamodule import VehicleDataModule
    from vehicle_lightning.learning_curve.curve import Curve

FOLDS = 5
FEWEST_SHARES = 4  # three numbers are fitted, and one more is needed to see whether they fit
ANOTHER = "choose another --name or --log-dir for this curve"
ON_BOTH_SIDES = sorted(
    {*SourceSettings.model_fields, "skip_unreadable", "log_dir", "seed", "seeds", "name"}
)


class CurveOptions(SettingsGroup):
    """Train on shares of the training images, and say what more of them would bring.

    All other flags are those of `fit`; --folds is 5 unless another number is given, and --seeds
    repeats every training. Flags behind --against make a second configuration, on top of the first,
    as in `--config little_data --against --augment`: then it says what the difference is worth in
    images. The same command goes on where it was stopped.
    """

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


class AgainstOptions(SettingsGroup):
    """Flags of the second configuration, behind --against."""


@dataclass(frozen=True)
class Configuration:
    """Settings whose curve is drawn.

    Attributes:
        name: what it is called in sentences.
        flags: those behind --against; empty for the first.
        prefix: how the names of its run folders begin.
        settings: with all training images.
    """

    name: str
    flags: str
    prefix: str
    settings: Settings


@dataclass(frozen=True)
class Measured:
    """A configuration, its curve, and the accuracy on its training images at the largest share."""

    configuration: Configuration
    curve: "Curve"
    train_accuracy: float


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, train, and print what the curve says."""
    configurations, shares, folder = parse_curve(arguments)
    measured = _learning_curve(configurations, shares, folder)
    if measured is None:
        notice("Interrupted; the same command goes on.")
        return INTERRUPTED
    print("\n".join([*_sentences(measured), *_write(measured, folder)]))
    return 0


def parse_curve(
    arguments: Sequence[str],
) -> tuple[list[Configuration], tuple[float, ...], Path]:
    """Parse the command line: one configuration, or two; the shares; and where all goes.

    Exits with code 2, after printing what is wrong, where a flag is unknown or malformed.

    Raises:
        SettingsError: a value is out of range, the settings file is wrong, or the two
            configurations cannot be compared.
    """
    own, against = list(arguments), None
    if "--against" in own:
        place = own.index("--against")
        own, against = own[:place], own[place + 1 :]
    config = read_ahead(own, "config").config
    defaults = read_settings(config) if config else Settings()
    if not defaults.folds:
        defaults = defaults.model_copy(update={"folds": FOLDS})
    options, first = parse_training(CurveOptions, "learning_curve", own, defaults)
    _check(first)
    called = first.name or (config.stem if config else first.run_name)
    name = first.name or f"learning-curve-{called}"
    first = first.model_copy(update={"name": None})
    configurations = [Configuration(called, "", "", first)]
    if against is not None:
        _, second = parse_training(AgainstOptions, "learning_curve ... --against", against, first)
        _check(second)
        _check_comparable(first, second)
        slug = "-".join("".join(c for c in flag if c.isalnum() or c in "._") for flag in against)
        flags = " ".join(against)
        configurations.append(Configuration(f"with {flags}", flags, f"{slug}-", second))
    return configurations, options.shares, first.log_dir / name[:LONGEST_NAME]


def _check(settings: Settings) -> None:
    check_over_folds(settings)
    if settings.train_fraction != 1:
        raise SettingsError("The shares of the training images are --shares, no --train-fraction.")


def _check_comparable(first: Settings, second: Settings) -> None:
    if first == second:
        raise SettingsError("The flags behind --against change nothing; give some that do.")
    for name in ON_BOTH_SIDES:
        if getattr(first, name) != getattr(second, name):
            raise SettingsError(
                f"--{name.replace('_', '-')} is the same on both sides; put it before --against."
            )
    if first.split != second.split:
        raise SettingsError(
            "The flags behind --against change which images validate, so that the "
            "two curves could not be compared; leave those out."
        )


def _learning_curve(
    configurations: Sequence[Configuration], shares: Sequence[float], folder: Path
) -> list[Measured] | None:
    """Train on every share what is not finished yet, and fit the curves; None where stopped."""
    table = table_of(configurations[0].settings).checked()
    keep_freed_memory()
    # Importing torch and lightning takes seconds; what is wrong already has been said by now.
    from vehicle_lightning.data.datamodule import VehicleDataModule

    found, trained = [], len(configurations) * len(shares)
    for place, configuration in enumerate(configurations):
        data = VehicleDataModule(first_fold_run(configuration.settings), table)
        data.setup()
        runs = []
        for number, share in enumerate(shares, 1 + place * len(shares)):
            settings = _share_settings(configuration.settings, share, data)
            run = RunFolder(folder / f"{configuration.prefix}share{share:g}")
            notice(f"[{number}/{trained}] {configuration.name}, {share:g} of the training images")
            if not _train(settings, run, data):
                return None  # stopped
            runs.append(run)
        found.append(_measure(configuration, runs, place))
    return found


def _share_settings(settings: Settings, share: float, data: "VehicleDataModule") -> Settings:
    """Return the settings of a share: as many steps of the optimizer as with all images.

    With as many epochs a small share would be trained the less, and the curve would tell of too
    few steps, not of too few images.
    """
    part = settings.model_copy(update={"train_fraction": share})
    whole, steps = (
        steps_of_epoch(
            one, len(data.split_anew(one.model_copy(update={"fold": 0})).train_dataloader())
        )
        for one in (settings, part)
    )
    longer = {
        name: max(1, round(value * whole / steps))
        for name in ("epochs", "warmup_epochs", "frozen_epochs", "patience")
        if (value := getattr(settings, name))
    }
    return part.model_copy(update=longer)


def steps_of_epoch(settings: Settings, batches: int) -> int:
    """Return the steps of the optimizer in an epoch of so many batches."""
    limit = settings.overfit_batches or settings.limit_train_batches
    if limit is not None:
        batches = limited(batches, limit)
    return max(1, math.ceil(batches / settings.accumulate_grad_batches))


def _train(settings: Settings, run: RunFolder, data: "VehicleDataModule") -> bool:
    """Train a share over its folds and seeds; return whether nothing is left to train."""
    from vehicle_lightning.fit.start import check_same_data
    from vehicle_lightning.fit.train import train

    if run.config.is_file():
        before = read_settings(run.config)
        # Folds are trained on one device each, and so their settings say.
        check_unchanged(before, settings.on_one_device() or settings, run.path, ANOTHER)
        check_same_data(run, data.fingerprint, ANOTHER)
        is_same = (before.epochs, before.seeds) == (settings.epochs, settings.seeds)
        if is_same and run.summary.is_file() and Summary.read(run.summary).status == "finished":
            return True
    run.path.mkdir(parents=True, exist_ok=True)
    summary = train(settings, run, data=data).summary
    return summary is not None and summary.status == "finished"


def _measure(configuration: Configuration, runs: Sequence[RunFolder], place: int) -> Measured:
    """Fit the curve of a configuration, the first or the second of the command."""
    import numpy as np

    from vehicle_lightning.fit.pooling import PooledSummary
    from vehicle_lightning.learning_curve.curve import Curve

    summaries = [PooledSummary.read(run.summary) for run in runs]
    images = np.array([summary.train.n for summary in summaries], dtype=np.float64)
    errors = 1 - np.array([list(summary.fold_accuracies.values()) for summary in summaries])
    return Measured(configuration, Curve.fit(images, errors, place), summaries[-1].train.accuracy)


def _sentences(measured: Sequence[Measured]) -> list[str]:
    from vehicle_lightning.learning_curve.report import describe, tell_worth

    lines = []
    for one in measured:
        described = describe(one.curve, one.train_accuracy)
        lines += [one.configuration.name, *(f"  {line}" for line in described)]
    if len(measured) > 1:
        first, second = measured
        lines.append(tell_worth(second.configuration.flags, first.curve, second.curve))
    return lines


def _write(measured: Sequence[Measured], folder: Path) -> list[str]:
    """Write learning_curve.json and .png, and the same into TensorBoard; say what was written."""
    from vehicle_lightning.learning_curve.report import figures, plot_learning_curves
    from vehicle_lightning.runs.plots import save
    from vehicle_lightning.runs.tensorboard import write_events

    content, picture = folder / "learning_curve.json", folder / "learning_curve.png"
    curves = [
        {
            "name": one.configuration.name,
            "settings": one.configuration.settings.model_dump(mode="json", exclude_defaults=True),
            "train_accuracy": one.train_accuracy,
            **figures(one.curve),
        }
        for one in measured
    ]
    facts = {"curves": curves, "sentences": _sentences(measured)}
    write_text(content, json.dumps(facts, indent=2, allow_nan=False) + "\n")
    save(plot_learning_curves({one.configuration.name: one.curve for one in measured}), picture)
    for one in measured:
        records: list[tuple[str, float | Path, int]] = [
            ("learning_curve/accuracy", one.curve.measured(share).value, round(images))
            for share, images in enumerate(one.curve.images)
        ]
        if one is measured[0]:
            records.append(("pictures/learning_curve", picture, 0))
        place = folder / f"{one.configuration.prefix}learning_curve"
        write_events(place, "learning_curve", records)
    return [f"saved   {content}", f"saved   {picture}"]


if __name__ == "__main__":
    run_command(main)
