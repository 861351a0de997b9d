"""Search for settings: `python -m vehicle_lightning.sweep --trials 50 --timeout 2h`."""

import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vehicle_lightning.cli import INTERRUPTED, run_command
from vehicle_lightning.console import notice, quiet_lightning
from vehicle_lightning.data.table import read_table
from vehicle_lightning.errors import SearchError
from vehicle_lightning.parallel import keep_freed_memory
from vehicle_lightning.sweep.arguments import SweepCommand, parse_sweep

if TYPE_CHECKING:
    from vehicle_lightning.sweep.trials import Search

POLLED_EVERY = 1.0  # seconds, while other workers train the last trials


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, search, and print the best trials."""
    text, is_interrupted = sweep(parse_sweep(arguments))
    print(text)
    return INTERRUPTED if is_interrupted else 0


def sweep(command: SweepCommand) -> tuple[str, bool]:
    """Work on a study until it has all of its trials, the time is up, or a person stops it.

    Returns:
        The best trials with what to make of them, and whether a person stopped it.

    Raises:
        InputError: something is wrong with the data, a run folder, or the database.
        OSError: the disk is full.
    """
    if find_spec("optuna") is None:
        raise SearchError('The search needs Optuna: pip install -e ".[sweep]".')
    table = read_table(command.base).checked()
    keep_freed_memory()
    # Importing torch, lightning and Optuna takes seconds; what is wrong already has been said.
    from vehicle_lightning.sweep.study import Study, find_database

    started = time.monotonic()
    url = find_database(command.storage, command.folder)
    from vehicle_lightning.data.datamodule import VehicleDataModule
    from vehicle_lightning.fit.train import read_data
    from vehicle_lightning.sweep.results import report
    from vehicle_lightning.sweep.trials import Search

    quiet_lightning()
    fingerprint = read_data(command.base, VehicleDataModule(command.base, table)).fingerprint
    with Study.open(command.study, url, command.folder, command.base.seed) as study:
        study.agree(command.space, command.base, fingerprint)
        done = len(study.finished)
        notice(
            f"Study {command.study} in {command.folder}: "
            f"{f'going on after {done} of' if done else 'starting'} {command.trials} trials over "
            f"{', '.join(command.space.domains)}."
        )
        search = Search(command, study, deadline=started + (command.timeout or float("inf")))
        is_interrupted = _work(search)
        return report(search), is_interrupted


def _work(search: "Search") -> bool:
    """Train trials until there are enough; return whether a person ended that."""
    from vehicle_lightning.sweep.trials import run_trial

    study, trials, is_waiting = search.study, search.command.trials, False
    try:
        while len(study.finished) < trials and not search.is_over:
            if running := study.take(trials):
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
