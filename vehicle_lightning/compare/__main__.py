"""Compare finished runs: `python -m vehicle_lightning.compare logs`.

Before any training: `python -m vehicle_lightning.compare --plan --difference 0.02`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from vehicle_lightning.cli import parse_options, run_command
from vehicle_lightning.compare.plan import plan
from vehicle_lightning.compare.ranking import Ranking, choose_baseline, rank
from vehicle_lightning.compare.records import LeftOut, Record, read_records
from vehicle_lightning.compare.tables import notes, to_frame, to_markdown, to_text
from vehicle_lightning.config import SettingsGroup
from vehicle_lightning.errors import RunError
from vehicle_lightning.files import atomic_write, write_text


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
    baseline: Path | None = None
    """Run to compare the others with; by default the oldest finished one."""
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


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, compare, and print the table."""
    options = parse_options(CompareOptions, "compare", arguments)
    if options.plan:
        print(plan(options.runs, options.difference, options.images, options.folds))
        return 0
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


def compare(
    paths: Sequence[Path],
    *,
    baseline: Path | None = None,
    metric: str = "val/accuracy",
    target_loss: float | None = None,
) -> Ranking:
    """Compare all runs at or below the paths.

    Args:
        paths: run folders, or folders that hold some.
        baseline: run to compare the others with.
        metric: the figure to sort by, as in `metrics.csv`.
        target_loss: training loss to count the epochs to, in nats.

    Raises:
        RunError: a path holds no run, or nothing may be compared with the baseline.
    """
    records, left_out = read_records([*([] if baseline is None else [baseline]), *paths])
    chosen = _find_baseline(records, left_out, baseline)
    return rank(records, chosen, metric=metric, target_loss=target_loss, left_out=left_out)


def _find_baseline(
    records: Sequence[Record], left_out: Sequence[LeftOut], named: Path | None
) -> Record:
    candidates = list(records)
    if named is not None:
        place = named.resolve()
        below = [r for r in records if r.run.path.resolve().is_relative_to(place)]
        candidates = [r for r in below if r.run.path.resolve() == place] or below
    if not candidates:
        raise RunError(
            f"There is nothing to compare with{'' if named is None else f' in {named}'}: "
            + "; ".join(f"{one.name}: {one.reason}" for one in left_out[:3])
            + "."
        )
    if named is None:
        return choose_baseline(candidates)
    if len(candidates) > 1:
        raise RunError(f"{named} holds {len(candidates)} runs; name one of them as the --baseline.")
    return candidates[0]


def _write(ranking: Ranking, folder: Path) -> list[Path]:
    from vehicle_lightning.compare.plots import plot_comparison  # matplotlib takes a second
    from vehicle_lightning.runs.plots import save

    figure = plot_comparison(ranking)
    folder.mkdir(parents=True, exist_ok=True)
    csv, markdown, picture = (folder / f"comparison.{kind}" for kind in ("csv", "md", "png"))
    with atomic_write(csv) as temporary:
        to_frame(ranking).to_csv(temporary, index=False)
    write_text(markdown, to_markdown(ranking))
    save(figure, picture)
    return [csv, markdown, picture]


if __name__ == "__main__":
    run_command(main)
