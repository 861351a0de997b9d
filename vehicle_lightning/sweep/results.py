"""What a search has come to: the best trials, their settings as an experiment, and two plots."""

import math
import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot as plt
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization.matplotlib import plot_param_importances, plot_slice

from vehicle_lightning.console import aligned, notice
from vehicle_lightning.errors import counted
from vehicle_lightning.files import atomic_write, write_text
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.settings_file import experiment
from vehicle_lightning.sweep.space import in_words
from vehicle_lightning.sweep.trials import Search

LISTED = 10  # trials in the table


def report(search: Search) -> str:
    """Write `best.yaml`, `slice.png` and `importance.png` into the study's folder.

    Returns:
        The table of the best trials, what to make of it, and the files.
    """
    ranked = sorted(
        (t for t in search.study.trials(TrialState.COMPLETE) if math.isfinite(t.value or 0.0)),
        key=lambda trial: (trial.value, trial.number),
    )
    if not ranked:
        return f"{_counts(search)} There is no best one yet."
    best, base, finished = ranked[0], search.base, len(search.study.finished)
    file = search.folder / "best.yaml"
    val = Measurement.from_dict(best.user_attrs["val"])
    comment = (
        f"Trial {best.user_attrs['run']}, the best of {finished} of the study {search.study.name} "
        f"by its validation loss.\n"
        f"There: {val}, loss {val.loss:.3f}; as it was chosen on these images, that flatters."
    )
    chosen = base.changed(search.space.point(best.params))
    write_text(file, experiment(chosen, comment, without={"fold"}))
    folder = shlex.quote(str(search.folder))
    return "\n".join(
        [
            _counts(search),
            "",
            *_table(search, ranked[:LISTED]),
            "",
            f"The best of {counted(finished, 'trial')} is chosen on these {val.n} validation "
            f"images, so its figures flatter: part of its lead is luck. To measure it anew, on "
            f"another split and other seeds:",
            f"    python -m vehicle_lightning.fit --config {shlex.quote(str(file))} "
            f"--folds {base.folds or 5} --split-seed {base.split_seed + 1} "
            f"--seed {base.seed + base.seeds} --seeds 3",
            f"see     tensorboard --logdir {folder}, or "
            f"python -m vehicle_lightning.compare {folder}",
            *(f"saved   {path}" for path in (file, *_plots(search))),
        ]
    )


def _counts(search: Search) -> str:
    finished, trials = search.study.finished, search.trials
    pruned = len(search.study.trials(TrialState.PRUNED))
    failed = sum("untrainable" in trial.user_attrs for trial in finished)
    begun = len(search.study.trials(TrialState.RUNNING, TrialState.WAITING))
    parts = [f"{len(finished)} of {trials} trials finished"]
    parts += [f"{pruned} of them pruned"] * bool(pruned)
    parts += [f"{failed} could not be trained"] * bool(failed)
    parts += [f"{begun} more begun"] * bool(begun)
    return ", ".join(parts) + "." + " The same command goes on." * (len(finished) < trials)


def _table(search: Search, ranked: Sequence[FrozenTrial]) -> list[str]:
    searched = search.space.domains
    rows = [["trial", "val loss", "validation %", "n", "best epoch", *searched]]
    for trial in ranked:
        facts, point = trial.user_attrs, search.space.point(trial.params)
        val = Measurement.from_dict(facts["val"])
        best_epoch = f"{facts['best_epoch']} of {facts['epochs']}"
        values = [in_words(point[name]) if name in point else "-" for name in searched]
        rows.append([facts["run"], f"{val.loss:.3f}", val.percent, str(val.n), best_epoch, *values])
    return aligned(rows)


def _plots(search: Search) -> list[Path]:
    """Draw Optuna's plots of the validation loss over each setting, and of what matters for it."""
    study, columns = search.study.optuna, len(search.space.domains)
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
    path, figure = search.folder / f"{name}.png", plt.gcf()
    figure.set_size_inches(inches)
    trials = counted(len(search.study.finished), "trial")
    figure.suptitle(f"{search.study.name}: {trials}, without the pruned")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight")
    plt.close(figure)
    return path
