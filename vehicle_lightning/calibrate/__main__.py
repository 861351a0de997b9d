"""Make probabilities true: `python -m vehicle_lightning.calibrate logs/combined/0`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import tyro
from pydantic import Field, model_validator

from vehicle_lightning.cli import parse_options, run_command
from vehicle_lightning.config import SettingsGroup
from vehicle_lightning.errors import counted
from vehicle_lightning.runs.folder import RunFolder

if TYPE_CHECKING:
    from vehicle_lightning.calibrate.calibration import Calibrated


class CalibrateOptions(SettingsGroup):
    """Fit a temperature on the validation images of a run, and choose a threshold.

    Give a run over all --folds where there is one: every image then counts, and each was predicted
    by a network that had not seen it. Nothing is trained.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder."""
    recall: float | None = Field(None, gt=0, le=1)
    """Share of the positive images that must be found."""
    cost: float | None = Field(None, gt=0)
    """Cost of a missed positive image, where a false alarm costs 1."""
    positive: str | None = None
    """The class to find; by default the second of two."""

    @model_validator(mode="after")
    def _one_wish(self) -> Self:
        if self.recall is not None and self.cost is not None:
            raise ValueError("give --recall or --cost, not both")
        return self


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, calibrate, and print what came of it."""
    options = parse_options(CalibrateOptions, "calibrate", arguments)
    run = RunFolder.open(options.run)
    from vehicle_lightning.calibrate.calibration import calibrate  # torch takes its time

    found = calibrate(run, recall=options.recall, cost=options.cost, positive=options.positive)
    print(_text(found))
    return 0


def _text(calibrated: "Calibrated") -> str:
    scaling, point = calibrated.scaling, calibrated.point
    loss, error = scaling.loss, scaling.error
    several = calibrated.seeds > 1
    whose = f"the mean of {calibrated.seeds} networks" if several else "the network"
    if calibrated.folds > 1:
        whose += " of one fold"
    lines = [
        f"{calibrated.images} images that the networks of {calibrated.run.label} had not seen",
        f"temperature none for {whose}: on other images it does not make the loss lower"
        if scaling.temperature == 1
        else f"temperature {scaling.temperature:.2f} for {whose}: "
        + ("too sure" if scaling.temperature > 1 else "not sure enough")
        + " as it is",
    ]
    if calibrated.folds > 1:
        lines.append(
            f"            none for the mean of all {calibrated.folds * calibrated.seeds}, which "
            f"predict takes: it is softer, and no image is unseen by all"
        )
    lines += [
        f"loss        {loss[0]:.3f}, with a temperature fitted on other images {loss[1]:.3f}",
        f"error       {error[0]:.1%}, with a temperature fitted on other images {error[1]:.1%}, of "
        f"which chance alone brings {scaling.error_by_chance:.1%} (expected calibration error)",
    ]
    if point is not None:
        lines += [
            f"threshold   {point.threshold:.3f} of {calibrated.positive}; with one chosen alike on "
            f"other images {whose} has",
            f"recall      {point.recall}, {point.missed} missed",
            f"precision   {point.precision or '-'}, {counted(point.false_alarms, 'false alarm')}",
        ]
    return "\n".join([*lines, f"saved       {calibrated.run.calibration}"])


if __name__ == "__main__":
    run_command(main)
