"""What a search has come to: the best trials, their settings as an experiment, and two plots."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import yaml
from matplotlib import pyplot as plt
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization.matplotlib import plot_param_importances, plot_slice

from vehicle_lightning.config import PLACES
from vehicle_lightning.console import aligned, notice
from vehicle_lightning.files import atomic_write, write_text
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.sweep.space import Choice, Space, Value, in_words, trial_settings
from vehicle_lightning.sweep.trials import Search

LISTED = 10  # trials in the table
# What a settings file needs to find the same images; where results go is for whoever uses it.
KEPT_PLACES = {"data_dir", "csv", "image_dir", "image_column", "label_column", "weights"}


def report(search: Search) -> str:
    """Write `best.yaml`, `slice.png` and `importance.png` into the study's folder.

    Returns:
        The table of the best trials, what to make of it, and the files.
    """
    ranked = sorted(
        (t for t in search.study.trials(TrialState.COMPLETE) if math.isfinite(t.value or 0.0)),
        key=lambda trial: (trial.value, trial.number),
    )
    counts = _counts(search)
    if not ranked:
        return f"{counts} There is no best one yet."
    file = search.command.folder / "best.yaml"
    write_text(file, _experiment(search, ranked[0]))
    saved = [f"saved   {path}" for path in (file, *_plots(search))]
    table = _table(search.command.space, ranked[:LISTED])
    return "\n".join([counts, "", *table, "", *_advice(search, ranked[0], file), *saved])


def _counts(search: Search) -> str:
    finished, trials = search.study.finished, search.command.trials
    pruned = len(search.study.trials(TrialState.PRUNED))
    failed = sum("untrainable" in trial.user_attrs for trial in finished)
    begun = len(search.study.trials(TrialState.RUNNING, TrialState.WAITING))
    parts = [f"{len(finished)} of {trials} trials finished"]
    parts += [f"{pruned} of them pruned"] * bool(pruned)
    parts += [f"{failed} could not be trained"] * bool(failed)
    parts += [f"{begun} more begun"] * bool(begun)
    return ", ".join(parts) + "." + " The same command goes on." * (len(finished) < trials)


def _table(space: Space, ranked: Sequence[FrozenTrial]) -> list[str]:
    rows = [["trial", "val loss", "validation %", "n", "best epoch", *space.domains]]
    for trial in ranked:
        facts, point = trial.user_attrs, _point(space, trial)
        val = Measurement.from_dict(facts["val"])
        best_epoch = f"{facts['best_epoch']} of {facts['epochs']}"
        values = [in_words(point[name]) if name in point else "-" for name in space.domains]
        rows.append([facts["run"], f"{val.loss:.3f}", val.percent, str(val.n), best_epoch, *values])
    return aligned(rows)


def _point(space: Space, trial: FrozenTrial) -> dict[str, Value]:
    """Return what was sampled of a trial."""
    domains = space.domains
    return {
        name: domain.value(value) if isinstance(domain := domains[name], Choice) else value
        for name, value in trial.params.items()
    }


def _advice(search: Search, best: FrozenTrial, file: Path) -> list[str]:
    base, folder = search.command.base, search.command.folder
    return [
        f"The best of {len(search.study.finished)} trials is chosen on these "
        f"{best.user_attrs['val']['n']} validation images, so its figures flatter: part of its "
        f"lead is luck. To measure it anew, on another split and other seeds:",
        f"    python -m vehicle_lightning.fit --config {file} --folds {base.folds or 5} "
        f"--split-seed {base.split_seed + 1} --seed {base.seed + base.seeds} --seeds 3",
        f"see     tensorboard --logdir {folder}, or python -m vehicle_lightning.compare {folder}",
    ]


def _experiment(search: Search, best: FrozenTrial) -> str:
    settings = trial_settings(search.command.base, _point(search.command.space, best))
    differing = settings.model_dump(
        mode="json", exclude_defaults=True, exclude=set(PLACES - KEPT_PLACES - {"precision"})
    )
    val = Measurement.from_dict(best.user_attrs["val"])
    comment = (
        f"# Trial {best.user_attrs['run']}, the best of {len(search.study.finished)} of the study "
        f"{search.study.name} by its validation loss.\n"
        f"# There: {val}, loss {val.loss:.3f}; as it was chosen on these images, that flatters.\n"
    )
    text = yaml.safe_dump(differing, sort_keys=False, allow_unicode=True)
    return comment + (text if differing else "")


def _plots(search: Search) -> list[Path]:
    """Draw Optuna's plots of the validation loss over each setting, and of what matters for it."""
    study, columns = search.study.optuna, len(search.command.space.domains)
    with warnings.catch_warnings(action="ignore"):  # what is not finite is left out
        plot_slice(study, target_name="validation loss")
        files = [_save(search, "slice", inches=(2 + 2.5 * columns, 4))]
        try:
            evaluator = FanovaImportanceEvaluator(seed=0)
            plot_param_importances(study, evaluator=evaluator, target_name="validation loss")
        except (RuntimeError, ValueError):  # no two losses differ
            notice("The importance of the settings needs more finished trials that differ.")
            return files
        return [*files, _save(search, "importance", inches=(7, 4))]


def _save(search: Search, name: str, inches: tuple[float, float]) -> Path:
    path, figure = search.command.folder / f"{name}.png", plt.gcf()
    figure.set_size_inches(inches)
    figure.suptitle(f"{search.study.name}: {len(search.study.finished)} trials, without the pruned")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight")
    plt.close(figure)
    return path
