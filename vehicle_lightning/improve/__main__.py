"""Find better settings step by step: `python -m vehicle_lightning.improve --budget 1h`."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from vehicle_lightning.cli import (
    INTERRUPTED,
    Duration,
    check_over_folds,
    parse_training,
    read_ahead,
    run_command,
    seconds,
)
from vehicle_lightning.config import PLACES, Settings, SettingsGroup
from vehicle_lightning.console import notice
from vehicle_lightning.data.table import table_of
from vehicle_lightning.errors import RunError, SettingsError, counted
from vehicle_lightning.parallel import keep_freed_memory
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.settings_file import check_unchanged, read_settings

if TYPE_CHECKING:
    from vehicle_lightning.improve.state import Walk

NAME = "improve"
FOLDS = 5
TEST_FRACTION = 0.2
BUDGET = 3600.0  # seconds


class ImproveOptions(SettingsGroup):
    """Find better settings step by step, and keep what helps.

    Starts from the defaults or --config, trains over --folds, gives a plain network the usual
    remedies together, and from there changes one thing at a time, what the verdict proposes first.
    Each step is a run folder LOG_DIR/NAME/NUMBER. A test part of the images, --test-fraction
    or that of the data, decides nothing and is measured at the end. All other flags are those of
    `fit`; they are where the walk starts.
    """

    budget: Duration | None = Field(
        None,
        description="Time for the whole walk, as in 30m, 1h or 2h30m; by default 1h. A walk that "
        "is resumed has what is left of it, or of the larger one given then.",
    )
    config: Path | None = Field(
        None,
        description="YAML file of settings to start from, or the name of an experiment, such as "
        "best.",
    )
    resume: Path | None = Field(None, description="Folder of a walk to go on with.")


def main(arguments: Sequence[str]) -> int:
    """Walk until nothing is left to try, the time is up, or a person stops it."""
    options, settings, folder = parse_improve(arguments)
    table = table_of(settings).checked()
    keep_freed_memory()
    # Importing torch and lightning takes seconds; what is wrong already has been said by now.
    from vehicle_lightning.fit.folds import check_devices
    from vehicle_lightning.improve.report import report
    from vehicle_lightning.improve.walk import go_on

    check_devices(settings, RunFolder(folder))
    budget = None if options.budget is None else seconds(options.budget)
    if options.resume:
        walk = _resumed(folder, settings, budget)
    else:
        walk = _begun(folder, settings, budget, has_test="test" in (table.splits or ()))
    folder.mkdir(parents=True, exist_ok=True)
    end = None
    try:
        with RunFolder(folder).lock():
            with suppress(KeyboardInterrupt):
                end = go_on(walk)
            print(report(walk, end))
    finally:
        with suppress(OSError):  # what is not empty stays
            folder.rmdir()
    return INTERRUPTED if end is None else 0


def parse_improve(arguments: Sequence[str]) -> tuple[ImproveOptions, Settings, Path]:
    """Parse the command line: the options, where the walk starts, and the walk's folder.

    Exits with code 2, after printing what is wrong, where a flag is unknown or malformed.

    Raises:
        SettingsError: a value is out of range, or the settings file is wrong.
        RunError: there is no walk to resume.
    """
    files = read_ahead(arguments, "config", "resume", "test-csv")
    if files.resume and files.config:
        raise SettingsError("--resume takes the settings of the walk; leave out --config.")
    kept = 0.0 if files.test_csv else TEST_FRACTION  # which keeps images of its own
    defaults = Settings(test_fraction=kept, folds=FOLDS)
    if not files.help and files.resume:
        from vehicle_lightning.improve.state import Walk  # not for --help: statistics take a second

        defaults = Walk.read(files.resume).settings
    elif not files.help and files.config:
        given = read_settings(files.config)
        defaults = given.model_copy(
            update={
                "folds": given.folds or FOLDS,
                "test_fraction": given.test_fraction or (0.0 if given.test_csv else kept),
            }
        )
    options, settings = parse_training(ImproveOptions, "improve", arguments, defaults)
    check_over_folds(settings)
    if options.resume:
        check_unchanged(defaults, settings, options.resume, "start a new walk instead", PLACES)
        return options, settings, options.resume
    folder = settings.log_dir / (settings.name or NAME)
    return options, settings.model_copy(update={"name": None}), folder


def _resumed(folder: Path, settings: Settings, budget: float | None) -> "Walk":
    from vehicle_lightning.improve.state import Walk

    walk = Walk.read(folder)
    walk.settings = settings
    walk.budget = budget or walk.budget
    notice(
        f"Walk {folder}: going on after {counted(len(walk.steps), 'step')} and "
        f"{walk.spent / 60:.1f} of {round(walk.budget / 60, 1):g} min."
    )
    return walk


def _begun(folder: Path, settings: Settings, budget: float | None, *, has_test: bool) -> "Walk":
    from vehicle_lightning.improve.state import FILE, Walk

    if (folder / FILE).exists():
        raise RunError(
            f"{folder} holds a walk already; go on with it by --resume {RunFolder(folder).quoted}, "
            f"or choose another --name."
        )
    if has_test:  # in which case none is drawn
        settings = settings.model_copy(update={"test_fraction": 0.0})
    elif settings.test_fraction == 0:
        raise SettingsError(
            "The walk needs test images that decide nothing; give --test-fraction, such as 0.2."
        )
    walk = Walk(folder=folder, settings=settings, budget=budget or BUDGET)
    minutes = round(walk.budget / 60, 1)
    notice(f"Walk {folder}: starting, {minutes:g} min, {settings.folds} folds a step.")
    return walk


if __name__ == "__main__":
    run_command(main)
