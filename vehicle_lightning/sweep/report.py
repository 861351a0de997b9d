"""What a search has come to: the best trials, their settings as an experiment, and two plots."""

import math
from collections.abc import Sequence
from pathlib import Path

import yaml
from optuna.trial import FrozenTrial, TrialState

from vehicle_lightning.config import PLACES, Settings
from vehicle_lightning.console import notice
from vehicle_lightning.files import write_text
from vehicle_lightning.runs.plots import save
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.sweep.plots import plot_importance, plot_slices
from vehicle_lightning.sweep.space import Choice, Value, in_words, trial_settings
from vehicle_lightning.sweep.trials import Search

LISTED = 10  # trials in the table
GAP = "  "
# What a settings file needs to find the same images; where results go is for whoever uses it.
KEPT_PLACES = {"data_dir", "csv", "image_dir", "image_column", "label_column", "weights"}


def report(search: Search) -> tuple[str, tuple[Path, ...]]:
    """Write `best.yaml`, `slice.png` and `importance.png` into the study's folder.

    Returns:
        The table of the best trials with what to make of it, and the files.
    """
    ranked = sorted(
        (t for t in search.study.trials(TrialState.COMPLETE) if math.isfinite(t.value or 0.0)),
        key=lambda trial: (trial.value, trial.number),
    )
    counts = _counts(search)
    if not ranked:
        return f"{counts} There is no best one yet.", ()
    file = search.folder / "best.yaml"
    write_text(file, _experiment(search, ranked[0]))
    files = [file, *_plots(search, ranked)]
    lines = [counts, "", *_table(search, ranked[:LISTED]), "", *_advice(search, ranked[0], file)]
    return "\n".join(lines), tuple(files)


def best_settings(search: Search, best: FrozenTrial) -> Settings:
    """Return all settings of a trial."""
    point: dict[str, Value] = {}
    for name, label in best.params.items():
        domain = search.space.domains[name]
        point[name] = domain.value(label) if isinstance(domain, Choice) else label
    return trial_settings(search.base, point)


def _counts(search: Search) -> str:
    finished = search.study.finished
    pruned = len(search.study.trials(TrialState.PRUNED))
    failed = sum("untrainable" in trial.user_attrs for trial in finished)
    running = len(search.study.trials(TrialState.RUNNING))
    parts = [f"{pruned} of them pruned"] * bool(pruned)
    parts += [f"{failed} could not be trained"] * bool(failed)
    parts += [f"{running} more begun"] * bool(running)
    what = ", ".join([f"{len(finished)} of {search.trials} trials finished", *parts]) + "."
    left = len(finished) < search.trials
    return f"{what} The same command goes on." if left else what


def _table(search: Search, ranked: Sequence[FrozenTrial]) -> list[str]:
    names = list(search.space.domains)
    rows = [["trial", "val loss", "validation %", "n", "best epoch", *names]]
    for trial in ranked:
        val = Measurement.from_dict(trial.user_attrs["val"])
        accuracy, low, high = (100 * share for share in (val.accuracy, *val.interval))
        rows.append(
            [
                str(trial.number),
                f"{val.loss:.3f}",
                f"{accuracy:.1f} [{low:.1f}, {high:.1f}]",
                str(val.n),
                f"{trial.user_attrs['best_epoch']} of {trial.user_attrs['epochs']}",
                *(in_words(trial.params[name]) if name in trial.params else "-" for name in names),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _advice(search: Search, best: FrozenTrial, file: Path) -> list[str]:
    n = best.user_attrs["val"]["n"]
    base, tried = search.base, len(search.study.finished)
    folds = f"--folds {base.folds or 5}"
    return [
        f"The best of {tried} trials is chosen on these {n} validation images, so its figures "
        f"flatter: part of its lead is luck. To measure it anew, on another split and other seeds:",
        f"    python -m vehicle_lightning.fit --config {file} {folds} "
        f"--split-seed {base.split_seed + 1} --seed {base.seed + base.seeds} --seeds 3",
        f"see     tensorboard --logdir {search.folder}, or python -m vehicle_lightning.compare "
        f"{search.folder}",
    ]


def _experiment(search: Search, best: FrozenTrial) -> str:
    differing = best_settings(search, best).model_dump(
        mode="json", exclude_defaults=True, exclude=set(PLACES - KEPT_PLACES - {"precision"})
    )
    tried, val = len(search.study.finished), Measurement.from_dict(best.user_attrs["val"])
    comment = (
        f"# Trial {best.number}, the best of {tried} of the study {search.study.name} by its "
        f"validation loss.\n"
        f"# There: {val}, loss {val.loss:.3f}; as it was chosen on these images, that flatters.\n"
    )
    settings = yaml.safe_dump(differing, sort_keys=False, allow_unicode=True)
    return comment + (settings if differing else "")


def _plots(search: Search, ranked: Sequence[FrozenTrial]) -> list[Path]:
    title = f"{search.study.name}: {len(search.study.finished)} trials"
    slices = search.folder / "slice.png"
    pruned = search.study.trials(TrialState.PRUNED)
    save(plot_slices(search.space, ranked, pruned, title=title), slices)
    figure = plot_importance(search.study.as_optuna, search.space, len(ranked), title=title)
    if figure is None:
        notice("The importance of the settings needs more finished trials that differ.")
        return [slices]
    importance = search.folder / "importance.png"
    save(figure, importance)
    return [slices, importance]
