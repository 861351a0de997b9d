"""Search for settings: `python -m vehicle_lightning.sweep --trials 50 --timeout 2h`."""

import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from vehicle_lightning.cli import (
    INTERRUPTED,
    Duration,
    check_keeps_results,
    parse_training,
    read_ahead,
    run_command,
    seconds,
)
from vehicle_lightning.config import Settings, SettingsGroup
from vehicle_lightning.conflicts import is_folder_name
from vehicle_lightning.console import notice
from vehicle_lightning.data.table import table_of
from vehicle_lightning.errors import InputError, SettingsError
from vehicle_lightning.parallel import keep_freed_memory
from vehicle_lightning.runs.fold_runs import first_fold_run
from vehicle_lightning.settings_file import read_settings
from vehicle_lightning.sweep.space import Space, read_space

if TYPE_CHECKING:
    from vehicle_lightning.sweep.trials import Search

POLLED_EVERY = 1.0  # seconds, while other workers train the last trials


class SweepOptions(SettingsGroup):
    """Search for settings: many trainings, each with other settings, the best by validation loss.

    Each trial is a run folder LOG_DIR/STUDY/NUMBER. Any number of workers may join a study by the
    same command; what one of them leaves unfinished another goes on with. All other flags are those
    of `fit`, and the same in all trials.
    """

    trials: int = Field(50, ge=1, le=100_000)
    """Finished trials the study is to have, of all workers."""
    timeout: Duration | None = None
    """Stop after this time, as in 90, 30m or 2h; the same command goes on."""
    space: Path = Path("switches")
    """YAML file of settings, some with a range or values; or switches, training or everything."""
    study: str | None = None
    """Name of the study; by default that of the space's file."""
    storage: str | None = None
    """URL of a database to share, as postgresql://user@host/name; by default a SQLite file."""
    config: Path | None = None
    """YAML file of settings that the trials share, above those of the space; or an experiment."""


def main(arguments: Sequence[str]) -> int:
    """Work on a study until it has all of its trials, the time is up, or a person stops it."""
    options, space, base = parse_sweep(arguments)
    if find_spec("optuna") is None:
        raise InputError('The search needs Optuna: pip install -e ".[sweep]".')
    table = table_of(base).checked()
    keep_freed_memory()
    # Importing torch, lightning and Optuna takes seconds; what is wrong already has been said.
    from vehicle_lightning.sweep.study import Study, find_database

    started = time.monotonic()
    timeout = seconds(options.timeout) if options.timeout else float("inf")
    name = options.study or space.file.stem
    folder = base.log_dir / name
    url = find_database(options.storage, folder)
    from vehicle_lightning.data.datamodule import VehicleDataModule
    from vehicle_lightning.fit.train import read_data
    from vehicle_lightning.sweep.results import report
    from vehicle_lightning.sweep.trials import Search

    first = first_fold_run(base)
    fingerprint = read_data(first, VehicleDataModule(first, table)).fingerprint
    with Study.open(name, url, folder, base.seed) as study:
        study.agree(space, base, fingerprint)
        done = len(study.finished)
        notice(
            f"Study {name} in {folder}: "
            f"{f'going on after {done} of' if done else 'starting'} {options.trials} trials over "
            f"{', '.join(space.domains)}."
        )
        search = Search(study, space, base, folder, options.trials, started + timeout)
        is_interrupted = _work(search)
        print(report(search))
    return INTERRUPTED if is_interrupted else 0


def parse_sweep(arguments: Sequence[str]) -> tuple[SweepOptions, Space, Settings]:
    """Parse the command line: the options, what is searched, and what all trials share.

    Exits with code 2, after printing what is wrong, where a flag is unknown or malformed.

    Raises:
        SettingsError: a value is out of range, or the space or the settings file is wrong.
    """
    files = read_ahead(arguments, "space", "config")
    space = read_space(SweepOptions().space if files.help or not files.space else files.space)
    defaults = Settings()
    if not files.help:  # for which tyro ends the process
        given = defaults if files.config is None else read_settings(files.config)
        named = f" with {files.config}" if files.config else ""
        try:
            defaults = defaults.changed({**space.fixed, **given.model_dump(exclude_unset=True)})
        except SettingsError as error:
            raise SettingsError(f"Space {space.file}{named}: {error}") from error
    options, base = parse_training(SweepOptions, "sweep", arguments, defaults)
    flags = [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]
    for flag in flags:
        name = flag.replace("-", "_").removeprefix("__").removeprefix("no_")
        if name in space.domains:
            raise SettingsError(
                f"{flag} fixes what {space.file} searches; leave out the flag, or take {name} "
                f"out of the space."
            )
    if base.name is not None:
        raise SettingsError("--name is that of a single run; name the search by --study.")
    check_keeps_results(base)
    if options.study is not None and not is_folder_name(options.study):
        raise SettingsError(f"--study {options.study} must be usable as one folder's name.")
    one_device = base.on_one_device()
    if one_device is None:
        raise SettingsError(
            "A trial trains on one device; leave out --devices and --num-nodes, and start one "
            "worker for each device, as in --devices 0, and --devices 1, (an index ends in a "
            "comma)."
        )
    space.check(one_device)
    return options, space, one_device


def _work(search: "Search") -> bool:
    """Train trials until there are enough; return whether a person ended that."""
    from vehicle_lightning.sweep.trials import run_trial

    study, is_waiting = search.study, False
    try:
        while len(study.finished) < search.trials and not search.is_over:
            if running := study.take(search.trials):
                run_trial(search, running)
                continue
            if not is_waiting:
                notice("Waiting for the last trials, which other workers train.")
                is_waiting = True
            time.sleep(POLLED_EVERY)
    except KeyboardInterrupt:
        return True
    return False


if __name__ == "__main__":
    run_command(main)
