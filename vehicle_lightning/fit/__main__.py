"""Train one network: `python -m vehicle_lightning.fit --dropout 0.5 --batchnorm`."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vehicle_lightning.cli import INTERRUPTED, parse_fit, run_command
from vehicle_lightning.data.table import table_of
from vehicle_lightning.parallel import keep_freed_memory

if TYPE_CHECKING:
    from vehicle_lightning.fit.train import TrainResult


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, train, and print the result."""
    command = parse_fit(arguments)
    settings = command.settings
    if command.options.print_config:
        print(settings.to_yaml(), end="")
        return 0
    if settings.backbone == "list":
        from vehicle_lightning.model.backbone import list_backbones

        print("\n".join(list_backbones()))
        return 0
    table = table_of(settings).checked()
    if command.options.summary:
        from vehicle_lightning.fit.previews import layer_table

        print(layer_table(settings, table.class_names))
        return 0
    keep_freed_memory()
    # Importing torch and lightning takes seconds; what is wrong already has been said by now.
    from vehicle_lightning.data.datamodule import VehicleDataModule
    from vehicle_lightning.fit.train import train

    data = VehicleDataModule(settings, table)
    if command.options.lr_find:
        from vehicle_lightning.fit.previews import find_learning_rate

        print(find_learning_rate(settings, data))
        return 0
    result = train(settings, command.resume, data=data)
    if settings.fast_dev_run:
        print("One batch of training and one of validation went through; nothing was kept.")
        return 0
    print(_report(result))
    finished = result.summary is not None and result.summary.status == "finished"
    return 0 if finished else INTERRUPTED


def _report(result: "TrainResult") -> str:
    run = result.run
    again = f"python -m vehicle_lightning.fit --resume {run.quoted}"
    if result.summary is None:
        return f"Interrupted before anything could be measured; to go on: {again}"
    lines = [str(result.summary), f"saved   {run.path}"]
    if result.summary.status == "interrupted":
        lines.append(f"go on   {again}")
    lines.append(f"see     tensorboard --logdir {shlex.quote(str(run.path.parent.parent))}")
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
