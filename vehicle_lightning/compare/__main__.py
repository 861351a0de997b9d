"""Compare finished runs: `python -m vehicle_lightning.compare logs`.

Before any training: `python -m vehicle_lightning.compare --plan --difference 0.02`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import tyro
from pydantic import Field, model_validator

from vehicle_lightning.cli import parse_options, run_command
from vehicle_lightning.config import SettingsGroup
from vehicle_lightning.files import write_csv, write_text

if TYPE_CHECKING:
    from vehicle_lightning.compare.ranking import Ranking


OF_PLAN = ("difference", "images", "folds")
OF_TABLE = ("metric", "baseline", "loss", "wide", "output")


class CompareOptions(SettingsGroup):
    """Put finished runs side by side and say which differences are more than noise.

    Nothing is trained. Runs on other data or another split than the baseline are left out.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Run folders, or folders that hold some; by default logs."""
    metric: str = Field(
        "val/accuracy",
        description="Figure to sort by: val/accuracy, val/loss, train/accuracy, train/loss, gap, "
        "seconds, or a column of metrics.csv at the best epoch.",
    )
    baseline: Path | None = Field(
        None,
        description="Run to compare the others with; by default the oldest finished one of the "
        "largest set on the same images.",
    )
    loss: float | None = Field(None, gt=0)
    """Training loss to count the epochs to; by default the baseline's lowest."""
    wide: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print all columns, not only those that fit a screen."""
    output: Path | None = None
    """Folder to write comparison.csv, .md and .png to."""
    plan: tyro.conf.FlagCreatePairsOff[bool] = Field(
        False,
        description="Say instead how many images, folds and seeds it takes to show the "
        "--difference; runs that are given say how much trainings and images vary.",
    )
    difference: float = Field(0.02, gt=0, lt=1)
    """With --plan: the difference of two accuracies."""
    images: int | None = Field(None, ge=2)
    """With --plan: the images that there are, over all folds."""
    folds: int = Field(5, ge=1)
    """With --plan: the folds; 1 is a hold-out."""

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        for name in OF_TABLE if self.plan else OF_PLAN:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"--{name} has no effect with --plan; leave one out"
                    if self.plan
                    else f"--{name} needs --plan"
                )
        return self


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, compare, and print the table."""
    options = parse_options(CompareOptions, "compare", arguments)
    # Importing pandas and scipy takes a second; what is wrong with the flags has been said by now.
    if options.plan:
        from vehicle_lightning.compare.plan import plan

        print(plan(options.runs, options.difference, options.images, options.folds))
        return 0
    from vehicle_lightning.compare.ranking import compare
    from vehicle_lightning.compare.tables import notes, to_text

    ranking = compare(
        options.runs or (Path("logs"),),
        baseline=options.baseline,
        metric=options.metric,
        target_loss=options.loss,
    )
    files = [] if options.output is None else _write(ranking, options.output)
    print(to_text(ranking, wide=options.wide))
    print("", *notes(ranking, wide=options.wide), sep="\n")
    for file in files:
        print(f"saved   {file}")
    return 0


def _write(ranking: "Ranking", folder: Path) -> list[Path]:
    from vehicle_lightning.compare.plots import plot_comparison
    from vehicle_lightning.compare.tables import to_frame, to_markdown
    from vehicle_lightning.runs.plots import save

    figure = plot_comparison(ranking)
    folder.mkdir(parents=True, exist_ok=True)
    csv, markdown, picture = (folder / f"comparison.{kind}" for kind in ("csv", "md", "png"))
    write_csv(csv, to_frame(ranking))
    write_text(markdown, to_markdown(ranking))
    save(figure, picture)
    return [csv, markdown, picture]


if __name__ == "__main__":
    run_command(main)
