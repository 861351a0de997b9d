"""Search for settings: `python -m vehicle_lightning.sweep --trials 50 --timeout 2h`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vehicle_lightning.cli import INTERRUPTED, run_command
from vehicle_lightning.console import notice
from vehicle_lightning.data.table import read_table
from vehicle_lightning.errors import SearchError
from vehicle_lightning.fit.__main__ import fit
from vehicle_lightning.sweep.arguments import SweepCommand, parse_sweep

if TYPE_CHECKING:
    from vehicle_lightning.sweep.study import Study
    from vehicle_lightning.sweep.trials import Search

POLLED_EVERY = 1.0  # seconds, while other workers train the last trials


@dataclass(frozen=True)
class SweepResult:
    """What a search has come to so far.

    Attributes:
        text: the best trials, and what to make of them.
        files: what was written into the study's folder.
        is_interrupted: whether a person ended this worker before the search was over.
    """

    text: str
    files: tuple[Path, ...]
    is_interrupted: bool


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, search, and print the best trials."""
    result = sweep(parse_sweep(arguments))
    print(result.text)
    for file in result.files:
        print(f"saved   {file}")
    return INTERRUPTED if result.is_interrupted else 0


def sweep(command: SweepCommand) -> SweepResult:
    """Work on a study until it has all of its trials, the time is up, or a person stops it.

    Raises:
        InputError: something is wrong with the data, a run folder, or the database.
        OSError: the disk is full.
    """
    if find_spec("optuna") is None:
        raise SearchError('The search needs Optuna: pip install -e ".[sweep]".')
    read_table(command.base).checked()
    # Importing torch, lightning and Optuna takes seconds; what is wrong already has been said.
    from vehicle_lightning.sweep.study import Study, find_database

    started = time.monotonic()
    url = find_database(command.storage, command.folder)
    from vehicle_lightning.fit.train import check_devices, read_data, silence
    from vehicle_lightning.sweep.report import report
    from vehicle_lightning.sweep.trials import Search

    silence()
    check_devices(command.base)
    fingerprint = read_data(command.base).fingerprint
    with Study.open(command.study, url, command.folder, command.base.seed) as study:
        study.agree(command.space, command.base, fingerprint)
        search = Search(
            study=study,
            space=command.space,
            base=command.base,
            folder=command.folder,
            trials=command.trials,
            deadline=started + (command.timeout or float("inf")),
        )
        notice(_first_line(command, study))
        is_interrupted = _work(search)
        text, files = report(search)
    return SweepResult(text, files, is_interrupted)


def _work(search: "Search") -> bool:
    """Train trials until there are enough; return whether a person ended that."""
    from vehicle_lightning.sweep.trials import run_trial

    is_waiting = False
    try:
        with search.study.worker(search.folder) as worker:
            while len(search.study.finished) < search.trials and not search.is_over:
                held = search.study.take(worker, search.trials)
                if held is not None:
                    run_trial(search, held, fit)
                    continue
                if not is_waiting:
                    notice("Waiting for the last trials, which other workers train.")
                    is_waiting = True
                time.sleep(POLLED_EVERY)
    except KeyboardInterrupt:
        return True
    return False


def _first_line(command: SweepCommand, study: "Study") -> str:
    searched = ", ".join(command.space.domains)
    done = len(study.finished)
    start = f"going on after {done} of" if done else "starting"
    return (
        f"Study {command.study} in {command.folder}: {start} {command.trials} trials over "
        f"{searched}."
    )


if __name__ == "__main__":
    run_command(main)
