"""Would more images help? `python -m vehicle_lightning.learning_curve --config best`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vehicle_lightning.cli import INTERRUPTED, run_command
from vehicle_lightning.config import Settings
from vehicle_lightning.console import notice
from vehicle_lightning.data.table import read_table
from vehicle_lightning.errors import RunError
from vehicle_lightning.files import write_text
from vehicle_lightning.learning_curve.arguments import Configuration, CurveCommand, parse_curve
from vehicle_lightning.learning_curve.curve import Curve
from vehicle_lightning.learning_curve.sentences import describe, figures, tell_worth
from vehicle_lightning.parallel import keep_freed_memory
from vehicle_lightning.runs.fold_runs import fold_runs
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.summary import Summary
from vehicle_lightning.settings_file import changed_settings, read_settings

if TYPE_CHECKING:
    from vehicle_lightning.data.datamodule import VehicleDataModule


@dataclass(frozen=True)
class Measured:
    """A configuration, its curve, and the accuracy on its training images at the largest share."""

    configuration: Configuration
    curve: Curve
    train_accuracy: float


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, train, and print what the curve says."""
    command = parse_curve(arguments)
    measured = learning_curve(command)
    if measured is None:
        notice("Interrupted; the same command goes on.")
        return INTERRUPTED
    print(_text(measured))
    for file in _write(measured, command.folder):
        print(f"saved   {file}")
    return 0


def learning_curve(command: CurveCommand) -> list[Measured] | None:
    """Train on every share what is not finished yet, and fit the curves.

    Returns:
        One curve for each configuration; None where a person stopped the training.

    Raises:
        InputError: something is wrong with the data, the settings or a run folder.
        OSError: the disk is full.
    """
    table = read_table(command.configurations[0].settings).checked()
    keep_freed_memory()
    # Importing torch and lightning takes seconds; what is wrong already has been said by now.
    from vehicle_lightning.data.datamodule import VehicleDataModule

    found, trained = [], len(command.configurations) * len(command.shares)
    for place, configuration in enumerate(command.configurations):
        data = VehicleDataModule(configuration.settings, table)
        data.setup()
        runs = []
        for number, share in enumerate(command.shares, 1 + place * len(command.shares)):
            settings = share_settings(configuration.settings, share, data)
            run = RunFolder(command.folder / f"{configuration.prefix}share{share:g}")
            notice(f"[{number}/{trained}] {configuration.name}, {share:g} of the training images")
            if not _train(settings, run, data):
                return None  # stopped
            runs.append((run, settings))
        found.append(_measure(configuration, runs, place))
    return found


def share_settings(settings: Settings, share: float, data: "VehicleDataModule") -> Settings:
    """Return the settings of a share: as many steps of the optimizer as with all images.

    With as many epochs a small share would be trained the less, and the curve would tell of too
    few steps, not of too few images.
    """
    part = settings.model_copy(update={"train_fraction": share})
    whole, steps = (
        len(data.split_anew(one.model_copy(update={"fold": 0})).train_dataloader())
        for one in (settings, part)
    )
    longer = {
        name: max(1, round(value * whole / steps))
        for name in ("epochs", "frozen_epochs", "patience")
        if (value := getattr(settings, name))
    }
    return part.model_copy(update=longer)


def _train(settings: Settings, run: RunFolder, data: "VehicleDataModule") -> bool:
    """Train a share over its folds and seeds; return whether nothing is left to train."""
    from vehicle_lightning.fit.train import train

    if run.config.is_file():
        before = read_settings(run.config)
        if changed := changed_settings(before, settings):
            raise RunError(
                f"{run.path} was trained with another {', '.join(changed)}; choose another --name "
                f"or --log-dir for this curve."
            )
        is_same = (before.epochs, before.seeds) == (settings.epochs, settings.seeds)
        if is_same and run.summary.is_file() and Summary.read(run.summary).status == "finished":
            _check_same_data(run, data.fingerprint)
            return True
    run.path.mkdir(parents=True, exist_ok=True)
    summary = train(settings, run, data=data).summary
    return summary is not None and summary.status == "finished"


def _check_same_data(run: RunFolder, fingerprint: str) -> None:
    from vehicle_lightning.fit.start import read_data_facts

    if read_data_facts(run.environment)["fingerprint"] != fingerprint:
        raise RunError(
            f"The names, labels or images of the data have changed since {run.path} was trained; "
            f"choose another --name or --log-dir for this curve."
        )


def _measure(
    configuration: Configuration, runs: Sequence[tuple[RunFolder, Settings]], place: int
) -> Measured:
    images, errors, accuracy = [], [], 0.0
    for run, settings in runs:
        every = fold_runs(settings)
        summaries = [Summary.read(run.fold_run(one.name).summary) for one in every]
        of_fold = [
            [s for s, m in zip(summaries, every, strict=True) if m.fold == fold]
            for fold in range(settings.folds or 1)
        ]
        errors.append([1 - np.mean([s.val.accuracy for s in fold]) for fold in of_fold])
        images.append(np.mean([s.train.n for s in summaries]))
        accuracy = float(np.mean([s.train.accuracy for s in summaries]))
    curve = Curve.fit(np.array(images, dtype=np.float64), np.array(errors, dtype=np.float64), place)
    return Measured(configuration, curve, accuracy)


def _text(measured: Sequence[Measured]) -> str:
    lines = []
    for one in measured:
        lines += [
            one.configuration.name,
            *(f"  {line}" for line in describe(one.curve, one.train_accuracy)),
        ]
    if len(measured) > 1:
        first, second = measured
        lines.append(tell_worth(second.configuration.name, first.curve, second.curve))
    return "\n".join(lines)


def _write(measured: Sequence[Measured], folder: Path) -> tuple[Path, ...]:
    """Write learning_curve.json and .png, and the same into TensorBoard."""
    from PIL import Image
    from torch.utils.tensorboard import SummaryWriter

    from vehicle_lightning.learning_curve.plots import plot_learning_curves
    from vehicle_lightning.runs.plots import save

    content, picture = folder / "learning_curve.json", folder / "learning_curve.png"
    names = [one.configuration.name for one in measured]
    curves = [one.curve for one in measured]
    write_text(
        content,
        json.dumps(
            {
                "curves": [
                    {
                        "name": one.configuration.name,
                        "settings": one.configuration.settings.model_dump(
                            mode="json", exclude_defaults=True
                        ),
                        "train_accuracy": one.train_accuracy,
                        **figures(one.curve),
                    }
                    for one in measured
                ],
                "sentences": _text(measured).splitlines(),
            },
            indent=2,
            allow_nan=False,
        )
        + "\n",
    )
    save(plot_learning_curves(names, curves), picture)
    for earlier in folder.glob("**/events.out.tfevents.*.learning_curve"):
        earlier.unlink()
    for one in measured:
        place = folder / f"{one.configuration.prefix}learning_curve"
        with SummaryWriter(str(place), filename_suffix=".learning_curve") as writer:
            for share, images in enumerate(one.curve.images):
                writer.add_scalar(
                    "learning_curve/accuracy", one.curve.measured(share).value, round(images)
                )
            if one is measured[0]:
                with Image.open(picture) as drawn:
                    writer.add_image(
                        "pictures/learning_curve",
                        np.asarray(drawn.convert("RGB")),
                        dataformats="HWC",
                    )
    return content, picture


if __name__ == "__main__":
    run_command(main)
