"""Find better settings step by step: `python -m vehicle_lightning.improve --budget 1h`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vehicle_lightning.cli import INTERRUPTED, run_command
from vehicle_lightning.console import notice, quiet_lightning
from vehicle_lightning.data.table import read_table
from vehicle_lightning.errors import RunError, SettingsError
from vehicle_lightning.improve.arguments import ImproveCommand, parse_improve
from vehicle_lightning.parallel import keep_freed_memory
from vehicle_lightning.runs.folder import RunFolder

if TYPE_CHECKING:
    from vehicle_lightning.improve.state import Walk

BUDGET = 3600.0  # seconds


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, walk, and print where that led."""
    text, is_interrupted = improve(parse_improve(arguments))
    print(text)
    return INTERRUPTED if is_interrupted else 0


def improve(command: ImproveCommand) -> tuple[str, bool]:
    """Walk until nothing is left to try, the time is up, or a person stops it.

    Returns:
        What to make of the walk, and whether a person stopped it.

    Raises:
        InputError: something is wrong with the data, or the walk cannot be begun or resumed.
        OSError: the disk is full.
    """
    table = read_table(command.settings).checked()
    keep_freed_memory()
    # Importing torch and lightning takes seconds; what is wrong already has been said by now.
    from vehicle_lightning.improve.report import report
    from vehicle_lightning.improve.walk import go_on

    quiet_lightning()
    walk = _walk(command, has_test="test" in (table.splits or ()))
    command.folder.mkdir(parents=True, exist_ok=True)
    with RunFolder(command.folder).lock():
        try:
            end = go_on(walk, command.folder)
        except KeyboardInterrupt:
            return report(walk, command.folder, None), True
        return report(walk, command.folder, end), False


def _walk(command: ImproveCommand, *, has_test: bool) -> "Walk":
    """Return the walk to go on with, or a new one."""
    from vehicle_lightning.improve.state import FILE, Walk

    folder, settings = command.folder, command.settings
    if command.is_resumed:
        walk = Walk.read(folder)
        walk.budget = command.budget or walk.budget
        notice(
            f"Walk {folder}: going on after {len(walk.steps)} steps and {walk.spent / 60:.1f} of "
            f"{walk.budget / 60:g} min."
        )
        return walk
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
    walk = Walk(settings=settings, budget=command.budget or BUDGET)
    notice(f"Walk {folder}: starting, {walk.budget / 60:g} min, {settings.folds} folds a step.")
    return walk


if __name__ == "__main__":
    run_command(main)
