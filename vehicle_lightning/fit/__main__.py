"""Train one network: `python -m vehicle_lightning.fit --dropout 0.5 --batchnorm`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vehicle_lightning.cli import INTERRUPTED, parse_fit, run_command
from vehicle_lightning.config import Settings
from vehicle_lightning.data.table import read_table
from vehicle_lightning.parallel import keep_freed_memory
from vehicle_lightning.runs.folder import RunFolder

if TYPE_CHECKING:
    from vehicle_lightning.fit.supervision import Supervisor
    from vehicle_lightning.runs.summary import Summary


@dataclass(frozen=True)
class RunResult:
    """Where a run lies and what it came to; no summary where no epoch was finished."""

    run: RunFolder
    summary: "Summary | None"


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, train, and print the result."""
    command = parse_fit(arguments)
    if command.print_config:
        print(command.settings.to_yaml(), end="")
        return 0
    result = fit(command.settings, resume=command.resume)
    print(_report(result))
    finished = result.summary is not None and result.summary.status == "finished"
    return 0 if finished else INTERRUPTED


def fit(
    settings: Settings,
    *,
    resume: RunFolder | None = None,
    new: RunFolder | None = None,
    supervisor: "Supervisor | None" = None,
) -> RunResult:
    """Train as the settings say, and write everything into the run folder.

    With `folds` or `seeds`, one network for each fold and seed is trained and all are pooled.

    Args:
        settings: all settings.
        resume: a run to continue in its own folder, from its last whole epoch.
        new: where a new run goes; by default the next number under its name in the log dir.
        supervisor: who pauses or prunes the run, where it is one of many; it then prints nothing.

    Raises:
        InputError: something is wrong with the data, the settings together, or the run to resume.
        OSError: the disk is full.
    """
    read_table(settings).checked()
    keep_freed_memory()
    # Importing torch and lightning takes seconds; what is wrong already has been said by now.
    if settings.is_repeated:
        from vehicle_lightning.fit.folds import train_repeatedly

        return RunResult(*train_repeatedly(settings, resume, new=new, supervisor=supervisor))
    from vehicle_lightning.fit.train import train

    if supervisor is None:
        return RunResult(*train(settings, resume, new=new))
    from vehicle_lightning.fit.progress import EpochLines
    from vehicle_lightning.fit.supervision import Supervision

    lines, supervision = EpochLines(supervisor.title), Supervision(supervisor)
    return RunResult(*train(settings, resume, new=new, lines=lines, supervision=supervision))


def _report(result: RunResult) -> str:
    run = result.run
    again = f"python -m vehicle_lightning.fit --resume {run.path}"
    if result.summary is None:
        return f"Interrupted before anything could be measured; to go on: {again}"
    lines = [str(result.summary), f"saved   {run.path}"]
    if result.summary.status == "interrupted":
        lines.append(f"go on   {again}")
    lines.append(f"see     tensorboard --logdir {run.path.parent.parent}")
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
